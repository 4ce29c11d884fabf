//! Lines of a byte stream, each bounded before memory is asked for.

use std::io::{self, BufRead, ErrorKind};

use memchr::memchr;

/// Kept of a line that cannot be a JSON object: enough to show it.
const HEAD_BYTES: usize = 64;
/// UTF-8's mark, which some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end and without spaces around it; may be blank.
    Whole,
    /// A line beyond the bound; only its beginning was kept.
    TooLong,
    /// The stream has ended.
    End,
}

/// Reads lines; a byte-order mark before the first is left out.
pub(super) struct Lines<R> {
    input: R,
    max_bytes: usize,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R, max_bytes: usize) -> Self {
        Self {
            input,
            max_bytes,
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The lines that were read, the last one counted.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The last line, trimmed.
    pub fn text(&self) -> &[u8] {
        self.without_mark().trim_ascii()
    }

    fn without_mark(&self) -> &[u8] {
        match self.number {
            0 | 1 => self.buffer.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.buffer),
            _ => &self.buffer,
        }
    }

    /// Reads a line, to be had from [`Lines::text`].
    ///
    /// A line that does not begin as an object does is not kept beyond its head: a JSON array may be the whole file.
    pub fn read(&mut self) -> io::Result<Line> {
        self.buffer.clear();
        // A long document does not hold its memory for the rest of the shard.
        self.buffer.shrink_to(1 << 20);
        let (mut limit, mut is_cut) = (self.max_bytes, false);
        let ended = self.pieces(|buffer, piece, is_first_line| {
            let kept = piece.len().min(limit - buffer.len().min(limit));
            is_cut |= kept < piece.len();
            buffer.extend_from_slice(&piece[..kept]);
            if !begins_as_object(buffer, is_first_line) {
                limit = limit.min(HEAD_BYTES);
            }
        })?;
        Ok(match (ended, is_cut) {
            (true, _) => Line::End,
            (_, true) if begins_as_object(&self.buffer, self.number == 1) => Line::TooLong,
            _ => Line::Whole,
        })
    }

    /// Passes over a line without keeping it: whether it holds more than spaces, or `None` at the end.
    pub fn pass(&mut self) -> io::Result<Option<bool>> {
        self.buffer.clear();
        let (mut length, mut is_blank_behind) = (0, true);
        let ended = self.pieces(|head, piece, _| {
            // The first bytes may be the mark; spaces and the rest can be told at once.
            let of_head = BYTE_ORDER_MARK.len().saturating_sub(length).min(piece.len());
            head.extend_from_slice(&piece[..of_head]);
            is_blank_behind = is_blank_behind && piece[of_head..].trim_ascii().is_empty();
            length += piece.len();
        })?;
        let is_blank = is_blank_behind && self.text().is_empty();
        Ok((!ended).then_some(!is_blank))
    }

    /// Hands the pieces of the next line to `take`, with the buffer and whether it is the first line; `true` at the end
    /// of the stream.
    fn pieces(&mut self, mut take: impl FnMut(&mut Vec<u8>, &[u8], bool)) -> io::Result<bool> {
        let mut is_empty = true;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                available => available?,
            };
            if available.is_empty() {
                self.number += u64::from(!is_empty);
                return Ok(is_empty);
            }
            is_empty = false;
            let end = memchr(b'\n', available);
            let piece = &available[..end.unwrap_or(available.len())];
            take(&mut self.buffer, piece, self.number == 0);
            let used = piece.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                self.number += 1;
                return Ok(false);
            }
        }
    }
}

/// Whether `head` may still become an object.
fn begins_as_object(head: &[u8], is_first_line: bool) -> bool {
    let head = match head.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) if is_first_line => rest,
        _ if is_first_line && BYTE_ORDER_MARK.starts_with(head) => return true,
        _ => head,
    };
    head.trim_ascii_start().first().is_none_or(|&byte| byte == b'{')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn lines(bytes: &[u8], max_bytes: usize, buffer: usize) -> Vec<(Line, String)> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, bytes), max_bytes);
        let mut all = Vec::new();
        loop {
            match lines.read().unwrap() {
                Line::End => return all,
                line => all.push((line, String::from_utf8_lossy(lines.text()).into_owned())),
            }
        }
    }

    #[test]
    fn a_mark_before_the_first_line_is_no_part_of_it_whatever_the_buffer() {
        for buffer in [1, 2, 3, 4, 100] {
            let found = lines(b"\xef\xbb\xbf{\"a\":1}\r\n\n {} \n", 100, buffer);
            let texts: Vec<_> = found.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(texts, ["{\"a\":1}", "", "{}"], "{buffer}");
        }
    }

    #[test]
    fn a_line_beyond_the_bound_is_told_and_the_next_one_is_read() {
        let text = format!("{{{}\n{{}}\n", "x".repeat(5000));
        for buffer in [1, 7, 10_000] {
            let found = lines(text.as_bytes(), 100, buffer);
            assert_eq!(found[0].0, Line::TooLong);
            assert!(found[0].1.len() <= 100);
            assert_eq!(found[1], (Line::Whole, "{}".to_owned()));
        }
        assert_eq!(lines(b"{234567890}", 11, 4)[0].0, Line::Whole);
        assert_eq!(lines(b"{234567890}", 10, 4)[0].0, Line::TooLong);
    }

    #[test]
    fn of_what_is_no_object_only_the_head_is_kept() {
        let mut array = vec![b'['; 1 << 20];
        array.push(b'\n');
        let mut lines = Lines::new(BufReader::with_capacity(16, array.as_slice()), usize::MAX);
        assert_eq!(lines.read().unwrap(), Line::Whole);
        assert!(lines.text().len() <= HEAD_BYTES && lines.buffer.capacity() < 4096);
        assert_eq!(lines.read().unwrap(), Line::End);
    }

    #[test]
    fn passing_over_tells_blank_lines_from_others() {
        let bytes = b"\xef\xbb\xbf\n{}\n \t\r\n{}";
        for buffer in [1, 2, 100] {
            let mut lines = Lines::new(BufReader::with_capacity(buffer, &bytes[..]), 10);
            let passed: Vec<_> = std::iter::from_fn(|| lines.pass().unwrap()).collect();
            assert_eq!(passed, [false, true, false, true], "{buffer}");
        }
    }
}
