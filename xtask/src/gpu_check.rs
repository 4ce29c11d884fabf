//! `cargo xtask gpu-check`: builds the runner for the GPU that is here and makes it show all that only a GPU can show.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::device::{Device, DeviceChoice, Machine};
use crate::pack;
use crate::reproduce_paper::build;
use crate::runner::Build;
use crate::vulkan::{self, VulkanDriver};
use crate::{cuda, cuda_llvm, process, workspace};

const EXAMPLES: &str = "\
Examples:
  cargo xtask gpu-check                          every check on the GPU that is here; the page is out/gpu-check.md
  cargo xtask gpu-check --device wgpu            the same through Vulkan, Metal or DirectX 12
  cargo xtask gpu-check --pack check.tar.xz      an archive for a machine that has a GPU and cannot build:
                                                 unpack it there and start ./gpu-check";

/// Check a GPU: kernels, laws, fused against unfused, step time, peak, the largest model; writes gpu-check.md
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GPU's backend
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// The folder for gpu-check.md
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Build for CUDA (or for --device wgpu) and put the binary into this archive instead of running it
    #[arg(long, value_name = "FILE")]
    pub pack: Option<PathBuf>,
    /// Take this runner instead of building one
    #[arg(long, value_name = "FILE")]
    pub runner: Option<PathBuf>,
}

/// Packs, or builds and checks.
pub fn run(args: &Args) -> Result<()> {
    if let Some(archive) = &args.pack {
        return pack_runner(args, archive);
    }
    let machine = Machine::look();
    let any_gpu = machine.cuda_gpu || machine.wgpu_gpu;
    if !any_gpu {
        println!("no GPU was found: only what needs none is checked");
    }
    if let Some(runner) = &args.runner {
        return check(args, runner, name_of(args.device));
    }
    if !any_gpu
        && matches!(args.device, DeviceChoice::Auto | DeviceChoice::Cuda)
        && cuda_llvm::llvm_is_installed()
    {
        return cuda::compiles_every_kernel(&cuda::build()?, &args.out);
    }
    if args.device != DeviceChoice::Flex && any_gpu {
        // First without fusion and autotuning, so that the page of the build that users get can compare.
        let (device, runner) = build(args.device, true)?;
        // A wrong kernel is told again by the second page; stopping here would keep that from being written.
        if let Err(error) = check(args, &runner, device.name()) {
            println!("unfused: {error:#}");
        }
    }
    let (device, runner) = build(args.device, false)?;
    check(args, &runner, device.name())
}

fn check(args: &Args, runner: &std::path::Path, device: &str) -> Result<()> {
    let mut command = Command::new(runner);
    command
        .args(["gpu-check", "--device", device, "--out"])
        .arg(&args.out);
    // Without a card wgpu's checks run on a software driver where one is installed already.
    if device != "cuda"
        && let Some(driver @ VulkanDriver::Software(_)) = vulkan::installed_software()
    {
        command.envs(driver.env());
    }
    process::run(&mut command)
}

fn name_of(choice: DeviceChoice) -> &'static str {
    match choice {
        DeviceChoice::Auto => "auto",
        DeviceChoice::Cuda => Device::Cuda.name(),
        DeviceChoice::Wgpu => Device::Wgpu.name(),
        DeviceChoice::Flex => Device::Flex.name(),
    }
}

fn pack_runner(args: &Args, archive: &std::path::Path) -> Result<()> {
    let device = match args.device {
        DeviceChoice::Wgpu => Device::Wgpu,
        _ => Device::Cuda,
    };
    let runner = match &args.runner {
        Some(runner) => runner.clone(),
        None => Build {
            features: device.features(),
            profile: "release",
            target_dir: Some(workspace::target_dir().join("pack")),
        }
        .run()
        .context(
            "the runner could not be built for the archive; CUDA's build script downloads an LLVM once",
        )?,
    };
    let bytes = pack::pack(&runner, device, archive)?;
    println!(
        "{}: {:.1} MiB",
        archive.display(),
        bytes as f64 / f64::from(1 << 20)
    );
    Ok(())
}
