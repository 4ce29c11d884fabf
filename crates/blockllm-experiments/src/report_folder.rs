//! Where reports lie below `--out`: a folder for each set of runs, and an index page of them all.
use crate::report::atomic::write_atomically;
use crate::report::{Align, Page, Section, Table, first_table};
use crate::stdout::say_line;
use crate::{Cli, command_line};
use anyhow::{Context, Result, bail};
use blockllm_data::hashing::sha256_hex;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const ABOUT: &str = "about.json";

/// What the index tells of a report: `about.json` beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    title: String,
    command: String,
    /// Seconds since 1970.
    written: u64,
    /// Folders of the runs, relative to `--out`.
    runs: Vec<String>,
}

/// Refuses an `out` that can hold nothing, before anything is computed for it.
///
/// # Errors
/// When it is a file, or lies below one; or when nothing can be written there.
pub fn check(out: &Path) -> Result<()> {
    check_place(out, out)
}

/// The same of a `place` below `out`, such as the folder of a run, in which nothing may be written though in `out` it may.
///
/// # Errors
/// As [`check`].
pub fn check_place(out: &Path, place: &Path) -> Result<()> {
    let is_file = |path: &&Path| path.exists() && !path.is_dir();
    if let Some(file) = place.ancestors().find(is_file) {
        bail!(
            "--out {}: {} is no folder; name one for records and reports, which is made where it is not there",
            out.display(),
            file.display()
        );
    }
    let there = place
        .ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("."));
    tempfile::tempfile_in(there).with_context(|| {
        format!(
            "--out {}: nothing can be written in {}; name a folder of your own",
            out.display(),
            there.display()
        )
    })?;
    Ok(())
}

/// Writes the page of an experiment over `runs` (folders below `--out`), and the index; prints the first table and where
/// to read on. The same runs have the same folder, so no report takes the place of another one.
///
/// # Errors
/// When a file cannot be written.
pub fn write(cli: &Cli, experiment: &str, page: Page, runs: &[&Path]) -> Result<()> {
    let relative = |path: &&Path| {
        let path = path.strip_prefix(&cli.out).unwrap_or(path);
        path.to_string_lossy().replace('\\', "/")
    };
    let about = About {
        title: page.title.clone(),
        command: command_line::typed(true),
        written: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs()),
        runs: runs.iter().map(relative).collect(),
    };
    let hash = sha256_hex(about.runs.join("\n").as_bytes());
    let folder = cli.out.join(experiment).join(format!("report-{}", &hash[..8]));
    let page = page.with_all(made_from(&about));
    page.write(&folder)?;
    let text = serde_json::to_string_pretty(&about).expect("what is told of a report has only string keys");
    write_atomically(&folder.join(ABOUT), &(text + "\n"))?;
    let index = write_index(&cli.out)?;
    say_line!("{}", first_table(&page.to_markdown()))?;
    say_line!(
        "report: {} and {}",
        folder.join("report.md").display(),
        folder.join("report.html").display()
    )?;
    say_line!("all reports: {}", index.display())?;
    Ok(())
}

/// The command and the runs that a report is made from.
fn made_from(about: &About) -> [Section; 3] {
    let rows = about.runs.iter().map(|run| [run.clone()]);
    let table = rows.fold(Table::new([("run", Align::Left)]), Table::with_row);
    [
        Section::Heading("Made from".into()),
        Section::Code(about.command.clone()),
        Section::Table {
            caption: "Run folders below --out: config.json and manifest.json say what each is a function of, sessions.json \
                      by which build it was made, metrics.jsonl holds every step."
                .into(),
            table,
        },
    ]
}

/// Writes `index.md` and `index.html` of all reports below `out`, the newest first; gives the path of the latter.
fn write_index(out: &Path) -> Result<PathBuf> {
    let mut reports = Vec::new();
    for experiment in folders(out)? {
        for report in folders(&experiment)? {
            // A report of another version, or one half deleted, is not worth failing for.
            let about = std::fs::read(report.join(ABOUT))
                .ok()
                .and_then(|bytes| serde_json::from_slice::<About>(&bytes).ok());
            if let Some(about) = about {
                let path = report.strip_prefix(out).unwrap_or(&report);
                reports.push((about, path.to_string_lossy().replace('\\', "/")));
            }
        }
    }
    reports.sort_by(|(one, path), (other, other_path)| (other.written, path).cmp(&(one.written, other_path)));
    let page = Page {
        title: "Reports".into(),
        sections: reports
            .into_iter()
            .flat_map(|(about, path)| {
                [
                    Section::Link {
                        text: format!("{} ({})", about.title, utc(about.written)),
                        target: format!("{path}/report"),
                    },
                    Section::Code(about.command),
                ]
            })
            .collect(),
    };
    write_atomically(&out.join("index.md"), &page.to_markdown())?;
    let index = out.join("index.html");
    write_atomically(&index, &page.to_html())?;
    Ok(index)
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(parent).with_context(|| format!("reading {}", parent.display()))?;
    let mut folders: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    Ok(folders)
}

/// A time in seconds since 1970 as `2026-11-25 08:03 UTC`: days to a date by the civil calendar's 400-year eras.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn seconds_become_dates_leap_days_included() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_795_593_180, "2026-11-25 07:53 UTC"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }

    #[test]
    fn a_place_that_holds_nothing_is_refused_and_one_that_does_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        check(&folder.path().join("new/out")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = check(&file.join("out")).unwrap_err().to_string();
        assert!(error.contains("is no folder"), "{error}");
        if cfg!(target_os = "linux") {
            // Where nobody can write, whoever runs this.
            let error = check(Path::new("/proc/out")).unwrap_err().to_string();
            assert!(error.contains("nothing can be written in /proc"), "{error}");
        }
    }

    #[test]
    fn every_set_of_runs_has_a_report_and_the_index_links_them_all() {
        let out = tempfile::tempdir().unwrap();
        let cli = Cli::parse_from(["runner", "c4", "--out", out.path().to_str().unwrap()]);
        let page = |title: &str| Page {
            title: title.into(),
            sections: Vec::new(),
        };
        let run = |name: &str| out.path().join(name);
        let (first, second) = (run("c4/adamw-0-1"), run("c4/adamw-0-2"));
        write(&cli, "c4", page("one"), &[&first]).unwrap();
        write(&cli, "c4", page("two"), &[&first, &second]).unwrap();
        write(&cli, "glue", page("three"), &[&first]).unwrap();
        write(&cli, "c4", page("one again"), &[&first]).unwrap();
        let index = std::fs::read_to_string(out.path().join("index.md")).unwrap();
        let links: Vec<_> = index.lines().filter(|line| line.contains("](")).collect();
        assert_eq!(links.len(), 3, "{index}");
        for link in links {
            let target = link.split("](").nth(1).unwrap().split(')').next().unwrap();
            assert!(out.path().join(target).is_file(), "{link}");
        }
        assert!(index.contains("one again") && index.contains("three"), "{index}");
    }
}
