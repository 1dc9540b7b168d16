//! How a run is told: for people, as JSON, as `JUnit`.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::progress::{Phases, Step, Verdict};
use crate::junit::{self, Case};

/// All that a run has to say.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// Its id.
    pub(super) run: String,
    /// When it began.
    pub(super) began: Timestamp,
    /// New nodes that were asked for.
    pub(super) wanted_nodes: u32,
    /// Its pods.
    pub(super) pods: u32,
    /// Nodes that came.
    pub(super) new_nodes: Vec<String>,
    /// When the phases ended.
    pub(super) phases: Phases,
    /// When the last new node was gone again, in seconds since the begin.
    pub(super) scaled_down: Option<f64>,
    /// What happened.
    pub(super) steps: Vec<Step>,
    /// Why the scale-up failed.
    pub(super) verdict: Option<Verdict>,
    /// What else went wrong.
    pub(super) error: Option<String>,
    /// Exit code; 0 is a pass.
    pub(super) code: u8,
}

impl Report {
    pub(super) fn new(run: &str, began: Timestamp, wanted_nodes: u32, pods: u32) -> Self {
        Self {
            run: run.to_owned(),
            began,
            wanted_nodes,
            pods,
            new_nodes: Vec::new(),
            phases: Phases::default(),
            scaled_down: None,
            steps: Vec::new(),
            verdict: None,
            error: None,
            code: 0,
        }
    }

    fn why(&self) -> String {
        let verdict = self.verdict.as_ref().map(Verdict::to_text);
        let parts: Vec<String> = verdict.into_iter().chain(self.error.clone()).collect();
        parts.join("\n")
    }

    /// The last lines for people.
    pub(super) fn to_text(&self) -> String {
        if self.code != 0 {
            return format!("FAIL  {}\n", self.why());
        }
        let mut text = String::from("PASS");
        let phases = &self.phases;
        for (name, time) in [
            ("decided", phases.decided),
            ("registered", phases.registered),
            ("ready", phases.ready),
            ("first pod", phases.first_running),
            ("last pod", phases.all_running),
            ("scaled down", self.scaled_down),
        ] {
            if let Some(time) = time {
                let _ = write!(text, "  {name} {time:.1} s");
            }
        }
        text.push('\n');
        text
    }

    /// For CI: one test case for each way.
    pub(super) fn to_junit(&self) -> String {
        let has_nothing = self.scaled_down.is_none() && self.new_nodes.is_empty();
        let up_failed = self.code != 0 && (has_nothing || self.verdict.is_some());
        let mut cases = vec![("scale-up", self.phases.all_running, up_failed)];
        if self.scaled_down.is_some() || self.code == super::code::SCALE_DOWN_FAILED {
            cases.push(("scale-down", self.scaled_down, self.code != 0));
        }
        let cases: Vec<Case> = cases
            .into_iter()
            .map(|(name, time, failed)| Case {
                class: "windlass.verify".to_owned(),
                name: name.to_owned(),
                seconds: Some(time.unwrap_or(0.0)),
                failure: failed.then(|| self.why()),
            })
            .collect();
        junit::document("windlass verify", &cases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new("7f3a", Timestamp::UNIX_EPOCH, 2, 2)
    }

    #[test]
    fn a_pass_has_the_times_of_its_phases() {
        let mut report = report();
        report.phases.decided = Some(1.04);
        report.phases.all_running = Some(9.5);
        assert_eq!(report.to_text(), "PASS  decided 1.0 s  last pod 9.5 s\n");
        assert!(report.to_junit().contains("tests=\"1\" failures=\"0\""));
    }

    #[test]
    fn a_failure_says_why_in_every_form() {
        let mut report = report();
        report.code = 1;
        report.verdict = Some(Verdict::NoGroupFits {
            reasons: vec!["1 Insufficient <cpu>".to_owned()],
        });
        assert!(
            report
                .to_text()
                .starts_with("FAIL  no group fits:\n  1 Insufficient")
        );
        assert!(report.to_junit().contains("Insufficient &lt;cpu&gt;"));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["verdict"]["verdict"], "no-group-fits");
    }

    #[test]
    fn pods_that_ran_without_the_nodes_are_no_pass() {
        let mut report = report();
        report.code = 1;
        report.phases.all_running = Some(0.7);
        report.new_nodes = vec!["ip-10-0-0-1".to_owned()];
        report.verdict = Some(Verdict::RoomWasFree { new_nodes: 1 });
        assert!(report.to_text().starts_with("FAIL  room was free:"));
        assert!(report.to_junit().contains("failures=\"1\""));
    }
}
