//! The archive of `gpu-check --pack`: the runner, a script that starts its check, and what the machine must have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::device::Device;
use crate::process;
use crate::runner::RUNNER;

/// What many places that take an upload allow.
const MOST_BYTES: u64 = 50 << 20;
/// The folder that the archive unpacks to.
const FOLDER: &str = "blockllm-gpu-check";

/// Writes `archive` and gives its size; fails when it is over 50 MiB.
pub fn pack(runner: &Path, device: Device, archive: &Path) -> Result<u64> {
    let work = std::env::temp_dir().join(format!("blockllm-pack-{}", std::process::id()));
    let packed = pack_in(&work, runner, device, archive);
    // What is left in the temporary folder harms nobody.
    let _ = fs::remove_dir_all(&work);
    packed
}

fn pack_in(work: &Path, runner: &Path, device: Device, archive: &Path) -> Result<u64> {
    let folder = work.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let binary = folder.join(RUNNER);
    fs::copy(runner, &binary).with_context(|| format!("copying {}", runner.display()))?;
    // Symbols are half of it and tell a user nothing; a machine without `strip` packs them too.
    if let Err(error) = process::run(Command::new("strip").arg(&binary)) {
        println!("{error:#}: packing the runner with its symbols");
    }
    write_script(&folder.join("gpu-check"), device)?;
    fs::write(folder.join("README.txt"), readme(device))?;
    let archive = absolute(archive)?;
    if let Some(parent) = archive.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(work).args(["-I", "xz -9 -T0", "-cf"]);
    process::run(tar.arg(&archive).arg(FOLDER)).context("packing needs GNU tar and xz")?;
    let bytes = fs::metadata(&archive)?.len();
    if bytes > MOST_BYTES {
        bail!(
            "{} has {bytes} bytes, more than 50 MiB: pack a release build (`--runner` names another binary)",
            archive.display()
        );
    }
    Ok(bytes)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("no such place: {}", path.display()))
}

fn write_script(path: &Path, device: Device) -> Result<()> {
    let script = format!(
        "#!/bin/sh\n# Checks this machine's GPU; the page is gpu-check.md in this folder.\ncd \"$(dirname \"$0\")\" || exit 1\n\
         exec \"./{RUNNER}\" gpu-check --device {} --out . \"$@\"\n",
        device.name()
    );
    fs::write(path, script)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn readme(device: Device) -> String {
    let needs = match device {
        Device::Cuda => {
            "The machine needs an NVIDIA driver (`nvidia-smi -L` lists the GPU) and libdevice.10.bc: from the CUDA toolkit,\n\
             or `pip install nvidia-cuda-nvcc-cu12` and CUDA_PATH=<site-packages>/nvidia/cuda_nvcc."
        }
        Device::Wgpu | Device::Flex => "The machine needs its GPU's Vulkan driver.",
    };
    format!("Start ./gpu-check; it writes gpu-check.md beside itself.\n\n{needs}\nNothing is downloaded.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_holds_the_runner_a_script_and_what_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let runner = folder.path().join("runner");
        fs::write(&runner, "#!/bin/sh\necho \"$@\"\n").unwrap();
        let archive = folder.path().join("deep/check.tar.xz");
        assert!(pack(&runner, Device::Cuda, &archive).unwrap() > 0);
        let unpacked = Command::new("tar")
            .arg("-C")
            .arg(folder.path())
            .arg("-xf")
            .arg(&archive)
            .status()
            .unwrap();
        assert!(unpacked.success());
        let readme = fs::read_to_string(folder.path().join(FOLDER).join("README.txt")).unwrap();
        assert!(readme.contains("nvidia-smi") && readme.contains("CUDA_PATH"));
        fs::set_permissions(
            folder.path().join(FOLDER).join(RUNNER),
            fs::metadata(folder.path().join(FOLDER).join("gpu-check"))
                .unwrap()
                .permissions(),
        )
        .unwrap();
        let started = Command::new(folder.path().join(FOLDER).join("gpu-check"))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&started.stdout).trim(),
            "gpu-check --device cuda --out ."
        );
    }
}
