//! The hashes that the hub names for files: SHA-256 for large ones, git's for the rest.
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// The hash of a file, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// Of the content: of files in large-file storage.
    Sha256(String),
    /// Of git's blob: of all others.
    Git(String),
}

impl Hash {
    /// It in hexadecimal: the name of a blob in the cache.
    pub fn text(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::Git(text) => text,
        }
    }

    /// The hash of this kind of `size` bytes of `content`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_same_kind(&self, content: impl Read, size: u64) -> io::Result<String> {
        match self {
            Self::Sha256(_) => of(Sha256::new(), content),
            Self::Git(_) => of(Sha1::new_with_prefix(format!("blob {size}\0")), content),
        }
    }
}

fn of<D: Digest>(mut hash: D, mut content: impl Read) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// Whether `text` is a hash of `length` hexadecimal digits, and so a file's name.
pub(crate) fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_as_git_and_sha256sum_have_them() {
        let git = Hash::Git(String::new()).of_same_kind(&b"hello\n"[..], 6).unwrap();
        assert_eq!(git, "ce013625030ba8dba906f756967f9e9ca394464a");
        let sha256 = Hash::Sha256(String::new())
            .of_same_kind(&b"hello\n"[..], 6)
            .unwrap();
        assert_eq!(
            sha256,
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        assert!(is_hexadecimal(&git, 40));
        assert!(!is_hexadecimal("../../../../../../../../../../../../etc/p", 40));
    }
}
