//! `gpu-check`: shows on one machine all that only a machine with a GPU can show, and writes `gpu-check.md`.
//!
//! Needs the binary, the driver and, for CUDA, libdevice: no data, no compiler, no network. Without a GPU it does what it
//! can, which is to compile the kernels and to check software Vulkan, and says what it left out.
mod findings;
mod kernels;
mod operations;
#[cfg(feature = "cuda")]
mod ptx;
mod random_batch;
mod speed;
mod training;

use crate::Cli;
use crate::experiment::NotTaken;
use crate::report::atomic::write_atomically;
use crate::stdout::say_line;
use anyhow::{Result, bail};
use blockllm_train::device;
use burn::tensor::Device;
use findings::{Findings, Numbers};

/// The name on the command line.
pub const NAME: &str = "gpu-check";

const NOT_CHECKED: &str = "it checks the device on text and models of its own; leave it out";

/// The options that it would ignore.
pub(crate) const NOT_TAKEN: NotTaken = &[
    ("ablations", NOT_CHECKED),
    ("on", NOT_CHECKED),
    ("bad_documents", NOT_CHECKED),
    ("data", NOT_CHECKED),
    ("tokenizer", NOT_CHECKED),
    ("model_dir", NOT_CHECKED),
    ("tasks", NOT_CHECKED),
    ("epochs", NOT_CHECKED),
    ("save_model", NOT_CHECKED),
    ("seeds", NOT_CHECKED),
];

/// Makes every check that this machine allows and writes the page; with `--model` measures that one model, and prints a
/// line of JSON.
///
/// # Errors
/// When a check fails, after the page is written, or it cannot be written.
pub fn run(cli: &Cli) -> Result<()> {
    if let Some(model) = &cli.model {
        return speed::print_one(cli, model);
    }
    let build = if cfg!(feature = "gpu-tuned") {
        "fused"
    } else {
        "unfused"
    };
    let mut findings = Findings::new(build);
    let mut numbers = Numbers::default();
    #[cfg(feature = "cuda")]
    ptx::check(&mut findings);
    match cli.device.resolve() {
        Err(error) => findings.left_out("Everything on a device", &error.to_string()),
        Ok(resolved) => {
            let device = resolved.choice.open()?;
            findings.device(&format!(
                "{}: {}",
                resolved.choice.name(),
                device::describe(&device)
            ));
            check_device(cli, &device, &mut findings, &mut numbers)?;
        }
    }
    numbers.write(&cli.out, build)?;
    findings.compare_builds(&cli.out)?;
    let page = cli.out.join("gpu-check.md");
    let text = findings.to_markdown();
    write_atomically(&page, &text)?;
    let told = say_line!("{text}\nwritten to {}", page.display());
    match findings.failures() {
        0 => told,
        failures => bail!("{failures} checks failed; {} says which", page.display()),
    }
}

fn check_device(cli: &Cli, device: &Device, findings: &mut Findings, numbers: &mut Numbers) -> Result<()> {
    let Some(flex) = findings::flex_beside(device) else {
        findings.left_out(
            "Agreement with flex",
            "the device is flex itself, or this binary lacks flex: build with `--features flex,cuda` or `flex,wgpu`",
        );
        return Ok(());
    };
    kernels::check(device, &flex, findings);
    training::check(device, &flex, findings, numbers)?;
    if device::is_real_gpu(device) {
        speed::check(cli, findings, numbers);
    } else {
        findings.left_out(
            "Speed and memory",
            "no GPU is here, and a software device's figures mean nothing",
        );
    }
    Ok(())
}
