//! `cargo xtask reproduce-paper`: builds the runner for the device that is here, then runs an experiment with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use crate::device::{Device, DeviceChoice, Machine};
use crate::process;
use crate::runner::{self, Build, fetch_embedded_text};

const EXAMPLES: &str = "\
Examples:
  cargo xtask reproduce-paper
      C4 pretraining at the quick scale on whatever device is here, on text that needs no download;
      out/index.html lists the reports
  cargo xtask reproduce-paper --data ~/c4/en --methods adamw,blockllm:0.5,blockllm:0.9 --seeds 3
      three methods, three seeds each, on your own C4 shards (c4-train.*.json.gz, c4-validation.*.json.gz)
  cargo xtask reproduce-paper --experiment ablations --seeds 3 -- --on pretraining,fine-tuning --ablations sparsity,norm
      what each choice of a method does, a table with plots for each question; all questions without --ablations,
      85 pretrainings in an estimated ten minutes on two cores at the quick scale; --dry-run tells runs and time
  cargo xtask reproduce-paper --experiment instruct -- --model-dir ../shared/data/stories260K
      a Llama that is there, here a folder of llama2.c, tuned by several methods on the embedded instructions, in minutes;
      without --model-dir a small one from random weights
  cargo xtask reproduce-paper --scale paper --device cuda
      the paper's own sizes on an NVIDIA GPU; after Ctrl-C or a failure the same line goes on
  cargo xtask reproduce-paper -- --help
      what else the runner takes; everything after `--` is handed to it";

/// Run an experiment of the paper and write its report
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The experiment to run
    #[arg(long, default_value = "c4", value_name = "NAME")]
    pub experiment: String,
    /// How long the runs are
    #[arg(long, value_enum, default_value_t = Scale::Quick)]
    pub scale: Scale,
    /// Where to train
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// The methods to compare, such as adamw,blockllm:0.5 (BlockLLM with sparsity 0.5) [default: the experiment's own]
    #[arg(long, value_name = "LIST")]
    pub methods: Option<String>,
    /// How many seeds each method is run with [default: the scale's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub seeds: Option<u32>,
    /// The training text: a folder, or a file of JSON lines [default: the documentation of this workspace's dependencies]
    #[arg(long, value_name = "PATH", value_parser = existing)]
    pub data: Option<PathBuf>,
    /// The folder for run records and the report
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Optimizer steps of each run, instead of the scale's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// Go on with what was stopped: so it is without this word too, which older scripts may have
    #[arg(long, conflicts_with = "fresh")]
    pub resume: bool,
    /// Train anew, in folders of their own beside those of the same configuration
    #[arg(long)]
    pub fresh: bool,
    /// Build without kernel fusion and autotuning, whose kernels the check at the start of a run may refuse
    #[arg(long)]
    pub unfused: bool,
    /// Further arguments for the runner
    #[arg(last = true, value_name = "ARGS")]
    pub more: Vec<String>,
}

/// How much of the paper a run repeats.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Minutes on two CPU cores
    Quick,
    /// Hours on a desktop
    Cpu,
    /// The paper's models, steps and batch sizes, for a GPU
    Paper,
}

impl Scale {
    fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Cpu => "cpu",
            Self::Paper => "paper",
        }
    }
}

/// Builds the runner and runs it with this process's stdin, stdout and stderr.
pub fn run(args: &Args) -> Result<()> {
    let (device, runner) = build(args.device, args.unfused)?;
    if args.data.is_none() {
        fetch_embedded_text();
    }
    println!(
        "running {} at the {} scale; all reports are listed in {}",
        args.experiment,
        args.scale.name(),
        args.out.join("index.html").display()
    );
    let ended = process::run_passing_signals(runner::command(&runner).args(runner_args(args, device)));
    ended.map_err(|error| {
        if process::was_stopped(&error) {
            let again = if args.fresh {
                "this command without --fresh"
            } else {
                "the same command"
            };
            error.context(format!("stopped: {again} goes on"))
        } else {
            error
        }
    })
}

/// Builds the runner for the first device that will do and for which it can be built.
pub fn build(choice: DeviceChoice, unfused: bool) -> Result<(Device, PathBuf)> {
    let candidates = choice.candidates(Machine::look);
    for (place, (device, reason)) in candidates.iter().enumerate() {
        println!("device: {} ({reason})", device.name());
        println!(
            "building the runner for {}: {}",
            device.name(),
            device.build_time()
        );
        let features = if unfused {
            device.unfused_features()
        } else {
            device.features()
        };
        let build = Build {
            features,
            profile: "release",
            target_dir: None,
        };
        match build.run() {
            Ok(runner) => return Ok((*device, runner)),
            Err(error) => match candidates.get(place + 1) {
                Some((next, _)) => println!(
                    "{error:#}; going on with {} instead of {}",
                    next.name(),
                    device.name()
                ),
                None => return Err(error.context(build_hint(*device))),
            },
        }
    }
    unreachable!("flex is always among what will do")
}

fn build_hint(device: Device) -> String {
    match device {
        Device::Flex => "the runner could not be built".to_owned(),
        Device::Wgpu => {
            "the runner could not be built for wgpu; `--device flex` needs neither GPU nor driver".to_owned()
        }
        Device::Cuda => {
            "the runner could not be built for CUDA, whose build script downloads an LLVM once: without a \
                         network use `--device wgpu` or `--device flex`"
                .to_owned()
        }
    }
}

/// The runner's own command line; paths keep their bytes, whatever those are.
fn runner_args(args: &Args, device: Device) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![args.experiment.clone().into()];
    let mut flag = |name: &str, value: OsString| words.extend([format!("--{name}").into(), value]);
    flag("scale", args.scale.name().into());
    flag("device", device.name().into());
    flag("out", args.out.clone().into());
    if let Some(methods) = &args.methods {
        flag("methods", methods.into());
    }
    if let Some(seeds) = args.seeds {
        flag("seeds", seeds.to_string().into());
    }
    if let Some(data) = &args.data {
        flag("data", data.clone().into());
    }
    if let Some(steps) = args.steps {
        flag("steps", steps.to_string().into());
    }
    for (is_given, word) in [(args.resume, "--resume"), (args.fresh, "--fresh")] {
        if is_given {
            words.push(word.into());
        }
    }
    words.extend(args.more.iter().map(OsString::from));
    words
}

/// Refuses data that are not there before minutes go into a build; gives their absolute path.
fn existing(value: &str) -> Result<PathBuf, String> {
    let path = Path::new(value).canonicalize();
    path.map_err(|error| format!("no folder and no file can be read there: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn words(line: &[&str]) -> String {
        let args = Line::try_parse_from([&["reproduce-paper"], line].concat())
            .unwrap()
            .args;
        let words = runner_args(&args, Device::Flex);
        words.join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn without_arguments_the_runner_gets_the_defaults() {
        assert_eq!(words(&[]), "c4 --scale quick --device flex --out out");
    }

    #[test]
    fn what_was_given_reaches_the_runner_and_the_rest_is_handed_on() {
        let given = words(&[
            "--methods",
            "adamw,blockllm:0.5",
            "--seeds",
            "2",
            "--steps",
            "9",
            "--resume",
            "--",
            "-v",
        ]);
        let expected = "c4 --scale quick --device flex --out out --methods adamw,blockllm:0.5 --seeds 2 --steps 9 --resume -v";
        assert_eq!(given, expected);
    }

    #[test]
    fn the_data_are_resolved_against_the_callers_folder() {
        let here = std::env::current_dir().unwrap();
        for data in ["src", "Cargo.toml"] {
            assert!(words(&["--data", data]).ends_with(&format!("--data {}/{data}", here.display())));
        }
        let message = existing("nowhere").unwrap_err();
        assert!(message.contains("no folder and no file"), "{message}");
    }

    #[test]
    fn no_seed_at_all_is_refused() {
        let refused = Line::try_parse_from(["reproduce-paper", "--seeds", "0"])
            .err()
            .unwrap();
        assert!(refused.to_string().contains("--seeds"), "{refused}");
    }
}
