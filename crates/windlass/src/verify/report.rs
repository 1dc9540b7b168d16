//! How a run is told: for people, as JSON, as `JUnit`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::code;
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
    /// Where it went wrong; of a pass the last that was come to.
    pub(super) stage: Stage,
    /// When all was taken away again that it had made, in seconds since the begin.
    pub(super) cleaned_up: Option<f64>,
    /// What could not be taken away, why, and how to do it.
    pub(super) left_behind: Option<String>,
    /// Exit code; 0 is a pass.
    pub(super) code: u8,
}

/// What a run does, one after the other; in waves again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// Pods are made, and nodes come.
    ScaleUp,
    /// Pods are taken away, and nodes go.
    ScaleDown,
    /// What the run has made is taken away.
    CleanUp,
}

impl Stage {
    const ALL: [Self; 3] = [Self::ScaleUp, Self::ScaleDown, Self::CleanUp];

    /// As JSON has it.
    fn name(self) -> &'static str {
        match self {
            Self::ScaleUp => "scale-up",
            Self::ScaleDown => "scale-down",
            Self::CleanUp => "clean-up",
        }
    }

    /// Exit code of a run that fails in it.
    pub(super) fn failed(self) -> u8 {
        match self {
            Self::ScaleUp => code::SCALE_UP_FAILED,
            Self::ScaleDown => code::SCALE_DOWN_FAILED,
            Self::CleanUp => code::NOT_CLEANED_UP,
        }
    }
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
            stage: Stage::ScaleUp,
            cleaned_up: None,
            left_behind: None,
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

    /// Why a stage failed, if it did. A run of which not all could be taken away has perhaps failed
    /// before that too.
    fn failure_of(&self, stage: Stage) -> Option<String> {
        let is_here = self.code != 0 && self.stage == stage;
        let verdict = self.verdict.as_ref().map(Verdict::to_text);
        let here = verdict.into_iter().chain(self.error.clone());
        let left = self.left_behind.clone();
        let left = left.filter(|_| stage == Stage::CleanUp);
        let why: Vec<String> = here.filter(|_| is_here).chain(left).collect();
        (is_here || !why.is_empty()).then(|| why.join("\n"))
    }

    /// When a stage came to its end, in seconds since the begin.
    fn end_of(&self, stage: Stage) -> Option<f64> {
        match stage {
            Stage::ScaleUp => self.phases.all_running,
            Stage::ScaleDown => self.scaled_down,
            Stage::CleanUp => self.cleaned_up,
        }
    }

    /// The last lines for people.
    pub(super) fn to_text(&self) -> String {
        if self.code != 0 {
            let why = Stage::ALL.into_iter();
            let why: Vec<String> = why.filter_map(|stage| self.failure_of(stage)).collect();
            return format!("FAIL  {}\n", why.join("\n"));
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

    /// For CI: one test case for each stage that was come to. A run that is no pass has one that
    /// failed.
    pub(super) fn to_junit(&self) -> String {
        let cases: Vec<Case> = Stage::ALL
            .into_iter()
            .map(|stage| (stage, self.end_of(stage), self.failure_of(stage)))
            .filter(|(stage, end, failure)| {
                *stage == Stage::ScaleUp || end.is_some() || failure.is_some()
            })
            .map(|(stage, end, failure)| Case {
                class: "windlass.verify".to_owned(),
                name: stage.name().to_owned(),
                seconds: Some(end.unwrap_or(0.0)),
                failure,
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

    /// A run whose nodes all came, and that then ended otherwise.
    fn came_up() -> Report {
        let mut report = report();
        report.phases.all_running = Some(9.5);
        report.new_nodes = vec!["a".to_owned(), "b".to_owned()];
        report
    }

    #[track_caller]
    fn check_junit(report: &Report, cases: u32, failing: &[(&str, &str)]) {
        let junit = report.to_junit();
        let head = format!("tests=\"{cases}\" failures=\"{}\"", failing.len());
        assert!(junit.contains(&head), "{junit}");
        for (name, why) in failing {
            let case = junit.split("<testcase ").find(|case| case.contains(name));
            let part = format!("<failure message=\"{why}");
            assert!(case.is_some_and(|case| case.contains(&part)), "{junit}");
        }
    }

    #[test]
    fn what_is_interrupted_fails_where_it_was() {
        let mut report = came_up();
        report.code = code::INTERRUPTED;
        report.error = Some("interrupted".to_owned());
        report.cleaned_up = Some(12.0);
        check_junit(&report, 2, &[("scale-up", "interrupted")]);
        report.stage = Stage::ScaleDown;
        check_junit(&report, 3, &[("scale-down", "interrupted")]);
        report.scaled_down = Some(30.0);
        report.stage = Stage::CleanUp;
        check_junit(&report, 3, &[("clean-up", "interrupted")]);
    }

    #[test]
    fn what_is_left_behind_fails_beside_what_failed_before() {
        let mut report = came_up();
        report.code = code::NOT_CLEANED_UP;
        report.left_behind = Some("left behind: namespace a".to_owned());
        report.stage = Stage::CleanUp;
        check_junit(&report, 2, &[("clean-up", "left behind: namespace a")]);
        assert_eq!(report.to_text(), "FAIL  left behind: namespace a\n");
        report.stage = Stage::ScaleDown;
        report.error = Some("2 nodes were not removed in time".to_owned());
        let failing = [("scale-down", "2 nodes"), ("clean-up", "left behind")];
        check_junit(&report, 3, &failing);
        assert_eq!(
            report.to_text(),
            "FAIL  2 nodes were not removed in time\nleft behind: namespace a\n"
        );
    }

    #[test]
    fn a_later_wave_that_fails_leaves_the_way_down_before_it_a_pass() {
        let mut report = came_up();
        report.scaled_down = Some(60.0);
        report.code = Stage::ScaleUp.failed();
        report.verdict = Some(Verdict::NoDecision);
        check_junit(&report, 2, &[("scale-up", "the autoscaler runs")]);
    }

    #[test]
    fn no_run_that_fails_is_a_pass_in_ci() {
        for stage in Stage::ALL {
            for code in 1..=code::NOT_CLEANED_UP {
                let mut report = came_up();
                (report.stage, report.code) = (stage, code);
                let junit = report.to_junit();
                assert!(junit.contains("failures=\"1\""), "{code}: {junit}");
            }
        }
    }
}
