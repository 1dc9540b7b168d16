//! `cargo xtask instructions`: the gate on the instruction counts of the scheduler's hot paths.
//!
//! Times on a shared machine say little, counts are the same everywhere: valgrind counts them, and
//! `crates/windlass-scheduler/benches/instructions.txt` holds what they were.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::cargo;

const BENCHMARK: [&str; 8] = [
    "bench",
    "--quiet",
    "--package",
    "windlass-scheduler",
    "--bench",
    "scheduler",
    "--",
    "--instructions",
];

/// Fails where a path has grown.
pub(crate) fn check() -> Result<()> {
    ensure_valgrind()?;
    cargo::run(&BENCHMARK)
}

/// Records the counts anew.
pub(crate) fn write() -> Result<()> {
    ensure_valgrind()?;
    cargo::run(&[&BENCHMARK[..], &["--write"]].concat())
}

/// Installs valgrind where that is possible: on Debian, as root.
fn ensure_valgrind() -> Result<()> {
    if succeeds("valgrind", &["--version"]) {
        return Ok(());
    }
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if is_root && Path::new("/usr/bin/apt-get").exists() {
        succeeds("apt-get", &["update", "-q"]);
        succeeds(
            "apt-get",
            &["install", "-qy", "--no-install-recommends", "valgrind"],
        );
    }
    if !succeeds("valgrind", &["--version"]) {
        bail!(
            "valgrind is missing: install it from your distribution, such as `apt-get install valgrind`"
        );
    }
    Ok(())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
