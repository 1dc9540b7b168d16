//! `windlass iam` as a command.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_e2e::expect;
use windlass_testbed::Testbed;

use crate::scene::{WEB, cluster_file_with};

fn iam(testbed: &Testbed, arguments: &[&str]) -> Result<Output> {
    Command::new(windlass_e2e::binary()?)
        .arg("iam")
        .args(arguments)
        .current_dir(testbed.directory())
        .env_remove("AWS_REGION")
        .output()
        .context("run windlass iam")
}

#[test]
fn the_policy_of_2019_is_as_it_was_and_comes_with_what_is_wrong_with_it() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let output = iam(testbed, &["render", "--actor=legacy-2019"])?;
    expect(&output, 0, "terminate any instance")?;
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let how_to = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": [
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeTags",
                "autoscaling:SetDesiredCapacity",
                "autoscaling:TerminateInstanceInAutoScalingGroup",
                "ssm:DescribeParameters",
                "ssm:GetParameter",
                "ssm:GetParameters",
                "ssm:GetParametersByPath",
                "ssm:DeleteParameter",
                "ssm:DeleteParameters",
                "ssm:PutParameter",
                "ssm:UpdateInstanceInformation",
            ],
            "Resource": "*",
        }],
    });
    ensure!(document == how_to, "{document}");
    Ok(())
}

#[test]
fn a_policy_is_rendered_from_the_cluster_s_file() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(
        testbed,
        "  token: {createKey: true}\n  compat: {joinTokenParameter: jointoken}\n",
        WEB,
    )?;
    let common = ["--config=cluster.yaml", "--account=123456789012"];
    let render = |more: &[&str]| iam(testbed, &[&["render"], &common[..], more].concat());
    let rotator = render(&["--actor=rotator"])?;
    expect(&rotator, 0, "parameter/jointoken")?;
    expect(&rotator, 0, "alias/prod-windlass-join")?;
    expect(
        &render(&["--actor=node", "--format=cfn"])?,
        0,
        "AWS::IAM::ManagedPolicy",
    )?;
    expect(
        &render(&["--actor=autoscaler", "--format=terraform"])?,
        0,
        "aws_iam_policy",
    )?;
    let provisioner = render(&["--actor=provisioner", "--features=all"])?;
    let path = testbed.directory().join("policy.json");
    fs::write(&path, &provisioner.stdout)?;
    let check = |more: &[&str]| {
        let actor = ["check", "policy.json", "--actor=provisioner"];
        iam(testbed, &[&actor[..], &common, more].concat())
    };
    expect(&check(&["--features=all"])?, 0, "nothing is missing")?;
    fs::write(&path, render(&["--actor=node"])?.stdout)?;
    expect(&check(&[])?, 3, "autoscaling:CreateAutoScalingGroup")?;
    Ok(())
}

#[test]
fn what_is_not_said_is_asked_for_by_name() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let node = ["render", "--actor=node"];
    expect(&iam(testbed, &node)?, 1, "--account")?;
    let account = [&node[..], &["--account=123456789012"]].concat();
    expect(&iam(testbed, &account)?, 1, "--cluster")?;
    expect(
        &iam(testbed, &["render", "--actor=node", "--account=12"])?,
        2,
        "twelve digits",
    )?;
    Ok(())
}
