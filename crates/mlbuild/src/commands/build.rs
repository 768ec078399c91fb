//! `mlbuild build`: brings targets up to date.

use std::time::Instant;

use mlbuild_action::{Cancel, Diagnostic};
use mlbuild_cache::{Cache, Holder, ProjectLock};
use mlbuild_engine::{
    Event, Options, Question, Recorder, RunRecord, Slots, Snapshot, Standing, Summary,
};

use crate::cli::{Build, DeviceChoice, Global};
use crate::console::Console;
use crate::failure::{CommandFailure, EXIT_INTERRUPTED, EXIT_USAGE, exit_of};
use crate::load::{Loaded, find_root, load, select};
use crate::terminal::Terminal;
use crate::{env, git, gpu, interrupt, json, lock, wiring};

pub(crate) fn run(
    args: &Build,
    global: &Global,
    terminal: &Terminal,
) -> Result<u8, CommandFailure> {
    let started = Instant::now();
    let options = options(args)?;
    let question = Question::new(
        &args.selection.targets,
        &args.selection.variant.read(),
        args.device.is_some(),
        env!("CARGO_PKG_VERSION"),
    );
    let asked = question.as_ref().filter(|_| !args.force);
    let (lock, standing) = match asked {
        None => (None, None),
        Some(question) => match repeat(args, global, terminal, question, started)? {
            Last::Repeated => return Ok(exit(&Summary::default())),
            Last::Stands(lock, standing) => (Some(lock), Some(*standing)),
            Last::Unknown => (None, None),
        },
    };
    let mut loaded = load(global, &args.selection.variant, terminal)?;
    let commit = git::ask(&loaded.project.root, &mut loaded.project.witness);
    if let Some(DeviceChoice::Cpu) = args.device {
        loaded.project.graph = std::mem::take(&mut loaded.project.graph).on_cpu();
    }
    let wanted = select(&loaded, &args.selection.targets)?;
    let Loaded {
        project, sources, ..
    } = &loaded;
    let cancel = Cancel::new();
    interrupt::install(&cancel);

    let mut console = Console::new(terminal, sources);
    let mut show = |event: &Event| {
        if global.json {
            json::print(&json::event(event, sources));
        } else {
            console.event(event);
        }
    };
    let mut sandbox_warning = wiring::sandbox_warning(&loaded);
    let mut emit = |event: &Event| {
        if starts_process(event)
            && let Some(diagnostic) = sandbox_warning.take()
        {
            show(&Event::Trouble { diagnostic });
        }
        show(event);
    };
    let mut waiting = |holder: &Holder| {
        let holder = holder.clone();
        emit(&Event::Waiting { holder });
    };
    let lock = match lock {
        Some(lock) => Some(lock),
        None => lock::take(&project.cache, &cancel, &mut waiting)?,
    };
    let Some(_lock) = lock else {
        return Ok(EXIT_INTERRUPTED);
    };
    let standing = standing.filter(|standing| standing.agrees_with(&project.witness));
    let (mut lineage, trouble) = mlbuild_engine::open_lineage(&project.root);
    let recorded = trouble.is_none();
    if let Some(diagnostic) = trouble {
        emit(&Event::Trouble { diagnostic });
    }
    if global.json {
        json::print(&json::started(&wanted, project.profile.as_deref()));
    }
    let record = RunRecord {
        arguments: wiring::arguments(),
        selection: args.selection.targets.clone(),
        variant: loaded.variant.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        user: env::user(),
        host: env::host(),
    };
    let mut recorder = Recorder::new(lineage.as_mut(), record, env::now_micros);
    let executors = wiring::executors(&loaded);
    let build = mlbuild_engine::build(
        project,
        standing,
        &wanted,
        &options,
        &executors,
        &mut recorder,
        &cancel,
        &mut emit,
    );
    let mlbuild_engine::Build { summary, snapshot } = build;
    let (run, trouble) = recorder.finish(&summary, commit.answer());
    if let (Some(snapshot), Some(question)) = (snapshot, &question)
        && recorded
        && trouble.is_none()
    {
        snapshot.keep(&project.cache, question, run);
    }
    if let Some(diagnostic) = trouble {
        emit(&Event::Trouble { diagnostic });
    }
    let took = started.elapsed();
    if global.json {
        json::print(&json::summary(&summary, run, took));
    } else {
        console.summary(&wanted, &summary, took);
    }
    Ok(exit(&summary))
}

/// What became of the last build with the same question.
enum Last {
    /// All that it looked at is as it was, and its answer was given again.
    Repeated,
    /// This much of it is as it was, as long as the lock is held.
    Stands(ProjectLock, Box<Standing>),
    /// The build has to go its whole way.
    Unknown,
}

/// Answers as the last build did, if all that it looked at is as it was.
fn repeat(
    args: &Build,
    global: &Global,
    terminal: &Terminal,
    question: &Question,
    started: Instant,
) -> Result<Last, CommandFailure> {
    let root = find_root(global.directory.as_deref())?;
    let cache = Cache::open(&mlbuild_engine::state_folder(&root).join("cache"))?;
    let Some(snapshot) = Snapshot::last(&cache, question) else {
        return Ok(Last::Unknown);
    };
    // Who has to wait for another build looks again when it is over; what hinders the lock is said there too.
    let Ok(Ok(lock)) = cache.try_lock(&wiring::arguments().join(" ")) else {
        return Ok(Last::Unknown);
    };
    let differences = snapshot.differences(&root, &env::var);
    if !snapshot.stands(&differences) {
        return Ok(match snapshot.standing(&differences, &cache, question) {
            Some(standing) => Last::Stands(lock, Box::new(standing)),
            None => Last::Unknown,
        });
    }
    let wanted = snapshot.wanted();
    if global.json {
        let profile = args.selection.variant.read().profile;
        json::print(&json::started(&wanted, profile.as_deref()));
    }
    let mut console = Console::new(terminal, &[]);
    let summary = snapshot.replay(&mut |event: &Event| {
        if global.json {
            json::print(&json::event(event, &[]));
        } else {
            console.event(event);
        }
    });
    let took = started.elapsed();
    if global.json {
        json::print(&json::summary(&summary, snapshot.run(), took));
    } else {
        console.summary(&wanted, &summary, took);
    }
    Ok(Last::Repeated)
}

fn starts_process(event: &Event) -> bool {
    matches!(event, Event::Started { stage, .. } if ["command", "python"].contains(&&**stage))
}

fn exit(summary: &Summary) -> u8 {
    match exit_of(&summary.faults) {
        0 if summary.cancelled => EXIT_INTERRUPTED,
        exit => exit,
    }
}

fn options(args: &Build) -> Result<Options, CommandFailure> {
    let memory_bytes = match &args.memory {
        None => env::memory_bytes() / 2,
        Some(text) => mlbuild_manifest::memory_bytes(text).ok_or_else(|| {
            let message = format!("`--memory {text}` is no size");
            CommandFailure::new(
                EXIT_USAGE,
                Diagnostic::error("cli::size", message).help("write 512MB or 4GB"),
            )
        })?,
    };
    Ok(Options {
        slots: Slots {
            cpus: args.jobs.map_or_else(env::cpus, u32::from),
            memory_bytes,
        },
        find_gpus: gpu::find,
        keep_going: args.keep_going,
        force: args.force,
    })
}
