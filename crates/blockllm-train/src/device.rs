//! The devices a run can be put on.
use crate::TrainError;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A backend by name; which ones this binary has is decided by its cargo features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// Pure Rust on the CPU.
    Flex,
    /// The default GPU through wgpu.
    Wgpu,
    /// The first NVIDIA GPU.
    Cuda,
}

impl DeviceChoice {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    /// Opens the device, without autodiff.
    ///
    /// # Errors
    /// When this binary was built without it.
    pub fn open(self) -> Result<Device, TrainError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[allow(
                unreachable_patterns,
                reason = "unreachable only when every backend is built in"
            )]
            missing => Err(TrainError::Setting {
                field: "device",
                value: missing.name().into(),
                mend: format!(
                    "this binary was built without it; build with `--features {}`",
                    missing.name()
                ),
            }),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text {
            "flex" => Ok(Self::Flex),
            "wgpu" => Ok(Self::Wgpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(TrainError::Setting {
                field: "device",
                value: text.into(),
                mend: "use flex, wgpu or cuda".into(),
            }),
        }
    }
}
