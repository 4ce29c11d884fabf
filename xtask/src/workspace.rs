//! Where the workspace is, and the cargo that builds it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root: cargo tells it at run time, and the place of compilation is the fallback.
pub fn root() -> PathBuf {
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest_dir = manifest_dir.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest_dir
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else `target` in the root.
pub fn target_dir() -> PathBuf {
    named_target_dir().unwrap_or_else(|| root().join("target"))
}

/// `CARGO_TARGET_DIR` as the cargo that started this program has understood it: seen from the caller's folder.
fn named_target_dir() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_TARGET_DIR").filter(|named| !named.is_empty())?;
    std::path::absolute(named).ok()
}

/// The cargo that started this program, run in the workspace's root. A relative `CARGO_TARGET_DIR` would be another folder
/// from there, in which everything would be built once more.
pub fn cargo(verb: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(verb).current_dir(root());
    if let Some(folder) = named_target_dir() {
        command.env("CARGO_TARGET_DIR", folder);
    }
    command
}
