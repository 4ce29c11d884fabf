//! The CUDA backend on a machine without a GPU: whether its LLVM is here, that the runner links, that it says plainly what
//! is missing, and that every kernel compiles to PTX; without the LLVM, that the types fit.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow, bail};

use crate::device::has_cuda_gpu;
use crate::process::{self, ask};
use crate::runner::{Build, RUNNER};
use crate::workspace;

/// The crate whose build script brings LLVM, and whose version names its folder.
const BUNDLER: &str = "tracel-llvm-bundler";
/// What brings `ptxas` and libdevice, on Linux and Windows, without the CUDA toolkit.
const COMPILER_WHEEL: &str = "nvidia-cuda-nvcc-cu12==12.9.86";

/// What was shown of the CUDA path.
pub fn check() -> Result<&'static str> {
    if !llvm_is_installed() {
        println!("no LLVM for the CUDA backend is installed, so its types are checked and nothing is linked");
        check_types()?;
        return Ok("the CUDA path type-checks");
    }
    let runner = build()?;
    if has_cuda_gpu() {
        println!("an NVIDIA GPU is here: what the runner says without one is not checked");
    } else {
        refuses_plainly(&runner)?;
    }
    let out = std::env::temp_dir().join(format!("blockllm-cuda-{}", std::process::id()));
    compiles_every_kernel(&runner, &out)?;
    // A temporary folder that cannot be removed is no reason to fail; after a failure it is kept to be read.
    let _ = std::fs::remove_dir_all(&out);
    Ok("the CUDA runner links, and its kernels compile to PTX")
}

/// The runner for CUDA in the profile that is built fastest, in a target folder of its own.
pub fn build() -> Result<PathBuf> {
    let build = Build {
        features: "cuda",
        profile: "link",
        target_dir: Some(workspace::target_dir().join("cuda")),
    };
    build.run()
}

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

/// `DOCS_RS` makes the build script do without LLVM, and checking types needs no linking. A folder of its own, since
/// whatever is built in it could not be linked.
fn check_types() -> Result<()> {
    let mut command = workspace::cargo("check");
    command.args([
        "--release",
        "--package",
        RUNNER,
        "--no-default-features",
        "--features",
        "cuda",
    ]);
    command
        .arg("--target-dir")
        .arg(workspace::target_dir().join("cuda-types"));
    process::run(command.env("DOCS_RS", "1"))
}

/// Without a driver the runner ends with one plain error, and no panic.
fn refuses_plainly(runner: &Path) -> Result<()> {
    let output = Command::new(runner).args(["c4", "--device", "cuda"]).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let plain = stderr.contains("there is no device `cuda`") && !stderr.contains("panicked");
    if output.status.success() || !plain {
        bail!(
            "without a driver the runner should say that there is no device `cuda`, but it said:\n{stderr}"
        );
    }
    println!("without a driver: {}", stderr.trim_end());
    Ok(())
}

/// Lets the runner compile every kernel to PTX, with libdevice and `ptxas` where `CUDA_PATH` or pip has them; what it says is
/// in `out/gpu-check.md`.
pub fn compiles_every_kernel(runner: &Path, out: &Path) -> Result<()> {
    let mut command = Command::new(runner);
    command.args(["gpu-check", "--device", "cuda", "--out"]).arg(out);
    if std::env::var_os("CUDA_PATH").is_none() {
        match compiler() {
            Ok(folder) => {
                command.env("CUDA_PATH", folder);
            }
            Err(error) => println!(
                "the PTX is not assembled, and kernels that need libdevice are passed over: {error:#}"
            ),
        }
    }
    process::run(&mut command)
}

/// The folder with `bin/ptxas` and `nvvm/libdevice`, installed by pip beside what is built.
fn compiler() -> Result<PathBuf> {
    let target = workspace::target_dir().join("cuda-compiler");
    let folder = target.join("nvidia/cuda_nvcc");
    if !folder.join("bin/ptxas").is_file() {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--upgrade",
            "--target",
        ]);
        process::run(pip.arg(&target).arg(COMPILER_WHEEL))?;
    }
    if folder.join("bin/ptxas").is_file() {
        Ok(folder)
    } else {
        Err(anyhow!(
            "{COMPILER_WHEEL} brought no ptxas to {}",
            folder.display()
        ))
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
