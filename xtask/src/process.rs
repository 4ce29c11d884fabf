//! Child processes: shown before they run, and named with their exit code when they fail.

use crate::stderr::tell_line;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context as _, Result, anyhow};

/// A child process that ended badly.
#[derive(Debug)]
pub struct CommandFailed {
    line: String,
    status: ExitStatus,
}

impl std::fmt::Display for CommandFailed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status.code() {
            Some(code) => write!(out, "`{}` failed with exit code {code}", self.line),
            None => write!(out, "`{}` was ended by a signal ({})", self.line, self.status),
        }
    }
}

impl std::error::Error for CommandFailed {}

/// Whether it is a child that SIGINT or SIGTERM has stopped, by its exit code or by the signal itself.
pub fn was_stopped(error: &anyhow::Error) -> bool {
    let Some(CommandFailed { status, .. }) = error.downcast_ref() else {
        return false;
    };
    #[cfg(unix)]
    if let Some(2 | 15) = std::os::unix::process::ExitStatusExt::signal(status) {
        return true;
    }
    matches!(status.code(), Some(130 | 143))
}

/// The exit code to end with: that of the child that failed, else 1.
pub fn exit_code_of(error: &anyhow::Error) -> ExitCode {
    let code = error
        .downcast_ref::<CommandFailed>()
        .and_then(|failed| failed.status.code());
    ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok())
            .filter(|code| *code != 0)
            .unwrap_or(1),
    )
}

/// Shows the command, runs it with inherited stdin, stdout and stderr, and fails when it does.
pub fn run(command: &mut Command) -> Result<()> {
    let line = announce(command);
    let status = command
        .status()
        .with_context(|| format!("`{line}` could not be started"))?;
    expect_success(line, status)
}

/// As [`run`], for a child that answers SIGINT and SIGTERM itself: they are handed on to it, and this process waits for
/// how it ends. A terminal's Ctrl-C reaches the child twice then, which it must take as once.
#[cfg(unix)]
pub fn run_passing_signals(command: &mut Command) -> Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    use signal_hook::consts::{SIGINT, SIGTERM};
    let line = announce(command);
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).context("listening to signals")?;
    let mut child = command
        .spawn()
        .with_context(|| format!("`{line}` could not be started"))?;
    let pid = Pid::from_child(&child);
    let handle = signals.handle();
    let passing = std::thread::spawn(move || {
        for signal in &mut signals {
            let signal = if signal == SIGINT {
                Signal::INT
            } else {
                Signal::TERM
            };
            // A child that has just ended needs no signal.
            let _ = kill_process(pid, signal);
        }
    });
    let status = child.wait().with_context(|| format!("waiting for `{line}`"));
    handle.close();
    let _ = passing.join();
    expect_success(line, status?)
}

/// As [`run`]: where there are no signals to hand on, a terminal's Ctrl-C reaches the child by itself.
#[cfg(not(unix))]
pub fn run_passing_signals(command: &mut Command) -> Result<()> {
    run(command)
}

/// As [`run`], with every line of stdout handed to `see` after it was printed.
pub fn run_watching(command: &mut Command, mut see: impl FnMut(&str)) -> Result<()> {
    pipe_lines(command, |line| {
        // A closed stdout (`| head`) is no reason to stop the child halfway.
        let _ = writeln!(std::io::stdout(), "{line}");
        see(line);
    })
}

/// As [`run`], with stdout handed to `see` line by line instead of being printed.
pub fn run_reading(command: &mut Command, see: impl FnMut(&str)) -> Result<()> {
    pipe_lines(command, see)
}

/// Stdout of a quick question to a tool, or `None` when the tool is not there or says no.
pub fn ask(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn pipe_lines(command: &mut Command, mut see: impl FnMut(&str)) -> Result<()> {
    let line = announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{line}` could not be started"))?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| anyhow!("`{line}` has no stdout"))?;
    let mut reader = BufReader::new(stdout);
    let mut bytes = Vec::new();
    while reader
        .read_until(b'\n', &mut bytes)
        .with_context(|| format!("reading from `{line}`"))?
        > 0
    {
        // Tests may print anything; what is not UTF-8 is shown with replacement characters.
        see(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
        bytes.clear();
    }
    let status = child.wait().with_context(|| format!("waiting for `{line}`"))?;
    expect_success(line, status)
}

fn expect_success(line: String, status: ExitStatus) -> Result<()> {
    if status.success() {
        Ok(())
    } else {
        Err(CommandFailed { line, status }.into())
    }
}

fn announce(command: &Command) -> String {
    let line = command_line(command);
    tell_line!("$ {line}");
    line
}

/// The variable that names the folder of a session's files; graphics drivers complain where it is not set, and nobody needs it.
pub const SESSION_FILES: &str = "XDG_RUNTIME_DIR";

/// The command as a person would type it, with the variables set for it in front, but for [`SESSION_FILES`].
pub fn command_line(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs().filter(|(name, _)| *name != SESSION_FILES) {
        if let Some(value) = value {
            let _ = write!(
                line,
                "{}={} ",
                name.to_string_lossy(),
                quoted(&value.to_string_lossy())
            );
        }
    }
    // The outer cargo passes the full path of itself; `cargo` is what a person types.
    let program = command.get_program().to_string_lossy();
    let is_cargo = std::path::Path::new(&*program)
        .file_stem()
        .is_some_and(|stem| stem == "cargo");
    line.push_str(if is_cargo { "cargo" } else { &program });
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&quoted(&arg.to_string_lossy()));
    }
    line
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/opt/rust/bin/cargo");
        command
            .args(["test", "it's a \"test\""])
            .env("DOCS_RS", "1")
            .env(SESSION_FILES, "x");
        assert_eq!(
            command_line(&command),
            r#"DOCS_RS=1 cargo test 'it'\''s a "test"'"#
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_failing_child_is_named_with_its_exit_code() {
        let error = run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'exit 7'` failed with exit code 7");
        assert_eq!(
            format!("{:?}", exit_code_of(&error)),
            format!("{:?}", ExitCode::from(7))
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_signal_is_handed_on_and_the_child_s_exit_code_is_kept() {
        // The child signals its parent, which is this process, and waits for the signal to come back.
        let script = "trap 'exit 143' TERM; kill -TERM $PPID; while :; do sleep 0.01; done";
        let error = run_passing_signals(Command::new("sh").args(["-c", script])).unwrap_err();
        assert!(was_stopped(&error), "{error}");
        assert_eq!(
            format!("{:?}", exit_code_of(&error)),
            format!("{:?}", ExitCode::from(143))
        );
        let failed = run(Command::new("sh").args(["-c", "exit 1"])).unwrap_err();
        assert!(!was_stopped(&failed));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn every_line_of_stdout_is_read_even_without_a_final_newline() {
        let mut seen = Vec::new();
        run_reading(Command::new("printf").arg("one\ntwo"), |line| {
            seen.push(line.to_owned());
        })
        .unwrap();
        assert_eq!(seen, ["one", "two"]);
    }
}
