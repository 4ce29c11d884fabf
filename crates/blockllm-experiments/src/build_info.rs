//! By what this process trains: version, commit, features and device, for the sessions of a run.
use crate::Cli;
use blockllm_train::Environment;

/// This build on the device of the command line.
pub fn environment(cli: &Cli) -> Environment {
    let features = [
        ("flex", cfg!(feature = "flex")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("cuda", cfg!(feature = "cuda")),
        ("gpu-tuned", cfg!(feature = "gpu-tuned")),
    ];
    Environment {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: option_env!("BLOCKLLM_COMMIT").map(String::from),
        features: features
            .into_iter()
            .filter(|(_, is_on)| *is_on)
            .map(|(name, _)| name.to_owned())
            .collect(),
        device: cli.device.name().into(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }
}
