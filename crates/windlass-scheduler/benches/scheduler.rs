//! What the scheduler costs on clusters of real sizes.
//!
//! - `cargo bench -p windlass-scheduler` prints, as JSON, the least time of five runs of each
//!   scenario beside what it may take.
//! - `-- --instructions` holds the machine instructions of each hot path, counted by valgrind,
//!   against `benches/instructions.txt` and fails where one has grown; `-- --instructions --write`
//!   writes that file anew.

#[path = "clusters/instructions.rs"]
mod instructions;
#[path = "clusters/scenarios.rs"]
mod scenarios;
#[path = "clusters/times.rs"]
mod times;

use std::process::ExitCode;

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--instructions"] => instructions::check(),
        ["--instructions", "--write"] => instructions::write(),
        [instructions::RUN, path, step] => instructions::run(path, step),
        _ => times::report(),
    }
}
