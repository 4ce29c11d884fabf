//! Which device to train on: what `--device auto` finds, and the cargo features that each device needs.

use std::path::Path;

use clap::ValueEnum;

use crate::cuda_llvm;
use crate::process::ask;
use crate::vulkan;

/// What a person may ask for.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA when an NVIDIA GPU, its driver and the means to build for it are there, else a real GPU through wgpu, else flex
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
    /// The LLVM that the CUDA backend is linked with, or a way to download it.
    pub cuda_llvm: bool,
    /// A GPU that wgpu reaches; software Vulkan does not count.
    pub wgpu_gpu: bool,
}

impl DeviceChoice {
    /// The devices to build for, and why, in words: the one that was asked for, or all that will do, the best first.
    pub fn candidates(self, machine: impl FnOnce() -> Machine) -> Vec<(Device, &'static str)> {
        match self {
            Self::Cuda => vec![(Device::Cuda, "as asked")],
            Self::Wgpu => vec![(Device::Wgpu, "as asked")],
            Self::Flex => vec![(Device::Flex, "as asked")],
            Self::Auto => machine().candidates(),
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

    /// The runner's cargo features: the backend, flex to check it against, and fusion and autotuning where there is a real
    /// GPU.
    pub fn features(self) -> &'static str {
        match self {
            Self::Cuda => "flex,cuda,gpu-tuned",
            Self::Wgpu => "flex,wgpu,gpu-tuned",
            Self::Flex => "flex",
        }
    }

    /// The same without fusion and autotuning, whose kernels nobody but this machine has ever run.
    pub fn unfused_features(self) -> &'static str {
        match self {
            Self::Cuda => "flex,cuda",
            Self::Wgpu => "flex,wgpu",
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
        Self {
            cuda_gpu,
            // Only asked where it matters, since it may ask the network.
            cuda_llvm: cuda_gpu && cuda_llvm::can_link(),
            wgpu_gpu: vulkan::has_gpu(),
        }
    }

    /// The devices that will do here, the best first; flex always does.
    fn candidates(self) -> Vec<(Device, &'static str)> {
        let mut candidates = Vec::new();
        if self.cuda_gpu && self.cuda_llvm {
            candidates.push((Device::Cuda, "an NVIDIA GPU and its driver are here"));
        }
        let passed_over = self.cuda_gpu && !self.cuda_llvm;
        if self.wgpu_gpu {
            candidates.push((
                Device::Wgpu,
                if passed_over {
                    "an NVIDIA GPU is here, but neither the LLVM that CUDA is built with nor the network to download it"
                } else {
                    "a GPU that wgpu can reach is here"
                },
            ));
        }
        candidates.push((
            Device::Flex,
            if passed_over && !self.wgpu_gpu {
                "an NVIDIA GPU is here, but neither the LLVM that CUDA is built with nor a Vulkan driver, so the CPU"
            } else if self.cuda_gpu || self.wgpu_gpu {
                "the CPU needs no driver"
            } else {
                "no GPU was found, so the CPU"
            },
        ));
        candidates
    }
}

/// Whether an NVIDIA GPU and its driver are here.
pub fn has_cuda_gpu() -> bool {
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

    fn auto(cuda_gpu: bool, cuda_llvm: bool, wgpu_gpu: bool) -> Vec<Device> {
        let machine = Machine {
            cuda_gpu,
            cuda_llvm,
            wgpu_gpu,
        };
        let candidates = DeviceChoice::Auto.candidates(|| machine);
        candidates.into_iter().map(|(device, _)| device).collect()
    }

    #[test]
    fn auto_prefers_cuda_then_a_gpu_then_the_cpu() {
        assert_eq!(auto(true, true, true), [Device::Cuda, Device::Wgpu, Device::Flex]);
        assert_eq!(auto(false, false, true), [Device::Wgpu, Device::Flex]);
        assert_eq!(auto(false, false, false), [Device::Flex]);
    }

    #[test]
    fn auto_passes_cuda_over_where_it_cannot_be_linked_and_says_so() {
        assert_eq!(auto(true, false, true), [Device::Wgpu, Device::Flex]);
        let machine = Machine {
            cuda_gpu: true,
            ..Machine::default()
        };
        let [(device, reason)] = DeviceChoice::Auto.candidates(|| machine)[..] else {
            panic!("the CPU alone will do");
        };
        assert_eq!(device, Device::Flex);
        assert!(
            reason.contains("an NVIDIA GPU is here") && reason.contains("LLVM"),
            "{reason}"
        );
    }

    #[test]
    fn a_device_that_was_asked_for_is_taken_without_looking() {
        let look = || -> Machine { panic!("nobody asked to look") };
        assert_eq!(DeviceChoice::Wgpu.candidates(look)[0].0, Device::Wgpu);
    }

    #[test]
    fn a_gpu_is_built_with_flex_to_be_checked_against() {
        for device in [Device::Cuda, Device::Wgpu] {
            assert!(device.features().starts_with("flex,") && device.unfused_features().starts_with("flex,"));
            assert!(!device.unfused_features().contains("gpu-tuned"));
        }
    }

    #[test]
    fn only_real_gpus_are_built_with_fusion_and_autotuning() {
        assert!(Device::Cuda.features().contains("gpu-tuned"));
        assert!(Device::Wgpu.features().contains("gpu-tuned"));
        assert_eq!(Device::Flex.features(), "flex");
    }
}
