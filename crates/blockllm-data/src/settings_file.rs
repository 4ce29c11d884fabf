//! The files of settings beside a tokenizer: JSON that may be missing, and is bounded.

use std::path::Path;

use serde_json::Value;

use crate::DataError;
use crate::bounded_file::bounded;

/// A file of settings that is larger is not read: they have a few KiB.
pub(crate) const MAX_SETTINGS_BYTES: u64 = 16 << 20;

/// What the file says, where it is there.
///
/// # Errors
/// [`DataError::Io`] when it is there and cannot be read, [`DataError::Settings`] when it is not JSON.
pub(crate) fn settings(path: &Path) -> Result<Option<Value>, DataError> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = bounded(path, MAX_SETTINGS_BYTES)?;
    let settings = serde_json::from_slice(without_mark(&bytes));
    settings.map(Some).map_err(|error| DataError::Settings {
        path: path.to_owned(),
        found: error.to_string(),
    })
}

/// UTF-8's mark is no JSON, but some editors write it.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}
