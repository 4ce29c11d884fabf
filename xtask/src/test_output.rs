//! Adds up the closing lines of cargo's test binaries.

use std::fmt;
use std::ops::AddAssign;

/// How many tests ran, and how they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestCounts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl TestCounts {
    /// The counts in a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ..`, or `None` in any other.
    pub fn in_line(line: &str) -> Option<Self> {
        let (_, results) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |word: &str| {
            let mut parts = results.split("; ").filter_map(|part| part.split_once(' '));
            parts.find(|(_, what)| *what == word)?.0.parse().ok()
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            skipped: count("ignored")?,
        })
    }
}

impl AddAssign for TestCounts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for TestCounts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(out, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let lines = [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ];
        let mut counts = TestCounts::default();
        lines
            .iter()
            .filter_map(|line| TestCounts::in_line(line))
            .for_each(|one| counts += one);
        assert_eq!(
            counts,
            TestCounts {
                passed: 7,
                failed: 2,
                skipped: 1
            }
        );
        assert_eq!(counts.to_string(), "7 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn nothing_is_said_about_skipped_tests_when_there_are_none() {
        assert_eq!(
            TestCounts {
                passed: 1,
                failed: 0,
                skipped: 0
            }
            .to_string(),
            "1 passed, 0 failed"
        );
    }
}
