//! Telling on stderr, where `eprintln!` would panic: nobody may read it, as behind `2>&1 | head`.
use std::fmt::Arguments;
use std::io::Write;

/// Prints a line, with words as `eprintln!` takes them.
macro_rules! tell_line {
    ($($words:tt)*) => {
        $crate::stderr::line(::std::format_args!($($words)*))
    };
}
pub(crate) use tell_line;

/// What `tell_line!` does: a line that cannot be printed is dropped.
pub fn line(words: Arguments<'_>) {
    let _ = std::io::stderr().write_all(format!("{words}\n").as_bytes());
}
