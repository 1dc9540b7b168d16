//! Running cargo.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The cargo that runs this, at the root of the workspace.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(windlass_parts::workspace_root())
        .args(arguments);
    command
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    run_with(arguments, &[])
}

pub(crate) fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let status = command(arguments)
        .envs(environment.iter().copied())
        .status()
        .with_context(|| format!("run `cargo {}`", arguments.join(" ")))?;
    if !status.success() {
        bail!("`cargo {}`: {status}", arguments.join(" "));
    }
    Ok(())
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    let root = windlass_parts::workspace_root();
    // Relative to where cargo runs, which is the root.
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |named| root.join(named))
}
