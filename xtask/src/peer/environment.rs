//! The Python environment of the peer: given, or made once under the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{self, ask};
use crate::workspace;

/// Names a folder with an environment.
const VARIABLE: &str = "BLOCKLLM_TORCH_ENV";

/// The Python that has PyTorch and its companions.
pub fn python(given: Option<&Path>) -> Result<PathBuf> {
    let given = given
        .map(Path::to_path_buf)
        .or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
    let folder = given
        .clone()
        .unwrap_or_else(|| workspace::target_dir().join("peer-torch"));
    let python = folder.join("bin").join("python");
    if works(&python) {
        return Ok(python);
    }
    if given.is_some() {
        bail!(
            "{} has no Python with torch, transformers, peft and galore_torch; `python3 -m venv` and `pip install -r \
             benches/peer/requirements.txt` make one",
            folder.display()
        );
    }
    if ask("python3", &["--version"]).is_none() {
        bail!("the peer needs python3; install it, or name an environment with --env");
    }
    println!(
        "making an environment with PyTorch in {} (several GB, once)",
        folder.display()
    );
    process::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let requirements = workspace::root().join("benches/peer/requirements.txt");
    process::run(
        Command::new(folder.join("bin").join("pip"))
            .args(["install", "--quiet", "--requirement"])
            .arg(requirements),
    )?;
    Ok(python)
}

fn works(python: &Path) -> bool {
    let program = python.to_string_lossy();
    ask(
        &program,
        &["-c", "import torch, transformers, peft, galore_torch"],
    )
    .is_some()
}
