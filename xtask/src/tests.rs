//! `cargo xtask test`: unit and conformance tests, then the end-to-end suites on real parts.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use windlass_parts::{Parts, workspace_root};

use crate::suites::{self, Outcome};
use crate::{cargo, terminal};

/// The package of the suites that need the real parts.
const END_TO_END: &str = "windlass-e2e";

/// Longest time for unit and conformance tests; building them cold is most of it.
const UNIT_DEADLINE: Duration = Duration::from_mins(40);
/// Longest time for one end-to-end suite, with what it takes to build it.
const END_TO_END_DEADLINE: Duration = Duration::from_mins(15);

/// What is to be run.
pub(crate) enum Scope {
    All,
    /// Without the end-to-end suites.
    Fast,
    /// One end-to-end suite.
    Suite(String),
}

pub(crate) fn run(scope: &Scope) -> Result<()> {
    let begun = Instant::now();
    let mut outcomes = Vec::new();
    if !matches!(scope, Scope::Suite(_)) {
        let workspace = [
            "test",
            "--no-fail-fast",
            "--workspace",
            "--exclude",
            END_TO_END,
        ];
        outcomes.push(suites::run(
            "unit-and-conformance",
            UNIT_DEADLINE,
            cargo::command(&workspace),
        )?);
    }
    if !matches!(scope, Scope::Fast) {
        end_to_end(scope, &mut outcomes)?;
    }
    let is_success = suites::report(&outcomes);
    terminal::say(&format!("in {}", terminal::time(begun.elapsed())));
    if !is_success {
        bail!("not all suites passed");
    }
    Ok(())
}

fn end_to_end(scope: &Scope, outcomes: &mut Vec<Outcome>) -> Result<()> {
    let suites: Vec<String> = end_to_end_suites()?
        .into_iter()
        .filter(|suite| !matches!(scope, Scope::Suite(wanted) if wanted != suite))
        .collect();
    if suites.is_empty() {
        bail!(
            "there is no such suite; there are: {}",
            end_to_end_suites()?.join(", ")
        );
    }
    let has_parts = step("parts", outcomes, || {
        Parts::ensure(&mut terminal::say).map(drop)
    });
    let named = env::var_os("WINDLASS_BIN").filter(|path| !path.is_empty());
    let has_binary = named.is_some()
        || step("release-build", outcomes, || {
            cargo::run(&["build", "--release", "--package", "windlass"])
        });
    if !has_parts || !has_binary {
        return Ok(());
    }

    let built = || cargo::target_directory().join("release").join("windlass");
    let binary = named.map_or_else(built, PathBuf::from);
    let temporary = Temporary::make()?;
    for suite in suites {
        let mut command = cargo::command(&["test", "--package", END_TO_END, "--test", &suite]);
        // One test bed for the tests of a suite, one test at a time.
        command.args(["--", "--test-threads=1", "--nocapture"]);
        command
            .env("WINDLASS_BIN", &binary)
            .env("TMPDIR", temporary.of(&suite)?);
        let outcome = suites::run(&suite, END_TO_END_DEADLINE, command)?;
        if outcome.is_success {
            temporary.forget(&suite)?;
        } else {
            temporary.show(&suite);
        }
        outcomes.push(outcome);
    }
    temporary.end();
    Ok(())
}

/// Does something that the suites need; a failure is told and ends up in the table.
fn step(name: &str, outcomes: &mut Vec<Outcome>, act: impl FnOnce() -> Result<()>) -> bool {
    terminal::say(&format!("=== {name}"));
    let begun = Instant::now();
    let done = act();
    let time = begun.elapsed();
    terminal::say(&format!("{name}: {}", terminal::time(time)));
    if let Err(error) = &done {
        terminal::say(&format!("error: {error:#}"));
        outcomes.push(Outcome::of_failed_step(name, time));
    }
    done.is_ok()
}

/// The names of `tests/*.rs` of the end-to-end package, sorted.
fn end_to_end_suites() -> Result<Vec<String>> {
    let directory = workspace_root()
        .join("crates")
        .join(END_TO_END)
        .join("tests");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("list `{}`", directory.display()))?;
    let mut suites = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("list `{}`", directory.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            suites.extend(
                path.file_stem()
                    .and_then(|stem| stem.to_str())
                    .map(str::to_owned),
            );
        }
    }
    suites.sort_unstable();
    Ok(suites)
}

/// Where the test beds of the suites keep state and logs. A suite that failed leaves its own.
struct Temporary(PathBuf);

impl Temporary {
    fn make() -> Result<Self> {
        let path = env::temp_dir().join(format!("windlass-test-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("create `{}`", path.display()))?;
        Ok(Self(path))
    }

    fn of(&self, suite: &str) -> Result<PathBuf> {
        let path = self.0.join(suite);
        fs::create_dir_all(&path).with_context(|| format!("create `{}`", path.display()))?;
        Ok(path)
    }

    fn forget(&self, suite: &str) -> Result<()> {
        let path = self.0.join(suite);
        // The reaper may still be about to remove the store's data.
        let begun = Instant::now();
        loop {
            match fs::remove_dir_all(&path) {
                Err(error) if Duration::from_secs(30) <= begun.elapsed() => {
                    return Err(error).context(format!("remove `{}`", path.display()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn show(&self, suite: &str) {
        let directory = self.0.join(suite);
        terminal::say(&format!(
            "the logs of {suite} are kept in `{}`",
            directory.display()
        ));
        let mut logs = Vec::new();
        find_logs(&directory, &mut logs);
        logs.sort_unstable();
        for log in logs {
            show_end(&log);
        }
    }

    /// Removes the directory, if no suite has left anything.
    fn end(self) {
        // Not empty: a suite has failed, and where its logs are has been said.
        let _ = fs::remove_dir(self.0);
    }
}

fn find_logs(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_logs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
}

/// The end of a log, for a machine whose files nobody can look at afterwards.
fn show_end(log: &Path) {
    let Ok(tail) = Command::new("tail").args(["-n", "15"]).arg(log).output() else {
        return;
    };
    terminal::say(&format!("--- the end of {}", log.display()));
    for line in String::from_utf8_lossy(&tail.stdout).lines() {
        let line: String = line.chars().take(400).collect();
        terminal::say(&line);
    }
}
