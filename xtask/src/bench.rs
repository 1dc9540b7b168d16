//! `cargo xtask bench`: runs the benchmarks of every crate that has some.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// A benchmark prints one JSON object a line on standard output, and nothing else there.
pub(crate) fn run(filter: &[&str]) -> Result<()> {
    let packages = packages_with_benches()?;
    if packages.is_empty() {
        bail!("no crate has a folder `benches`");
    }
    for package in &packages {
        let bench = ["bench", "--quiet", "--package", package, "--benches"];
        cargo::run(&[&bench[..], filter].concat())?;
    }
    Ok(())
}

fn packages_with_benches() -> Result<Vec<String>> {
    let crates = windlass_parts::workspace_root().join("crates");
    let mut packages = Vec::new();
    for entry in fs::read_dir(&crates).with_context(|| format!("list `{}`", crates.display()))? {
        let entry = entry.with_context(|| format!("list `{}`", crates.display()))?;
        if entry.path().join("benches").is_dir() {
            packages.extend(entry.file_name().into_string());
        }
    }
    packages.sort_unstable();
    Ok(packages)
}
