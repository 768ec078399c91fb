//! GPUs: which there are, and which action has which.
//!
//! An action takes whole devices, those of the lowest numbers that are free, unless it declares how much memory it needs
//! of each: then it may share a device with others that declare theirs, as long as all of it fits. So no two actions share
//! a device unless both said how much of it they take. What a device's memory is must be known for that; where it is not,
//! nobody shares it.
//!
//! Absent: finding devices, which is the caller's, and which of them enters a key, which none does.

use mlbuild_action::{Diagnostic, GpuId, Work};
use mlbuild_graph::Resources;
use mlbuild_manifest::Label;

/// A GPU of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GpuDevice {
    /// By what the driver knows it.
    pub id: GpuId,
    /// Its name, if the driver says: `NVIDIA H100 80GB HBM3`.
    pub name: Option<String>,
    /// Its memory, if the driver says.
    pub memory_bytes: Option<u64>,
}

/// The GPUs of this machine, and what drives them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gpus {
    /// The version of the driver.
    pub driver: Option<String>,
    /// Those that this process may use.
    pub devices: Vec<GpuDevice>,
}

/// What an action needs of devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Need {
    /// How many.
    pub(crate) gpus: u32,
    /// Memory on each; `None` wants them alone.
    pub(crate) memory_bytes: Option<u64>,
}

impl Need {
    /// What this work of a target needs.
    pub(crate) fn new(work: &Work, resources: &Resources) -> Self {
        Self {
            gpus: work.gpus(),
            memory_bytes: resources.gpu_memory_bytes,
        }
    }
}

/// Who has a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    Free,
    Alone,
    /// By at least one action that said how much it takes.
    Shared {
        users: u32,
        taken_bytes: u64,
    },
}

/// The devices of a build.
#[derive(Debug)]
pub(crate) struct Devices {
    devices: Vec<(GpuDevice, Use)>,
}

/// Devices that were taken, to be given back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Taken {
    /// Their numbers, rising.
    numbers: Vec<usize>,
    memory_bytes: Option<u64>,
}

impl Devices {
    pub(crate) fn new(devices: Vec<GpuDevice>) -> Self {
        let devices = devices.into_iter();
        Self {
            devices: devices.map(|device| (device, Use::Free)).collect(),
        }
    }

    /// How many of them are large enough, taken or not.
    pub(crate) fn fitting(&self, need: Need) -> usize {
        let fits = |(device, _): &&(GpuDevice, Use)| is_large_enough(device, need);
        self.devices.iter().filter(fits).count()
    }

    /// Whether what an action needs is to be had now.
    pub(crate) fn has(&self, need: Need) -> bool {
        self.free(need).count() >= need.gpus as usize
    }

    /// Takes what an action needs, if it is to be had now.
    pub(crate) fn take(&mut self, need: Need) -> Option<Taken> {
        let numbers: Vec<usize> = self.free(need).take(need.gpus as usize).collect();
        if numbers.len() < need.gpus as usize {
            return None;
        }
        for &number in &numbers {
            let (device, used) = &mut self.devices[number];
            *used = match (*used, need.memory_bytes, device.memory_bytes) {
                (Use::Shared { users, taken_bytes }, Some(bytes), _) => Use::Shared {
                    users: users + 1,
                    taken_bytes: taken_bytes + bytes,
                },
                (_, Some(taken_bytes), Some(_)) => Use::Shared {
                    users: 1,
                    taken_bytes,
                },
                _ => Use::Alone,
            };
        }
        Some(Taken {
            numbers,
            memory_bytes: need.memory_bytes,
        })
    }

    /// The numbers of those that an action may take now.
    fn free(&self, need: Need) -> impl Iterator<Item = usize> {
        let devices = self.devices.iter().enumerate();
        let free = devices.filter(move |(_, (device, used))| {
            is_large_enough(device, need) && has_room(device, *used, need)
        });
        free.map(|(number, _)| number)
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&mut self, taken: &Taken) {
        for &number in &taken.numbers {
            let used = &mut self.devices[number].1;
            *used = match *used {
                Use::Shared { users, taken_bytes } if users > 1 => Use::Shared {
                    users: users - 1,
                    taken_bytes: taken_bytes - taken.memory_bytes.unwrap_or(0),
                },
                _ => Use::Free,
            };
        }
    }

    /// The devices that were taken.
    pub(crate) fn of<'d>(&'d self, taken: &Taken) -> impl Iterator<Item = &'d GpuDevice> {
        let numbers = taken.numbers.clone().into_iter();
        numbers.map(|number| &self.devices[number].0)
    }
}

/// What an action runs on, as its log says it: `--- on NVIDIA A100 (GPU-ab12), driver 535.104.05`.
pub(crate) fn described(gpus: &[GpuDevice], driver: Option<&str>) -> String {
    let names = gpus.iter().map(|GpuDevice { id, name, .. }| match name {
        Some(name) => format!("{name} ({})", id.as_str()),
        None => id.as_str().to_owned(),
    });
    let names: Vec<String> = names.collect();
    let driver = driver.map_or(String::new(), |driver| format!(", driver {driver}"));
    format!("--- on {}{driver}", names.join(", "))
}

/// Says what is missing for `label`, and where to go from there.
pub(crate) fn no_gpu(label: &Label, need: Need, devices: &Devices) -> Diagnostic {
    let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    let asked = match need.gpus {
        1 => "a GPU".to_owned(),
        several => format!("{several} GPUs"),
    };
    let with = match need.memory_bytes {
        Some(bytes) => format!(" with {}", gigabytes(bytes)),
        None => String::new(),
    };
    let there: Vec<String> = devices
        .devices
        .iter()
        .map(|(device, _)| {
            let name = device.name.as_deref().unwrap_or(device.id.as_str());
            let memory = device.memory_bytes.map(gigabytes);
            memory.map_or(name.to_owned(), |memory| format!("{name} ({memory})"))
        })
        .collect();
    let there = match &there[..] {
        [] => "none is visible here".to_owned(),
        there => format!("there is {}", there.join(", ")),
    };
    let message = format!("`{label}` asks for {asked}{with}, and {there}");
    Diagnostic::error("engine::no-gpu", message).help(
        "build it where there is one, or where its result is cached; `--device cpu` makes another one, on the CPU, as does \
         `resources = { gpus = 0 }`; `mlbuild doctor` lists the GPUs that are seen",
    )
}

fn is_large_enough(device: &GpuDevice, need: Need) -> bool {
    match (need.memory_bytes, device.memory_bytes) {
        (Some(needed), Some(there)) => needed <= there,
        _ => true,
    }
}

fn has_room(device: &GpuDevice, used: Use, need: Need) -> bool {
    match (used, need.memory_bytes, device.memory_bytes) {
        (Use::Free, ..) => true,
        (Use::Shared { taken_bytes, .. }, Some(needed), Some(there)) => {
            needed <= there - taken_bytes
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlbuild_testing::Dice;

    const GB: u64 = 1 << 30;

    fn device(number: usize, memory_bytes: Option<u64>) -> GpuDevice {
        GpuDevice {
            id: GpuId::new(format!("GPU-{number}")),
            name: None,
            memory_bytes,
        }
    }

    fn devices(memories: &[Option<u64>]) -> Devices {
        let devices = memories.iter().enumerate();
        Devices::new(
            devices
                .map(|(number, memory)| device(number, *memory))
                .collect(),
        )
    }

    fn need(gpus: u32, memory_gb: Option<u64>) -> Need {
        Need {
            gpus,
            memory_bytes: memory_gb.map(|gb| gb * GB),
        }
    }

    /// The numbers of what is taken.
    fn take(devices: &mut Devices, need: Need) -> Option<Vec<usize>> {
        devices.take(need).map(|taken| taken.numbers)
    }

    #[test]
    fn the_lowest_that_are_free_are_taken() {
        let mut devices = devices(&[None, None, None]);
        let first = devices.take(need(1, None)).unwrap();
        assert_eq!(take(&mut devices, need(1, None)), Some(vec![1]));
        assert_eq!(take(&mut devices, need(2, None)), None);
        devices.give_back(&first);
        assert_eq!(take(&mut devices, need(2, None)), Some(vec![0, 2]));
        assert_eq!(take(&mut devices, need(0, None)), Some(Vec::new()));
    }

    #[test]
    fn those_who_say_how_much_they_take_share_what_has_room() {
        let mut devices = devices(&[Some(16 * GB), Some(40 * GB)]);
        assert_eq!(take(&mut devices, need(1, Some(10))), Some(vec![0]));
        assert_eq!(take(&mut devices, need(1, Some(6))), Some(vec![0]));
        assert_eq!(take(&mut devices, need(1, Some(20))), Some(vec![1]));
        assert_eq!(take(&mut devices, need(1, None)), None, "neither is free");
        assert_eq!(take(&mut devices, need(1, Some(21))), None);
        assert_eq!(take(&mut devices, need(1, Some(20))), Some(vec![1]));
        assert_eq!(devices.fitting(need(1, Some(20))), 1);
        assert_eq!(devices.fitting(need(1, Some(41))), 0);
    }

    #[test]
    fn a_device_of_unknown_memory_is_nobodys_to_share() {
        let mut devices = devices(&[None]);
        let taken = devices.take(need(1, Some(1))).unwrap();
        assert_eq!(take(&mut devices, need(1, Some(1))), None);
        devices.give_back(&taken);
        assert_eq!(take(&mut devices, need(1, Some(1))), Some(vec![0]));
    }

    /// Whatever is taken and given back in whatever order, a device has one user, or several that all said how much they
    /// take and that fit together.
    #[test]
    fn no_two_share_a_device_unknowingly() {
        for seed in 0..200 {
            let mut dice = Dice::new(seed);
            let memories: Vec<Option<u64>> = (0..1 + dice.roll(4))
                .map(|_| [None, Some(16 * GB), Some(80 * GB)][dice.roll(3)])
                .collect();
            let mut devices = devices(&memories);
            let mut running: Vec<(Need, Taken)> = Vec::new();
            for _ in 0..100 {
                if dice.roll(2) == 0 && !running.is_empty() {
                    let (_, taken) = running.swap_remove(dice.roll(running.len()));
                    devices.give_back(&taken);
                } else {
                    let memory = [None, Some(4), Some(12), Some(40)][dice.roll(4)];
                    let need = need(dice.roll(4) as u32, memory);
                    running.extend(devices.take(need).map(|taken| (need, taken)));
                }
                for (number, memory) in memories.iter().enumerate() {
                    let users = running
                        .iter()
                        .filter(|(_, taken)| taken.numbers.contains(&number));
                    let users: Vec<Need> = users.map(|(need, _)| *need).collect();
                    let taken: Option<u64> = users.iter().map(|need| need.memory_bytes).sum();
                    let fits =
                        matches!((taken, memory), (Some(taken), Some(there)) if taken <= *there);
                    assert!(
                        users.len() <= 1 || fits,
                        "seed {seed}, device {number}: {users:?}"
                    );
                }
                assert!(
                    running
                        .iter()
                        .all(|(need, taken)| taken.numbers.len() == need.gpus as usize)
                );
            }
            for (_, taken) in running.drain(..) {
                devices.give_back(&taken);
            }
            assert!(devices.devices.iter().all(|(_, used)| *used == Use::Free));
        }
    }
}
