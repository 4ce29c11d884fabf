//! What `--out FILE` names: looked at before anything is computed, then written line by line, and whole or told to be a part.
use anyhow::{Context, Result, bail};
use blockllm_data::atomic_file::sync_folder;
use blockllm_train::tell_line;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf, absolute, is_separator};

/// Links that lead to links: the operating system follows no more of them.
const MOST_LINKS: usize = 40;

/// A place that lines can be written to.
#[derive(Clone, Debug)]
pub struct OutPlace {
    named: PathBuf,
    /// The file that links lead to; none where a device or a pipe is, which is written as it is.
    file: Option<PathBuf>,
}

/// Lines on their way to an [`OutPlace`]: a file has them under another name until it is whole.
#[derive(Debug)]
pub struct OutFile {
    place: OutPlace,
    path: PathBuf,
    opened: File,
    lines: usize,
}

impl OutPlace {
    /// Looks at what is there.
    ///
    /// # Errors
    /// When it is a folder, or cannot be looked at.
    pub fn new(named: &Path) -> Result<Self> {
        let looking = || format!("--out {}: is it the name of a file?", named.display());
        let is_folder = match fs::metadata(named) {
            Ok(there) => there.is_dir(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let name = named.to_string_lossy();
                named.file_name().is_none() || name.ends_with(is_separator)
            }
            Err(error) => return Err(error).with_context(looking),
        };
        if is_folder {
            bail!(
                "--out {}: this is the name of a folder; name a file in it",
                named.display()
            );
        }
        let file = match fs::metadata(named) {
            Ok(there) if !there.is_file() || is_open_already(named) => None,
            Ok(_) => Some(fs::canonicalize(named).with_context(looking)?),
            Err(_) => Some(links(named).last().unwrap_or_else(|| named.to_owned())),
        };
        Ok(Self {
            named: named.to_owned(),
            file,
        })
    }

    /// As it was named.
    pub fn named(&self) -> &Path {
        &self.named
    }

    /// Refuses a place where a file is that is also read, or that lies in a folder that is: of those in `read`, with the options
    /// that name them.
    ///
    /// # Errors
    /// Names both options.
    pub fn check_apart<'a>(&self, read: impl IntoIterator<Item = (&'a str, &'a Path)>) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let named = absolute(&self.named).ok();
        // A link in a folder lies in it, wherever it leads.
        let folder = named.as_deref().and_then(Path::parent);
        let written = [Some(file.as_path()), folder].into_iter().flatten();
        let written: Vec<PathBuf> = written.filter_map(as_far_as_it_is_there).collect();
        for (option, path) in read {
            let path = fs::canonicalize(path).ok();
            let is_read = |path: &PathBuf| written.iter().any(|place| place.starts_with(path));
            match path.filter(is_read) {
                None => {}
                Some(path) if path.is_dir() => bail!(
                    "--out {} lies in the folder that {option} names, and could take the place of what is read there: name a file \
                     outside of it",
                    self.named.display()
                ),
                Some(_) => bail!(
                    "--out {} would overwrite what {option} names: name another file",
                    self.named.display()
                ),
            }
        }
        Ok(())
    }

    /// Tries whether a file can be made there, and leaves nothing. A device or a pipe is not opened: a reader would see its end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn try_out(&self) -> Result<()> {
        if let Some(file) = &self.file {
            let (path, opened) = new_part(file).with_context(|| self.refused())?;
            drop(opened);
            // One that cannot be removed is empty.
            fs::remove_file(path).ok();
        }
        Ok(())
    }

    fn refused(&self) -> String {
        format!("--out {}: it cannot be written", self.named.display())
    }

    /// Opens it. What is there already is kept until [`finish`](OutFile::finish).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self) -> Result<OutFile> {
        let begun = if let Some(file) = &self.file {
            new_part(file)
        } else {
            let opened = File::options().append(true).open(&self.named);
            opened.map(|opened| (self.named.clone(), opened))
        };
        let (path, opened) = begun.with_context(|| self.refused())?;
        if let Some(file) = &self.file
            && path != partial(file, 1)
        {
            tell_line!(
                "note: {} is kept: it is of an earlier call, or of one that still writes",
                partial(file, 1).display()
            );
        }
        Ok(OutFile {
            place: self.clone(),
            path,
            opened,
            lines: 0,
        })
    }
}

impl OutFile {
    /// Writes `record` as a line, at once.
    ///
    /// # Errors
    /// When there is no room.
    pub fn push(&mut self, record: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(record).context("a record as JSON")? + "\n";
        let written = self.opened.write_all(line.as_bytes());
        written.with_context(|| format!("writing {}", self.path.display()))?;
        self.lines += 1;
        Ok(())
    }

    /// The file is whole: from now on it has its name.
    ///
    /// # Errors
    /// When it cannot be renamed; the lines are then where the error says.
    pub fn finish(self) -> Result<()> {
        let Self {
            place, path, opened, ..
        } = self;
        let Some(file) = place.file else {
            return Ok(());
        };
        let synced = opened.sync_all();
        // Not everywhere an open file can be renamed.
        drop(opened);
        synced
            .and_then(|()| fs::rename(&path, &file))
            .and_then(|()| sync_folder(file.parent().unwrap_or(Path::new(""))))
            .with_context(|| {
                format!(
                    "--out {}: what belongs there is {}",
                    file.display(),
                    path.display()
                )
            })
    }

    /// It will not become whole: how many lines there are, and where. A file without any is removed.
    pub fn give_up(self) -> (usize, PathBuf) {
        if self.lines == 0 && self.place.file.is_some() {
            // One that cannot be removed is empty.
            fs::remove_file(&self.path).ok();
        }
        (self.lines, self.path)
    }
}

/// What a file is called until it is whole, for the `number`th that is there at a time.
fn partial(file: &Path, number: u32) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    if number > 1 {
        name.push(format!("-{number}"));
    }
    file.with_file_name(name)
}

/// Makes a part of `file` beside those that are there, of a call that was stopped, or of one that still writes.
fn new_part(file: &Path) -> io::Result<(PathBuf, File)> {
    fs::create_dir_all(file.parent().unwrap_or(Path::new("")))?;
    for number in 1.. {
        let path = partial(file, number);
        match File::options().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => return Ok((path, opened?)),
        }
    }
    unreachable!("there is always a next number")
}

/// `path` without links, or of its folders the nearest one that is there.
fn as_far_as_it_is_there(path: &Path) -> Option<PathBuf> {
    let path = absolute(path).ok()?;
    path.ancestors().find_map(|path| fs::canonicalize(path).ok())
}

/// `path`, and where the links lead that begin there.
fn links(path: &Path) -> impl Iterator<Item = PathBuf> {
    let next = |path: &PathBuf| {
        let next = fs::read_link(path).ok()?;
        Some(path.parent().unwrap_or(Path::new("")).join(next))
    };
    std::iter::successors(Some(path.to_owned()), next).take(MOST_LINKS + 1)
}

/// Whether a path leads to an open file of a process, such as its own output: what is there is written on, not replaced.
fn is_open_already(path: &Path) -> bool {
    cfg!(unix)
        && links(path).any(|path| {
            let folder = path.parent().unwrap_or(Path::new(""));
            folder.ends_with("fd") && (folder.starts_with("/proc") || folder.starts_with("/dev"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, lines: &[&str]) -> Result<()> {
        let mut out = OutPlace::new(path)?.begin()?;
        for line in lines {
            out.push(line)?;
        }
        out.finish()
    }

    #[test]
    fn an_old_file_is_there_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/a.jsonl");
        write(&path, &["old"]).unwrap();
        let mut out = OutPlace::new(&path).unwrap().begin().unwrap();
        out.push(&"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"old\"\n");
        let (lines, part) = out.give_up();
        assert_eq!(
            (lines, fs::read_to_string(part).unwrap().as_str()),
            (1, "\"new\"\n")
        );
        write(&path, &["new", "er"]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"new\"\n\"er\"\n");
        let (lines, part) = OutPlace::new(&path).unwrap().begin().unwrap().give_up();
        assert!(lines == 0 && !part.exists());
        // The file, and the part that was given up with a line in it.
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_or_a_file_that_is_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in [folder.path().to_owned(), folder.path().join("new/"), "".into()] {
            let error = OutPlace::new(&name).unwrap_err().to_string();
            assert!(error.contains("name a file"), "{error}");
        }
        let data = folder.path().join("data.jsonl");
        fs::write(&data, "").unwrap();
        let again = folder.path().join(".").join("data.jsonl");
        let read = [
            ("--prompts", data.as_path()),
            ("--model", Path::new("owner/name")),
        ];
        let error = OutPlace::new(&again).unwrap().check_apart(read).unwrap_err();
        assert!(error.to_string().contains("--prompts"), "{error}");
        let model = [("--model", folder.path())];
        for name in ["data.jsonl", "other", "new/other"] {
            let place = OutPlace::new(&folder.path().join(name)).unwrap();
            let error = place.check_apart(model).unwrap_err().to_string();
            assert!(
                error.contains("--model") && error.contains("outside of it"),
                "{error}"
            );
        }
        let other = OutPlace::new(&folder.path().join("other")).unwrap();
        other.check_apart(read).unwrap();
        let beside = [("--model", data.as_path())];
        other.check_apart(beside).unwrap();
    }

    #[test]
    fn what_an_earlier_call_has_written_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let part = |line: &str| {
            let mut out = OutPlace::new(&path).unwrap().begin().unwrap();
            out.push(&line).unwrap();
            out.give_up().1
        };
        let [first, second] = ["first", "second"].map(part);
        write(&path, &["whole"]).unwrap();
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(
            [text(&first), text(&second), text(&path)],
            ["\"first\"\n", "\"second\"\n", "\"whole\"\n"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_its_target_is_written_whether_it_is_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let [link, target] = ["link", "target"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink("target", &link).unwrap();
        for line in ["first", "second"] {
            write(&link, &[line]).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(&target).unwrap(), format!("\"{line}\"\n"));
        }
        let read = [("--data", target.as_path())];
        OutPlace::new(&link).unwrap().check_apart(read).unwrap_err();
        // As in the hub's cache, whose models are links.
        let model = folder.path().join("model");
        fs::create_dir(&model).unwrap();
        std::os::unix::fs::symlink(&target, model.join("link")).unwrap();
        let read = [("--model", model.as_path())];
        let place = OutPlace::new(&model.join("link")).unwrap();
        place.check_apart(read).unwrap_err();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_open_file_of_a_process_is_written_on_and_a_file_in_memory_is_a_file() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = folder.path().join("a.jsonl");
        for line in ["first", "second"] {
            write(&path, &[line]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("\"{line}\"\n"));
        }
        let opened = File::options().append(true).open(&path).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(format!("/proc/self/fd/{}", opened.as_raw_fd()), &link).unwrap();
        write(&link, &["third"]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"second\"\n\"third\"\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_is_written_as_it_is() {
        use std::os::unix::fs::FileTypeExt;
        write(Path::new("/dev/null"), &["a"]).unwrap();
        let error = write(Path::new("/dev/full"), &["a"]).unwrap_err();
        assert!(error.to_string().contains("/dev/full"), "{error}");
        for device in ["/dev/null", "/dev/full"] {
            assert!(fs::metadata(device).unwrap().file_type().is_char_device());
        }
    }
}
