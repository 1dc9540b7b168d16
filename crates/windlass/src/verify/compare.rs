//! Two runs beside each other.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::progress::Phases;
use crate::output::{self, Format};

/// Arguments of `windlass verify compare`.
#[derive(Args)]
pub(crate) struct CompareArgs {
    /// What `windlass verify -o json` printed of the earlier run.
    #[arg(value_name = "FIRST")]
    first: PathBuf,
    /// The same of the later run.
    #[arg(value_name = "SECOND")]
    second: PathBuf,
    /// How the comparison is printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// What is compared of a run's report.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Recorded {
    run: String,
    began: Timestamp,
    wanted_nodes: u32,
    pods: u32,
    #[serde(skip_serializing)]
    phases: Phases,
    #[serde(skip_serializing)]
    scaled_down: Option<f64>,
    code: u8,
}

/// The end of a phase in both runs, in seconds since each began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Row {
    phase: &'static str,
    first_seconds: Option<f64>,
    second_seconds: Option<f64>,
    /// By how much the second took longer; none where one of them did not come so far.
    change_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Comparison {
    first: Recorded,
    second: Recorded,
    phases: Vec<Row>,
    /// What makes the times mean less than they seem to.
    notes: Vec<String>,
}

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let comparison = Comparison::of(read(&args.first)?, read(&args.second)?);
    match args.output.encoding() {
        Some(encoding) => output::document(encoding, &comparison),
        None => output::data(&comparison.to_text()),
    }
}

fn read(file: &Path) -> anyhow::Result<Recorded> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("read `{name}`"))?;
    serde_json::from_str(&text)
        .with_context(|| format!("`{name}` is not what `windlass verify -o json` prints"))
}

impl Comparison {
    fn of(first: Recorded, second: Recorded) -> Self {
        let (a, b) = (&first.phases, &second.phases);
        let phases = [
            ("decided", a.decided, b.decided),
            ("registered", a.registered, b.registered),
            ("ready", a.ready, b.ready),
            ("first pod", a.first_running, b.first_running),
            ("last pod", a.all_running, b.all_running),
            ("scaled down", first.scaled_down, second.scaled_down),
        ];
        let phases = phases.map(|(phase, first, second)| Row {
            phase,
            first_seconds: first,
            second_seconds: second,
            change_seconds: first.zip(second).map(|(first, second)| second - first),
        });
        let notes = notes(&first, &second);
        Self {
            first,
            second,
            phases: phases.into(),
            notes,
        }
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let Self { first, second, .. } = self;
        let _ = writeln!(
            text,
            "{:<12} {:>10} {:>10} {:>10}",
            "", first.run, second.run, "change"
        );
        for row in &self.phases {
            let seconds = |time: Option<f64>| {
                time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} s"))
            };
            let change = row
                .change_seconds
                .map_or_else(|| "-".to_owned(), |change| format!("{change:+.1} s"));
            let _ = writeln!(
                text,
                "{:<12} {:>10} {:>10} {change:>10}",
                row.phase,
                seconds(row.first_seconds),
                seconds(row.second_seconds)
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

fn notes(first: &Recorded, second: &Recorded) -> Vec<String> {
    let mut notes = Vec::new();
    if (first.wanted_nodes, first.pods) != (second.wanted_nodes, second.pods) {
        notes.push(format!(
            "the runs did not ask for the same: {} nodes with {} pods, and {} with {}",
            first.wanted_nodes, first.pods, second.wanted_nodes, second.pods
        ));
    }
    for run in [first, second] {
        if run.code != 0 {
            notes.push(format!(
                "run {} did not pass: exit code {}",
                run.run, run.code
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(run: &str, decided: f64, scaled_down: Option<f64>) -> Recorded {
        let json = serde_json::json!({
            "run": run, "began": "2026-01-01T00:00:00Z", "wanted_nodes": 2, "pods": 3,
            "new_nodes": [], "steps": [], "verdict": null, "error": null, "code": 0,
            "phases": { "decided": decided, "registered": null, "ready": null,
                        "first_running": null, "all_running": 9.0 },
            "scaled_down": scaled_down,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_phase_that_one_run_lacks_has_no_change() {
        let comparison = Comparison::of(report("a", 1.5, None), report("b", 1.0, Some(60.0)));
        let text = comparison.to_text();
        assert!(
            text.contains("decided           1.5 s      1.0 s     -0.5 s\n"),
            "{text}"
        );
        assert!(
            text.contains("scaled down           -     60.0 s          -\n"),
            "{text}"
        );
        assert!(comparison.notes.is_empty());
    }

    #[test]
    fn what_makes_times_incomparable_is_told() {
        let mut other = report("b", 1.0, None);
        other.pods = 9;
        other.code = 1;
        let comparison = Comparison::of(report("a", 1.0, None), other);
        assert_eq!(comparison.notes.len(), 2);
        assert!(comparison.to_text().contains("note: run b did not pass"));
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let report = super::super::report::Report::new("7f", Timestamp::UNIX_EPOCH, 1, 1);
        let run: Recorded = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!((run.run.as_str(), run.wanted_nodes), ("7f", 1));
    }
}
