//! `windlass iam` as a command.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass_e2e::{Ssm, called, check_exactly, expect, granted_for};
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::iam::{Actor, Feature};
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Testbed, User};

use crate::drift::{GROUPS, make_images};
use crate::scene::{ALL, MADE, WEB, cluster_file_with, run};

/// Image builds from a parameter's stock image.
const AMI: &str = "  ami:
    source: {parameter: /golden/stock}
    windlass: {url: 'https://a.example/w', sha256: \
    '0000000000000000000000000000000000000000000000000000000000000000'}
";

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

/// A file's policy has what the file needs, and says so; without a file it is what is usual.
#[test]
fn the_features_follow_from_the_cluster_s_file() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let publish = "    publish: {parameter: /golden/nodes, copies: [{region: eu-west-1}]}\n";
    cluster_file_with(
        testbed,
        &format!("{MADE}{AMI}{publish}"),
        "  - {name: data, min: 0, max: 3, zonal: true}\n",
    )?;
    let file = ["--config=cluster.yaml", "--account=123456789012"];
    let no_file = [
        "--cluster=prod",
        "--region=us-east-1",
        "--account=123456789012",
    ];
    let has = |arguments: &[&str], place: &[&str], action: &str| -> Result<bool> {
        let output = iam(testbed, &[&["render"], arguments, place].concat())?;
        expect(&output, 0, "")?;
        let document: Value = serde_json::from_slice(&output.stdout)?;
        Ok(document.to_string().contains(&format!("\"{action}\"")))
    };
    for (actor, action) in [
        ("--actor=provisioner", "kms:CreateKey"),
        ("--actor=provisioner", "ec2:CreateSecurityGroup"),
        ("--actor=provisioner", "ec2:DescribeSubnets"),
        ("--actor=ami-builder", "ssm:PutParameter"),
        ("--actor=ami-builder", "ec2:DescribeSnapshots"),
    ] {
        ensure!(has(&[actor], &file, action)?, "{actor}: no {action}");
        ensure!(!has(&[actor], &no_file, action)?, "{actor}: {action}");
        ensure!(has(&[actor, "--features=all"], &no_file, action)?);
        ensure!(!has(&[actor, "--features=none"], &file, action)?);
    }
    ensure!(has(
        &["--actor=ami-builder", "--features=usual,ami-pruning"],
        &no_file,
        "ec2:DescribeSnapshots",
    )?);
    let builder = iam(
        testbed,
        &[&["render", "--actor=ami-builder"], &file[..]].concat(),
    )?;
    for part in [
        "features of the ami-builder by `cluster.yaml`: ami-build, ami-announcement, ami-pruning",
        "left out: ami-deprecation, ami-keys",
        "arn:aws:ssm:us-east-1:123456789012:parameter/golden/nodes",
        "arn:aws:ssm:us-east-1:123456789012:parameter/golden/stock",
        "arn:aws:ec2:eu-west-1::image/*",
    ] {
        expect(&builder, 0, part)?;
    }
    // The policy without the file lacks what the file needs.
    let usual = iam(
        testbed,
        &[&["render", "--actor=provisioner"], &no_file[..]].concat(),
    )?;
    fs::write(testbed.directory().join("policy.json"), &usual.stdout)?;
    let check = [&["check", "policy.json", "--actor=provisioner"], &file[..]].concat();
    expect(&iam(testbed, &check)?, 3, "kms:CreateKey\tprovision-key")?;
    Ok(())
}

/// `windlass doctor` through a proxy, whatever it finds.
fn doctor(testbed: &Testbed, aws: &str) -> Result<Output> {
    Command::new(windlass_e2e::binary()?)
        .args(["doctor", "--config", "cluster.yaml"])
        .current_dir(testbed.directory())
        .env("KUBECONFIG", testbed.kubeconfig(User::Admin))
        .envs(Testbed::aws_environment(aws))
        .output()
        .context("run windlass doctor")
}

/// With something for every permission, before it is made and after.
#[test]
fn who_looks_may_do_just_that() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    make_images(testbed)?;
    Ssm::of(testbed).put("/golden/stock", "String", "ami-1e749f67")?;
    let more = format!("{MADE}{AMI}");
    let file = cluster_file_with(testbed, &more, &format!("{ALL}{GROUPS}"))?;
    let proxy = testbed.proxy_aws()?;
    let before = doctor(testbed, proxy.url())?;
    expect(
        &before,
        2,
        "KMS key `alias/prod-windlass-join` is not there",
    )?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let after = doctor(testbed, proxy.url())?;
    expect(&after, 2, "AWS resources are as the file says")?;
    expect(&after, 2, "holds no join credential")?;

    let config = ClusterConfig::read("cluster.yaml", &fs::read_to_string(file)?)?;
    let mut features = Actor::Doctor.chosen(&[], Some(&config))?;
    ensure!(features == Actor::Doctor.features(), "{features:?}");
    // That is what `windlass verify` asks when nodes do not come.
    features.retain(|feature| *feature != Feature::Verification);
    check_exactly(&granted_for(&features), &called(&proxy))
}

/// What is denied is told with the policy that has it.
#[test]
fn who_looks_and_may_not_is_told_which_policy_it_is() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, "", WEB)?;
    let proxy = testbed.proxy_aws()?;
    proxy.on(
        Matcher::action("DescribePolicies"),
        Act::aws_error(403, "AccessDenied"),
    );
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let text = expect(
        &doctor(testbed, proxy.url())?,
        2,
        "lack the permission for DescribePolicies on prod-web",
    )?;
    ensure!(
        text.contains("windlass iam render --actor doctor "),
        "{text}"
    );
    Ok(())
}
