//! The GPUs of this machine: asked of NVIDIA's driver, through its management library where that is installed, else by its
//! files; narrowed by `CUDA_VISIBLE_DEVICES` as CUDA itself reads it.
//!
//! The library is loaded when somebody asks, which is when an action needs a GPU and has no result. Devices are handed out by
//! the names that the user has for them if `CUDA_VISIBLE_DEVICES` is set, else by their UUIDs: CUDA orders devices by speed and
//! the driver by slot, so that a number alone may mean either.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mlbuild_action::GpuId;
use mlbuild_engine::{GpuDevice, Gpus};

use crate::env;

/// A device as the driver tells of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Known {
    uuid: Option<String>,
    name: Option<String>,
    memory_bytes: Option<u64>,
}

/// Looks for GPUs that this process may use.
pub(crate) fn find() -> Gpus {
    let (driver, known) = pretended()
        .or_else(nvml::ask)
        .unwrap_or_else(|| by_files(Path::new("/")));
    let by_slot = env::var("CUDA_DEVICE_ORDER").is_some_and(|order| order == "PCI_BUS_ID");
    Gpus {
        driver,
        devices: visible(&known, env::var("CUDA_VISIBLE_DEVICES").as_deref(), by_slot),
    }
}

/// Devices for tests on machines without any: `name:memory` of each, with commas between. A release has none of this.
fn pretended() -> Option<(Option<String>, Vec<Known>)> {
    if !cfg!(debug_assertions) {
        return None;
    }
    let list = env::var("MLBUILD_PRETENDED_GPUS")?;
    let device = |(number, text): (usize, &str)| {
        let (name, memory) = text.split_once(':')?;
        Some(Known {
            uuid: Some(format!("GPU-{number}")),
            name: Some(name.to_owned()),
            memory_bytes: mlbuild_manifest::memory_bytes(memory),
        })
    };
    let devices = list.split(',').enumerate().filter_map(device);
    Some((Some("1.2.3".to_owned()), devices.collect()))
}

/// The devices of `known` that `list` leaves visible. CUDA reads it up to the first name that means nothing.
fn visible(known: &[Known], list: Option<&str>, by_slot: bool) -> Vec<GpuDevice> {
    let device = |id: &str, known: Option<&Known>| GpuDevice {
        id: GpuId::new(id),
        name: known.and_then(|known| known.name.clone()),
        memory_bytes: known.and_then(|known| known.memory_bytes),
    };
    let Some(list) = list else {
        let named = known.iter().enumerate();
        let named = named.map(|(number, known)| {
            let id = known.uuid.clone().unwrap_or_else(|| number.to_string());
            device(&id, Some(known))
        });
        return named.collect();
    };
    // A number means a device of CUDA's order, which is known if all are alike.
    let alike = known
        .windows(2)
        .all(|pair| (&pair[0].name, pair[0].memory_bytes) == (&pair[1].name, pair[1].memory_bytes));
    let mut found: Vec<GpuDevice> = Vec::new();
    for id in list.split(',').map(str::trim) {
        let meant = if let Ok(number) = id.parse::<usize>() {
            match known.get(number) {
                None => break,
                // Here the number is the driver's too, and who is given the device need not know in what order to count.
                Some(known) if by_slot => device(known.uuid.as_deref().unwrap_or(id), Some(known)),
                Some(known) => device(id, Some(known).filter(|_| alike)),
            }
        } else if id.starts_with("MIG-") {
            // A part of a device, which has no name of its own.
            device(id, None)
        } else if id.starts_with("GPU-") {
            let is_meant =
                |known: &&Known| known.uuid.as_ref().is_some_and(|uuid| uuid.starts_with(id));
            let meant: Vec<&Known> = known.iter().filter(is_meant).collect();
            match meant[..] {
                [one] => device(id, Some(one)),
                _ if known.iter().all(|known| known.uuid.is_none()) && !known.is_empty() => {
                    device(id, None)
                }
                _ => break,
            }
        } else {
            break;
        };
        if found.iter().any(|before| before.id == meant.id) {
            break;
        }
        found.push(meant);
    }
    found
}

/// What the driver's files say, below `root`: `/proc/driver/nvidia`, else as many as there are devices.
fn by_files(root: &Path) -> (Option<String>, Vec<Known>) {
    let folder = root.join("proc/driver/nvidia");
    let version = fs::read_to_string(folder.join("version")).unwrap_or_default();
    // NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023
    let is_version =
        |word: &&str| word.contains('.') && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let line = version.lines().next().unwrap_or_default();
    let driver = line.split_whitespace().find(is_version).map(str::to_owned);
    // By slot, as the driver numbers them.
    let mut slots = BTreeMap::new();
    for entry in fs::read_dir(folder.join("gpus"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = fs::read_to_string(entry.path().join("information")).unwrap_or_default();
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.trim_start_matches(':').trim().to_owned())
        };
        let known = Known {
            uuid: field("GPU UUID").filter(|uuid| !uuid.contains('?')),
            name: field("Model"),
            memory_bytes: None,
        };
        slots.insert(entry.file_name(), known);
    }
    if !slots.is_empty() {
        return (driver, slots.into_values().collect());
    }
    let entries = fs::read_dir(root.join("dev"))
        .into_iter()
        .flatten()
        .flatten();
    let devices = entries.filter(|entry| {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("nvidia"));
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    (driver, devices.map(|_| Known::default()).collect())
}

/// NVIDIA's management library, which comes with the driver.
#[cfg(target_os = "linux")]
mod nvml {
    use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
    use std::{mem, ptr};

    use super::Known;

    /// Room for names and UUIDs: more than the library's own limits.
    const TEXT_BYTES: usize = 256;

    type Device = *mut c_void;
    type Plain = unsafe extern "C" fn() -> c_int;
    type Text = unsafe extern "C" fn(*mut c_char, c_uint) -> c_int;
    type Count = unsafe extern "C" fn(*mut c_uint) -> c_int;
    type ByNumber = unsafe extern "C" fn(c_uint, *mut Device) -> c_int;
    type DeviceText = unsafe extern "C" fn(Device, *mut c_char, c_uint) -> c_int;
    type DeviceMemory = unsafe extern "C" fn(Device, *mut Memory) -> c_int;

    /// As the library lays it out.
    #[repr(C)]
    #[derive(Default)]
    struct Memory {
        total: u64,
        free: u64,
        used: u64,
    }

    /// The functions of the library that are asked. All return 0 for success.
    struct Library {
        shutdown: Plain,
        driver: Text,
        count: Count,
        device: ByNumber,
        name: DeviceText,
        uuid: DeviceText,
        memory: DeviceMemory,
    }

    impl Library {
        /// Loads and initialises it; `None` where there is none, or no driver answers it.
        fn open() -> Option<Self> {
            // SAFETY: the name is null-terminated. Loading runs the library's own initialisers, which every program that
            // uses the driver runs. It stays loaded, so its functions stay valid.
            let handle = unsafe {
                libc::dlopen(
                    c"libnvidia-ml.so.1".as_ptr(),
                    libc::RTLD_NOW | libc::RTLD_LOCAL,
                )
            };
            if handle.is_null() {
                return None;
            }
            let find = |name: &CStr| {
                // SAFETY: the handle is open and the name null-terminated.
                let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
                (!found.is_null()).then_some(found)
            };
            // SAFETY: each has the type that the library's header gives to the function of its name.
            let (init, library) = unsafe {
                let init = mem::transmute::<*mut c_void, Plain>(find(c"nvmlInit_v2")?);
                let library = Self {
                    shutdown: mem::transmute::<*mut c_void, Plain>(find(c"nvmlShutdown")?),
                    driver: mem::transmute::<*mut c_void, Text>(find(
                        c"nvmlSystemGetDriverVersion",
                    )?),
                    count: mem::transmute::<*mut c_void, Count>(find(c"nvmlDeviceGetCount_v2")?),
                    device: mem::transmute::<*mut c_void, ByNumber>(find(
                        c"nvmlDeviceGetHandleByIndex_v2",
                    )?),
                    name: mem::transmute::<*mut c_void, DeviceText>(find(c"nvmlDeviceGetName")?),
                    uuid: mem::transmute::<*mut c_void, DeviceText>(find(c"nvmlDeviceGetUUID")?),
                    memory: mem::transmute::<*mut c_void, DeviceMemory>(find(
                        c"nvmlDeviceGetMemoryInfo",
                    )?),
                };
                (init, library)
            };
            // SAFETY: it takes nothing, and is called before all others.
            (unsafe { init() } == 0).then_some(library)
        }

        fn known(&self, number: c_uint) -> Option<Known> {
            let mut device: Device = ptr::null_mut();
            let mut memory = Memory::default();
            // SAFETY: the library is initialised; it writes one handle and one `Memory`.
            let (found, measured) = unsafe {
                let found = (self.device)(number, &mut device) == 0;
                (found, found && (self.memory)(device, &mut memory) == 0)
            };
            found.then(|| Known {
                uuid: text(|buffer, length| unsafe { (self.uuid)(device, buffer, length) }),
                name: text(|buffer, length| unsafe { (self.name)(device, buffer, length) }),
                memory_bytes: measured.then_some(memory.total),
            })
        }
    }

    impl Drop for Library {
        fn drop(&mut self) {
            // SAFETY: it was initialised, once.
            unsafe { (self.shutdown)() };
        }
    }

    /// The driver's version and its devices, in its order; `None` if it cannot be asked.
    pub(super) fn ask() -> Option<(Option<String>, Vec<Known>)> {
        let library = Library::open()?;
        let mut count = 0;
        // SAFETY: the library is initialised; it writes one number.
        if unsafe { (library.count)(&mut count) } != 0 {
            return None;
        }
        let driver = text(|buffer, length| unsafe { (library.driver)(buffer, length) });
        Some((
            driver,
            (0..count)
                .filter_map(|number| library.known(number))
                .collect(),
        ))
    }

    /// A text that the library writes: null-terminated, within the length that it is given.
    fn text(write: impl FnOnce(*mut c_char, c_uint) -> c_int) -> Option<String> {
        let mut buffer = [0 as c_char; TEXT_BYTES];
        if write(buffer.as_mut_ptr(), TEXT_BYTES as c_uint - 1) != 0 {
            return None;
        }
        // SAFETY: the last byte is a null, whatever was written before it.
        let text = unsafe { CStr::from_ptr(buffer.as_ptr()) };
        Some(text.to_string_lossy().into_owned())
    }
}

#[cfg(not(target_os = "linux"))]
mod nvml {
    pub(super) fn ask() -> Option<(Option<String>, Vec<super::Known>)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(uuid: &str, name: &str, memory_bytes: u64) -> Known {
        Known {
            uuid: Some(uuid.to_owned()),
            name: Some(name.to_owned()),
            memory_bytes: Some(memory_bytes),
        }
    }

    /// The devices that a list leaves visible: id, and memory where it is known.
    fn check(known: &[Known], list: Option<&str>, expected: &[(&str, Option<u64>)]) {
        let found = visible(known, list, false);
        let found: Vec<_> = found
            .iter()
            .map(|gpu| (gpu.id.as_str(), gpu.memory_bytes))
            .collect();
        assert_eq!(found, expected, "{list:?}");
    }

    #[test]
    fn devices_are_named_as_the_user_names_them_else_by_uuid() {
        let two = [known("GPU-ab12", "A", 40), known("GPU-cd34", "A", 40)];
        check(
            &two,
            None,
            &[("GPU-ab12", Some(40)), ("GPU-cd34", Some(40))],
        );
        check(&two, Some("1,0"), &[("1", Some(40)), ("0", Some(40))]);
        check(&two, Some("GPU-cd"), &[("GPU-cd", Some(40))]);
        check(&two, Some("MIG-1, 0"), &[("MIG-1", None), ("0", Some(40))]);
        check(
            &[Known::default(), Known::default()],
            None,
            &[("0", None), ("1", None)],
        );
        check(&[Known::default()], Some("GPU-ab"), &[("GPU-ab", None)]);
    }

    #[test]
    fn what_stands_behind_a_wrong_name_is_not_visible() {
        let two = [known("GPU-ab12", "A", 40), known("GPU-ab34", "A", 40)];
        for (list, expected) in [
            ("", 0),
            ("-1", 0),
            ("0,-1,1", 1),
            ("0,7,1", 1),
            ("none", 0),
            ("GPU-ab", 0),
            ("GPU-x", 0),
            ("0,0,1", 1),
        ] {
            assert_eq!(visible(&two, Some(list), false).len(), expected, "{list}");
        }
        assert_eq!(visible(&[], Some("0"), false), []);
        assert_eq!(visible(&[], Some("GPU-ab"), false), []);
    }

    #[test]
    fn of_unlike_devices_a_number_says_which_only_in_the_order_of_slots() {
        let two = [known("GPU-ab", "A", 40), known("GPU-cd", "B", 80)];
        check(&two, Some("1"), &[("1", None)]);
        let by_slot = visible(&two, Some("1"), true);
        assert_eq!(by_slot[0].memory_bytes, Some(80));
        assert_eq!(by_slot[0].id.as_str(), "GPU-cd");
    }

    #[test]
    fn where_the_library_is_missing_the_drivers_files_tell() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(by_files(root.path()), (None, Vec::new()));
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for device in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"] {
            write(&format!("dev/{device}"), "");
        }
        assert_eq!(
            by_files(root.path()).1,
            [Known::default(), Known::default()]
        );
        let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\nGCC version: 12.2\n";
        write("proc/driver/nvidia/version", version);
        let information =
            "Model: \t\t NVIDIA A100\nIRQ:   \t\t 33\nGPU UUID: \t GPU-ab12\nDevice Minor: \t 0\n";
        write(
            "proc/driver/nvidia/gpus/0000:07:00.0/information",
            information,
        );
        let (driver, devices) = by_files(root.path());
        assert_eq!(driver.as_deref(), Some("535.104.05"));
        let expected = Known {
            uuid: Some("GPU-ab12".to_owned()),
            name: Some("NVIDIA A100".to_owned()),
            memory_bytes: None,
        };
        assert_eq!(devices, [expected]);
    }
}
