//! Which device to train on: what `--device auto` finds, and the cargo features that each device needs.

use std::path::Path;

use clap::ValueEnum;

use crate::process::ask;
use crate::vulkan;

/// What a person may ask for.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA when an NVIDIA GPU and its driver are there, else a real GPU through wgpu, else flex
    Auto,
    /// An NVIDIA GPU
    Cuda,
    /// Any GPU through Vulkan, Metal or DirectX 12
    Wgpu,
    /// The CPU
    Flex,
}

/// What a build is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    Cuda,
    Wgpu,
    Flex,
}

/// What this machine has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    /// An NVIDIA GPU with a working driver.
    pub cuda_gpu: bool,
    /// A GPU that wgpu reaches; software Vulkan does not count.
    pub wgpu_gpu: bool,
}

impl DeviceChoice {
    /// The device to build for, and why, in words.
    pub fn resolve(self, machine: impl FnOnce() -> Machine) -> (Device, &'static str) {
        match self {
            Self::Cuda => (Device::Cuda, "as asked"),
            Self::Wgpu => (Device::Wgpu, "as asked"),
            Self::Flex => (Device::Flex, "as asked"),
            Self::Auto => match machine() {
                Machine { cuda_gpu: true, .. } => (Device::Cuda, "an NVIDIA GPU and its driver are here"),
                Machine { wgpu_gpu: true, .. } => (Device::Wgpu, "a GPU that wgpu can reach is here"),
                Machine { .. } => (Device::Flex, "no GPU was found, so the CPU"),
            },
        }
    }
}

impl Device {
    /// The name that the runner knows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Flex => "flex",
        }
    }

    /// The runner's cargo features: one backend, with fusion and autotuning where there is a real GPU.
    pub fn features(self) -> &'static str {
        match self {
            Self::Cuda => "cuda,gpu-tuned",
            Self::Wgpu => "wgpu,gpu-tuned",
            Self::Flex => "flex",
        }
    }

    /// How long the first build takes, measured on two cores.
    pub fn build_time(self) -> &'static str {
        match self {
            Self::Cuda | Self::Wgpu => "the first build takes about 20 minutes on two cores",
            Self::Flex => "the first build takes about 5 minutes on two cores",
        }
    }
}

impl Machine {
    /// Looks at this machine; asks tools only where files do not tell.
    pub fn look() -> Self {
        let cuda_gpu = has_cuda_gpu();
        // The second question is only asked when the first was answered with no.
        Self {
            cuda_gpu,
            wgpu_gpu: !cuda_gpu && vulkan::has_gpu(),
        }
    }
}

fn has_cuda_gpu() -> bool {
    let listed =
        ask("nvidia-smi", &["-L"]).is_some_and(|list| list.lines().any(|line| line.starts_with("GPU ")));
    listed || (has_nvidia_kernel_driver() && has_cuda_library())
}

fn has_nvidia_kernel_driver() -> bool {
    let gpus = std::fs::read_dir("/proc/driver/nvidia/gpus");
    gpus.is_ok_and(|mut gpus| gpus.next().is_some()) || Path::new("/dev/dxg").exists()
}

fn has_cuda_library() -> bool {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib/wsl/lib",
    ];
    folders
        .iter()
        .any(|folder| Path::new(folder).join("libcuda.so.1").exists())
        || ask("ldconfig", &["-p"]).is_some_and(|libraries| libraries.contains("libcuda.so.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_prefers_cuda_then_a_gpu_then_the_cpu() {
        let auto = |cuda_gpu, wgpu_gpu| DeviceChoice::Auto.resolve(|| Machine { cuda_gpu, wgpu_gpu }).0;
        assert_eq!(auto(true, true), Device::Cuda);
        assert_eq!(auto(false, true), Device::Wgpu);
        assert_eq!(auto(false, false), Device::Flex);
    }

    #[test]
    fn a_device_that_was_asked_for_is_taken_without_looking() {
        let look = || -> Machine { panic!("nobody asked to look") };
        assert_eq!(DeviceChoice::Wgpu.resolve(look).0, Device::Wgpu);
    }

    #[test]
    fn only_real_gpus_are_built_with_fusion_and_autotuning() {
        assert!(Device::Cuda.features().contains("gpu-tuned"));
        assert!(Device::Wgpu.features().contains("gpu-tuned"));
        assert_eq!(Device::Flex.features(), "flex");
    }
}
