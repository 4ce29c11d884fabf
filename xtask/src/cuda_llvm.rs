//! The LLVM that the CUDA backend is linked with: whether it is installed here, or could be.

use std::path::{Path, PathBuf};

use crate::process::ask;
use crate::workspace;

/// The crate whose build script brings LLVM, and whose version names its folder.
const BUNDLER: &str = "tracel-llvm-bundler";

/// Whether the build script finds its LLVM on this machine, so that nothing is to be downloaded.
pub fn llvm_is_installed() -> bool {
    let Some(version) = locked_version(&workspace::root()) else {
        return false;
    };
    let installed = data_folder().map(|folder| {
        let prefix = folder.join("tracel").join(format!("tracel-llvm-{version}"));
        prefix.join(".tracel-llvm-installed")
    });
    installed.is_some_and(|sentinel| sentinel.exists())
}

/// Whether the runner can be linked for CUDA here: the LLVM is installed, or where it is downloaded from answers. A machine
/// without `curl` is not asked; there the build will tell.
pub fn can_link() -> bool {
    if llvm_is_installed() || ask("curl", &["--version"]).is_none() {
        return true;
    }
    let Some(version) = locked_version(&workspace::root()) else {
        return true;
    };
    let release = format!("https://github.com/tracel-ai/tracel-llvm/releases/tag/v{version}");
    let quick = ["--head", "--silent", "--fail", "--location", "--max-time", "10"];
    ask("curl", &[&quick[..], &[&release]].concat()).is_some()
}

fn locked_version(root: &Path) -> Option<String> {
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).ok()?;
    version_in(&lock)
}

fn version_in(lock: &str) -> Option<String> {
    let name = format!("name = \"{BUNDLER}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next()?.strip_prefix("version = ")?;
    Some(version.trim_matches('"').to_owned())
}

/// Where the build script keeps what it installed.
fn data_folder() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    if cfg!(target_os = "windows") {
        std::env::var_os("LOCALAPPDATA").map(PathBuf::from)
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        let named = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        named
            .filter(|folder| folder.is_absolute())
            .or_else(|| home().map(|home| home.join(".local/share")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_llvm_is_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"tracel-llvm-bundler\"\nversion = \"23.1.0-4\"\n";
        assert_eq!(version_in(lock).as_deref(), Some("23.1.0-4"));
        assert_eq!(version_in("name = \"a\"\n"), None);
    }

    #[test]
    fn the_workspace_s_own_lock_file_names_one() {
        assert!(locked_version(&workspace::root()).is_some());
    }
}
