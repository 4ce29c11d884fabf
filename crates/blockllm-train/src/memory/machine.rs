//! How much memory a device has, and which backward pass fits into it.
use super::{BackwardMode, MemoryPlan, Workload};
use crate::{Backward, DeviceChoice, TrainError};
use std::process::Command;

/// What a run may take of a machine's memory: the rest is for the operating system, the data and the backend's own.
const USABLE: f64 = 0.85;

/// Bytes of memory that `device` has in all: of the machine (or of its control group) for the CPU, of the first GPU for
/// CUDA, as `nvidia-smi` tells it; `None` where nobody says. In all and not what is free, so that the same command makes
/// the same choice again.
pub fn memory_of(device: DeviceChoice) -> Option<u64> {
    match device {
        DeviceChoice::Flex => {
            let mut system = sysinfo::System::new();
            system.refresh_memory();
            let machine = system.total_memory();
            let group = system.cgroup_limits().map(|limits| limits.total_memory);
            Some(
                group
                    .filter(|limit| *limit > 0)
                    .map_or(machine, |limit| limit.min(machine)),
            )
        }
        DeviceChoice::Cuda => {
            let told = Command::new("nvidia-smi")
                .args([
                    "--query-gpu=memory.total",
                    "--format=csv,noheader,nounits",
                    "--id=0",
                ])
                .output()
                .ok()?;
            mebibytes(&String::from_utf8_lossy(&told.stdout))
        }
        DeviceChoice::Wgpu | DeviceChoice::Auto => None,
    }
    .filter(|bytes| *bytes > 0)
}

/// The bytes of a number of MiB.
fn mebibytes(text: &str) -> Option<u64> {
    let number: u64 = text.lines().next()?.trim().parse().ok()?;
    number.checked_mul(1 << 20)
}

impl Backward {
    /// Whole or layer-wise: what was asked for; of `auto`, layer-wise where the plan of `workload` with a whole pass and
    /// the largest selection needs more than most of `memory` bytes. Where nobody knows the memory, whole.
    ///
    /// # Errors
    /// When the method does not fit the model.
    pub fn resolve(self, workload: &Workload<'_>, memory: Option<u64>) -> Result<Self, TrainError> {
        let (Self::Auto, Some(memory)) = (self, memory) else {
            return Ok(if self == Self::Auto { Self::Whole } else { self });
        };
        let plan = MemoryPlan::estimate(&Workload {
            backward: BackwardMode::Whole,
            selection: super::Assumed::Worst,
            ..workload.clone()
        })?;
        Ok(if plan.peak_bytes() as f64 > USABLE * memory as f64 {
            Self::LayerWise
        } else {
            Self::Whole
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;
    use crate::memory::ModelShape;
    use blockllm_model::llama::LlamaConfig;

    #[test]
    fn the_cpu_has_memory_and_a_gpu_s_is_read_in_mib() {
        let bytes = memory_of(DeviceChoice::Flex).expect("every machine says so");
        assert!(bytes > 100 << 20, "{bytes}");
        assert_eq!(mebibytes("24576\n24576\n"), Some(24 << 30));
        assert_eq!(mebibytes("[N/A]"), None);
        assert_eq!(mebibytes(""), None);
    }

    #[test]
    fn auto_goes_layer_by_layer_only_where_the_whole_pass_does_not_fit() {
        let model = ModelShape::Llama(LlamaConfig::preset("60m").unwrap());
        let method = Method::parse("blockllm:0.95").unwrap();
        let workload = Workload::new(&model, &method, 8, 512);
        let plan = |backward| {
            let workload = Workload {
                backward,
                selection: crate::memory::Assumed::Worst,
                ..workload.clone()
            };
            MemoryPlan::estimate(&workload).unwrap().peak_bytes()
        };
        let whole = plan(BackwardMode::Whole);
        assert!(plan(BackwardMode::LayerWise) < whole);
        let resolve = |backward: Backward, memory| backward.resolve(&workload, memory).unwrap();
        assert_eq!(resolve(Backward::Auto, Some(2 * whole)), Backward::Whole);
        assert_eq!(resolve(Backward::Auto, Some(whole)), Backward::LayerWise);
        assert_eq!(resolve(Backward::Auto, None), Backward::Whole);
        assert_eq!(resolve(Backward::Whole, Some(1)), Backward::Whole);
        assert_eq!(resolve(Backward::LayerWise, Some(u64::MAX)), Backward::LayerWise);
    }
}
