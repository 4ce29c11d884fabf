//! `delta`: what training has changed of a model as a file, and models of such files.
mod args;
mod bar;
mod text;

pub use args::{Args, NAME};

use crate::stdout::say_line;
use anyhow::{Error, Result, bail};
use args::{Apply, Diff, Stack, Verb};
use bar::Bar;
use blockllm_delta::{DeltaError, DeltaFile, Layer, Overlap};
use blockllm_train::tell_line;
use std::path::{Path, PathBuf};

/// Does what `args` ask for, and prints what came of it.
///
/// # Errors
/// When files cannot be read or written, or do not belong together.
pub fn run(args: &Args) -> Result<()> {
    let (done, out) = match &args.verb {
        Verb::Diff(args) => (diff(args), &args.out),
        Verb::Apply(args) => (apply(args), &args.out),
        Verb::Stack(args) => (stack(args), &args.out),
        Verb::Info(args) => {
            let summary = DeltaFile::open(&args.delta)?.summary();
            if !summary.changes.is_empty() {
                say_line!("{}", text::table(&summary).to_markdown())?;
            }
            return say_line!("{}", text::totals(&summary));
        }
    };
    done.map_err(|error| at_out(error, out))
}

fn diff(args: &Diff) -> Result<()> {
    let mut bar = Bar::new("compared");
    let summary = blockllm_delta::diff(&args.base, &args.tuned, &args.out, &mut |done, all| {
        bar.show(done, all);
    })?;
    tell_line!("{}", bar.finish());
    say_line!("{}", text::totals(&summary))?;
    Ok(())
}

fn apply(args: &Apply) -> Result<()> {
    let mut bar = Bar::new("read");
    let applied = blockllm_delta::apply(&args.base, &args.deltas, &args.out, &mut |done, all| {
        bar.show(done, all);
    })?;
    tell_line!("{}", bar.finish());
    say_line!("{}", text::applied(&args.out, &applied))?;
    Ok(())
}

fn stack(args: &Stack) -> Result<()> {
    let layers: Vec<Layer> = args
        .layers
        .iter()
        .map(|word| layer(word))
        .collect::<Result<_>>()?;
    let overlap = if args.allow_overlap {
        Overlap::Add
    } else {
        Overlap::Refuse
    };
    let mut bar = Bar::new("read");
    let stacked = blockllm_delta::stack(&args.base, &layers, overlap, &args.out, &mut |done, all| {
        bar.show(done, all);
    })?;
    tell_line!("{}", bar.finish());
    say_line!("{}", text::stacked(&args.out, &stacked))?;
    Ok(())
}

/// `error`, with the option and the place where nothing can be made, if that is what it is about.
fn at_out(error: Error, out: &Path) -> Error {
    let parent = out.parent();
    let is_about_it = matches!(
        error.downcast_ref::<DeltaError>(),
        Some(DeltaError::Io { path, action: "create", .. })
            if path.parent() == parent || Some(path.as_path()) == parent
    );
    if !is_about_it {
        return error;
    }
    let out = out.display();
    error.context(format!(
        "--out {out} cannot be made; name a place that can be written"
    ))
}

/// `FILE=WEIGHT`, or a file alone; what stands behind the last `=` belongs to the name unless it is a number.
///
/// # Errors
/// When there is no file of that name, and what stands behind the `=` is no number though it seems meant as one.
fn layer(word: &str) -> Result<Layer> {
    let (delta, weight) = match word.rsplit_once('=') {
        None => (word, 1.0),
        Some((delta, weight)) => match weight.parse::<f64>() {
            Ok(number) => (delta, number),
            Err(_) if is_no_weight(word, delta, weight) => bail!(
                "{word}: there is no such file, and `{weight}` is no number: a weight stands behind the `=`, as in {delta}=0.5"
            ),
            Err(_) => (word, 1.0),
        },
    };
    Ok(Layer {
        delta: PathBuf::from(delta),
        weight,
    })
}

/// Whether `word` was meant as `delta` and a weight.
fn is_no_weight(word: &str, delta: &str, weight: &str) -> bool {
    !Path::new(word).exists() && (Path::new(delta).exists() || !weight.contains(['/', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};
    use std::fs;

    #[test]
    fn a_weight_stands_behind_the_name() {
        for (word, delta, weight) in [
            ("a.delta", "a.delta", 1.0),
            ("a.delta=0.5", "a.delta", 0.5),
            ("a.delta=-1e-3", "a.delta", -1e-3),
            ("lr=3e-4/a=b.delta", "lr=3e-4/a=b.delta", 1.0),
        ] {
            let delta = PathBuf::from(delta);
            assert_eq!(layer(word).unwrap(), Layer { delta, weight });
        }
        let told = layer("a.delta=abc").unwrap_err().to_string();
        assert!(
            told.contains("`abc` is no number") && told.contains("a.delta=0.5"),
            "{told}"
        );
    }

    #[test]
    fn every_verb_has_examples_in_its_help() {
        Args::command().debug_assert();
        for verb in Args::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{} has no examples", verb.get_name());
        }
    }

    /// A model with one tensor of bytes.
    fn write_model(dir: &std::path::Path, bytes: [u8; 8]) {
        let mut header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#
            .as_bytes()
            .to_vec();
        header.resize(header.len().next_multiple_of(8), b' ');
        fs::create_dir(dir).unwrap();
        let parts = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &bytes];
        fs::write(dir.join("model.safetensors"), parts.concat()).unwrap();
    }

    #[test]
    fn the_words_of_the_help_make_deltas_and_models() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        write_model(&folder.path().join("base"), [0; 8]);
        write_model(&folder.path().join("tuned"), [0, 0, 0, 0, 0, 0, 0x80, 0x3f]);
        let call = |words: &[&str]| {
            let words = words.iter().map(|word| match word.strip_prefix('@') {
                Some(name) => at(name),
                None => (*word).to_owned(),
            });
            run(&Args::parse_from(
                std::iter::once("delta".to_owned()).chain(words),
            ))
        };
        call(&["diff", "@base", "@tuned", "--out", "@a.delta"]).unwrap();
        call(&["apply", "@base", "@a.delta", "--out", "@again"]).unwrap();
        call(&["stack", "@base", "@a.delta=0.5", "--out", "@half"]).unwrap();
        call(&["info", "@a.delta"]).unwrap();
        let read = |name: &str| fs::read(folder.path().join(name).join("model.safetensors")).unwrap();
        assert_eq!(read("again"), read("tuned"));
        assert_eq!(read("half")[read("half").len() - 4..], 0.5_f32.to_le_bytes());
        let error = call(&["apply", "@tuned", "@a.delta", "--out", "@once-more"]).unwrap_err();
        assert!(
            error.to_string().contains("has been applied there already"),
            "{error}"
        );
        let summary = DeltaFile::open(&folder.path().join("a.delta")).unwrap().summary();
        let table = text::table(&summary).to_markdown();
        assert!(table.contains("50.00 %") && table.contains("gaps"), "{table}");
        let totals = text::totals(&summary);
        assert!(
            totals.contains("1 of 2 entries have changed (50.00 %), in 1 of 1 tensors"),
            "{totals}"
        );
    }
}
