//! `cargo xtask bench`: runs the benchmarks of every crate that has some.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// Runs them all, handing `arguments` to each. A benchmark prints one JSON object a line on standard
/// output, and nothing else there.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let crates = windlass_parts::workspace_root().join("crates");
    let mut benchmarks = Vec::new();
    for package in names(&crates)? {
        let sources = crates.join(&package).join("benches");
        if !sources.is_dir() {
            continue;
        }
        for source in names(&sources)? {
            benchmarks.extend(
                source
                    .strip_suffix(".rs")
                    .map(|name| (package.clone(), name.to_owned())),
            );
        }
    }
    if benchmarks.is_empty() {
        bail!("no crate has a folder `benches`");
    }
    for (package, name) in &benchmarks {
        // By name: `--benches` would also run the unit tests, which print what is not JSON.
        let bench = [
            "bench",
            "--quiet",
            "--package",
            package,
            "--bench",
            name,
            "--",
        ];
        cargo::run(&[&bench[..], arguments].concat())?;
    }
    Ok(())
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        fs::read_dir(directory).with_context(|| format!("list `{}`", directory.display()))?
    {
        let entry = entry.with_context(|| format!("list `{}`", directory.display()))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
