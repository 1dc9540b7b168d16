//! The time report.

#![expect(clippy::print_stdout, reason = "the report that the run is for")]

use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::scenarios::{self, Scenario};

const RUNS: u32 = 5;

/// Measures everything; fails where something takes longer than it may.
pub(crate) fn report() -> ExitCode {
    let are_within = [
        place_all(
            "60,000 pods of 50 shapes, 200 full nodes",
            50.0,
            0,
            scenarios::full_nodes,
        ),
        place_all("50,000 equal pods, 1,000 nodes", 250.0, 50_000, || {
            scenarios::plain(50_000, 1_000, false)
        }),
        place_all("50,000 different pods, 1,000 nodes", 250.0, 50_000, || {
            scenarios::plain(50_000, 1_000, true)
        }),
        place_all(
            "hostname anti-affinity, 5,000 pods, 5,000 nodes",
            250.0,
            5_000,
            || scenarios::hostname_anti_affinity(5_000),
        ),
        place_all(
            "only the last of 5,001 nodes is free of pods that are shunned",
            1.0,
            1,
            || scenarios::only_the_last_fits(5_001),
        ),
        place_all(
            "zone spread, 10,000 pods, 3 zones, 1,000 nodes",
            250.0,
            10_000,
            || scenarios::zone_spread(10_000, 1_000),
        ),
        fork(),
        fork_and_revert(),
        empty_nodes(),
    ];
    if are_within.iter().all(|is_within| *is_within) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn place_all(name: &str, at_most_ms: f64, placed: usize, scenario: impl Fn() -> Scenario) -> bool {
    let least = least_of(|| {
        let mut scenario = scenario();
        let start = cpu_time();
        assert_eq!(scenario.place_all(), placed, "{name}");
        cpu_time().saturating_sub(start)
    });
    print(name, least, at_most_ms)
}

fn fork() -> bool {
    let mut snapshot = scenarios::large().snapshot;
    let least = least_of(|| {
        let start = cpu_time();
        snapshot.fork();
        let time = cpu_time().saturating_sub(start);
        snapshot.revert();
        time
    });
    print("fork; 5,000 nodes, 150,000 pods", least, 1.0)
}

fn fork_and_revert() -> bool {
    let Scenario { mut snapshot, pods } = scenarios::large();
    let least = least_of(|| {
        let start = cpu_time();
        snapshot.fork();
        for pod in &pods {
            let node = snapshot.first_fit(pod, |_| true).expect("there is room");
            snapshot.add_pod(pod, node);
        }
        snapshot.revert();
        cpu_time().saturating_sub(start)
    });
    print(
        "fork, ten pods, revert; 5,000 nodes, 150,000 pods",
        least,
        1.0,
    )
}

fn empty_nodes() -> bool {
    let least = least_of(|| {
        let mut scenario = scenarios::crowded(400, 40);
        let start = cpu_time();
        scenario.empty_nodes(240);
        cpu_time().saturating_sub(start)
    });
    print(
        "240 of 400 nodes with 40 equal pods each are emptied, and that undone",
        least,
        20.0,
    )
}

/// The time that this thread has had a core, which on a busy machine is less than has passed.
/// Where the kernel does not tell it, the time that has passed.
fn cpu_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    // The kernel brings a thread's account up to date when it is scheduled, and at ticks, which are
    // milliseconds apart.
    thread::yield_now();
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn least_of(mut run: impl FnMut() -> Duration) -> Duration {
    (0..RUNS).map(|_| run()).min().unwrap_or_default()
}

fn print(name: &str, least: Duration, at_most_ms: f64) -> bool {
    let ms = least.as_secs_f64() * 1e3;
    println!("{{\"scheduler\": \"{name}\", \"cpuMs\": {ms:.3}, \"atMostMs\": {at_most_ms}}}");
    ms <= at_most_ms
}
