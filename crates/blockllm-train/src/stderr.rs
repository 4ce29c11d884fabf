//! Stderr: lines that never end a run, and a bar where it is a terminal.
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Arguments;
use std::io::{IsTerminal, Write};

/// Prints a line on stderr, with words as `eprintln!` takes them.
///
/// `eprintln!` panics when nobody reads stderr any more, as behind `2>&1 | head`; a run must not end for that.
#[macro_export]
macro_rules! tell_line {
    ($($words:tt)*) => {
        $crate::stderr::line(::std::format_args!($($words)*))
    };
}

/// What [`tell_line!`](crate::tell_line) does: a line that cannot be printed is dropped.
pub fn line(words: Arguments<'_>) {
    let _ = std::io::stderr().write_all(format!("{words}\n").as_bytes());
}

/// A bar on stderr over `total` of what `label` says; `counts` are indicatif's fields behind it, such as `{pos}/{len}`.
/// Where stderr is no terminal the bar is hidden, and lines are for whoever wants them.
///
/// # Panics
/// When `counts` is no template of indicatif's.
pub fn stderr_bar(label: &str, total: u64, counts: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let style = ProgressStyle::with_template(&format!("{{prefix}} [{{bar:24}}] {counts} ({{eta}} left)"))
        .expect("callers name only indicatif's own fields");
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(label.to_owned());
    bar
}
