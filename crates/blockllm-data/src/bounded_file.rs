//! Small files read whole, their size bounded before memory is asked for.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::DataError;

/// The bytes of a file of at most `max_bytes`.
///
/// # Errors
/// [`DataError::Io`] when it cannot be read, [`DataError::FileTooLarge`] when it is larger.
pub fn bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let size = file.metadata().map_err(DataError::io("read", path))?.len();
    let mut bytes = Vec::new();
    if size <= max_bytes {
        // What is no plain file, or grows, tells no size.
        let read = file.take(max_bytes + 1).read_to_end(&mut bytes);
        read.map_err(DataError::io("read", path))?;
    }
    let found = size.max(bytes.len() as u64);
    if found > max_bytes {
        return Err(DataError::FileTooLarge {
            path: path.to_path_buf(),
            expected: max_bytes,
            found,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_bound_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(bounded(&path, 5).unwrap(), b"12345");
        let refused = bounded(&path, 4);
        assert!(matches!(
            refused,
            Err(DataError::FileTooLarge {
                found: 5,
                expected: 4,
                ..
            })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_size_and_no_end_is_bounded_too() {
        let refused = bounded(Path::new("/dev/zero"), 1000);
        assert!(matches!(refused, Err(DataError::FileTooLarge { .. })));
    }
}
