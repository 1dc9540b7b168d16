//! No secret where others can read it: every log, every event, every argument list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use windlass_testbed::{Part, Testbed};

/// How often the running programs are looked at: most of them live longer.
const LOOK: Duration = Duration::from_millis(10);
/// A program has its arguments once it has been executed, which is soon after it has begun as a copy of
/// another. It is looked at so many times, and then one time in so many: hundreds run all the time.
const LOOKS: usize = 50;

/// Fails if a secret is in a log of what tests have started (the logs of the cluster's own parts are
/// not ours) or in an event of any namespace. Says how much it has looked at.
pub fn check_what_was_said(testbed: &Testbed, secrets: &[String]) -> Result<String> {
    ensure!(!secrets.is_empty(), "there is no secret to look for");
    let parts: BTreeSet<&str> = Part::ALL.into_iter().map(Part::name).collect();
    let mut logs = BTreeSet::new();
    for entry in fs::read_dir(testbed.log_directory())?.flatten() {
        let path = entry.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.unwrap_or_default().to_owned();
        if parts.contains(name.as_str()) {
            continue;
        }
        let text = fs::read(&path).with_context(|| format!("read `{}`", path.display()))?;
        let text = String::from_utf8_lossy(&text);
        for secret in secrets {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            ensure!(line.is_none(), "a secret is in the log {name}: {line:?}");
        }
        logs.insert(name);
    }
    let events = testbed.cluster().events("")?;
    let text = serde_json::to_string(&events)?;
    for secret in secrets {
        ensure!(!text.contains(secret.as_str()), "a secret is in an event");
    }
    Ok(format!(
        "{} secrets are in none of {} events and of the logs {logs:?}",
        secrets.len(),
        events.len()
    ))
}

/// The files below `places` that have a secret in them, found by `grep`, which is where it is to run.
/// The secret goes in by standard input: an argument is for everybody to read.
pub fn files_with(mut grep: Command, secret: &str, places: &[&str]) -> Result<Vec<String>> {
    let mut running = grep
        .args(["-rlF", "-f", "-"])
        .args(places)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("run grep")?;
    let mut stdin = running.stdin.take().context("a pipe")?;
    writeln!(stdin, "{secret}")?;
    drop(stdin);
    let found = running.wait_with_output()?;
    let found = String::from_utf8_lossy(&found.stdout);
    Ok(found.lines().map(str::to_owned).collect())
}

/// Looks at the argument lists of all programs of the machine, again and again, from its making on.
#[derive(Clone, Debug)]
pub struct ArgumentLists(Arc<Mutex<BTreeSet<String>>>);

impl ArgumentLists {
    /// Starts to look; it ends with the last clone.
    pub fn watch() -> Self {
        let lists = Self(Arc::default());
        let weak = Arc::downgrade(&lists.0);
        thread::spawn(move || {
            let mut known = BTreeMap::new();
            while let Some(seen) = weak.upgrade() {
                let now = argument_lists(&mut known);
                lock(&seen).extend(now);
                drop(seen);
                thread::sleep(LOOK);
            }
        });
        lists
    }

    /// Fails if one of the secrets was in an argument list. Says which of `programs` were seen,
    /// and fails if one of them was not: then nothing was shown about it.
    pub fn check(&self, programs: &[&str], secrets: &[String]) -> Result<String> {
        let seen = lock(&self.0);
        for arguments in seen.iter() {
            let has_secret = secrets.iter().any(|it| arguments.contains(it.as_str()));
            ensure!(!has_secret, "a secret is in the arguments `{arguments}`");
        }
        let count = |program: &str| {
            let is_it = |arguments: &&String| {
                let path = arguments.split('\0').next().unwrap_or_default();
                path.rsplit('/').next() == Some(program)
            };
            seen.iter().filter(is_it).count()
        };
        let counts: Vec<String> = programs
            .iter()
            .map(|program| format!("{program}: {}", count(program)))
            .collect();
        for program in programs {
            ensure!(count(program) > 0, "{program} was never seen: {counts:?}");
        }
        Ok(format!(
            "{} secrets are in none of the argument lists seen ({})",
            secrets.len(),
            counts.join(", ")
        ))
    }
}

fn lock(seen: &Mutex<BTreeSet<String>>) -> MutexGuard<'_, BTreeSet<String>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The argument lists of the programs that run now, words apart by NUL. `known` has how often each
/// process has been looked at.
fn argument_lists(known: &mut BTreeMap<u32, usize>) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let looks: BTreeMap<u32, usize> = processes
        .map(|process| (process, known.get(&process).map_or(1, |looks| looks + 1)))
        .collect();
    let due = looks
        .iter()
        .filter(|(_, looks)| **looks <= LOOKS || **looks % LOOKS == 0);
    let lists = due
        .filter_map(|(process, _)| fs::read(format!("/proc/{process}/cmdline")).ok())
        .map(|arguments| String::from_utf8_lossy(&arguments).into_owned())
        .collect();
    *known = looks;
    lists
}
