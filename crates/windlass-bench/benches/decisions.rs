//! How long a decision takes and how much memory at most, on clusters of several sizes.
//!
//! Prints one JSON object a line. Each case runs in a process of its own, so that its peak of
//! memory is its own; times are the best and the median of its runs.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use windlass_bench::{Kind, scenario};
use windlass_sim::{Scenario, ScenarioReader, decide_once};

/// Nodes and pods, of small clusters to the largest that Kubernetes promises to carry.
const SIZES: [(usize, usize); 3] = [(100, 1_000), (1_000, 10_000), (5_000, 50_000)];

/// A case is repeated for this long, but at most [`MOST_RUNS`] times.
const TIME: Duration = Duration::from_secs(5);
const MOST_RUNS: usize = 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [kind, nodes, pods] = &arguments[..] {
        return measure(kind, nodes.parse()?, pods.parse()?);
    }
    // cargo passes `--bench` and whatever the caller wants to see.
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let this = std::env::current_exe().context("find this program")?;
    for kind in Kind::ALL {
        for (nodes, pods) in SIZES {
            let name = format!("{kind}/{nodes}/{pods}");
            if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
                continue;
            }
            let status = Command::new(&this)
                .args([kind.to_string(), nodes.to_string(), pods.to_string()])
                .stdin(Stdio::null())
                .status()
                .context("run this program for a case")?;
            if !status.success() {
                bail!("{name}: {status}");
            }
        }
    }
    Ok(())
}

fn measure(kind: &str, nodes: usize, pods: usize) -> Result<()> {
    let kind = Kind::ALL
        .into_iter()
        .find(|known| known.to_string() == kind);
    let kind = kind.context("there is no such kind of cluster")?;
    let scenario = read(&scenario(kind, nodes, pods))?;
    let before = memory_mib("VmRSS")?;
    // From here on the peak is what deciding adds. Where the kernel has no such switch the peak of
    // reading is in it too.
    let has_own_peak = fs::write("/proc/self/clear_refs", "5").is_ok();

    let (mut converting, mut preparing, mut deciding) = (Vec::new(), Vec::new(), Vec::new());
    let mut decision = None;
    let begun = Instant::now();
    while deciding.is_empty() || (begun.elapsed() < TIME && deciding.len() < MOST_RUNS) {
        let once = decide_once(&scenario);
        if !once.violations.is_empty() {
            bail!("the plan breaks rules: {:?}", once.violations);
        }
        converting.push(once.timings.convert_ms);
        preparing.push(once.timings.snapshot_ms);
        deciding.push(once.timings.decide_ms);
        decision = Some(once.decision);
    }
    let peak = memory_mib("VmHWM")?;
    let decision = decision.context("there was a run")?.to_json();
    let line = serde_json::json!({
        "benchmark": "decision",
        "kind": kind.to_string(),
        "nodes": nodes,
        "pods": pods,
        "runs": deciding.len(),
        "convertMs": summary(&mut converting),
        "snapshotMs": summary(&mut preparing),
        "decideMs": summary(&mut deciding),
        "memoryBeforeMib": before,
        "peakMemoryMib": peak,
        "peakIsOfDeciding": has_own_peak,
        // So that a fast wrong answer is not taken for a fast one.
        "decisionBytes": decision.len(),
    });
    print(&line.to_string());
    Ok(())
}

fn read(text: &str) -> Result<Scenario> {
    let mut reader = ScenarioReader::new();
    reader
        .read("generated", text)
        .context("read the scenario")?;
    reader.finish().context("read the scenario")
}

fn summary(times: &mut [f64]) -> serde_json::Value {
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2);
    serde_json::json!({"best": times.first(), "median": median})
}

fn memory_mib(what: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.with_context(|| format!("there is no {what}"))? / 1024)
}

#[expect(clippy::print_stdout, reason = "the measurements are data")]
fn print(line: &str) {
    println!("{line}");
}
