//! Prints how long the scheduler takes over clusters of real sizes, best of several runs, beside
//! what it may take; fails when it takes longer. Run it with `--release`.

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[path = "../benches/scenarios.rs"]
mod scenarios;

use scenarios::Scenario;

const RUNS: u32 = 5;

fn main() -> ExitCode {
    let results = [
        measure(
            "60,000 pods, 200 full nodes",
            50.0,
            0,
            scenarios::full_nodes,
        ),
        measure("50,000 equal pods, 1,000 nodes", 250.0, 50_000, || {
            scenarios::plain(false)
        }),
        measure("50,000 different pods, 1,000 nodes", 250.0, 50_000, || {
            scenarios::plain(true)
        }),
        measure(
            "hostname anti-affinity, 5,000 pods, 5,000 nodes",
            250.0,
            5_000,
            scenarios::hostname_anti_affinity,
        ),
        measure(
            "zone spread, 10,000 pods, 1,000 nodes",
            250.0,
            10_000,
            scenarios::zone_spread,
        ),
        measure(
            "only the last of 5,001 nodes fits",
            1.0,
            1,
            scenarios::only_the_last_fits,
        ),
        forks(),
    ];
    if results.iter().all(|is_within| *is_within) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn measure(name: &str, limit_ms: f64, placed: usize, scenario: impl Fn() -> Scenario) -> bool {
    let best = best_of(|| {
        let mut scenario = scenario();
        let start = cpu_time();
        assert_eq!(scenario.place_all(), placed, "{name}");
        cpu_time().saturating_sub(start)
    });
    report(name, best, limit_ms)
}

fn forks() -> bool {
    let Scenario { mut snapshot, pods } = scenarios::large();
    let best = best_of(|| {
        let start = cpu_time();
        snapshot.fork();
        for pod in &pods {
            let node = snapshot.first_fit(pod, |_| true).expect("there is room");
            snapshot.add_pod(pod, node);
        }
        snapshot.revert();
        cpu_time().saturating_sub(start)
    });
    report(
        "fork, ten pods, revert; 5,000 nodes, 150,000 pods",
        best,
        1.0,
    )
}

/// The time that this thread has had a core, which on a busy machine is less than has passed.
/// Where the kernel does not tell it, the time that has passed.
fn cpu_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn best_of(mut run: impl FnMut() -> Duration) -> Duration {
    (0..RUNS).map(|_| run()).min().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "the report that the run is for")]
fn report(name: &str, best: Duration, limit_ms: f64) -> bool {
    let milliseconds = best.as_secs_f64() * 1e3;
    println!("{milliseconds:9.3} ms  (at most {limit_ms:5.1})  {name}");
    milliseconds <= limit_ms
}
