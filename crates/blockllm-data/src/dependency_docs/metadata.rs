//! The folders of the locked dependencies, as `cargo metadata` names them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::DataError;

/// A package of `Cargo.lock` and where its sources lie.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub name: String,
    pub version: String,
    manifest_path: PathBuf,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Package {
    /// Name and version: unique among the packages of one registry.
    pub fn key(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// The folder of its `Cargo.toml`.
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

/// The registry packages that the workspace at `folder` locks, by name and version. Never asks the network.
pub(super) fn locked_packages(folder: &Path) -> Result<Vec<Package>, DataError> {
    if !folder.join("Cargo.lock").is_file() {
        return Err(DataError::NoWorkspace {
            path: folder.to_path_buf(),
        });
    }
    let host = host_platform();
    let all: &[&str] = &["--locked", "--offline"];
    // A build fetches only the packages of its own platform.
    let of_host: &[&str] = &["--locked", "--offline", "--filter-platform", &host];
    let mut found = String::new();
    for arguments in [all, of_host] {
        match run(folder, arguments) {
            Ok(packages) => return Ok(packages),
            Err(message) if found.is_empty() => found = message,
            Err(_) => {}
        }
    }
    Err(DataError::CargoMetadata {
        path: folder.to_path_buf(),
        found,
    })
}

fn run(folder: &Path, arguments: &[&str]) -> Result<Vec<Package>, String> {
    let mut command = cargo();
    command
        .current_dir(folder)
        .args(["metadata", "--format-version", "1"])
        .args(arguments);
    let output = command
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(message
            .lines()
            .next()
            .unwrap_or("cargo gave no message")
            .to_owned());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let from_registry = |package: &Package| {
        package
            .source
            .as_ref()
            .is_some_and(|source| source.starts_with("registry+"))
    };
    let mut packages: Vec<Package> = metadata.packages.into_iter().filter(from_registry).collect();
    packages.sort_by_key(Package::key);
    Ok(packages)
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The `host: ` line of `cargo -vV`; empty where cargo does not answer, which makes that attempt fail as it
/// should.
fn host_platform() -> String {
    let output = cargo()
        .arg("-vV")
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap_or_default()
        .to_owned()
}
