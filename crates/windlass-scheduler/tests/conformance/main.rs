//! Holds every verdict against the real kube-scheduler's: each line of
//! `tests/conformance/scheduling/*.jsonl` is a test.
//!
//! `WINDLASS_CONFORMANCE_DIR=DIR` reads `DIR/scheduling` instead. Whichever it is, the agreement of
//! each file is printed at the end as `NAME agree/total`.

mod case;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Trial};

use case::Case;

/// Agreeing and all cases by file.
type Tally = Arc<Mutex<BTreeMap<String, (usize, usize)>>>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tally = Tally::default();
    let trials = match trials(&directory(), &tally) {
        Ok(trials) => trials,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        print_tally(&tally);
    }
    conclusion.exit_code()
}

fn directory() -> PathBuf {
    let root = std::env::var_os("WINDLASS_CONFORMANCE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance"),
        PathBuf::from,
    );
    root.join("scheduling")
}

/// A trial for each line of each file of the folder.
fn trials(directory: &Path, tally: &Tally) -> Result<Vec<Trial>, String> {
    let unread = |error| format!("read {}: {error}", directory.display());
    let entries = std::fs::read_dir(directory).map_err(unread)?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unread)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("{} has no .jsonl file", directory.display()));
    }
    files.sort();
    let mut trials = Vec::new();
    for file in &files {
        trials.extend(trials_of(file, tally)?);
    }
    Ok(trials)
}

fn trials_of(file: &Path, tally: &Tally) -> Result<Vec<Trial>, String> {
    let name = file
        .file_stem()
        .expect("a file with an extension has a stem")
        .to_string_lossy()
        .into_owned();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("read {}: {error}", file.display()))?;
    let trial = |(number, line): (usize, &str)| {
        let case = Case::parse(line);
        let id = match &case {
            Ok(case) => case.id.clone(),
            Err(_) => format!("{name} line {number}"),
        };
        let (name, tally) = (name.clone(), Arc::clone(tally));
        let place = format!("{}:{number}", file.display());
        Trial::test(id, move || {
            // Before anything can panic: a case that cannot be asked does not agree.
            count(&tally, &name, |(_, total)| *total += 1);
            let case = case.map_err(|error| format!("{place}: it is not a case: {error}"))?;
            let disagreements = case
                .disagreements()
                .map_err(|error| format!("{place}: {error}"))?;
            if !disagreements.is_empty() {
                return Err(disagreements.join("\n").into());
            }
            count(&tally, &name, |(agreed, _)| *agreed += 1);
            Ok(())
        })
    };
    Ok((1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .map(trial)
        .collect())
}

fn count(tally: &Tally, name: &str, change: impl Fn(&mut (usize, usize))) {
    let mut tally = tally.lock().expect("no test panics while it counts");
    change(tally.entry(name.to_owned()).or_default());
}

#[expect(clippy::print_stdout, reason = "the report that the run is for")]
fn print_tally(tally: &Tally) {
    let tally = tally.lock().expect("no test panics while it counts");
    let mut sum = (0, 0);
    for (name, (agreed, total)) in tally.iter() {
        println!("{name} {agreed}/{total}");
        sum = (sum.0 + agreed, sum.1 + total);
    }
    println!("all {}/{}", sum.0, sum.1);
}
