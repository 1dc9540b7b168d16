//! `cargo xtask dist`: a static release build, packed, with its checksum.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{cargo, terminal};

/// Naming the target, even if it is the host's, keeps the flags of the binary away from build
/// scripts and procedural macros, which cannot be static.
const TARGETS: [(&str, &str); 2] = [
    ("x86_64", "x86_64-unknown-linux-gnu"),
    ("aarch64", "aarch64-unknown-linux-gnu"),
];

pub(crate) fn run() -> Result<()> {
    let Some((_, target)) = TARGETS
        .iter()
        .find(|(arch, _)| *arch == std::env::consts::ARCH)
    else {
        bail!("there is no distribution for {}", std::env::consts::ARCH);
    };
    let version = env!("CARGO_PKG_VERSION");
    let begun = Instant::now();
    let build = [
        "build",
        "--release",
        "--package",
        "windlass",
        "--target",
        target,
    ];
    cargo::run_with(&build, &[("RUSTFLAGS", "-C target-feature=+crt-static")])?;
    let time = begun.elapsed();

    let name = format!("windlass-{version}-{}-linux", std::env::consts::ARCH);
    let directory = cargo::target_directory().join("dist");
    let content = directory.join(&name);
    fs::create_dir_all(&content).with_context(|| format!("create `{}`", content.display()))?;
    let root = windlass_parts::workspace_root();
    let binary = cargo::target_directory()
        .join(target)
        .join("release/windlass");
    for source in [binary, root.join("LICENSE"), root.join("README.md")] {
        let file = source.file_name().context("a file has a name")?;
        fs::copy(&source, content.join(file))
            .with_context(|| format!("copy `{}`", source.display()))?;
    }
    let archive = format!("{name}.tar.gz");
    // Same content, same bytes: neither owner nor time nor order comes from this machine.
    let tar = Command::new("tar")
        .current_dir(&directory)
        .args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mtime=@0",
        ])
        .args(["--use-compress-program=gzip -n9", "-cf", &archive, &name])
        .status()
        .context("run tar")?;
    if !tar.success() {
        bail!("tar: {tar}");
    }
    let sum = Command::new("sha256sum")
        .current_dir(&directory)
        .arg(&archive)
        .output()
        .context("run sha256sum")?;
    if !sum.status.success() {
        bail!("sha256sum: {}", sum.status);
    }
    fs::write(directory.join(format!("{archive}.sha256")), &sum.stdout)
        .context("write the checksum")?;
    let size = fs::metadata(directory.join(&archive))
        .context("look at the archive")?
        .len();
    terminal::say(&format!(
        "built in {}, {} KiB packed",
        terminal::time(time),
        size / 1024
    ));
    terminal::print(&directory.join(&archive).display().to_string());
    Ok(())
}
