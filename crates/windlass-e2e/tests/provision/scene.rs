//! What the tests have in common: the cluster's file, the binary on it, held to the provisioner's
//! policy, and moto's whole account.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use windlass_e2e::{called, check_granted, values};
use windlass_provision::iam::Actor;
use windlass_testbed::{Proxy, Testbed};

/// Time for one call of a process that has just started on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

pub(crate) const AUTOSCALING: &str = "autoscaling";
pub(crate) const EC2: &str = "ec2";
pub(crate) const IAM: &str = "iam";

/// A group of one type with all that is usual.
pub(crate) const WEB: &str =
    "  - {name: web, min: 0, max: 3, labels: {tier: web}, taints: ['a=b:NoSchedule']}\n";
/// What makes a key and a security group besides, with a rule for each kind of source.
pub(crate) const MADE: &str = "  \
  token: {createKey: true}
  nodeSecurityGroup:
    ingress:
    - {from: [self]}
    - {ports: 10250, from: [10.0.0.0/8], description: kubelets}
    - {protocol: udp, ports: 8472, from: ['fd00::/8']}
";
/// With [`MADE`] one of each kind of resource.
pub(crate) const ALL: &str = "  \
  - {name: web, min: 0, max: 3, labels: {tier: web}, taints: ['a=b:NoSchedule']}
  - {name: old, min: 0, max: 3, launchConfiguration: true}
";

/// Writes the cluster's file with these groups.
pub(crate) fn cluster_file(testbed: &Testbed, groups: &str) -> Result<PathBuf> {
    cluster_file_with(testbed, "", groups)
}

/// The same, with more of the specification.
pub(crate) fn cluster_file_with(testbed: &Testbed, more: &str, groups: &str) -> Result<PathBuf> {
    let subnet = &subnets(testbed)?[0];
    let xml = testbed.aws().query(EC2, "DescribeSecurityGroups", &[])?;
    let security_group = values(&xml, "groupId").into_iter().next();
    let security_group = security_group.context("there is a security group")?;
    let path = testbed.directory().join("cluster.yaml");
    let text = format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
         region: {}\n  endpoint: api.example.com:443\n  kubernetes: v1.36.3\n  \
         subnets: [{subnet}]\n  securityGroups: [{security_group}]\n  tags: {{team: platform}}\n  \
         defaults: {{image: {{id: ami-1e749f67}}, instanceType: m5.large}}\n  \
         join: {{lifecycleHook: {{}}}}\n{more}  groups:\n{groups}",
        windlass_testbed::REGION
    );
    fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
    Ok(path)
}

/// The ids of the default VPC's subnets, one in each zone.
pub(crate) fn subnets(testbed: &Testbed) -> Result<Vec<String>> {
    let xml = testbed.aws().query(EC2, "DescribeSubnets", &[])?;
    Ok(values(&xml, "subnetId"))
}

/// The id of the security group that is made for the nodes.
pub(crate) fn security_group(testbed: &Testbed) -> Result<String> {
    let name = [
        ("Filter.1.Name", "group-name"),
        ("Filter.1.Value.1", "prod-windlass-nodes"),
    ];
    let xml = testbed.aws().query(EC2, "DescribeSecurityGroups", &name)?;
    // A rule for the group itself has its id too.
    let ids = values(&xml, "groupId").into_iter().next();
    ids.with_context(|| format!("no security group of the nodes in {xml}"))
}

/// The binary under test, on the cluster file, with AWS at `endpoint`.
pub(crate) fn command(testbed: &Testbed, endpoint: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(windlass_e2e::binary()?);
    command
        .arg("provision")
        .args(arguments)
        .arg("--config")
        .arg(testbed.directory().join("cluster.yaml"))
        .envs(Testbed::aws_environment(endpoint))
        .stdin(Stdio::null());
    Ok(command)
}

/// Runs it to its end, and holds it to the provisioner's policy.
pub(crate) fn run(testbed: &Testbed, arguments: &[&str]) -> Result<Output> {
    let proxy = testbed.proxy_aws()?;
    run_through(testbed, &proxy, arguments)
}

/// The same, through a proxy that tells afterwards what was called.
pub(crate) fn run_through(testbed: &Testbed, proxy: &Proxy, arguments: &[&str]) -> Result<Output> {
    let output = command(testbed, proxy.url(), arguments)?
        .output()
        .context("run windlass provision")?;
    check_granted(&[Actor::Provisioner], &called(proxy))?;
    Ok(output)
}
