use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::terminal;

/// Where the test beds of the suites keep state and logs. A suite that failed leaves its own.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn make() -> Result<Self> {
        let path = env::temp_dir().join(format!("windlass-test-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("create `{}`", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn of(&self, suite: &str) -> Result<PathBuf> {
        let path = self.0.join(suite);
        fs::create_dir_all(&path).with_context(|| format!("create `{}`", path.display()))?;
        Ok(path)
    }

    pub(super) fn forget(&self, suite: &str) -> Result<()> {
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

    pub(super) fn show(&self, suite: &str) {
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
    pub(super) fn end(self) {
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
