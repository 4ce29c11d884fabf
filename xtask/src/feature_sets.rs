//! Whether all builds ask the packages below burn for the same features, so that burn is built once for each backend.
//!
//! Cargo builds a package anew for every set of features. Without `crates/workspace-hack`, one crate alone, the tests and
//! the runner would differ in a dozen small packages, and burn above them would be built three times.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use crate::process::ask;
use crate::workspace;

/// What people and CI build, beside the whole workspace: the arguments that choose packages.
const ALONE: [&str; 8] = [
    "blockllm-kernels",
    "blockllm-tensors",
    "blockllm-delta",
    "blockllm-optim",
    "blockllm-model",
    "blockllm-train",
    "blockllm-experiments",
    "blockllm-benches",
];

/// The backends that are built together.
const BACKENDS: [&str; 2] = ["flex", "flex,wgpu"];

/// Features by package and version.
type Features = BTreeMap<String, BTreeSet<String>>;

/// Fails when a package below burn is asked for other features by one crate alone than by the tests.
pub fn check() -> Result<()> {
    let mut problems = Vec::new();
    for backends in BACKENDS {
        let whole = features(&["--workspace", "--exclude", "blockllm-benches"], backends)?;
        let below = below_burn(backends)?;
        for package in ALONE {
            let alone = features(&["--package", package], backends)?;
            problems.extend(
                differences(&whole, &alone, &below).map(|one| format!("{package} ({backends}): {one}")),
            );
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "burn would be built more than once; add the features to crates/workspace-hack/Cargo.toml:\n  {}",
        problems.join("\n  ")
    )
}

/// What one of two builds lacks of the other, in packages below burn.
fn differences<'a>(
    whole: &'a Features,
    alone: &'a Features,
    below: &'a BTreeSet<String>,
) -> impl Iterator<Item = String> + 'a {
    alone.iter().filter_map(|(package, features)| {
        let expected = whole.get(package).filter(|_| below.contains(package))?;
        let differing: Vec<&str> = features
            .symmetric_difference(expected)
            .map(String::as_str)
            .collect();
        (!differing.is_empty()).then(|| format!("{package} differs in {}", differing.join(", ")))
    })
}

/// Features of every package of a build, its tests included.
fn features(packages: &[&str], backends: &str) -> Result<Features> {
    let mut arguments = vec!["--features", backends, "--edges", "normal,build,dev"];
    arguments.extend(packages);
    Ok(parse(&tree(&arguments)?))
}

/// The packages that burn is made of.
fn below_burn(backends: &str) -> Result<BTreeSet<String>> {
    let arguments = [
        "--package",
        "blockllm-kernels",
        "--features",
        backends,
        "--edges",
        "normal,build",
    ];
    Ok(parse(&tree(&arguments)?).into_keys().collect())
}

/// `cargo tree` with one `package version|features` a line.
fn tree(arguments: &[&str]) -> Result<String> {
    let manifest = workspace::root().join("Cargo.toml");
    let manifest = manifest.to_string_lossy();
    let mut all = vec![
        "tree", "--quiet", "--locked", "--prefix", "none", "--format", "{p}|{f}",
    ];
    all.extend(["--manifest-path", &manifest]);
    all.extend(arguments);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    match ask(&cargo, &all) {
        Some(text) => Ok(text),
        None => bail!("`cargo {}` failed", all.join(" ")),
    }
}

fn parse(tree: &str) -> Features {
    let mut all = Features::new();
    for line in tree.lines() {
        let Some((package, features)) = line.trim_end_matches(" (*)").split_once('|') else {
            continue;
        };
        // Our own crates differ, as they should.
        if package.contains("(/") || package.contains(":\\") {
            continue;
        }
        let name = package.trim_end_matches(" (proc-macro)").to_owned();
        let features = features.split(',').filter(|feature| !feature.is_empty());
        all.entry(name)
            .or_default()
            .extend(features.map(ToOwned::to_owned));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_below_burn_must_agree() {
        let whole = parse("half v2.7.1|std,serde\nclap v4.6.9|color\nours v0.1.0 (/somewhere)|flex\n");
        let alone = parse("half v2.7.1|std (*)\nclap v4.6.9|\nours v0.1.0 (/somewhere)|\n");
        let below = BTreeSet::from(["half v2.7.1".to_owned()]);
        let found: Vec<String> = differences(&whole, &alone, &below).collect();
        assert_eq!(found, ["half v2.7.1 differs in serde"]);
        assert_eq!(differences(&whole, &whole, &below).count(), 0);
    }

    #[test]
    fn macros_and_repeated_lines_are_one_package() {
        let found = parse("syn v3.0.10 (proc-macro)|full\nsyn v3.0.10|visit (*)\n");
        assert_eq!(
            found["syn v3.0.10"],
            BTreeSet::from(["full".to_owned(), "visit".to_owned()])
        );
    }
}
