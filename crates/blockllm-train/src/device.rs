//! The devices a run can be put on, and whether they are really there.
use crate::TrainError;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A backend by name; which ones this binary has is decided by its cargo features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// The best that is built in and there: CUDA, else a GPU through wgpu, else the CPU. [`resolve`](Self::resolve) says
    /// which.
    Auto,
    /// Pure Rust on the CPU.
    Flex,
    /// The default GPU through wgpu.
    Wgpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// A device that is there, and why it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Never [`DeviceChoice::Auto`].
    pub choice: DeviceChoice,
    /// What kept better ones from being taken, one sentence each; empty where the device was named.
    pub passed_over: Vec<String>,
}

impl DeviceChoice {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    /// The device to use; looks whether it is there before anything is made on it, since a backend without its driver
    /// panics on its own thread.
    ///
    /// # Errors
    /// When this binary was built without it, or this machine has none.
    pub fn resolve(self) -> Result<Resolved, TrainError> {
        if self != Self::Auto {
            self.check()?;
            return Ok(Resolved {
                choice: self,
                passed_over: Vec::new(),
            });
        }
        let mut passed_over = Vec::new();
        for choice in [Self::Cuda, Self::Wgpu, Self::Flex] {
            if !choice.is_built_in() {
                continue;
            }
            match choice.check() {
                Ok(())
                    if choice == Self::Wgpu && !choice.open_unchecked().is_some_and(|d| is_real_gpu(&d)) =>
                {
                    passed_over.push("wgpu: only a software driver is here".to_owned());
                }
                Ok(()) => return Ok(Resolved { choice, passed_over }),
                Err(error) => passed_over.push(error.to_string()),
            }
        }
        Err(TrainError::NoDevice {
            device: "auto",
            missing: passed_over.join("; "),
            mend: "build with `--features flex` for the CPU".into(),
        })
    }

    /// Opens the device, without autodiff.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn open(self) -> Result<Device, TrainError> {
        let choice = self.resolve()?.choice;
        Ok(choice.open_unchecked().expect("a resolved device is built in"))
    }

    /// Whether this binary has the backend.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Auto => true,
            Self::Flex => cfg!(feature = "flex"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    fn check(self) -> Result<(), TrainError> {
        if !self.is_built_in() {
            return Err(TrainError::Setting {
                field: "device",
                value: self.name().into(),
                mend: format!(
                    "this binary was built without it; build with `--features {}`",
                    self.name()
                ),
            });
        }
        #[cfg(feature = "cuda")]
        if self == Self::Cuda {
            return check_cuda();
        }
        #[cfg(feature = "wgpu")]
        if self == Self::Wgpu && !Self::is_listed(burn::tensor::DeviceType::Wgpu) {
            return Err(TrainError::NoDevice {
                device: "wgpu",
                missing: "no Vulkan, Metal or DirectX 12 driver lists a device".into(),
                mend: "install your GPU's driver (software Vulkan: Mesa's lavapipe and the Vulkan loader), or use \
                       --device flex"
                    .into(),
            });
        }
        Ok(())
    }

    /// Whether a backend lists any device; asking neither opens one nor panics where there is no driver.
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    fn is_listed(kind: burn::tensor::DeviceType) -> bool {
        !Device::enumerate(kind).into_vec().is_empty()
    }

    fn open_unchecked(self) -> Option<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Some(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Some(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Some(Device::cuda(0)),
            #[allow(
                unreachable_patterns,
                reason = "`Auto` alone is left where every backend is built in"
            )]
            _ => None,
        }
    }
}

/// Whether the device is a card: the CPU and software Vulkan are none. Opens it.
pub fn is_real_gpu(device: &Device) -> bool {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    {
        let identity = device.clone().without_autodiff().identity();
        identity.is_some_and(|identity| identity.physical.is_some())
    }
    #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
    {
        let _ = device;
        false
    }
}

/// The device as it names itself; opens it.
pub fn describe(device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if let Some(identity) = device.clone().without_autodiff().identity() {
        return format!("{} ({})", identity.name, identity.fingerprint);
    }
    format!("{device:?}")
}

/// The driver lists a GPU, and the library of mathematical functions is where kernels are linked against it: exp, tanh
/// and others have no instruction of their own, and a kernel that lacks them fails in the middle of a run.
#[cfg(feature = "cuda")]
fn check_cuda() -> Result<(), TrainError> {
    if !DeviceChoice::is_listed(burn::tensor::DeviceType::Cuda) {
        return Err(TrainError::NoDevice {
            device: "cuda",
            missing: "no NVIDIA GPU is seen through the driver (libcuda.so.1)".into(),
            mend: "install the NVIDIA driver until `nvidia-smi -L` lists a GPU, or use --device wgpu or --device flex"
                .into(),
        });
    }
    if libdevice().is_none() {
        return Err(TrainError::NoDevice {
            device: "cuda",
            missing: "nvvm/libdevice/libdevice.10.bc is not found".into(),
            mend: "install the CUDA toolkit, or `pip install nvidia-cuda-nvcc-cu12`, and set CUDA_PATH to the folder \
                   that holds `nvvm`"
                .into(),
        });
    }
    Ok(())
}

/// The file with NVIDIA's mathematical functions, looked for where the kernel compiler looks: under `CUDA_PATH`, else in
/// the usual folders.
pub fn libdevice() -> Option<PathBuf> {
    const FOLDERS: [&str; 4] = ["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"];
    let file = |root: &Path| root.join("nvvm/libdevice/libdevice.10.bc");
    match std::env::var_os("CUDA_PATH") {
        Some(root) => Some(file(Path::new(&root))),
        None => FOLDERS
            .iter()
            .map(|root| file(Path::new(root)))
            .find(|path| path.is_file()),
    }
    .filter(|path| path.is_file())
}

impl FromStr for DeviceChoice {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text {
            "auto" => Ok(Self::Auto),
            "flex" => Ok(Self::Flex),
            "wgpu" => Ok(Self::Wgpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(TrainError::Setting {
                field: "device",
                value: text.into(),
                mend: "use auto, flex, wgpu or cuda".into(),
            }),
        }
    }
}
