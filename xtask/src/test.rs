//! `cargo xtask test`: everything that CI runs as tests, on flex and on wgpu, and what can be shown of the CUDA path.

use crate::stderr::tell_line;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::cuda;
use crate::process;
use crate::test_output::TestCounts;
use crate::vulkan::{self, VulkanDriver};
use crate::workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                          all of it; the first build takes about 20 minutes on two cores
  cargo xtask test --install                the same where no Vulkan driver is yet: it is installed first
  cargo xtask test --device flex            without Vulkan and CUDA: the quick round while working
  cargo xtask test --filter reselection     only the tests whose names contain this
  cargo xtask test --device cuda            only the CUDA path: linked where its LLVM is installed, else type-checked";

/// Run the tests: unit, whole-system and documentation tests, then the CUDA path without a GPU
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The backends to test
    #[arg(long, value_enum, default_value_t = TestDevice::All)]
    pub device: TestDevice,
    /// Install Mesa's software Vulkan where no driver is found (apt-get, as root or by sudo), so that wgpu is tested too
    #[arg(long)]
    pub install: bool,
    /// Run only the tests whose names contain this
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
}

/// Which backends the tests are built for.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestDevice {
    /// flex and wgpu in one build, then the CUDA path; without a Vulkan driver flex and the CUDA path
    All,
    /// The CPU only: no driver needed
    Flex,
    /// flex and wgpu in one build; without a GPU on software Vulkan
    Wgpu,
    /// Only the CUDA path, which needs no GPU: linked where its LLVM is installed, else type-checked
    Cuda,
}

impl TestDevice {
    fn features(self) -> Option<&'static str> {
        match self {
            Self::All | Self::Wgpu => Some("flex,wgpu"),
            Self::Flex => Some("flex"),
            Self::Cuda => None,
        }
    }

    fn checks_cuda(self) -> bool {
        matches!(self, Self::All | Self::Cuda)
    }
}

/// Runs what was asked for, prints a summary and gives the counts.
pub fn run(args: &Args) -> Result<TestCounts> {
    let started = Instant::now();
    let mut counts = TestCounts::default();
    let mut done = Vec::new();
    if let Some(features) = args.device.features() {
        let driver = find_driver(args)?;
        let features = if driver.is_some() { features } else { "flex" };
        done.push(match &driver {
            None if args.device == TestDevice::All => {
                "flex; NOT wgpu, for want of a Vulkan driver (`cargo xtask test --install` brings one)"
                    .to_owned()
            }
            None => "flex".to_owned(),
            Some(VulkanDriver::Gpu) => "flex, wgpu on this machine's GPU".to_owned(),
            Some(VulkanDriver::Software(_)) => "flex, wgpu on software Vulkan".to_owned(),
        });
        counts = run_tests(features, driver.as_ref(), args.filter.as_deref())?;
    }
    if args.device.checks_cuda() && args.filter.is_none() {
        done.push(cuda::check()?.to_owned());
    }
    println!(
        "\ntested in {} s: {}",
        started.elapsed().as_secs(),
        done.join("; ")
    );
    if args.device.features().is_some() {
        println!("{counts}");
    }
    Ok(counts)
}

/// The Vulkan driver for wgpu's tests. Nothing is installed unasked: where there is none, all but wgpu is tested, unless it
/// was asked for by name.
fn find_driver(args: &Args) -> Result<Option<VulkanDriver>> {
    if args.device == TestDevice::Flex {
        return Ok(None);
    }
    if args.install {
        return vulkan::installed_driver().map(Some);
    }
    let driver = vulkan::driver();
    if driver.is_none() {
        if args.device == TestDevice::Wgpu {
            bail!("{}", vulkan::missing_driver_hint());
        }
        tell_line!("warning: {}", vulkan::missing_driver_hint());
    }
    Ok(driver)
}

fn run_tests(features: &str, driver: Option<&VulkanDriver>, filter: Option<&str>) -> Result<TestCounts> {
    let mut command = workspace::cargo("test");
    // The benchmarks have no tests, and criterion takes a while to build.
    command.args([
        "--release",
        "--workspace",
        "--exclude",
        "blockllm-benches",
        "--features",
        features,
    ]);
    command.args(filter);
    command.envs(driver.map(VulkanDriver::env).unwrap_or_default());
    let mut counts = TestCounts::default();
    process::run_watching(&mut command, |line| {
        if let Some(one) = TestCounts::in_line(line) {
            counts += one;
        }
    })?;
    match filter {
        _ if counts.passed > 0 => Ok(counts),
        Some(filter) => bail!("--filter '{filter}' fits the name of no test"),
        None => bail!("cargo ran no test"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_backends_are_built_at_once() {
        assert_eq!(TestDevice::All.features(), Some("flex,wgpu"));
        assert!(TestDevice::All.checks_cuda());
        assert_eq!(TestDevice::Flex.features(), Some("flex"));
        assert!(!TestDevice::Flex.checks_cuda());
    }
}
