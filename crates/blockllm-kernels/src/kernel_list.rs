//! The list that operations add their GPU kernels to, and what a kernel is made of without a device.

use std::sync::Arc;

use cubecl::ir::{DeviceIdentity, ElemType, FloatKind, HardwareProperties, MemoryDeviceProperties};
use cubecl::prelude::*;
use cubecl::profile::TimingMethod;

/// A kernel as a backend gets it, ready to be compiled.
pub struct ListedKernel {
    /// Operation, kernel, form and type, such as `rms_norm::forward bf16` or `gelu::forward in place f32`.
    pub name: String,
    /// Its definition.
    pub kernel: Box<dyn CubeKernel>,
}

impl std::fmt::Debug for ListedKernel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.name)
    }
}

/// The list, and what a kernel asks of the device that it is made for.
pub(crate) struct List {
    kernels: Vec<ListedKernel>,
    /// Properties of a device that is not there: an NVIDIA card's sizes, and no features.
    pub device: Arc<DeviceProperties>,
    /// As the device's.
    pub target: Arc<TargetProperties>,
}

impl List {
    /// The float types of weights and activations.
    pub const FLOATS: [FloatKind; 2] = [FloatKind::F32, FloatKind::BF16];

    /// What a kernel in cubes of `units` is made of, beside its arguments.
    pub fn beside(&self, units: u32) -> (KernelSettings, Arc<DeviceProperties>, Arc<TargetProperties>) {
        (settings(units), self.device.clone(), self.target.clone())
    }

    /// All that were added.
    pub fn into_kernels(self) -> Vec<ListedKernel> {
        self.kernels
    }

    /// Adds a kernel; `name` is `operation::function`, and its form behind a space where it has several.
    pub fn add(&mut self, name: &str, dtype: ElemType, kernel: impl CubeKernel + 'static) {
        self.kernels.push(ListedKernel {
            name: format!("{name} {dtype}"),
            kernel: Box::new(kernel),
        });
    }
}

/// The settings of a launch with cubes of `units`.
pub(crate) fn settings(units: u32) -> KernelSettings {
    KernelSettings::new(*CubeDim::new_1d(units), ExecutionMode::Checked, AddressType::U32)
}

/// An argument that is a buffer of its own.
pub(crate) fn buffer() -> BufferCompilationArg {
    BufferCompilationArg { inplace: None }
}

/// An argument that is written where input `position` lies.
pub(crate) fn in_place(position: usize) -> BufferCompilationArg {
    BufferCompilationArg {
        inplace: Some(position),
    }
}

/// An output of its own and one that is written where input `position` lies, each with what it adds to a kernel's name.
pub(crate) fn either_place(position: usize) -> [(BufferCompilationArg, &'static str); 2] {
    [(buffer(), ""), (in_place(position), " in place")]
}

impl Default for List {
    fn default() -> Self {
        let hardware = HardwareProperties {
            load_width: 128,
            vector_register_count: None,
            plane_size_min: 32,
            plane_size_max: 32,
            max_bindings: 32,
            max_shared_memory_size: 49_152,
            max_cube_count: (u32::MAX >> 1, 65_535, 65_535),
            max_units_per_cube: 1024,
            max_cube_dim: (1024, 1024, 64),
            num_streaming_multiprocessors: None,
            num_tensor_cores: None,
            min_tensor_cores_dim: None,
            num_cpu_cores: None,
            last_level_cache_size: None,
            max_vector_size: VectorSize::MAX,
            cube_mma_reserved_shared_memory: 0,
        };
        let identity = DeviceIdentity {
            name: "offline".to_owned(),
            fingerprint: "offline".to_owned(),
            physical: None,
        };
        let memory = MemoryDeviceProperties::new(u64::MAX, 512);
        let device = DeviceProperties::new(
            cubecl::features::Features::default(),
            memory,
            hardware,
            TimingMethod::Device,
            identity,
        );
        Self {
            kernels: Vec::new(),
            device: Arc::new(device),
            target: Arc::new(TargetProperties::default()),
        }
    }
}
