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

/// A generated cluster, and what the Go autoscaler's core took for it in milliseconds, where that
/// was measured.
struct Case {
    kind: &'static str,
    nodes: u32,
    pods: u32,
    go_ms: Option<u32>,
}

const fn case(kind: &'static str, nodes: u32, pods: u32, go_ms: Option<u32>) -> Case {
    Case {
        kind,
        nodes,
        pods,
        go_ms,
    }
}

const CASES: [Case; 16] = [
    case("same", 100, 1_000, None),
    case("same", 1_000, 10_000, Some(2_600)),
    case("same", 5_000, 50_000, Some(61_000)),
    case("mixed", 100, 1_000, Some(900)),
    case("mixed", 1_000, 10_000, Some(157_000)),
    case("mixed", 5_000, 50_000, None),
    case("burst", 0, 1_000, None),
    case("burst", 0, 10_000, Some(1_900)),
    case("burst", 0, 50_000, Some(23_000)),
    case("burst", 0, 150_000, None),
    case("groups", 1_000, 1_000, Some(50_000)),
    case("groups", 5_000, 5_000, None),
    case("shrink", 400, 16_000, Some(1_600)),
    case("shrink", 2_000, 80_000, None),
    case("idle", 5_000, 150_000, None),
    case("idle", 15_000, 150_000, None),
];
const RUNS: usize = 5;
const MEASURE: &str = "--measure";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let result = match &arguments[..] {
        [flag, file] if flag == MEASURE => measure(Path::new(file)),
        [kind, nodes, pods] => run(kind, nodes, pods, None),
        _ => CASES.iter().try_for_each(|case| {
            let (nodes, pods) = (case.nodes.to_string(), case.pods.to_string());
            run(case.kind, &nodes, &pods, case.go_ms)
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(kind: &str, nodes: &str, pods: &str, go_ms: Option<u32>) -> Result<(), String> {
    let file = generate(kind, nodes, pods)?;
    let this = env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let output = Command::new(this).arg(MEASURE).arg(&file).output();
    let output = output.map_err(|error| format!("start the measurement: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let figures: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let line =
        json!({"scenario": format!("{kind} {nodes} {pods}"), "goMs": go_ms, "figures": figures});
    println!("{line}");
    let _ = fs::remove_file(file);
    Ok(())
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
    let removed = decision["scaleDown"]["removed"]
        .as_array()
        .map_or(0, Vec::len);
    let figures = json!({
        "convertMs": least(|once| once.timings.convert_ms),
        "snapshotMs": least(|once| once.timings.snapshot_ms),
        "decideMs": least(|once| once.timings.decide_ms),
        "decisionMs": least(|once| once.timings.snapshot_ms + once.timings.decide_ms),
        "nodesAdded": asked,
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
