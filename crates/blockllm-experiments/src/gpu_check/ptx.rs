//! Every kernel compiled to PTX, and assembled where a `ptxas` is found.
use super::findings::Findings;
use blockllm_kernels::{catalog, ptx};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

const TOPIC: &str = "Kernels for CUDA";

/// The compute capabilities tried: Turing without bf16, Ampere, Hopper.
const ARCHITECTURES: [u32; 3] = [75, 80, 90];

pub(super) fn check(findings: &mut Findings) {
    let assembler = assembler();
    if assembler.is_none() {
        let why =
            "no `ptxas` under CUDA_PATH/bin or on the PATH (`pip install nvidia-cuda-nvcc-cu12` has one)";
        findings.left_out("Assembling the PTX", why);
    }
    let libdevice = blockllm_train::device::libdevice().is_some();
    for listed in catalog::kernels() {
        let all = ARCHITECTURES.map(|arch| {
            let ptx = ptx::compile(&*listed.kernel, arch)?;
            let seen = assembled(assembler.as_ref(), &ptx);
            seen.map_err(|error| format!("sm_{arch}: {error}"))
        });
        match all.into_iter().collect::<Result<Vec<_>, _>>() {
            Err(error) if !libdevice && error.contains("libdevice") => {
                findings.tell(TOPIC, &listed.name, "needs libdevice.10.bc, which is not here");
            }
            result => findings.add(TOPIC, &listed.name, result.map(|seen| seen.join("; "))),
        }
    }
}

fn assembler() -> Option<PathBuf> {
    let named = std::env::var_os("CUDA_PATH").map(|root| PathBuf::from(root).join("bin/ptxas"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("ptxas"));
    named.into_iter().chain(on_path).find(|file| file.is_file())
}

/// Says how long the PTX is, and how large what it is assembled to.
fn assembled(assembler: Option<&PathBuf>, ptx: &str) -> Result<String, String> {
    if !ptx.contains(".entry") {
        return Err("the PTX has no entry point".into());
    }
    let lines = ptx.lines().count();
    // The compiler may choose an architecture's own variant, such as sm_90a.
    let target = ptx.lines().find_map(|line| line.strip_prefix(".target "));
    let target = target
        .and_then(|line| line.split([',', ' ']).next())
        .ok_or("the PTX has no target")?;
    let Some(assembler) = assembler else {
        return Ok(format!("{target} {lines} lines"));
    };
    let text = |error: std::io::Error| error.to_string();
    let name = format!("blockllm-{}-{target}", std::process::id());
    let source = std::env::temp_dir().join(format!("{name}.ptx"));
    let object = source.with_extension("cubin");
    let mut file = std::fs::File::create(&source).map_err(text)?;
    file.write_all(ptx.as_bytes()).map_err(text)?;
    let output = Command::new(assembler)
        .arg(format!("-arch={target}"))
        .arg(&source)
        .arg("-o")
        .arg(&object)
        .output()
        .map_err(text)?;
    let bytes = std::fs::metadata(&object).map_or(0, |metadata| metadata.len());
    for file in [&source, &object] {
        // What is left in the temporary folder harms nobody.
        let _ = std::fs::remove_file(file);
    }
    if output.status.success() {
        Ok(format!("{target} {lines} lines, {bytes} bytes assembled"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
