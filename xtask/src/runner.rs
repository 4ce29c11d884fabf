//! Builds the runner, the binary that trains.

use crate::stderr::tell_line;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::device::Device;
use crate::process;
use crate::runner_json::executable_in;
use crate::workspace;

/// Name of the package and of its binary.
pub const RUNNER: &str = "blockllm-experiments";

/// Builds it without any GPU's backend, and has it do `verb` with `words`.
pub fn on_the_cpu(verb: &str, words: &[String]) -> Result<()> {
    let runner = Build {
        features: Device::Flex.features(),
        profile: "release",
        target_dir: None,
    }
    .run()?;
    process::run(command(&runner).arg(verb).args(words))
}

/// The runner, to be started, also on a machine without a desktop.
pub fn command(runner: &Path) -> Command {
    let mut command = Command::new(runner);
    if env::var_os(process::SESSION_FILES).is_none() {
        command.env(process::SESSION_FILES, env::temp_dir());
    }
    command
}

/// One way to build it.
#[derive(Debug)]
pub struct Build<'a> {
    /// Its cargo features, which replace the default ones.
    pub features: &'a str,
    /// The cargo profile.
    pub profile: &'a str,
    /// A target folder of its own, where sharing one would build everything again and again.
    pub target_dir: Option<PathBuf>,
}

impl Build<'_> {
    /// Builds, and gives the path of the binary.
    pub fn run(&self) -> Result<PathBuf> {
        let mut command = workspace::cargo("build");
        command.args(["--profile", self.profile, "--package", RUNNER, "--bin", RUNNER]);
        command.args(["--no-default-features", "--features", self.features]);
        command.args(["--message-format", "json-render-diagnostics"]);
        if let Some(folder) = &self.target_dir {
            command.arg("--target-dir").arg(folder);
        }
        // With it the CUDA backend is built without its LLVM, and then nothing links.
        command.env_remove("DOCS_RS");
        let mut executable = None;
        process::run_reading(&mut command, |line| {
            executable = executable_in(line, RUNNER).or(executable.take());
        })?;
        executable.ok_or_else(|| anyhow!("cargo built `{RUNNER}` but did not say where"))
    }
}

/// Brings the locked dependencies that the runner itself does not need, those of tests and benchmarks: the embedded default
/// text is the documentation of all of them, for which the runner never asks the network.
pub fn fetch_embedded_text() {
    let mut fetch = workspace::cargo("fetch");
    fetch.args(["--locked", "--quiet"]);
    let version = workspace::cargo("-vV").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let mut lines = version.iter().flat_map(|text| text.lines());
    if let Some(host) = lines.find_map(|line| line.strip_prefix("host: ")) {
        fetch.args(["--target", host]);
    }
    // Where the network is out of reach, they may be here.
    if let Err(error) = process::run(&mut fetch) {
        tell_line!(
            "not all locked dependencies are here, whose documentation is the text without --data: {error:#}"
        );
    }
}
