//! How long one decision takes, and how much memory, on generated clusters.
//!
//! Prints one JSON object a line. Each scenario is measured in a process of its own, so that the
//! peak of one is not the peak of all.

#![expect(clippy::print_stdout, reason = "the figures are this program's output")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use serde_json::json;
use windlass_sim::{Once, Scenario, ScenarioReader, decide_once};

/// A generated cluster, with what the Go autoscaler's core took and asked for, where that was
/// measured.
struct Case {
    kind: &'static str,
    nodes: u32,
    pods: u32,
    go_ms: Option<u32>,
    /// Nodes that it added: more than that is a failure here.
    go_nodes: Option<i64>,
    /// The most that a decision may take, in milliseconds.
    most_ms: Option<f64>,
}

const fn case(kind: &'static str, nodes: u32, pods: u32) -> Case {
    Case {
        kind,
        nodes,
        pods,
        go_ms: None,
        go_nodes: None,
        most_ms: None,
    }
}

impl Case {
    const fn go(self, milliseconds: u32) -> Self {
        Self {
            go_ms: Some(milliseconds),
            ..self
        }
    }

    const fn go_nodes(self, nodes: i64) -> Self {
        Self {
            go_nodes: Some(nodes),
            ..self
        }
    }

    const fn within(self, milliseconds: f64) -> Self {
        Self {
            most_ms: Some(milliseconds),
            ..self
        }
    }
}

const CASES: [Case; 17] = [
    case("same", 100, 1_000),
    case("same", 1_000, 10_000).go(2_600).within(20.0),
    case("same", 5_000, 50_000).go(61_000).within(100.0),
    case("mixed", 100, 1_000).go(900).within(10.0),
    case("mixed", 1_000, 10_000).go(157_000).within(200.0),
    case("mixed", 5_000, 50_000).within(2_000.0),
    case("burst", 0, 1_000),
    case("burst", 0, 10_000).go(1_900).go_nodes(200).within(5.0),
    case("burst", 0, 50_000)
        .go(23_000)
        .go_nodes(1_000)
        .within(20.0),
    case("burst", 0, 150_000),
    case("differ", 0, 10_000).within(300.0),
    case("groups", 1_000, 1_000).go(50_000).within(100.0),
    case("groups", 5_000, 5_000).within(1_000.0),
    case("shrink", 400, 16_000).go(1_600),
    case("shrink", 2_000, 80_000),
    case("idle", 5_000, 150_000),
    case("idle", 15_000, 150_000),
];

/// Rows of scenarios of which one number grows: the cost of a decision may grow no faster.
struct Growth {
    of: &'static str,
    kind: &'static str,
    sizes: &'static [(u32, u32)],
}

const GROWTHS: [Growth; 3] = [
    Growth {
        of: "nodes",
        kind: "same",
        sizes: &[
            (1_000, 10_000),
            (2_000, 10_000),
            (5_000, 10_000),
            (10_000, 10_000),
            (15_000, 10_000),
        ],
    },
    Growth {
        of: "pods",
        kind: "same",
        sizes: &[
            (1_000, 1_000),
            (1_000, 10_000),
            (1_000, 50_000),
            (1_000, 150_000),
        ],
    },
    Growth {
        of: "pods",
        kind: "differ",
        sizes: &[(0, 1_000), (0, 10_000), (0, 50_000), (0, 150_000)],
    },
];
const RUNS: usize = 5;
const MEASURE: &str = "--measure";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let result = match &arguments[..] {
        [flag, file] if flag == MEASURE => measure(Path::new(file)),
        [only] if only == "growth" => GROWTHS.iter().try_for_each(grow),
        [kind, nodes, pods] => figures(kind, nodes, pods).map(|figures| {
            let scenario = format!("{kind} {nodes} {pods}");
            println!("{}", json!({"scenario": scenario, "figures": figures}));
        }),
        _ => CASES
            .iter()
            .try_for_each(run)
            .and_then(|()| GROWTHS.iter().try_for_each(grow)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a case's line; an error where it asks for more nodes than the Go autoscaler.
fn run(case: &Case) -> Result<(), String> {
    let Case {
        kind, nodes, pods, ..
    } = case;
    let scenario = format!("{kind} {nodes} {pods}");
    let figures = figures(kind, &nodes.to_string(), &pods.to_string())?;
    let added = figures["nodesAdded"].as_i64().unwrap_or(0);
    println!(
        "{}",
        json!({
            "scenario": scenario,
            "goMs": case.go_ms,
            "goNodes": case.go_nodes,
            "mostMs": case.most_ms,
            "isWithin": case.most_ms.map(|most| figures["decisionMs"].as_f64() <= Some(most)),
            "figures": figures,
        })
    );
    match case.go_nodes {
        Some(needed) if added > needed => Err(format!(
            "{scenario}: {added} nodes are asked for, and {needed} are enough"
        )),
        _ => Ok(()),
    }
}

/// Prints how the cost grows from row to row, each beside how the number grows.
fn grow(growth: &Growth) -> Result<(), String> {
    let Growth { of, kind, sizes } = growth;
    let mut first: Option<(f64, f64)> = None;
    for (nodes, pods) in *sizes {
        let figures = figures(kind, &nodes.to_string(), &pods.to_string())?;
        let size = f64::from(if *of == "nodes" { *nodes } else { *pods });
        let time = figures["decisionMs"].as_f64().unwrap_or(f64::NAN);
        let (first_size, first_time) = *first.get_or_insert((size, time));
        let (times_larger, times_slower) = (size / first_size, time / first_time);
        println!(
            "{}",
            json!({
                "growthOf": of,
                "scenario": format!("{kind} {nodes} {pods}"),
                "decisionMs": time,
                "timesLarger": times_larger,
                "timesSlower": times_slower,
                "isLinear": times_slower <= times_larger,
                "nodesAdded": figures["nodesAdded"],
                "peakResidentMib": figures["peakResidentMib"],
            })
        );
    }
    Ok(())
}

/// Measures one scenario in a process of its own.
fn figures(kind: &str, nodes: &str, pods: &str) -> Result<serde_json::Value, String> {
    let file = generate(kind, nodes, pods)?;
    let this = env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let output = Command::new(this).arg(MEASURE).arg(&file).output();
    let output = output.map_err(|error| format!("start the measurement: {error}"))?;
    let _ = fs::remove_file(file);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

/// Writes the scenario to a temporary file, by the script beside the workspace's benchmarks.
fn generate(kind: &str, nodes: &str, pods: &str) -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/scale_scenarios.py");
    let file = env::temp_dir().join(format!(
        "windlass-{kind}-{nodes}-{pods}-{}",
        std::process::id()
    ));
    let status = Command::new("python3")
        .arg(script)
        .args([kind, nodes, pods, "--out"])
        .arg(&file)
        .status()
        .map_err(|error| format!("run python3, which makes the scenarios: {error}"))?;
    if status.success() {
        Ok(file)
    } else {
        Err(format!("cannot make the scenario `{kind} {nodes} {pods}`"))
    }
}

/// Prints the figures of one scenario file: the least of the runs, each from fresh objects.
fn measure(file: &Path) -> Result<(), String> {
    let scenario = read(file)?;
    let runs: Vec<Once> = (0..RUNS).map(|_| decide_once(&scenario)).collect();
    let least = |figure: fn(&Once) -> f64| runs.iter().map(figure).fold(f64::INFINITY, f64::min);
    let decision: serde_json::Value =
        serde_json::from_str(&runs[0].decision.to_json()).map_err(|error| error.to_string())?;
    let asked: i64 = decision["scaleUp"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|resize| resize["to"].as_i64().unwrap_or(0) - resize["from"].as_i64().unwrap_or(0))
        .sum();
    let groups: serde_json::Map<String, serde_json::Value> = decision["scaleUp"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|resize| {
            let added = resize["to"].as_i64()? - resize["from"].as_i64()?;
            Some((resize["group"].as_str()?.to_owned(), added.into()))
        })
        .collect();
    let removed = decision["scaleDown"]["removed"]
        .as_array()
        .map_or(0, Vec::len);
    let figures = json!({
        "convertMs": least(|once| once.timings.convert_ms),
        "snapshotMs": least(|once| once.timings.snapshot_ms),
        "decideMs": least(|once| once.timings.decide_ms),
        "decisionMs": least(|once| once.timings.snapshot_ms + once.timings.decide_ms),
        "nodesAdded": asked,
        "nodesAddedByGroup": groups,
        "nodesRemoved": removed,
        "violations": runs[0].violations.len(),
        "peakResidentMib": peak_resident_mib(),
    });
    println!("{figures}");
    Ok(())
}

fn read(file: &Path) -> Result<Scenario, String> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| format!("read `{name}`: {error}"))?;
    let mut reader = ScenarioReader::new();
    reader
        .read(&name, &text)
        .map_err(|error| error.to_string())?;
    reader.finish().map_err(|error| error.to_string())
}

/// The peak of this process, the scenario's text and objects included; 0 where the system does
/// not say.
fn peak_resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}
