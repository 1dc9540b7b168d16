//! `cargo xtask gen`: files that are made from others, and whether they are up to date.
//!
//! Each generator is a test of the crate that knows the truth: it fails when its file is stale, and
//! writes the file when `UPDATE_EXPECT=1` is set. So `cargo test` finds what somebody forgot.

use anyhow::Result;

use crate::cargo;

/// Whether stale files are written anew or told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    Check,
}

/// All tests whose name has this part are generators.
const GENERATORS: &str = "generated_";

pub(crate) fn run(mode: Mode) -> Result<()> {
    let tests = [
        "test",
        "--workspace",
        "--exclude",
        "windlass-e2e",
        GENERATORS,
    ];
    match mode {
        Mode::Check => cargo::run(&tests),
        Mode::Write => cargo::run_with(
            &tests,
            &[("UPDATE_EXPECT", "1"), ("INSTA_UPDATE", "always")],
        ),
    }
}
