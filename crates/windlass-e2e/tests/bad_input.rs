//! What is not as it should be is refused with a clear message.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

fn run_with(arguments: &[&str]) -> Result<Output> {
    Command::new(windlass_e2e::binary()?)
        .arg("run")
        .args(arguments)
        .output()
        .context("start windlass")
}

/// Refused at once, with a word about it.
fn refused(arguments: &[&str], word: &str) -> Result<()> {
    let output = run_with(arguments)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(2),
        "ended with {}: {text}",
        output.status
    );
    ensure!(text.contains(word), "no word of `{word}`: {text}");
    ensure!(!text.contains("panicked"), "{text}");
    Ok(())
}

#[test]
fn an_unknown_flag_is_refused_with_the_nearest_one() -> Result<()> {
    refused(
        &["--scale-down-uneeded-time=10m"],
        "--scale-down-unneeded-time",
    )
}

#[test]
fn a_malformed_tag_is_refused_with_what_is_expected() -> Result<()> {
    refused(&["--node-group-auto-discovery=asg:tags=a"], "asg:tag=")?;
    refused(
        &["--node-group-auto-discovery=k8s.io/cluster-autoscaler/enabled"],
        "asg:tag=",
    )
}

#[test]
fn a_scenario_with_a_broken_document_is_refused_with_its_place() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("windlass-bad-input-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("broken.yaml");
    std::fs::write(
        &file,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nkind: [oh\n",
    )?;
    let output = Command::new(windlass_e2e::binary()?)
        .args(["simulate", "--once"])
        .arg(&file)
        .output()?;
    std::fs::remove_dir_all(&directory)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && !text.contains("panicked"),
        "{text}"
    );
    ensure!(
        text.contains("broken.yaml"),
        "the file is not named: {text}"
    );
    Ok(())
}
