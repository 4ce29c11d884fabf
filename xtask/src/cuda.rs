//! The CUDA backend on a machine without a GPU: whether its LLVM is here, that the runner links, that it says plainly what
//! is missing, and that every kernel compiles to PTX; without the LLVM, that the types fit.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow, bail};

use crate::cuda_llvm::llvm_is_installed;
use crate::device::has_cuda_gpu;
use crate::process;
use crate::runner::{Build, RUNNER};
use crate::workspace;

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
