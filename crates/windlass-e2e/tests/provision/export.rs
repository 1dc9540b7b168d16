//! What the exports say is what `apply` makes.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use windlass_e2e::{account, check_same, expect, without_instances};
use windlass_parts::Parts;
use windlass_testbed::Testbed;

use crate::scene::{ALL, MADE, WEB, cluster_file, cluster_file_with, run};

/// Groups of several types and with a minimum besides one of each kind.
const MORE: &str = "  - {name: spot, min: 0, max: 9, \
                    instances: {types: [m5.large, m5a.large], spot: 70%, onDemandBase: 1}}\n  \
                    - {name: warm, min: 1, max: 2, labels: {note: \"it-s\"}}\n";

#[test]
fn an_export_is_complete_json() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    for (format, part) in [
        (
            "--format=cloudformation",
            "AWS::AutoScaling::AutoScalingGroup",
        ),
        ("--format=terraform", "aws_autoscaling_group"),
    ] {
        let output = run(testbed, &["export", format])?;
        expect(&output, 0, part)?;
        let template: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(template.is_object());
    }
    Ok(())
}

/// Everything but the parameter, which `CloudFormation` does not make.
#[test]
fn the_cloud_formation_template_passes_its_linter() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, MADE, &format!("{ALL}{MORE}"))?;
    let output = run(testbed, &["export", "--format=cloudformation"])?;
    let path = testbed.directory().join("stack.json");
    fs::write(&path, &output.stdout)?;
    // It came with moto.
    let linter = Parts::ensure(&mut |_| {})?
        .moto_server
        .with_file_name("cfn-lint");
    let linted = Command::new(linter)
        .args(["--regions", windlass_testbed::REGION])
        // Who asks for a launch configuration knows that it is a thing of the past.
        .args(["--ignore-checks=W3697", "--non-zero-exit-code=warning"])
        .arg(&path)
        .output()
        .context("run cfn-lint")?;
    expect(&linted, 0, "").map(drop)
}

/// The script runs with the real AWS command line, and moto then has what it has after `apply`, field
/// by field.
#[test]
fn the_script_for_the_aws_command_line_makes_what_apply_makes() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, MADE, &format!("{ALL}{MORE}"))?;
    let before = account(testbed)?;
    let output = run(testbed, &["export", "--format=aws-cli"])?;
    expect(&output, 0, "aws autoscaling create-auto-scaling-group")?;
    let script = testbed.directory().join("export.sh");
    fs::write(&script, &output.stdout).context("write the script")?;
    let directory = testbed.directory().join("aws");
    fs::create_dir_all(&directory)?;
    let aws = windlass_parts::aws_cli(&mut |_| {})?;
    std::os::unix::fs::symlink(aws, directory.join("aws")).context("link the AWS command line")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let ran = Command::new("bash")
        .arg(&script)
        .envs(Testbed::aws_environment(&testbed.moto_url()))
        .env("PATH", format!("{}:{path}", directory.display()))
        .output()
        .context("run the script")?;
    expect(&ran, 0, "")?;
    let by_script = account(testbed)?;
    ensure!(by_script != before, "the script made nothing");
    // Windlass takes it for its own work.
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    let destroy = ["destroy", "--yes", "--force", "--schedule-key-deletion"];
    expect(&run(testbed, &destroy)?, 0, "Done.")?;
    check_same(&account(testbed)?, &before).context("something is left")?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let by_apply = account(testbed)?;
    check_same(
        &without_instances(&by_script),
        &without_instances(&by_apply),
    )
}
