//! Printing to stdout, where `println!` would panic: a reader that has gone ends the program quietly, a full disk is an error.
use anyhow::{Error, Result};
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Nobody reads what is printed any more, as behind `| head -1`: a reason to end, and no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads what is printed any more")]
pub struct ReaderGone;

/// Prints a line, with words as `println!` takes them.
macro_rules! say_line {
    ($($words:tt)*) => {
        $crate::stdout::line(::std::format_args!($($words)*))
    };
}
pub(crate) use say_line;

/// Prints `text` at once, so that it is seen as it comes.
///
/// # Errors
/// [`ReaderGone`] when nobody reads it; else when the place that stdout leads to takes no more.
pub fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(refused)
}

/// What `say_line!` does.
///
/// # Errors
/// As [`say`].
pub fn line(words: Arguments<'_>) -> Result<()> {
    say(&format!("{words}\n"))
}

fn refused(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => Error::new(error).context("what stdout leads to takes no more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_told_from_a_place_without_room() {
        let gone = refused(ErrorKind::BrokenPipe.into()).context("whatever was printed");
        assert!(gone.is::<ReaderGone>(), "{gone:#}");
        let full = refused(ErrorKind::StorageFull.into());
        assert!(!full.is::<ReaderGone>());
        let told = crate::causes::told(&full);
        assert!(told.starts_with("what stdout leads to takes no more: "), "{told}");
        assert_eq!(told.matches("room").count(), 1, "{told}");
    }
}
