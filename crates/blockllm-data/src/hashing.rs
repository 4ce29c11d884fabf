//! SHA-256 of files (streamed) and of bytes, as lower-case hexadecimal.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::DataError;

/// The SHA-256 of `bytes`, 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The size in bytes and the SHA-256 of a file, read in pieces of 64 KiB.
///
/// # Errors
/// [`DataError::Io`] when the file cannot be opened or read.
pub fn sha256_file(path: &Path) -> Result<(u64, String), DataError> {
    let mut file = File::open(path).map_err(DataError::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(DataError::io("read", path))?;
        if read == 0 {
            return Ok((bytes, hex::encode(hasher.finalize())));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// The first 8 bytes of the SHA-256 of `bytes`, big-endian: a hash that is the same on every platform and
/// version.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest[..8]
        .iter()
        .fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_published_test_vector_comes_out_of_bytes_and_of_a_file() {
        assert_eq!(sha256_hex(b"abc"), ABC);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(sha256_file(&path).unwrap(), (3, ABC.to_owned()));
        assert_eq!(stable_hash(b"abc"), 0xba78_16bf_8f01_cfea);
    }
}
