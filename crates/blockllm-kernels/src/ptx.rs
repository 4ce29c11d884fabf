//! Kernels compiled to PTX, NVIDIA's assembly, as the CUDA backend compiles them; needs neither device nor driver.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cubecl::Compiler as _;
use cubecl::ir::nvidia::SmArch;
use cubecl::prelude::CubeKernel;
use cubecl_llvm::nvptx::ptx_version::PtxVersion;
use cubecl_llvm::{LlvmTarget, PlironArtifact, PlironCompiler, PlironOptions};

/// As `cuDriverGetVersion` tells CUDA 12.8, which the `ptxas` of 12.9 assembles too.
const DRIVER: i32 = 12_080;

/// The PTX of `kernel` for a card of compute capability `arch` (80 is 8.0).
///
/// # Errors
/// What the compiler refuses it for, such as a missing `libdevice.10.bc`, which `CUDA_PATH` leads to.
pub fn compile(kernel: &dyn CubeKernel, arch: u32) -> Result<String, String> {
    let mut compiler = PlironCompiler {
        target: LlvmTarget::Nvptx,
    };
    let options = PlironOptions {
        sm_arch: Some(SmArch::new(arch, arch >= 70)),
        ptx_version: PtxVersion::for_driver(DRIVER),
        grid_constants: arch >= 70,
        ..Default::default()
    };
    // Expanding a kernel runs its own assertions.
    let compiled = catch_unwind(AssertUnwindSafe(|| compiler.compile(kernel.define(), &options)))
        .map_err(|_| "expanding the kernel panicked".to_owned())?;
    match compiled.map_err(|error| error.to_string())? {
        PlironArtifact::NvptxCode(module) => {
            let bytes = module.ptx.iter().take_while(|byte| **byte != 0);
            let bytes: Vec<u8> = bytes.map(|byte| byte.cast_unsigned()).collect();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => Err("the compiler gave something else than PTX".to_owned()),
    }
}
