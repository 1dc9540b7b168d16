//! One suite: run it, let its output through, count its tests, keep the time.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::terminal;

/// How a suite ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Whether all went well; a suite that does not compile fails without a failed test.
    pub(crate) is_success: bool,
    pub(crate) time: Duration,
    /// The lines that say what failed and why, of a suite that did.
    pub(crate) reasons: Vec<String>,
}

impl Outcome {
    /// A step that is no suite of tests and did not work out.
    pub(crate) fn of_failed_step(name: &str, time: Duration) -> Self {
        Self {
            name: name.to_owned(),
            passed: 0,
            failed: 0,
            is_success: false,
            time,
            reasons: Vec::new(),
        }
    }
}

/// How a suite's output is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// As it is.
    Lines,
    /// Each line with the suite's name before it, since others run at the same time.
    LinesWithName,
}

/// Runs `command`, whose output has the closing lines of cargo's tests.
pub(crate) fn run(
    name: &str,
    deadline: Duration,
    mut command: Command,
    show: Show,
) -> Result<Outcome> {
    terminal::say(&format!("=== {name}"));
    let begun = Instant::now();
    // Both streams in one, so that what a test says stands where it said it.
    let (output, input) = io::pipe().context("make a pipe")?;
    command.stdin(Stdio::null());
    command.stdout(input.try_clone().context("share a pipe")?);
    command.stderr(input);
    let mut child = command
        .spawn()
        .with_context(|| format!("run the suite {name}"))?;
    // It holds the pipe's other end, which would then never close.
    drop(command);
    let watchdog = Watchdog::start(child.id(), deadline);
    let mut counts = Counts::default();
    let mut reasons = Reasons::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("read the output of {name}"))?;
        let line = String::from_utf8_lossy(&line);
        match show {
            Show::Lines => terminal::print(&line),
            Show::LinesWithName => terminal::print(&format!("{name} | {line}")),
        }
        counts.add(&line);
        reasons.add(&line);
    }
    let status = child.wait().with_context(|| format!("wait for {name}"))?;
    let was_ended = watchdog.end();
    if was_ended {
        terminal::say(&format!(
            "{name} was ended after {}",
            terminal::time(deadline)
        ));
    }
    let is_success = status.success() && counts.failed == 0 && !was_ended;
    let outcome = Outcome {
        name: name.to_owned(),
        passed: counts.passed,
        failed: counts.failed,
        is_success,
        time: begun.elapsed(),
        reasons: if is_success {
            Vec::new()
        } else {
            reasons.lines
        },
    };
    terminal::print(&format!(
        "{name}: {} passed, {} failed, {}",
        outcome.passed,
        outcome.failed,
        terminal::time(outcome.time)
    ));
    Ok(outcome)
}

/// Ends a suite that hangs, so that the others still get their turn and CI its verdict.
struct Watchdog {
    dismissed: mpsc::Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    fn start(cargo: u32, deadline: Duration) -> Self {
        let (dismissed, dismissal) = mpsc::channel();
        let thread = thread::spawn(move || {
            let is_over = dismissal.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout);
            if is_over {
                // The test process first: it is what holds the output open.
                for process in children(cargo).into_iter().chain([cargo]) {
                    let _ = Command::new("kill")
                        .args(["-KILL", &process.to_string()])
                        .status();
                }
            }
            is_over
        });
        Self { dismissed, thread }
    }

    /// Whether it had to step in.
    fn end(self) -> bool {
        drop(self.dismissed);
        self.thread.join().unwrap_or(false)
    }
}

/// The kernel lists a child under the thread that started it.
fn children(parent: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{parent}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter_map(|id| id.parse().ok())
        .collect()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
}

impl Counts {
    /// Adds what a line such as `test result: ok. 3 passed; 0 failed; …` says.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<&str> = result.split_whitespace().collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<usize>() else {
                continue;
            };
            match pair[1] {
                "passed;" => self.passed += count,
                "failed;" => self.failed += count,
                _ => {}
            }
        }
    }
}

/// Picks out of a suite's output what tells why it failed: each error or panic with the lines
/// after it, and the names of the tests that failed.
#[derive(Debug, Default)]
struct Reasons {
    lines: Vec<String>,
    /// How many of the lines to come belong to the last reason.
    following: usize,
}

impl Reasons {
    /// An assertion's two sides, or an error's causes.
    const FOLLOWING: usize = 12;
    /// What a table's reader can take in.
    const MOST: usize = 120;

    fn add(&mut self, line: &str) {
        let tells = line.starts_with("error")
            || line.contains("Error: ")
            || line.contains("panicked at")
            || line.ends_with(" FAILED")
            || line == "FAILED";
        if tells {
            self.following = Self::FOLLOWING;
        } else if line.starts_with("Stack backtrace") || line.starts_with("test result: ok") {
            self.following = 0;
        } else {
            let Some(rest) = self.following.checked_sub(1) else {
                return;
            };
            self.following = rest;
        }
        if (tells || 0 < self.following) && self.lines.len() < Self::MOST {
            self.lines.push(line.to_owned());
        }
    }
}

/// The closing table, and why what failed did; whether all went well.
pub(crate) fn report(outcomes: &[Outcome]) -> bool {
    let width = outcomes
        .iter()
        .map(|outcome| outcome.name.len())
        .max()
        .unwrap_or(0);
    terminal::print("");
    for Outcome {
        name,
        passed,
        failed,
        is_success,
        time,
        reasons: _,
    } in outcomes
    {
        let verdict = if *is_success { "ok" } else { "FAILED" };
        terminal::print(&format!(
            "{name:width$}  {verdict:6}  {passed:>5} passed  {failed:>3} failed  {:>13}",
            terminal::time(*time),
        ));
    }
    for outcome in outcomes
        .iter()
        .filter(|outcome| !outcome.reasons.is_empty())
    {
        terminal::print(&format!("\nwhat failed in {}:", outcome.name));
        for line in &outcome.reasons {
            terminal::print(&format!("    {line}"));
        }
    }
    let passed: usize = outcomes.iter().map(|outcome| outcome.passed).sum();
    let failed: usize = outcomes.iter().map(|outcome| outcome.failed).sum();
    terminal::print(&format!("all: {passed} passed, {failed} failed"));
    outcomes.iter().all(|outcome| outcome.is_success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_hangs_is_ended_and_has_failed() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo 'test result: ok. 1 passed; 0 failed; 0 ignored'; sleep 600; :",
        ]);
        let outcome = run("hangs", Duration::from_millis(300), command, Show::Lines).unwrap();
        assert_eq!((outcome.passed, outcome.is_success), (1, false));
        assert!(outcome.time < Duration::from_mins(1));
    }

    #[test]
    fn the_reasons_of_a_failure_are_kept() {
        let script = "echo 'running 2 tests'; echo 'test one ... ok'; \
                      echo 'Error: 6 pods are pending' >&2; echo; echo 'Caused by: x'; \
                      echo 'Stack backtrace:'; echo '  0: main'; echo 'test two ... FAILED'; \
                      echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 1";
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let outcome = run("fails", Duration::from_mins(1), command, Show::Lines).unwrap();
        assert_eq!((outcome.failed, outcome.is_success), (1, false));
        let expected = [
            "Error: 6 pods are pending",
            "",
            "Caused by: x",
            "test two ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored",
        ];
        assert_eq!(outcome.reasons, expected);
        assert!(!report(&[outcome]));
    }

    #[test]
    fn closing_lines_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            "test the_result ... ok",
        ] {
            counts.add(line);
        }
        assert_eq!(
            counts,
            Counts {
                passed: 13,
                failed: 2
            }
        );
    }
}
