//! Files and folders under temporary names, which go when they do not get their own.

use crate::DeltaError;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file or a folder that is being made beside its place.
#[derive(Debug)]
pub(crate) struct Unfinished {
    temporary: PathBuf,
    path: PathBuf,
    published: bool,
}

impl Unfinished {
    /// A temporary name beside `path`, which no other process uses and where nothing may be yet.
    pub(crate) fn beside(path: &Path) -> Result<Self, DeltaError> {
        let exists = DeltaError::Exists {
            path: path.to_path_buf(),
        };
        if fs::symlink_metadata(path).is_ok() {
            return Err(exists);
        }
        let Some(name) = path.file_name() else {
            return Err(exists);
        };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(DeltaError::io(parent, "create"))?;
        }
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.tmp", std::process::id()));
        Ok(Self {
            temporary: path.with_file_name(temporary),
            path: path.to_path_buf(),
            published: false,
        })
    }

    /// Where to write.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Makes the folder to write into.
    pub(crate) fn create_dir(&self) -> Result<(), DeltaError> {
        match fs::remove_dir_all(&self.temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(DeltaError::io(&self.temporary, "remove")(error));
            }
            _ => {}
        }
        fs::create_dir(&self.temporary).map_err(DeltaError::io(&self.temporary, "create"))
    }

    /// Gives it its name, unless something is there by now; all in it has been synced.
    pub(crate) fn publish(mut self) -> Result<(), DeltaError> {
        if fs::symlink_metadata(&self.path).is_ok() {
            return Err(DeltaError::Exists {
                path: self.path.clone(),
            });
        }
        sync(&self.temporary);
        fs::rename(&self.temporary, &self.path)
            .map_err(DeltaError::io(&self.path, "rename a temporary file to"))?;
        self.published = true;
        sync(self.path.parent().unwrap_or(Path::new(".")));
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        // Part of a model is of no use to anybody; the error that matters is the first one.
        let _ = fs::remove_file(&self.temporary);
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

/// Makes names in a folder last. Not every system can sync a folder; the files themselves are safe.
fn sync(dir: &Path) {
    let _ = File::open(dir).and_then(|dir| dir.sync_all());
}
