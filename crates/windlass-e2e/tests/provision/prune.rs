//! The launch configuration that a group had before its launch template goes when nobody needs it any
//! more, and no other goes with it.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use windlass_e2e::{account, check_same, expect, values};
use windlass_testbed::Testbed;
use windlass_testbed::proxy::{Act, Hold, Matcher};

use crate::howto::{CONFIGURATION, make_as_the_how_to_does, put_into_the_file};
use crate::scene::{AUTOSCALING, SOON, cluster_file, command, run, run_through};

const PRUNE: [&str; 4] = ["migrate", "--group=web", "--prune", "--yes"];
/// One that no group of the cluster has had, and none has.
const FOREIGN: &str = "staging-2019";

/// The how-to's group, imported.
fn imported(testbed: &Testbed) -> Result<()> {
    cluster_file(testbed, "    []\n")?;
    make_as_the_how_to_does(testbed)?;
    let foreign = [
        ("LaunchConfigurationName", FOREIGN),
        ("ImageId", "ami-1e749f67"),
        ("InstanceType", "m4.large"),
    ];
    let aws = testbed.aws();
    aws.query(AUTOSCALING, "CreateLaunchConfiguration", &foreign)?;
    let import = ["import", "--asg=k8s-nodes", "--group=web", "--yes"];
    let import = run(testbed, &import)?;
    expect(&import, 0, "Done.")?;
    put_into_the_file(testbed, "", import)
}

fn configurations(testbed: &Testbed) -> Result<Vec<String>> {
    let xml = testbed
        .aws()
        .query(AUTOSCALING, "DescribeLaunchConfigurations", &[])?;
    let mut names = values(&xml, "LaunchConfigurationName");
    names.sort();
    Ok(names)
}

/// A fake answer: AWS lists what each instance was launched from, moto what its group is of now.
fn instances_of_before(testbed: &Testbed) -> Result<Act> {
    let xml = testbed
        .aws()
        .query(AUTOSCALING, "DescribeAutoScalingGroups", &[])?;
    let (head, rest) = xml.split_once("<Instances>").context("instances")?;
    let (before, rest) = rest.split_once("<LaunchTemplate>").context("a template")?;
    let (_, after) = rest.split_once("</LaunchTemplate>").context("its end")?;
    let (instances, _) = after.split_once("</Instances>").context("their end")?;
    ensure!(!instances.contains("<LaunchTemplate>"), "one instance");
    let name = format!("<LaunchConfigurationName>{CONFIGURATION}</LaunchConfigurationName>");
    let is_told = before.contains(&name) || instances.contains(&name);
    ensure!(is_told, "{before}{instances}");
    Ok(Act::Answer {
        status: 200,
        content_type: "text/xml".to_owned(),
        body: format!("{head}<Instances>{before}{after}"),
    })
}

#[test]
fn what_a_group_had_before_goes_once_nobody_needs_it() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    imported(testbed)?;
    let refused = run(testbed, &PRUNE)?;
    expect(&refused, 1, "moves it to a template first")?;
    let text = expect(&run(testbed, &["migrate", "--yes"])?, 0, "Done.")?;
    ensure!(text.contains("migrate --prune"), "{text}");
    let moved = account(testbed)?;

    let proxy = testbed.proxy_aws()?;
    let listed = instances_of_before(testbed)?;
    proxy.on(Matcher::action("DescribeAutoScalingGroups"), listed);
    let text = expect(&run_through(testbed, &proxy, &PRUNE)?, 1, "are of it still")?;
    for id in testbed.aws().group("k8s-nodes")?.instance_ids() {
        ensure!(text.contains(&id), "no `{id}` in {text}");
    }
    let user = [
        ("AutoScalingGroupName", "staging"),
        ("LaunchConfigurationName", CONFIGURATION),
        ("MinSize", "0"),
        ("MaxSize", "1"),
        ("AvailabilityZones.member.1", "us-east-1a"),
    ];
    let aws = testbed.aws();
    aws.query(AUTOSCALING, "CreateAutoScalingGroup", &user)?;
    expect(&run(testbed, &PRUNE)?, 1, "`staging` has it")?;
    aws.delete_group("staging")?;
    expect(&run(testbed, &PRUNE[..3])?, 1, "nothing was deleted")?;
    check_same(&account(testbed)?, &moved).context("a refused run changed something")?;

    let deleted = format!("deleted launch configuration `{CONFIGURATION}`");
    expect(&run(testbed, &PRUNE)?, 0, &deleted)?;
    ensure!(configurations(testbed)? == [FOREIGN]);
    expect(&run(testbed, &PRUNE)?, 0, "nothing left to delete")?;
    let all = ["migrate", "--prune", "--yes"];
    expect(&run(testbed, &all)?, 0, "nothing left to delete")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    ensure!(configurations(testbed)? == [FOREIGN]);
    Ok(())
}

#[test]
fn a_prune_that_is_killed_before_it_has_forgotten_is_finished_by_the_next() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    imported(testbed)?;
    expect(&run(testbed, &["migrate", "--yes"])?, 0, "Done.")?;
    let proxy = testbed.proxy_aws()?;
    let held = proxy.hold(Matcher::action("DeleteTags"), Hold::BeforeForwarding);
    let mut child = command(testbed, proxy.url(), &PRUNE)?
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start windlass")?;
    held.wait(SOON)?;
    child.kill().context("kill windlass")?;
    child.wait().context("wait for windlass")?;
    held.refuse();
    ensure!(configurations(testbed)? == [FOREIGN]);
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    expect(&run(testbed, &PRUNE)?, 0, "is gone already")?;
    expect(&run(testbed, &PRUNE)?, 0, "nothing left to delete")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    Ok(())
}
