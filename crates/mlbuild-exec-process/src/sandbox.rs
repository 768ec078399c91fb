//! Landlock: what a process may read and write, and whether it may use the network.
//!
//! A [`Sandbox`] is built before the fork, where memory may be allocated; [`Sandbox::enter`] makes system calls only.
//! It is best effort: what the running kernel cannot enforce is left out, and [`sandbox_status`] tells.

use std::io;
use std::path::{Path, PathBuf};

/// What is asked to be enforced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SandboxMode {
    /// Reads of what is neither declared nor a tool of the machine are refused, writes outside of a process's folders,
    /// and the network.
    #[default]
    Strict,
    /// Only writes and the network are.
    Warn,
    /// Nothing is.
    Off,
}

/// What the running kernel can enforce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SandboxStatus {
    /// Reads and writes elsewhere are refused, and so is TCP unless a digest is pinned.
    Full,
    /// Reads and writes are, the network is not (Linux before 6.7).
    FilesOnly,
    /// Nothing is refused: not Linux, or Landlock is not enabled.
    Missing,
}

#[cfg(target_os = "linux")]
pub use linux::sandbox_status;
#[cfg(target_os = "linux")]
pub(crate) use linux::{Machine, Sandbox, refuses_all_writes};

/// What a process may do.
pub(crate) struct Rules<'a> {
    /// What every process may.
    pub(crate) machine: &'a Machine,
    /// Folders in which it may do everything.
    pub(crate) own: &'a [&'a Path],
    /// What else it may read.
    pub(crate) more: &'a [PathBuf],
    /// Whether it may use GPUs.
    pub(crate) gpus: bool,
    pub(crate) network: Network,
}

/// Whether a command may use the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Network {
    Allowed,
    Refused,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::sync::OnceLock;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
        Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
    };

    use super::{Network, Path, PathBuf, Rules, SandboxStatus, io};

    /// Rights up to this version of Landlock's interface are used. Device ioctls (version 5) stay free: GPUs need them.
    const FILES: ABI = ABI::V3;
    const NETWORK: ABI = ABI::V4;
    const SCOPES: ABI = ABI::V6;

    /// What may be written besides a command's own folders: devices without a memory, and shared memory, which Python's
    /// `multiprocessing` needs.
    const WRITABLE: [&str; 7] = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/tty",
        "/dev/random",
        "/dev/urandom",
        "/dev/shm",
    ];

    /// Where GPUs are, beside NVIDIA's.
    const GPUS: [&str; 2] = ["/dev/dri", "/dev/kfd"];

    /// Tells what the running kernel can enforce on commands, by asking it.
    pub fn sandbox_status() -> SandboxStatus {
        let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let files = || {
            strict()
                .handle_access(AccessFs::from_write(ABI::V1))?
                .create()
        };
        let network = || {
            strict()
                .handle_access(AccessNet::from_all(NETWORK))?
                .create()
        };
        match (files().is_ok(), network().is_ok()) {
            (true, true) => SandboxStatus::Full,
            (true, false) => SandboxStatus::FilesOnly,
            (false, _) => SandboxStatus::Missing,
        }
    }

    /// Whether the running kernel refuses every way of writing a file: those before Linux 6.2 let it be truncated.
    pub(crate) fn refuses_all_writes() -> bool {
        static ANSWER: OnceLock<bool> = OnceLock::new();
        // The kernel stays what it is.
        *ANSWER.get_or_init(ask_whether_all_writes_are_refused)
    }

    fn ask_whether_all_writes_are_refused() -> bool {
        let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let created = strict
            .handle_access(AccessFs::from_write(FILES))
            .and_then(|ruleset| ruleset.create());
        created.is_ok()
    }

    /// What every process may do on this machine: opened once, since looking it up costs more than all else of a sandbox.
    pub(crate) struct Machine {
        writable: Vec<Place>,
        /// Devices for those who asked for a GPU. Which of several they use is not the kernel's to say: the driver shows
        /// them those of `CUDA_VISIBLE_DEVICES`.
        gpus: Vec<Place>,
        /// `None` is everything.
        readable: Option<Vec<Place>>,
    }

    /// A file or folder of the machine.
    struct Place {
        path: PathFd,
        is_folder: bool,
    }

    impl Place {
        /// `None` where there is nothing.
        fn new(path: &Path) -> Option<Self> {
            Some(Self {
                path: PathFd::new(path).ok()?,
                is_folder: path.is_dir(),
            })
        }

        fn rule(&self, access: BitFlags<AccessFs>) -> Result<PathBeneath<&PathFd>, RulesetError> {
            let access = match self.is_folder {
                true => access,
                false => access & AccessFs::from_file(FILES),
            };
            Ok(PathBeneath::new(&self.path, access))
        }
    }

    impl Machine {
        /// One on which processes may read all of this; `None` is everything.
        pub(crate) fn new(readable: Option<&[PathBuf]>) -> Self {
            let nvidia = nvidia_devices();
            let gpus = GPUS.iter().map(Path::new);
            let gpus = gpus.chain(nvidia.iter().map(PathBuf::as_path));
            let open = |paths: &[PathBuf]| paths.iter().filter_map(|p| Place::new(p)).collect();
            Self {
                writable: WRITABLE
                    .iter()
                    .filter_map(|p| Place::new(Path::new(p)))
                    .collect(),
                gpus: gpus.filter_map(Place::new).collect(),
                readable: readable.map(open),
            }
        }
    }

    /// A set of rules, ready to be applied to a process.
    pub(crate) struct Sandbox(Option<OwnedFd>);

    impl Sandbox {
        /// These rules, as far as they can be enforced.
        pub(crate) fn new(rules: &Rules<'_>) -> Self {
            Self(ruleset(rules).unwrap_or(None))
        }

        /// No rules.
        pub(crate) fn none() -> Self {
            Self(None)
        }

        /// The kernel's object, for a process that applies it itself; `None` if there are no rules.
        pub(crate) fn descriptor(&self) -> Option<RawFd> {
            self.0.as_ref().map(AsRawFd::as_raw_fd)
        }

        /// Applies the rules to the calling thread, for good.
        ///
        /// Async-signal-safe: two system calls, no allocation.
        pub(crate) fn enter(&self) -> io::Result<()> {
            let Some(ruleset) = &self.0 else {
                return Ok(());
            };
            // SAFETY: both calls take integers only, and the descriptor is open as long as `self` lives.
            let failed = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                    || libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) != 0
            };
            if failed {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        }
    }

    fn ruleset(rules: &Rules<'_>) -> Result<Option<OwnedFd>, RulesetError> {
        let Rules {
            machine,
            own,
            more,
            gpus,
            network,
        } = rules;
        let gpus = machine.gpus.iter().filter(|_| *gpus);
        let read = AccessFs::from_read(FILES);
        let all = match machine.readable {
            Some(_) => read | AccessFs::from_write(FILES),
            None => AccessFs::from_write(FILES),
        };
        let mut ruleset = Ruleset::default()
            .handle_access(all)?
            .scope(Scope::from_all(SCOPES))?;
        if *network == Network::Refused {
            ruleset = ruleset.handle_access(AccessNet::from_all(NETWORK))?;
        }
        let mut created = ruleset
            .create()?
            .add_rules(path_beneath_rules(*own, all))?
            .add_rules(
                machine
                    .writable
                    .iter()
                    .chain(gpus)
                    .map(|place| place.rule(all)),
            )?;
        if let Some(readable) = &machine.readable {
            created = created
                .add_rules(readable.iter().map(|place| place.rule(read)))?
                .add_rules(path_beneath_rules(*more, read))?;
        }
        Ok(created.into())
    }

    /// One device a GPU, and some for all of them.
    fn nvidia_devices() -> Vec<PathBuf> {
        let devices = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        let nvidia =
            devices.filter(|device| device.file_name().as_encoded_bytes().starts_with(b"nvidia"));
        nvidia.map(|device| device.path()).collect()
    }
}

#[cfg(not(target_os = "linux"))]
pub use elsewhere::sandbox_status;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{Machine, Sandbox, refuses_all_writes};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::{Rules, SandboxStatus, io};

    /// Tells what the running kernel can enforce on commands: here, nothing.
    pub fn sandbox_status() -> SandboxStatus {
        SandboxStatus::Missing
    }

    pub(crate) fn refuses_all_writes() -> bool {
        false
    }

    pub(crate) struct Machine;

    impl Machine {
        pub(crate) fn new(_: Option<&[super::PathBuf]>) -> Self {
            Self
        }
    }

    pub(crate) struct Sandbox;

    impl Sandbox {
        pub(crate) fn new(_: &Rules<'_>) -> Self {
            Self
        }

        pub(crate) fn none() -> Self {
            Self
        }

        pub(crate) fn enter(&self) -> io::Result<()> {
            Ok(())
        }
    }
}
