//! All members of a gzip file as one stream; zeros behind a member are padding, as for `gzip -d`.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The decompressed bytes of `R`.
pub(super) struct GzipMembers<R> {
    /// `None` behind the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipMembers<R> {
    pub fn new(input: R) -> Self {
        Self {
            member: Some(GzDecoder::new(input)),
        }
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            let input = self.member.take().map(GzDecoder::into_inner);
            self.member = input.map(next_member).transpose()?.flatten();
        }
        Ok(0)
    }
}

/// Skips zeros; what stands behind them, if anything does, must be a member.
fn next_member<R: BufRead>(mut input: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(None);
        }
        let zeros = available.iter().take_while(|&&byte| byte == 0).count();
        let is_all = zeros == available.len();
        input.consume(zeros);
        if !is_all {
            return Ok(Some(GzDecoder::new(input)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::{BufReader, Write};

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], buffer: usize) -> io::Result<String> {
        let mut text = String::new();
        let input = BufReader::with_capacity(buffer, bytes);
        GzipMembers::new(input).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn zeros_between_and_behind_members_are_padding_whatever_the_buffer() {
        for zeros in [0, 1, 4, 512, 70_000] {
            let padding = vec![0; zeros];
            let bytes = [gzip("one "), padding.clone(), gzip("two"), padding].concat();
            for buffer in [7, 512, 1 << 16] {
                assert_eq!(read(&bytes, buffer).unwrap(), "one two", "{zeros} zeros");
            }
        }
    }

    #[test]
    fn other_bytes_behind_a_member_are_an_error() {
        assert!(read(&[gzip("one"), b"\0\0rest".to_vec()].concat(), 512).is_err());
    }
}
