//! How an experiment goes: plan, runs, report, and what is said of runs that diverged.
use crate::experiment::{Experiment, PartRun, PlannedRun, Runs};
use crate::outcome::{DivergedRun, Outcome, check_diverged};
use crate::stdout::ReaderGone;
use crate::{Cli, alone, dry_run, recorded_run, report_folder};
use anyhow::{Context, Result};
use blockllm_train::tell_line;
use std::path::Path;

/// Makes every run of `E` that is not complete yet, then writes the report of the complete ones.
///
/// # Errors
/// When data, model or a run fails; runs that are complete stay on disk. Runs that diverge are told after the report of
/// all others is written.
pub fn run<E: Experiment>(cli: &Cli) -> Result<()> {
    report_folder::check(&cli.out)?;
    run_plan(&mut E::plan(cli)?, cli).map(|_| ())
}

/// [`run`] with a plan that is made already; gives the runs, none with `--dry-run`.
///
/// # Errors
/// As [`run`].
pub fn run_plan<E: Experiment>(plan: &mut E, cli: &Cli) -> Result<Runs<E::Part>> {
    tell_line!("{}", plan.describe());
    for note in plan.notes() {
        tell_line!("note: {note}");
    }
    if cli.dry_run {
        let runs = plan.runs(cli)?;
        check_places(cli, E::NAME, &runs)?;
        let lines = runs.iter().map(|run| (run.settings.as_str(), &run.place));
        dry_run::show(&plan.table(cli), lines)?;
        return Ok(Runs::default());
    }
    plan.prepare(cli)?;
    // All places first: those of `--fresh` are then there for the next call, wherever this one is stopped.
    let runs = plan.runs(cli)?;
    check_places(cli, E::NAME, &runs)?;
    let runs = make_all(cli, runs)?;
    plan.conclude(cli);
    if cli.alone.is_some() {
        return Ok(runs);
    }
    let told = if runs.complete.is_empty() {
        Ok(())
    } else {
        let folders: Vec<_> = runs.complete.iter().map(|run| run.run.folder.path()).collect();
        let written = plan
            .page(cli, &runs)
            .and_then(|page| report_folder::write(cli, E::NAME, page, &folders));
        written.map_err(|error| unreported(error, &cli.out, &folders, &runs.diverged))
    };
    // Runs that diverged are told though nobody reads the report.
    if told.as_ref().err().is_none_or(anyhow::Error::is::<ReaderGone>) {
        check_diverged(&runs.diverged, runs.complete.len())?;
    }
    told.map(|()| runs)
}

/// Refuses places that cannot be written, before the first run is made: the folders of runs that are not over, and that of the
/// reports of the experiment `name`.
fn check_places<P>(cli: &Cli, name: &str, runs: &[PlannedRun<'_, P>]) -> Result<()> {
    let to_make = runs
        .iter()
        .filter(|run| !run.place.is_over() && alone::is_wanted(cli, &run.place));
    for run in to_make {
        report_folder::check_place(&cli.out, &run.place.path)?;
    }
    report_folder::check_place(&cli.out, &cli.out.join(name))
}

/// `error` of a report, with where that is which it would have told of, and which runs have diverged.
fn unreported(
    error: anyhow::Error,
    out: &Path,
    folders: &[&Path],
    diverged: &[DivergedRun],
) -> anyhow::Error {
    if error.is::<ReaderGone>() {
        return error;
    }
    let kept = match folders {
        [folder] => *folder,
        _ => out,
    };
    let done = if diverged.is_empty() {
        "training is complete".to_owned()
    } else {
        let told: Vec<_> = diverged.iter().map(|run| run.description.as_str()).collect();
        format!(
            "{} of the runs diverged ({}), the others are complete",
            told.len(),
            told.join("; ")
        )
    };
    error.context(format!(
        "{done}, and what was made is kept in {}; only the report is not whole, and the same line writes it once this is mended",
        kept.display()
    ))
}

/// Makes the runs that this process is to make; one that diverges does not take the others with it.
fn make_all<P>(cli: &Cli, planned: Vec<PlannedRun<'_, P>>) -> Result<Runs<P>> {
    let mut runs = Runs::default();
    let others = planned.len() > 1;
    for planned in planned
        .into_iter()
        .filter(|run| alone::is_wanted(cli, &run.place))
    {
        let PlannedRun {
            place, title, job, ..
        } = planned;
        match recorded_run::make(cli, &place, &*job).with_context(|| title.clone())? {
            Outcome::Complete(run) => runs.complete.push(PartRun {
                part: planned.part,
                run: *run,
            }),
            Outcome::Diverged { message, is_new } => {
                tell_line!(
                    "{title}: {message}{}",
                    if others {
                        "; going on with the other runs"
                    } else {
                        ""
                    }
                );
                runs.diverged.push(DivergedRun {
                    method: planned.method.to_owned(),
                    description: format!("{title}: {message}"),
                    is_new,
                });
            }
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::NotTaken;
    use crate::recorded_run::Job;
    use crate::report::Page;
    use crate::run_place::RunPlace;
    use anyhow::bail;
    use blockllm_train::{Checkpoints, RunFolder, RunResult, TrainError};
    use clap::Parser;
    use std::cell::Cell;

    thread_local! {
        static PREPARED: Cell<usize> = const { Cell::new(0) };
        static TRAINED: Cell<usize> = const { Cell::new(0) };
    }

    /// Two runs whose numbers are none.
    struct Hopeless;

    impl Experiment for Hopeless {
        const NAME: &'static str = "hopeless";
        const NOT_TAKEN: NotTaken = &[];
        type Part = usize;

        fn plan(_: &Cli) -> Result<Self> {
            Ok(Self)
        }

        fn describe(&self) -> String {
            "hopeless: two runs".into()
        }

        fn prepare(&mut self, _: &Cli) -> Result<()> {
            PREPARED.set(PREPARED.get() + 1);
            Ok(())
        }

        fn runs<'a>(&'a self, cli: &'a Cli) -> Result<Vec<PlannedRun<'a, usize>>> {
            let run = |part: usize| {
                Ok(PlannedRun {
                    place: RunPlace::find(cli, &cli.out, "adamw-0", &part, &"no data")?,
                    part,
                    method: "adamw",
                    title: format!("run {part}"),
                    settings: format!("run {part}"),
                    job: Box::new(Self),
                })
            };
            (0..2).map(run).collect()
        }

        fn page(&self, _: &Cli, _: &Runs<usize>) -> Result<Page> {
            bail!("there is nothing to report")
        }
    }

    impl Job for Hopeless {
        fn train(&self, _: &mut RunFolder, _: &Checkpoints) -> Result<RunResult> {
            TRAINED.set(TRAINED.get() + 1);
            Err(TrainError::Logits.into())
        }

        fn outputs(&self) -> Vec<&'static str> {
            Vec::new()
        }

        fn write_outputs(&self, _: &Path, _: &Checkpoints, _: &RunResult) -> Result<()> {
            Ok(())
        }
    }

    fn cli(out: &Path, more: &[&str]) -> Cli {
        let words = ["runner", Hopeless::NAME, "--out", out.to_str().unwrap()];
        Cli::parse_from(words.iter().chain(more))
    }

    #[test]
    fn a_dry_run_prepares_and_trains_nothing() {
        let out = tempfile::tempdir().unwrap();
        run::<Hopeless>(&cli(out.path(), &["--dry-run"])).unwrap();
        assert_eq!((PREPARED.get(), TRAINED.get()), (0, 0));
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_run_that_diverges_does_not_take_the_others_with_it_and_is_told_at_the_end() {
        let out = tempfile::tempdir().unwrap();
        let error = run::<Hopeless>(&cli(out.path(), &[])).unwrap_err().to_string();
        assert_eq!((PREPARED.get(), TRAINED.get()), (1, 2));
        assert!(error.contains("2 of the runs diverged"), "{error}");
        assert!(error.contains("run 0: ") && error.contains("run 1: "), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_below_out_that_cannot_be_written_is_told_before_anything_is_trained_by_a_dry_run_too() {
        let out = tempfile::tempdir().unwrap();
        let run_folder = Hopeless.runs(&cli(out.path(), &[])).unwrap()[1]
            .place
            .path
            .clone();
        for folder in [run_folder, out.path().join(Hopeless::NAME)] {
            // Where nobody can write, whoever runs this.
            std::os::unix::fs::symlink("/proc", &folder).unwrap();
            for more in [&["--dry-run"][..], &[]] {
                let error = run::<Hopeless>(&cli(out.path(), more)).unwrap_err().to_string();
                let told = format!("nothing can be written in {}", folder.display());
                assert!(error.contains(&told), "{more:?}: {error}");
            }
            std::fs::remove_file(&folder).unwrap();
        }
        assert_eq!(TRAINED.get(), 0);
    }

    #[test]
    fn a_report_that_cannot_be_written_is_told_with_the_place_of_the_runs() {
        let [out, one, other] = ["out", "out/c4/a", "out/c4/b"].map(Path::new);
        let told = |folders: &[&Path], diverged: &[DivergedRun]| {
            unreported(anyhow::anyhow!("no room"), out, folders, diverged).to_string()
        };
        assert!(told(&[one], &[]).starts_with("training is complete, and"));
        assert!(told(&[one], &[]).contains("kept in out/c4/a; only the report"));
        assert!(told(&[one, other], &[]).contains("kept in out; only the report"));
        let diverged = DivergedRun {
            method: "adamw".to_owned(),
            description: "run 1: no number".to_owned(),
            is_new: true,
        };
        let found = told(&[one], &[diverged]);
        assert!(
            found.starts_with("1 of the runs diverged (run 1: no number), the others are complete"),
            "{found}"
        );
        assert!(unreported(ReaderGone.into(), out, &[one], &[]).is::<ReaderGone>());
    }

    #[test]
    fn a_process_made_for_one_run_makes_that_one() {
        let out = tempfile::tempdir().unwrap();
        let whole = cli(out.path(), &[]);
        let place = Hopeless.runs(&whole).unwrap()[1].place.path.clone();
        let alone = cli(out.path(), &["--alone", place.to_str().unwrap()]);
        run::<Hopeless>(&alone).unwrap();
        assert_eq!(TRAINED.get(), 1);
        assert!(place.join("config.json").is_file());
    }
}
