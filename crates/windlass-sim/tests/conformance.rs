//! Decisions that the real Go autoscaler took, case by case.
//!
//! `tests/conformance/FAMILY/CASE.yaml` is a scenario, `CASE.expected.json` beside it the
//! decision. Each case is a test of its own, named `FAMILY/CASE`. Cases that are known to
//! disagree stand in `tests/conformance/known-failures.txt`; one that agrees must be taken off
//! that list, which `WINDLASS_SHRINK_KNOWN_FAILURES=1` does.
//!
//! With `WINDLASS_CONFORMANCE_DIR=DIR` the families of `DIR` are run instead, without the list,
//! and what is printed is `FAMILY agree/total` with the fields that differ.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use windlass_sim::{ScenarioReader, decide_once};

/// Vectors of single verdicts, which the scheduler's crate runs.
const NOT_A_FAMILY: &str = "scheduling";

#[derive(Clone)]
struct Case {
    family: String,
    name: String,
    scenario: PathBuf,
}

impl Case {
    fn id(&self) -> String {
        format!("{}/{}", self.family, self.name)
    }

    /// What differs, a line for each field; none if nothing does.
    fn differences(&self) -> Result<Vec<String>, Failed> {
        let text = read(&self.scenario)?;
        let mut reader = ScenarioReader::new();
        reader.read(&self.scenario.display().to_string(), &text)?;
        let once = decide_once(&reader.finish()?);
        if let Some(violation) = once.violations.first() {
            return Err(format!("the plan breaks a rule: {violation}").into());
        }
        let actual = once.decision.to_json();
        let expected = read(&self.scenario.with_extension("expected.json"))?;
        if actual == expected {
            return Ok(Vec::new());
        }
        let mut lines = Vec::new();
        compare(
            "",
            &serde_json::from_str(&expected)?,
            &serde_json::from_str(&actual)?,
            &mut lines,
        );
        if lines.is_empty() {
            lines.push("the same values in other bytes".to_owned());
        }
        Ok(lines)
    }
}

fn read(file: &Path) -> Result<String, Failed> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Goes down objects; lists are compared as a whole, for one pod more moves all that follow.
fn compare(path: &str, expected: &Value, actual: &Value, lines: &mut Vec<String>) {
    if let (Value::Object(expected), Value::Object(actual)) = (expected, actual) {
        let keys: BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
        for key in keys {
            let value = |of: &serde_json::Map<String, Value>| of.get(key).cloned();
            compare(
                &format!("{path}.{key}"),
                &value(expected).unwrap_or_default(),
                &value(actual).unwrap_or_default(),
                lines,
            );
        }
        return;
    }
    if expected != actual {
        let field = path.trim_start_matches('.');
        lines.push(format!("{field}: expected {expected}, got {actual}"));
    }
}

fn cases(root: &Path) -> std::io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for family in sorted_entries(root)? {
        let name = file_name(&family);
        if !family.is_dir() || name == NOT_A_FAMILY {
            continue;
        }
        for file in sorted_entries(&family)? {
            if file
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                cases.push(Case {
                    family: name.clone(),
                    name: file_name(&file.with_extension("")),
                    scenario: file,
                });
            }
        }
    }
    Ok(cases)
}

fn sorted_entries(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn main() -> ExitCode {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance");
    match env::var_os("WINDLASS_CONFORMANCE_DIR") {
        Some(root) => count_families(Path::new(&root)),
        None => run_as_tests(&own),
    }
}

fn run_as_tests(root: &Path) -> ExitCode {
    let arguments = Arguments::from_args();
    let list = root.join("known-failures.txt");
    let known = known_failures(&list);
    let cases = cases(root).expect("the cases are part of the repository");
    if env::var_os("WINDLASS_SHRINK_KNOWN_FAILURES").is_some() {
        return shrink(&list, &known, &cases);
    }
    let ids: BTreeSet<String> = cases.iter().map(Case::id).collect();
    let mut trials: Vec<Trial> = cases
        .into_iter()
        .map(|case| {
            let is_known = known.contains(&case.id());
            Trial::test(case.id(), move || judge(&case, is_known))
        })
        .collect();
    let unknown: Vec<String> = known.difference(&ids).cloned().collect();
    trials.push(Trial::test("known-failures-exist", move || {
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(format!("known-failures.txt names no case: {unknown:?}").into())
        }
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn judge(case: &Case, is_known: bool) -> Result<(), Failed> {
    let differences = case.differences();
    match (is_known, differences) {
        (false, Ok(lines)) if lines.is_empty() => Ok(()),
        (false, Ok(lines)) => Err(lines.join("\n").into()),
        (false, Err(failed)) => Err(failed),
        (true, Ok(lines)) if lines.is_empty() => Err(format!(
            "{} agrees now: take it off known-failures.txt (WINDLASS_SHRINK_KNOWN_FAILURES=1)",
            case.id()
        )
        .into()),
        (true, _) => Ok(()),
    }
}

fn known_failures(list: &Path) -> BTreeSet<String> {
    fs::read_to_string(list)
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn agrees(case: &Case) -> bool {
    std::panic::catch_unwind(|| case.differences())
        .is_ok_and(|result| result.is_ok_and(|lines| lines.is_empty()))
}

/// Takes cases that agree off the list; never puts one on it.
fn shrink(list: &Path, known: &BTreeSet<String>, cases: &[Case]) -> ExitCode {
    let agreeing: BTreeSet<String> = cases
        .iter()
        .filter(|case| known.contains(&case.id()))
        .filter(|case| agrees(case))
        .map(Case::id)
        .collect();
    let text = fs::read_to_string(list).unwrap_or_default();
    let kept: String = text
        .split_inclusive('\n')
        .filter(|line| !agreeing.contains(line.trim()))
        .collect();
    fs::write(list, kept).expect("the list is writable");
    eprintln!("{} cases agree now and are off the list", agreeing.len());
    ExitCode::SUCCESS
}

fn count_families(root: &Path) -> ExitCode {
    let cases = cases(root).expect("WINDLASS_CONFORMANCE_DIR is a directory of families");
    let mut families: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        *totals.entry(&case.family).or_default() += 1;
        let (agreed, details) = families.entry(&case.family).or_default();
        // One case's panic must not hide what the others say.
        let outcome = std::panic::catch_unwind(|| case.differences())
            .unwrap_or_else(|_| Err("panicked".into()));
        match outcome {
            Ok(lines) if lines.is_empty() => *agreed += 1,
            Ok(lines) => details.extend(lines.iter().map(|line| format!("{}: {line}", case.id()))),
            Err(failed) => details.push(format!(
                "{}: {}",
                case.id(),
                failed.message().unwrap_or("failed")
            )),
        }
    }
    let mut all_agree = true;
    for (family, (agreed, details)) in &families {
        let total = totals[family];
        all_agree &= *agreed == total;
        write_line(&format!("{family} {agreed}/{total}"));
        for detail in details {
            write_line(&format!("  {detail}"));
        }
    }
    if all_agree {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[expect(clippy::print_stdout, reason = "the count is what was asked for")]
fn write_line(line: &str) {
    println!("{line}");
}
