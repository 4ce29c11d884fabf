//! How far a count has come, on the terminal: a bar where there is one, else a line at every tenth.
use crate::stderr::stderr_bar;
use crate::tell_line;
use indicatif::ProgressBar;

/// Shows a count on stderr.
#[derive(Debug)]
pub struct CountedProgress {
    bar: ProgressBar,
    label: String,
    total: u64,
    lines: bool,
}

impl CountedProgress {
    /// None of `total` is done of what is called `label`.
    pub fn new(label: &str, total: usize) -> Self {
        let bar = stderr_bar(label, total as u64, "{pos}/{len}");
        Self {
            lines: bar.is_hidden(),
            bar,
            label: label.to_owned(),
            total: total as u64,
        }
    }

    /// So many more are done.
    pub fn advance(&self, count: usize) {
        let before = self.bar.position();
        self.bar.inc(count as u64);
        let tenth = |done: u64| done * 10 / self.total.max(1);
        if self.lines && tenth(self.bar.position()) > tenth(before) {
            tell_line!("{}: {}/{}", self.label, self.bar.position(), self.total);
        }
    }

    /// All is done: the bar goes.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
