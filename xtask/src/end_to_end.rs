//! The suites that need real parts: what they need is built first, then they run, several at a time.

mod share;
mod temporary;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use windlass_parts::{ImageParts, NodeParts, Parts, workspace_root};

use crate::suites::{self, Outcome, Show};
use crate::{cargo, terminal};
use share::Share;
use temporary::Temporary;

/// The package whose `tests/*.rs` are suites.
pub(crate) const PACKAGE: &str = "windlass-e2e";
/// Suites of other packages, which need moto alone; [`SELECTION`] turns them on.
const ELSEWHERE: [&str; 1] = ["moto"];
/// What every suite is built with: the whole workspace and always the same features, because a
/// selection of packages would build their dependencies with other features once more.
pub(crate) const SELECTION: [&str; 3] = ["--workspace", "--features", "windlass-aws/moto-tests"];
/// What runs by itself after all others: it measures times.
const ALONE: &[&str] = &["reaction"];
/// Suites that run one after the other, since each has container runtimes and kubelets enough.
const IN_TURN: &[&str] = &["join", "howto", "from_zero"];
/// The longest, which begin first so that none is left to run by itself at the end.
const LONGEST_FIRST: &[&str] = &[
    "join",
    "aws_outages",
    "api_server_outages",
    "failover",
    "scale_down_kill",
    "ami",
    "ami_faults",
    "provision",
    "verify",
    "scale_down",
    "aws",
    "testbed",
];
/// Suites of which several test beds have a share each, or they would end long after all others.
const IN_SHARES: &[(&str, usize)] = &[("verify", 3), ("provision", 2)];
/// Suites that join a real node, and need its programs.
const WITH_A_NODE: &[&str] = &["join", "howto", "from_zero"];
/// Suites that build machine images, and need a Debian to build in.
const WITH_AN_IMAGE: &[&str] = &["ami", "from_zero"];
/// Suites whose tests run at the same time, since each keeps to names of its own, and how many do:
/// all where they wait for times to pass, some where each has a container runtime and a kubelet.
const TOGETHER: &[(&str, &str)] = &[("token", "--test-threads=32"), ("join", "--test-threads=6")];

/// Longest time for one suite: it ends what hangs, and not what is slow.
const DEADLINE: Duration = Duration::from_mins(45);
/// Suites wait more than they compute, and a test bed takes some 600 MiB.
const AT_A_TIME: usize = 7;

/// Which suites are to be run.
pub(crate) enum Wanted<'a> {
    All,
    One(&'a str),
}

/// Suites of which some run at the same time.
struct Stage {
    /// Each one's suites run one after the other.
    lanes: Vec<Vec<Share>>,
    at_a_time: usize,
}

/// Runs the suites and appends what came of each.
pub(crate) fn run(wanted: &Wanted<'_>, outcomes: &mut Vec<Outcome>) -> Result<()> {
    let all = all_suites()?;
    let suites: Vec<String> = all
        .iter()
        .filter(|suite| !matches!(wanted, Wanted::One(name) if name != suite))
        .cloned()
        .collect();
    if suites.is_empty() {
        bail!("there is no such suite; there are: {}", all.join(", "));
    }
    let mut parts = None;
    let has_parts = step("parts", outcomes, || {
        parts = Some(Parts::ensure(&mut terminal::say)?);
        if suites.iter().any(|suite| WITH_A_NODE.contains(&&**suite)) {
            NodeParts::ensure(&mut terminal::say)?;
            windlass_parts::aws_cli(&mut terminal::say)?;
        }
        if suites.iter().any(|suite| WITH_AN_IMAGE.contains(&&**suite)) {
            ImageParts::ensure(&mut terminal::say)?;
        }
        Ok(())
    });
    let given = env::var_os("WINDLASS_BIN").filter(|path| !path.is_empty());
    let has_binary = given.is_some()
        || step("release-build", outcomes, || {
            cargo::run(&["build", "--release", "--package", "windlass"])
        });
    let has_tests = step("suites-build", outcomes, || build(&suites));
    let Some(parts) = parts.filter(|_| has_parts && has_binary && has_tests) else {
        return Ok(());
    };

    let built = || cargo::target_directory().join("release").join("windlass");
    let field = Field {
        binary: given.map_or_else(built, PathBuf::from),
        moto: parts.moto_server,
        temporary: Temporary::make()?,
        // Suites side by side would tell their lines apart no more.
        show: if suites.len() > 1 {
            Show::LinesWithName
        } else {
            Show::Lines
        },
    };
    for stage in stages(&suites) {
        let run_lane = |lane: &Vec<Share>| lane.iter().map(|share| field.run(share)).collect();
        let ran: Vec<Vec<Outcome>> = side_by_side(&stage.lanes, stage.at_a_time, run_lane)?;
        outcomes.extend(ran.into_iter().flatten());
    }
    field.temporary.end();
    Ok(())
}

/// What the suites run with.
struct Field {
    binary: PathBuf,
    moto: PathBuf,
    temporary: Temporary,
    show: Show,
}

impl Field {
    fn run(&self, share: &Share) -> Result<Outcome> {
        let name = share.name();
        let of_suite = || {
            let mut command = cargo::command(&["test"]);
            command.args(selection(slice::from_ref(&share.suite)));
            command
        };
        let tests = share.tests(|| {
            let mut command = of_suite();
            command.args(["--quiet", "--", "--list", "--format=terse"]);
            command
        })?;
        let mut command = of_suite();
        // One test bed for all of these tests.
        command.args(["--", threads(&share.suite), "--nocapture"]);
        command
            .args(tests)
            .env("WINDLASS_BIN", &self.binary)
            .env("WINDLASS_MOTO_SERVER", &self.moto)
            .env("TMPDIR", self.temporary.of(&name)?);
        let outcome = suites::run(&name, DEADLINE, command, self.show)?;
        if outcome.is_success {
            self.temporary.forget(&name)?;
        } else {
            self.temporary.show(&name);
        }
        Ok(outcome)
    }
}

/// How many tests of a suite run at the same time.
fn threads(suite: &str) -> &'static str {
    let together = TOGETHER.iter().find(|(name, _)| *name == suite);
    together.map_or("--test-threads=1", |(_, threads)| threads)
}

/// Does `work` for each item, so many at a time, and gives the results in the items' order.
fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    at_a_time: usize,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let take_turns = || -> Result<Vec<(usize, R)>> {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else {
                return Ok(done);
            };
            done.push((place, work(item)?));
        }
    };
    let mut results = Vec::new();
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(take_turns)).collect();
        for worker in workers {
            let Ok(done) = worker.join() else {
                bail!("a thread that runs suites has panicked");
            };
            results.extend(done?);
        }
        Ok(())
    })?;
    results.sort_by_key(|(place, _)| *place);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Builds the suites, so that the time of each is the time that it runs.
fn build(suites: &[String]) -> Result<()> {
    let mut command = cargo::command(&["test", "--no-run"]);
    let status = command
        .args(selection(suites))
        .status()
        .context("run cargo")?;
    if !status.success() {
        bail!("the suites do not compile: {status}");
    }
    Ok(())
}

/// cargo's arguments for these suites.
fn selection(suites: &[String]) -> Vec<&str> {
    let mut arguments = SELECTION.to_vec();
    for suite in suites {
        arguments.extend(["--test", suite]);
    }
    arguments
}

/// Does something that the suites need; a failure is told and ends up in the table.
pub(crate) fn step(
    name: &str,
    outcomes: &mut Vec<Outcome>,
    act: impl FnOnce() -> Result<()>,
) -> bool {
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

/// The `tests/*.rs` of the package, sorted, and those elsewhere.
fn all_suites() -> Result<Vec<String>> {
    let package = workspace_root().join("crates").join(PACKAGE);
    // Tests of another crate under the same name run along, since cargo selects by name alone.
    let names = test_names(&package)?;
    let elsewhere = ELSEWHERE.into_iter().map(str::to_owned);
    Ok(elsewhere.chain(names).collect())
}

/// These suites in the order in which they run.
fn stages(suites: &[String]) -> Vec<Stage> {
    let (alone, mut together): (Vec<String>, Vec<String>) = suites
        .iter()
        .cloned()
        .partition(|suite| ALONE.contains(&&**suite));
    together.sort_by_key(|suite| {
        let place = LONGEST_FIRST.iter().position(|long| long == suite);
        place.unwrap_or(LONGEST_FIRST.len())
    });
    let (in_turn, others): (Vec<String>, Vec<String>) = together
        .into_iter()
        .partition(|suite| IN_TURN.contains(&&**suite));
    let whole = |suites: Vec<String>| suites.into_iter().map(Share::whole).collect();
    let others = others.iter().flat_map(|suite| shares(suite, suites.len()));
    let first = Stage {
        lanes: [whole(in_turn)]
            .into_iter()
            .chain(others.map(|share| vec![share]))
            .collect(),
        at_a_time: AT_A_TIME,
    };
    let last = Stage {
        lanes: vec![whole(alone)],
        at_a_time: 1,
    };
    vec![first, last]
}

/// What there is to run of a suite when so many run: its shares, or all of it where it runs by itself.
fn shares(suite: &str, suites: usize) -> Vec<Share> {
    let shared = IN_SHARES.iter().find(|(name, _)| *name == suite);
    match shared {
        Some((_, count)) if 1 < suites => Share::shares(suite, *count).collect(),
        _ => vec![Share::whole(suite.to_owned())],
    }
}

/// The names of a package's integration tests, sorted.
fn test_names(package: &Path) -> Result<Vec<String>> {
    let directory = package.join("tests");
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in sorted(&directory)? {
        let is_directory = directory.join(&entry).join("main.rs").is_file();
        names.extend(
            entry
                .strip_suffix(".rs")
                .or(is_directory.then_some(&entry))
                .map(str::to_owned),
        );
    }
    Ok(names)
}

/// The names in a directory, sorted.
fn sorted(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        fs::read_dir(directory).with_context(|| format!("list `{}`", directory.display()))?
    {
        let entry = entry.with_context(|| format!("list `{}`", directory.display()))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_a_time_and_results_in_order() {
        let running = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let results = side_by_side(&[30_u64, 10, 20, 0], 2, |milliseconds| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(*milliseconds));
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(*milliseconds)
        });
        assert_eq!(results.unwrap(), [30, 10, 20, 0]);
        assert!(most.load(Ordering::SeqCst) <= 2);
        assert!(side_by_side(&[1, 2], 2, |_| -> Result<()> { bail!("no") }).is_err());
    }

    #[test]
    fn suites_are_found_by_their_files_and_each_runs_once() {
        let suites = all_suites().unwrap();
        for name in ["moto", "failover", "seed_scale_test"] {
            assert!(suites.iter().any(|suite| suite == name), "{name}");
        }
        let run = stages(&suites);
        let run = run.iter().flat_map(|stage| stage.lanes.iter().flatten());
        let mut run: Vec<String> = run.map(Share::name).collect();
        run.sort_unstable();
        let all = suites.iter().flat_map(|suite| shares(suite, suites.len()));
        let mut all: Vec<String> = all.map(|share| share.name()).collect();
        all.sort_unstable();
        assert_eq!(run, all);
        let in_shares = IN_SHARES.iter().map(|(name, _)| name);
        let named = ALONE.iter().chain(IN_TURN);
        let together = TOGETHER.iter().map(|(name, _)| name);
        let named = named.chain(LONGEST_FIRST);
        let named = named.chain(WITH_A_NODE).chain(WITH_AN_IMAGE);
        for name in named.chain(together).chain(in_shares) {
            assert!(
                suites.iter().any(|suite| suite == name),
                "there is no suite `{name}`"
            );
        }
    }

    #[test]
    fn one_suite_runs_alone() {
        let stages = stages(&["verify".to_owned()]);
        let lanes: Vec<_> = stages.into_iter().flat_map(|stage| stage.lanes).collect();
        assert_eq!(lanes.concat(), [Share::whole("verify".to_owned())]);
    }
}
