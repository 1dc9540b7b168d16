//! The gate on instruction counts: unlike times they are the same on a busy machine.

#![expect(clippy::print_stdout, reason = "the report that the run is for")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::scenarios::{self, Scenario};

/// The argument of a run under valgrind; a path's name and a step follow.
pub(crate) const RUN: &str = "--run";

/// A count may grow by so many per cent. Changes elsewhere in the crate move what the compiler
/// inlines, which has made up to 10 per cent of difference; what is worth a look makes more.
const TOLERANCE_PER_CENT: u64 = 15;

/// A hot path: what is made ready, and what is then counted.
struct HotPath {
    name: &'static str,
    scenario: fn() -> Scenario,
    run: fn(&mut Scenario),
}

const PATHS: [HotPath; 7] = [
    HotPath {
        name: "full-nodes",
        scenario: scenarios::full_nodes,
        run: place_all,
    },
    HotPath {
        name: "equal-pods",
        scenario: || scenarios::plain(10_000, 200, false),
        run: place_all,
    },
    HotPath {
        name: "different-pods",
        scenario: || scenarios::plain(10_000, 200, true),
        run: place_all,
    },
    HotPath {
        name: "hostname-anti-affinity",
        scenario: || scenarios::hostname_anti_affinity(1_000),
        run: place_all,
    },
    HotPath {
        name: "only-the-last-fits",
        scenario: || scenarios::only_the_last_fits(5_001),
        run: place_all,
    },
    HotPath {
        name: "zone-spread",
        scenario: || scenarios::zone_spread(3_000, 300),
        run: place_all,
    },
    HotPath {
        name: "empty-nodes",
        scenario: || scenarios::crowded(100, 40),
        run: |scenario| scenario.empty_nodes(60),
    },
];

fn place_all(scenario: &mut Scenario) {
    scenario.place_all();
}

/// Makes a path ready and, unless `step` is `ready`, goes it.
pub(crate) fn run(name: &str, step: &str) -> ExitCode {
    let Some(path) = PATHS.iter().find(|path| path.name == name) else {
        eprintln!("error: there is no hot path `{name}`");
        return ExitCode::FAILURE;
    };
    let mut scenario = (path.scenario)();
    if step != "ready" {
        (path.run)(&mut scenario);
    }
    // Whoever counts takes one run from the other, and ends at the same place in both.
    std::process::exit(0)
}

/// Holds every count against the file's.
pub(crate) fn check() -> ExitCode {
    finish(counts().and_then(|counts| {
        let known = read()?;
        let mut has_grown = false;
        for (name, count) in &counts {
            let Some((_, most)) = known.iter().find(|(known, _)| known == name) else {
                return Err(format!("`{}` has no line `{name}`", file().display()));
            };
            let limit = most + most * TOLERANCE_PER_CENT / 100;
            let verdict = if limit < *count { "GROWN" } else { "ok" };
            has_grown |= limit < *count;
            let percent = (*count as f64 / *most as f64 - 1.0) * 100.0;
            println!("{name:24} {count:>13} instructions, {percent:+.1} %: {verdict}");
        }
        if has_grown {
            return Err(format!(
                "a hot path takes more than {TOLERANCE_PER_CENT} % more instructions than recorded. \
                 If that is meant, record the new counts: cargo xtask instructions --write"
            ));
        }
        Ok(())
    }))
}

/// Writes the file.
pub(crate) fn write() -> ExitCode {
    finish(counts().and_then(|counts| {
        let lines = counts.iter().map(|(name, count)| format!("{name} {count}\n"));
        let text = String::from(
            "# Machine instructions of the scheduler's hot paths, counted by valgrind for x86-64:\n\
             # `cargo xtask instructions` fails where one has grown, `--write` records them anew.\n",
        );
        let text = lines.fold(text, |text, line| text + &line);
        let file = file();
        fs::write(&file, text).map_err(|error| format!("write `{}`: {error}", file.display()))
    }))
}

fn finish(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

fn read() -> Result<Vec<(String, u64)>, String> {
    let file = file();
    let text =
        fs::read_to_string(&file).map_err(|error| format!("read `{}`: {error}", file.display()))?;
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, count) = line.split_once(' ').unwrap_or((line, ""));
            let count = count
                .parse()
                .map_err(|_| format!("`{}`: `{line}` is not NAME COUNT", file.display()))?;
            Ok((name.to_owned(), count))
        })
        .collect()
}

/// What each path takes: what going it takes beyond making it ready.
fn counts() -> Result<Vec<(&'static str, u64)>, String> {
    PATHS
        .iter()
        .map(|path| {
            let gone = count(path.name, "go")?;
            let ready = count(path.name, "ready")?;
            Ok((path.name, gone.saturating_sub(ready)))
        })
        .collect()
}

fn count(path: &str, step: &str) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .args(["--cachegrind-out-file=/dev/null"])
        .arg(this)
        .args([RUN, path, step])
        .output()
        .map_err(|error| format!("run valgrind, which counts the instructions: {error}"))?;
    let talk = String::from_utf8_lossy(&output.stderr);
    // `==123== I refs:        1,234,567`
    let refs = talk.lines().find_map(|line| line.split_once("refs:"));
    let digits: Option<String> =
        refs.map(|(_, count)| count.chars().filter(char::is_ascii_digit).collect());
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("valgrind failed over `{path}`:\n{talk}")),
    }
}
