//! What one test bed has to do: a suite, or its share of one that takes long.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// A suite, or the tests of one that are a test bed's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) suite: String,
    /// Which of how many shares, from 0 on; none for a suite as a whole.
    part: Option<(usize, usize)>,
}

impl Share {
    pub(super) fn whole(suite: String) -> Self {
        Self { suite, part: None }
    }

    /// So many of a suite that together are all of it.
    pub(super) fn shares(suite: &str, count: usize) -> impl Iterator<Item = Self> {
        (0..count).map(move |part| Self {
            suite: suite.to_owned(),
            part: Some((part, count)),
        })
    }

    /// What its lines and its logs are named.
    pub(super) fn name(&self) -> String {
        match self.part {
            None => self.suite.clone(),
            Some((part, _)) => format!("{}-{}", self.suite, part + 1),
        }
    }

    /// The arguments that select its tests; `list` runs the suite with `--list`.
    pub(super) fn tests(&self, list: impl FnOnce() -> Command) -> Result<Vec<String>> {
        let Some((part, count)) = self.part else {
            return Ok(Vec::new());
        };
        let output = list()
            .output()
            .with_context(|| format!("list the tests of {}", self.suite))?;
        ensure!(
            output.status.success(),
            "the tests of {} cannot be listed: {}",
            self.suite,
            String::from_utf8_lossy(&output.stderr)
        );
        let listed = String::from_utf8_lossy(&output.stdout);
        let mine = of_part(&listed, part, count);
        ensure!(
            !mine.is_empty(),
            "{} has fewer than {count} tests",
            self.suite
        );
        Ok(["--exact".to_owned()].into_iter().chain(mine).collect())
    }
}

/// The tests of a list (`NAME: test`, one a line) that are the part's. Neighbours are often alike,
/// and as long: they go to different parts.
fn of_part(listed: &str, part: usize, count: usize) -> Vec<String> {
    let tests = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    tests.skip(part).step_by(count).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_is_in_one_part() {
        let listed = "a: test\nb::c: test\n\nd: benchmark\ne: test\n";
        assert_eq!(of_part(listed, 0, 2), ["a", "e"]);
        assert_eq!(of_part(listed, 1, 2), ["b::c"]);
        assert!(of_part(listed, 3, 4).is_empty());
    }

    #[test]
    fn a_list_that_cannot_be_had_fails() {
        let part = Share::shares("x", 2).next().unwrap();
        assert!(part.tests(|| Command::new("false")).is_err());
        assert!(part.tests(|| Command::new("true")).is_err());
        let whole = Share::whole("x".to_owned());
        assert!(whole.tests(|| Command::new("false")).unwrap().is_empty());
    }
}
