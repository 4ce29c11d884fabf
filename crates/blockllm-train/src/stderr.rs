//! A bar on stderr where that is a terminal; where it is none, the bar is hidden and lines are for whoever wants them.
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// A bar over `total` of what `label` says; `counts` are indicatif's fields behind it, such as `{pos}/{len}`.
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
