//! Options that an experiment or a method would ignore: refused with the mend, so that no run is another than it was asked
//! to be.
use crate::Cli;
use anyhow::{Result, bail};
use blockllm_policy::PolicyConfig;
use blockllm_train::{Algorithm, BlockMethod, Method};
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};

impl Cli {
    /// What clap has read, with which options were given.
    ///
    /// # Errors
    /// When a value is none of its option's.
    pub fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches)?;
        cli.given = matches
            .ids()
            .filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine))
            .map(|id| id.as_str().to_owned())
            .collect();
        Ok(cli)
    }

    /// Whether the option called `id` stands on the command line.
    pub fn is_given(&self, id: &str) -> bool {
        self.given.contains(id)
    }
}

/// Refuses options that the experiment of `cli` does not take, which are `not_taken`.
///
/// # Errors
/// Names the option and what to do instead.
pub fn check_experiment(cli: &Cli, not_taken: &[(&str, &str)]) -> Result<()> {
    for (id, mend) in not_taken {
        if cli.is_given(id) {
            let option = id.replace('_', "-");
            bail!("`{}` does not take --{option}: {mend}", cli.experiment);
        }
    }
    Ok(())
}

/// Refuses a method that is named twice, whose runs would count as seeds, and options of blocks that a method would not
/// heed.
///
/// # Errors
/// Names the option, the method, and what to do.
pub fn check_methods(cli: &Cli, methods: &[Method]) -> Result<()> {
    for (place, method) in methods.iter().enumerate() {
        if methods[..place].iter().any(|other| other.label == method.label) {
            bail!(
                "--methods names `{}` twice: its runs would count as seeds",
                method.label
            );
        }
        for (id, list) in [("never", &cli.never), ("always", &cli.always)] {
            if !list.is_empty() && !heeds(method, id) {
                bail!(
                    "--{id} is not for `{}`, which would be compared with methods that train other parameters: leave one \
                     of them out, or set it for one method, as in blockllm:0.9+{id}={}",
                    method.label,
                    list.join("/")
                );
            }
        }
    }
    for id in ["norm", "probes", "partition"] {
        if cli.is_given(id) && !methods.iter().any(chooses) {
            bail!(
                "--{id} is for methods that choose among blocks by a sparsity, such as blockllm:0.9, and there is none"
            );
        }
    }
    Ok(())
}

/// The command line's settings, for the methods that choose among blocks; `badam` and `lisa` bring their own, but never
/// train what is never to be trained either.
pub fn set_blocks(cli: &Cli, blocks: &mut BlockMethod) {
    blocks.never.clone_from(&cli.never);
    if blocks.sparsity > 0.0 {
        blocks.partition.clone_from(&cli.partition);
        blocks.always.clone_from(&cli.always);
        blocks.norm = cli.norm;
        blocks.probes = cli.probes;
    }
}

fn chooses(method: &Method) -> bool {
    matches!(&method.algorithm, Algorithm::Blocks(blocks) if blocks.sparsity > 0.0)
}

/// Whether a method does what `--never` or `--always` asks for. A dense one trains everything always.
fn heeds(method: &Method, id: &str) -> bool {
    match &method.algorithm {
        Algorithm::Blocks(blocks) => {
            id == "never" || blocks.sparsity > 0.0 || blocks.policy == PolicyConfig::All
        }
        Algorithm::Lora(_) | Algorithm::GaLore(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn cli(words: &str) -> Cli {
        let words = ["runner"].into_iter().chain(words.split(' '));
        Cli::from_matches(&Cli::command().try_get_matches_from(words).unwrap()).unwrap()
    }

    fn refused(words: &str) -> String {
        let cli = cli(words);
        check_methods(&cli, &cli.methods).unwrap_err().to_string()
    }

    #[test]
    fn options_of_blocks_are_refused_where_one_row_of_the_table_would_not_heed_them() {
        for (words, part) in [
            (
                "c4 --never lm_head --methods blockllm:0.9,galore:8",
                "--never is not for `galore:8`",
            ),
            (
                "c4 --always lm_head --methods blockllm:0.9,badam:1",
                "--always is not for `badam:1`",
            ),
            (
                "c4 --norm grad --methods adamw,lora:8",
                "--norm is for methods that choose",
            ),
            ("c4 --methods adamw,adamw", "`adamw` twice"),
        ] {
            let message = refused(words);
            assert!(message.contains(part), "{message}");
        }
        let taken = cli("c4 --never lm_head --methods adamw,blockllm:0.9,badam:1 --norm grad");
        check_methods(&taken, &taken.methods).unwrap();
        for method in taken.methods.clone() {
            let Algorithm::Blocks(mut blocks) = method.algorithm else {
                panic!("all are of blocks");
            };
            set_blocks(&taken, &mut blocks);
            assert_eq!(blocks.never, ["lm_head"], "{}", method.label);
        }
    }
}
