//! Counts of tests, read off what their programs print.

/// Results of all test binaries together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Tests.
    pub(crate) passed: u32,
    /// Tests.
    pub(crate) failed: u32,
    /// Tests, and what else could not be run.
    pub(crate) skipped: u32,
    /// What the failed tests printed and their names, as their binaries tell it before their closing lines.
    pub(crate) failures: Vec<String>,
    /// Whether the binary that runs is telling that.
    tells_failures: bool,
}

impl Summary {
    /// [`Self::add`] for all lines of a guest.
    pub(crate) fn add_all(&mut self, lines: &[String]) {
        lines.iter().for_each(|line| self.add(line));
    }

    /// Adds a line of a test binary: the closing one with its numbers, and those that tell of failures.
    pub(crate) fn add(&mut self, line: &str) {
        // The outputs of failed tests stand between this word and, once more, their names.
        self.tells_failures |= line == "failures:";
        let Some(result) = line.strip_prefix("test result: ") else {
            if self.tells_failures {
                self.failures.push(line.to_owned());
            }
            return;
        };
        self.tells_failures = false;
        let count = |label: &str| {
            let words: Vec<&str> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
            let at = words.iter().position(|word| *word == label)?;
            words.get(at.checked_sub(1)?)?.parse::<u32>().ok()
        };
        self.passed += count("passed").unwrap_or(0);
        self.failed += count("failed").unwrap_or(0);
        self.skipped += count("ignored").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_closing_lines_of_test_binaries() {
        let mut summary = Summary::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test one ... FAILED",
            "failures:",
            "---- one stdout ----",
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s",
            "note: 9 passed; 9 failed",
        ] {
            summary.add(line);
        }
        let failures = ["failures:", "---- one stdout ----"].map(String::from).to_vec();
        let expected = Summary { passed: 5, failed: 4, skipped: 1, failures, tells_failures: false };
        assert_eq!(summary, expected);
    }
}
