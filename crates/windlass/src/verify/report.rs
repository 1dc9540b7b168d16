//! How a run is told: for people, as JSON, as `JUnit`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::progress::{NodeTimes, Phases, PodTimes, Step, Verdict};
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
    /// The waves that came to their end.
    pub(super) waves: Vec<Wave>,
    /// When each new node came so far.
    pub(super) nodes: Vec<NodeTimes>,
    /// When each pod came so far.
    pub(super) pod_times: Vec<PodTimes>,
    /// Percentiles of the times, in seconds.
    pub(super) percentiles: BTreeMap<&'static str, Percentiles>,
    /// What ran.
    pub(super) versions: Versions,
    /// Hash of what was asked for: runs with another do not compare.
    pub(super) config_hash: String,
    /// Price of the new nodes by the hour, in US dollars, where it is known.
    pub(super) dollars_per_hour: Option<f64>,
    /// Why the scale-up failed.
    pub(super) verdict: Option<Verdict>,
    /// What else went wrong.
    pub(super) error: Option<String>,
    /// Exit code; 0 is a pass.
    pub(super) code: u8,
}

/// A wave of pods.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Wave {
    /// How many nodes more than at the begin it wanted.
    pub(super) nodes: u32,
    /// How long it took until they were there, or no more were.
    pub(super) seconds: f64,
}

/// What ran.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Versions {
    /// This program.
    pub(super) windlass: String,
    /// The API server.
    pub(super) kubernetes: String,
}

/// Of some times, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Percentiles {
    /// By the nearest rank; none of nothing.
    fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let max = *times.last()?;
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().unwrap_or(max)
        };
        Some(Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max,
        })
    }
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
            waves: Vec::new(),
            nodes: Vec::new(),
            pod_times: Vec::new(),
            percentiles: BTreeMap::new(),
            versions: Versions::default(),
            config_hash: String::new(),
            dollars_per_hour: None,
            verdict: None,
            error: None,
            code: 0,
        }
    }

    /// Works out the percentiles.
    pub(super) fn summed_up(mut self) -> Self {
        let pods = self.pod_times.iter();
        let nodes = self.nodes.iter();
        let waves = |is_down: bool| -> Vec<f64> {
            let waves = self
                .waves
                .iter()
                .filter(|wave| (wave.nodes == 0) == is_down);
            waves.map(|wave| wave.seconds).collect()
        };
        let times = [
            (
                "pod_running",
                pods.filter_map(|pod| Some(pod.running? - pod.created))
                    .collect(),
            ),
            (
                "node_ready",
                nodes
                    .filter_map(|node| Some(node.ready? - node.registered))
                    .collect(),
            ),
            ("wave_up", waves(false)),
            ("wave_to_nothing", waves(true)),
        ];
        self.percentiles = times
            .into_iter()
            .filter_map(|(name, times)| Some((name, Percentiles::of(times)?)))
            .collect();
        self
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
            ("first pod", phases.first_running),
            ("last", phases.all_running),
        ] {
            if let Some(time) = time {
                let _ = write!(text, "  {name} {time:.1} s");
            }
        }
        for (name, seconds) in phases.durations() {
            let _ = write!(text, "  {name} {seconds:.1}");
        }
        if let Some(time) = self.scaled_down {
            let _ = write!(text, "  scaled down {time:.1} s");
        }
        text.push('\n');
        if 2 < self.waves.len() {
            for (name, of) in &self.percentiles {
                let Percentiles { p50, p90, p99, max } = of;
                let _ = writeln!(
                    text,
                    "{name}: p50 {p50:.1} s, p90 {p90:.1} s, p99 {p99:.1} s, max {max:.1} s"
                );
            }
        }
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
        report.phases.registered = Some(4.0);
        report.phases.ready = Some(5.5);
        report.phases.first_running = Some(8.0);
        report.phases.all_running = Some(9.5);
        assert_eq!(
            report.to_text(),
            "PASS  first pod 8.0 s  last 9.5 s  decide 1.0  boot+join 3.0  ready 1.5  start 4.0\n"
        );
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
    fn percentiles_are_of_the_nearest_rank() {
        let times = (1..=10).rev().map(f64::from).collect();
        let of = Percentiles::of(times).unwrap();
        assert_eq!((of.p50, of.p90, of.p99, of.max), (5.0, 9.0, 10.0, 10.0));
        assert_eq!(Percentiles::of(Vec::new()), None);
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
