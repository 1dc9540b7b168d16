//! `cargo xtask test`: unit and conformance tests, then the suites that need real parts.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::end_to_end::{self, PACKAGE, Wanted, step};
use crate::suites::{self, Show};
use crate::{cargo, instructions, terminal};

/// Longest time for unit and conformance tests; building them cold is most of it.
const UNIT_DEADLINE: Duration = Duration::from_mins(40);

/// What is to be run.
pub(crate) enum Scope {
    All,
    /// Without the suites that need real parts.
    Fast,
    /// The suites that need real parts.
    EndToEnd,
    /// One suite that needs real parts.
    Suite(String),
}

pub(crate) fn run(scope: &Scope) -> Result<()> {
    let begun = Instant::now();
    let mut outcomes = Vec::new();
    if matches!(scope, Scope::All | Scope::Fast) {
        // The suites' package needs no feature that another does not, so that nothing is built
        // differently without it.
        let workspace = [
            "test",
            "--no-fail-fast",
            "--workspace",
            "--exclude",
            PACKAGE,
        ];
        outcomes.push(suites::run(
            "unit-and-conformance",
            UNIT_DEADLINE,
            cargo::command(&workspace),
            Show::Lines,
        )?);
    }
    if matches!(scope, Scope::All) {
        step("instruction-counts", &mut outcomes, instructions::check);
    }
    match scope {
        Scope::All | Scope::EndToEnd => end_to_end::run(&Wanted::All, &mut outcomes)?,
        Scope::Suite(name) => end_to_end::run(&Wanted::One(name), &mut outcomes)?,
        Scope::Fast => {}
    }
    let is_success = suites::report(&outcomes);
    terminal::say(&format!("in {}", terminal::time(begun.elapsed())));
    if !is_success {
        bail!("not all suites passed");
    }
    Ok(())
}
