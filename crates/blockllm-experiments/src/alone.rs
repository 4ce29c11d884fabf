//! A run in a process of its own: so it is on a GPU, where pages that one run has reserved would serve the next and be
//! counted as its, and where a lost device would take all later runs with it.
use crate::Cli;
use crate::outcome::{CompleteRun, Outcome};
use crate::run_place::RunPlace;
use anyhow::{Context, Result, bail};
use blockllm_train::{Checkpoints, DeviceChoice, Divergence, RunFolder, TrainError};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The hidden option by which a child is told its run.
pub const OPTION: &str = "--alone";

/// How often it is looked whether the child has ended, or a signal has come.
const LOOK: Duration = Duration::from_millis(20);

/// Whether runs are trained by this process: it is the one that was made for a run, or needs none for it.
pub fn trains_here(cli: &Cli) -> bool {
    cli.alone.is_some() || cli.device == DeviceChoice::Flex
}

/// Whether the run at `place` is one that this process is to make.
pub fn is_wanted(cli: &Cli, place: &RunPlace) -> bool {
    cli.alone.as_ref().is_none_or(|alone| *alone == place.path)
}

/// Has the run at `place` made by another process with the options of this one, and reads what it left.
///
/// # Errors
/// When the process cannot be started, is stopped, or ends without a result; what went wrong in it, it has told itself.
pub fn make(cli: &Cli, place: &RunPlace, folder: RunFolder) -> Result<Outcome> {
    // So that a signal asks for a stop here too, and does not end this process before its child has saved.
    let listening = cli.interrupt.listen();
    let status = wait(cli, start(place)?)?;
    drop(listening);
    if let Some(signal) = signal_of(status) {
        let saved = Checkpoints::new(&place.path, 0).newest();
        let step = saved.unwrap_or(0);
        return Err(TrainError::Interrupted { signal, step, saved }.into());
    }
    if !status.success() {
        bail!("the process of this run ended with {status}");
    }
    if let Some(result) = folder.finished(&place.config, &place.manifest, &mut |_| {})? {
        return Ok(Outcome::Complete(Box::new(CompleteRun { result, folder })));
    }
    match folder.divergence() {
        Some(Divergence { message, .. }) => Ok(Outcome::Diverged {
            message,
            is_new: true,
        }),
        None => bail!("the process of this run ended without a result"),
    }
}

fn start(place: &RunPlace) -> Result<Child> {
    let program = std::env::current_exe().context("this program's file could not be found")?;
    Command::new(&program)
        .args(std::env::args_os().skip(1))
        .arg(OPTION)
        .arg(&place.path)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("{} could not be started", program.display()))
}

/// Waits for the child's end; a request to stop is handed on to it, once.
fn wait(cli: &Cli, mut child: Child) -> Result<ExitStatus> {
    let mut handed_on = false;
    loop {
        if let Some(status) = child.try_wait().context("waiting for the process of a run")? {
            return Ok(status);
        }
        if let (Some(signal), false) = (cli.interrupt.requested(), handed_on) {
            handed_on = true;
            hand_on(&child, signal);
        }
        std::thread::sleep(LOOK);
    }
}

/// A terminal's Ctrl-C has reached the child already, which takes two so close as one.
#[cfg(unix)]
fn hand_on(child: &Child, signal: i32) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = if signal == signal_hook::consts::SIGINT {
        Signal::INT
    } else {
        Signal::TERM
    };
    // A child that has just ended needs no signal.
    let _ = kill_process(Pid::from_child(child), signal);
}

/// Elsewhere a Ctrl-C reaches every process of the terminal.
#[cfg(not(unix))]
fn hand_on(_child: &Child, _signal: i32) {}

/// The signal after which a child has saved and ended, by its exit code.
fn signal_of(status: ExitStatus) -> Option<i32> {
    status
        .code()
        .filter(|code| [130, 143].contains(code))
        .map(|code| code - 128)
}
