//! A cluster that was made exactly as the how-to of 2019 says is taken over without harm, and its
//! hourly job and its nodes' way to the token keep working throughout.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use windlass_e2e::{Ssm, account, check_same, expect};
use windlass_provision::iam::legacy_2019;
use windlass_testbed::Testbed;

use crate::scene::{AUTOSCALING, EC2, IAM, cluster_file_with, run, subnets};

const USER_DATA: &str = include_str!("../howto/user-data.sh");
const CRON: &str = include_str!("../howto/cron.sh");
/// Where the how-to publishes its token.
const REGION: &str = "us-west-2";
pub(crate) const CONFIGURATION: &str = "K8S-Node-Autoscaler";
const GROUP: &str = "k8s-nodes";
const COMPAT: &str = "  compat: {joinTokenParameter: jointoken}\n";

/// The console's way of 2019: role, policy, launch configuration, and a group with the two tags.
pub(crate) fn make_as_the_how_to_does(testbed: &Testbed) -> Result<()> {
    let aws = testbed.aws();
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":
        {"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let role = ("RoleName", "k8s-node");
    let profile = ("InstanceProfileName", "k8s-node");
    aws.query(
        IAM,
        "CreateRole",
        &[role, ("AssumeRolePolicyDocument", trust)],
    )?;
    let document = legacy_2019().to_string();
    let policy = [
        ("PolicyName", "cluster-autoscaler"),
        ("PolicyDocument", document.as_str()),
    ];
    aws.query(IAM, "CreatePolicy", &policy)?;
    let arn = "arn:aws:iam::123456789012:policy/cluster-autoscaler";
    aws.query(IAM, "AttachRolePolicy", &[role, ("PolicyArn", arn)])?;
    aws.query(IAM, "CreateInstanceProfile", &[profile])?;
    aws.query(IAM, "AddRoleToInstanceProfile", &[profile, role])?;
    aws.query(EC2, "CreateKeyPair", &[("KeyName", "ops")])?;

    let user_data = BASE64_STANDARD.encode(USER_DATA);
    let configuration = [
        ("LaunchConfigurationName", CONFIGURATION),
        ("ImageId", "ami-1e749f67"),
        ("InstanceType", "m4.large"),
        ("KeyName", "ops"),
        ("IamInstanceProfile", "k8s-node"),
        ("UserData", user_data.as_str()),
    ];
    aws.query(AUTOSCALING, "CreateLaunchConfiguration", &configuration)?;
    let subnet = &subnets(testbed)?[0];
    let mut group = vec![
        ("AutoScalingGroupName".to_owned(), GROUP.to_owned()),
        (
            "LaunchConfigurationName".to_owned(),
            CONFIGURATION.to_owned(),
        ),
        ("MinSize".to_owned(), "1".to_owned()),
        ("MaxSize".to_owned(), "4".to_owned()),
        ("DesiredCapacity".to_owned(), "1".to_owned()),
        ("VPCZoneIdentifier".to_owned(), subnet.clone()),
    ];
    for (number, key) in (1..).zip(["enabled", "prod"]) {
        let prefix = format!("Tags.member.{number}");
        for (field, value) in [
            ("ResourceId", GROUP),
            ("ResourceType", "auto-scaling-group"),
            ("Key", &format!("k8s.io/cluster-autoscaler/{key}")),
            ("Value", "true"),
            ("PropagateAtLaunch", "true"),
        ] {
            group.push((format!("{prefix}.{field}"), value.to_owned()));
        }
    }
    let group: Vec<(&str, &str)> = group
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    aws.query(AUTOSCALING, "CreateAutoScalingGroup", &group)?;
    Ok(())
}

/// A control-plane node of 2019 with its hourly job, and what its nodes do to read the token. The
/// AWS command line is the real one; `kubeadm` says another token each time.
struct Job {
    path: String,
    endpoint: String,
    tokens: std::cell::Cell<u32>,
    directory: PathBuf,
}

impl Job {
    fn new(testbed: &Testbed) -> Result<Self> {
        let directory = testbed.directory().join("master");
        fs::create_dir_all(&directory)?;
        let aws = windlass_parts::aws_cli(&mut |_| {})?;
        symlink(aws, directory.join("aws")).context("link the AWS command line")?;
        let path = std::env::var("PATH").unwrap_or_default();
        Ok(Self {
            path: format!("{}:{path}", directory.display()),
            endpoint: testbed.moto_url(),
            tokens: std::cell::Cell::new(0),
            directory,
        })
    }

    fn bash(&self, script: &str) -> Result<String> {
        let output = Command::new("bash")
            .args(["-c", script])
            .envs(Testbed::aws_environment(&self.endpoint))
            .env("PATH", &self.path)
            .output()
            .context("run bash")?;
        expect(&output, 0, "")?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// An hour has passed: the job publishes another token, and a node reads that one.
    fn turn(&self, testbed: &Testbed) -> Result<()> {
        self.tokens.set(self.tokens.get() + 1);
        let token = format!("abcdef.{:016}", self.tokens.get());
        let kubeadm = self.directory.join("kubeadm");
        fs::write(&kubeadm, format!("#!/bin/sh\necho {token}\n"))?;
        fs::set_permissions(&kubeadm, fs::Permissions::from_mode(0o755))?;
        self.bash(CRON)?;
        let published = Ssm::of(testbed).in_region(REGION).get("jointoken")?;
        let published = published.context("the job published nothing")?;
        ensure!(
            published.value == token && published.kind == "String",
            "{published:?}"
        );
        let line = USER_DATA
            .lines()
            .find(|line| line.starts_with("TOKEN="))
            .context("the nodes' way to the token")?;
        let read = self.bash(&format!("AZ={REGION}\n{line}\necho \"$TOKEN\""))?;
        ensure!(read == token, "a node read `{read}`");
        Ok(())
    }
}

/// Writes the file with the entry that `import` has printed.
pub(crate) fn put_into_the_file(testbed: &Testbed, more: &str, import: Output) -> Result<()> {
    let printed = String::from_utf8(import.stdout)?;
    let (_, entry) = printed.split_once("groups:\n").context("an entry")?;
    let entry = format!("  {}\n", entry.trim_end().replace('\n', "\n  "));
    cluster_file_with(testbed, more, &entry).map(drop)
}

#[test]
fn a_cluster_that_was_made_by_hand_is_taken_over_without_harm() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, COMPAT, "    []\n")?;
    make_as_the_how_to_does(testbed)?;
    let job = Job::new(testbed)?;
    job.turn(testbed)?;
    let before = account(testbed)?;
    let instances = testbed.aws().group(GROUP)?.instance_ids();
    let import = ["import", "--asg=k8s-nodes", "--group=web", "--yes"];
    let output = run(testbed, &import)?;
    let text = expect(&output, 0, "Done.")?;
    for part in ["key `ops`", "instance profile `k8s-node`", "user data"] {
        ensure!(text.contains(part), "nothing is said of `{part}`: {text}");
    }
    job.turn(testbed)?;
    put_into_the_file(testbed, COMPAT, output)?;

    let text = expect(&run(testbed, &["plan"])?, 2, "0 to destroy")?;
    ensure!(text.contains("windlass provision migrate"), "{text}");
    let output = run(testbed, &["apply", "--yes"])?;
    expect(&output, 1, "need a decision first")?;
    job.turn(testbed)?;
    let text = expect(&run(testbed, &["migrate", "--yes"])?, 0, "Done.")?;
    let from = format!("launch_configuration: {CONFIGURATION}");
    ensure!(text.contains(&from), "{text}");
    job.turn(testbed)?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
    job.turn(testbed)?;
    let group = testbed.aws().group(GROUP)?;
    ensure!(
        group.instance_ids() == instances,
        "an instance was replaced"
    );
    only_the_group_was_changed(testbed, before)
}

/// What the how-to made besides the group is as it was: its launch configuration is the way back,
/// its role and policy are those of the nodes that run.
fn only_the_group_was_changed(testbed: &Testbed, mut before: windlass_e2e::Account) -> Result<()> {
    let mut after = account(testbed)?;
    // What there is now, and what Windlass has made or was asked to change.
    let ours = |name: &str| {
        name.contains("prod-windlass-node")
            || [
                "autoscaling DescribeAutoScalingGroups",
                "autoscaling DescribeTags",
                "autoscaling DescribeLifecycleHooks k8s-nodes",
                "ec2 DescribeLaunchTemplates",
                "ec2 DescribeLaunchTemplateVersions k8s-nodes",
                "iam ListInstanceProfiles",
                "iam ListRoles",
                "ssm parameters",
            ]
            .contains(&name)
    };
    for list in [&mut before, &mut after] {
        list.retain(|name, _| !ours(name));
    }
    check_same(&after, &before)
}
