//! Calling the runner, and what every refusal of it must be like.
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// What a call of the runner left.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// Progress and errors.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The runner, whose source is that of `blockllm-experiments`' binary, with its words, to be run as one likes.
pub fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner-under-test"));
    command
        .args(arguments)
        .env_remove("RUST_BACKTRACE")
        .env("HF_HUB_OFFLINE", "1");
    command
}

/// Runs the runner.
pub fn runner<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Ended {
    command(arguments).output().unwrap().into()
}

/// [`runner`] with `said` on its standard input, which need not be text.
pub fn runner_hearing<'a>(arguments: impl IntoIterator<Item = &'a str>, said: impl AsRef<[u8]>) -> Ended {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(said.as_ref()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// What a stream leads to whose reader has gone.
pub fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Runs the runner and asserts that it succeeds.
pub fn succeed<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Ended {
    let ended = runner(arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

/// Runs the runner and asserts that it refuses as it must: a plain error with every one of `parts`, an exit code
/// that is not 0, no panic, no report.
pub fn refuse(arguments: &[&str], parts: &[&str]) -> Ended {
    let ended = runner(arguments.iter().copied());
    let Ended { code, stderr, .. } = &ended;
    assert!(
        code.is_some_and(|code| code != 0),
        "{arguments:?} ended with {code:?}: {stderr}"
    );
    assert!(
        !stderr.contains("panicked at") && !stderr.contains("RUST_BACKTRACE"),
        "{stderr}"
    );
    assert_eq!(
        stderr.matches("error: ").count(),
        1,
        "one error is told once: {stderr}"
    );
    for part in parts {
        assert!(stderr.contains(part), "`{part}` is not in: {stderr}");
    }
    ended
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The words of a command line: `words`, with a space between them, and behind them options with their paths.
pub fn with_paths<'a>(words: &'a str, paths: &[(&'a str, &'a Path)]) -> Vec<&'a str> {
    let paths = paths.iter().flat_map(|(option, path)| [*option, text(path)]);
    words.split(' ').chain(paths).collect()
}

/// Starts the runner with its stderr in a file.
pub fn start(arguments: &[&str]) -> (Child, NamedTempFile) {
    let stderr = NamedTempFile::new().unwrap();
    let child = command(arguments.iter().copied())
        .stdout(Stdio::null())
        .stderr(stderr.reopen().unwrap())
        .spawn()
        .unwrap();
    (child, stderr)
}

/// Waits until a run below `parent` has told so many records.
pub fn wait_for_records(parent: &Path, count: usize) {
    let told = || {
        let runs = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let metrics = runs.filter_map(|run| std::fs::read_to_string(run.path().join("metrics.jsonl")).ok());
        metrics.map(|text| text.lines().count()).max().unwrap_or(0)
    };
    let started = Instant::now();
    while told() < count {
        assert!(started.elapsed() < Duration::from_mins(2), "no run has begun");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for what [`start`] has started.
pub fn end(mut child: Child, stderr: &NamedTempFile) -> Ended {
    let code = child.wait().unwrap().code();
    let stderr = std::fs::read_to_string(stderr.path()).unwrap();
    Ended {
        code,
        stdout: String::new(),
        stderr,
    }
}

/// Starts the runner, sends it SIGINT once three lines are in `part`, and waits for its end.
#[cfg(unix)]
pub fn interrupted(arguments: &[&str], part: &Path) -> Ended {
    let (child, stderr) = start(arguments);
    let began = Instant::now();
    let lines = || std::fs::read_to_string(part).unwrap_or_default().lines().count();
    while lines() < 3 {
        assert!(began.elapsed() < Duration::from_mins(2), "nothing is written");
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    end(child, &stderr)
}
