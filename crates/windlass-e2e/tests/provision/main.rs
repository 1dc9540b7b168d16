//! `windlass provision` against moto: what it makes, that doing it again does nothing, and that a
//! run that ended anywhere is finished by the next.

mod drain;
mod drift;
mod errors;
mod export;
mod howto;
mod iam;
mod images;
mod killed;
mod prune;
mod refresh;
mod roll;
mod scene;
mod security_group;

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use windlass_e2e::{account, check_same, expect, values};
use windlass_testbed::Group;
use windlass_testbed::proxy::{Hold, Matcher};

use scene::{ALL, AUTOSCALING, SOON, WEB, cluster_file, cluster_file_with, command, run, subnets};

#[test]
fn apply_makes_what_plan_shows_and_a_second_changes_nothing() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    let before = account(testbed)?;
    expect(
        &run(testbed, &["plan"])?,
        2,
        "Plan: 5 to create, 0 to change, 0 to destroy.",
    )?;
    expect(&run(testbed, &["apply"])?, 1, "nothing was done")?;
    check_same(&account(testbed)?, &before).context("a refused apply changed something")?;
    expect(
        &run(testbed, &["apply", "--yes"])?,
        0,
        "created Auto Scaling group `prod-web`",
    )?;
    let made = account(testbed)?;
    let all: String = made.values().map(String::as_str).collect();
    for part in [
        "k8s.io/cluster-autoscaler/enabled",
        "k8s.io/cluster-autoscaler/prod",
        "k8s.io/cluster-autoscaler/node-template/label/tier",
        "k8s.io/cluster-autoscaler/node-template/taint/a",
        "kubernetes.io/cluster/prod",
        "windlass.dev/cluster",
        "<Key>team</Key>",
        "/windlass/prod/join",
        "<LifecycleHookName>windlass-join</LifecycleHookName>",
        "<ProcessName>AZRebalance</ProcessName>",
    ] {
        ensure!(all.contains(part), "no `{part}` in {made:#?}");
    }

    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    expect(&run(testbed, &["drift"])?, 0, "No changes")?;
    check_same(&account(testbed)?, &made).context("the second apply changed something")?;

    expect(&run(testbed, &["destroy", "--yes"])?, 0, "Done.")?;
    check_same(&account(testbed)?, &before).context("something is left")?;
    expect(
        &run(testbed, &["destroy", "--yes"])?,
        0,
        "nothing to delete",
    )?;
    Ok(())
}

#[test]
fn a_new_template_version_takes_the_group_along() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    cluster_file(testbed, &WEB.replace("tier: web", "tier: front"))?;
    let text = expect(&run(testbed, &["plan"])?, 2, "version: 1 → 2")?;
    ensure!(
        text.contains("tier=front"),
        "no diff of the user data: {text}"
    );
    expect(
        &run(testbed, &["apply", "--yes"])?,
        0,
        "changed launch template `prod-web`",
    )?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    let groups = testbed
        .aws()
        .query(AUTOSCALING, "DescribeAutoScalingGroups", &[])?;
    ensure!(values(&groups, "Version") == ["2"], "{groups}");
    Ok(())
}

#[test]
fn a_group_of_several_types_is_what_the_file_says() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let mixed = "  - {name: spot, min: 1, max: 3, \
                 instances: {types: [m5.large, m5a.large], spot: 70%}}\n";
    cluster_file(testbed, mixed)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    cluster_file(testbed, &mixed.replace("70%", "100%"))?;
    expect(
        &run(testbed, &["apply", "--yes"])?,
        0,
        "mixed.on_demand_percentage: 30 → 0",
    )?;
    cluster_file(
        testbed,
        &mixed.replace("70%", "100%").replace("max: 3", "max: 4"),
    )?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "max: 3 → 4")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    Ok(())
}

#[test]
fn types_that_are_not_alike_are_told_and_two_architectures_are_refused() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = |other: &str| {
        format!("  - {{name: spot, min: 0, max: 3, instances: {{types: [m5.large, {other}]}}}}\n")
    };
    cluster_file(testbed, &group("c5.large"))?;
    expect(
        &run(testbed, &["plan"])?,
        2,
        "warning: group `spot`: `c5.large` has 4096 MiB of memory",
    )?;
    cluster_file(testbed, &group("m6g.large"))?;
    expect(&run(testbed, &["plan"])?, 1, "`m6g.large` is arm64")?;
    Ok(())
}

#[test]
fn a_group_with_scaling_policies_is_left_alone() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let policy = [
        ("AutoScalingGroupName", "prod-web"),
        ("PolicyName", "cpu-60"),
        ("PolicyType", "SimpleScaling"),
        ("AdjustmentType", "ChangeInCapacity"),
        ("ScalingAdjustment", "1"),
    ];
    testbed
        .aws()
        .query(AUTOSCALING, "PutScalingPolicy", &policy)?;
    let text = expect(
        &run(testbed, &["apply", "--yes"])?,
        1,
        "need a decision first",
    )?;
    ensure!(text.contains("delete-policy"), "{text}");
    Ok(())
}

#[test]
fn a_plan_of_another_state_is_refused() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    let file = testbed.directory().join("plan.json");
    let file = file.to_str().context("the path is UTF-8")?;
    expect(&run(testbed, &["plan", "--out", file])?, 2, "to create")?;
    cluster_file(testbed, &WEB.replace("max: 3", "max: 4"))?;
    expect(
        &run(testbed, &["apply", file])?,
        1,
        "was made from another state",
    )?;
    cluster_file(testbed, WEB)?;
    expect(&run(testbed, &["apply", file])?, 0, "Done.")?;
    Ok(())
}

#[test]
fn what_is_not_ours_is_never_touched() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    testbed
        .aws()
        .create_group(&Group::new("prod-web").sizes(0, 9, 0))?;
    let before = account(testbed)?;
    let text = expect(
        &run(testbed, &["apply", "--yes"])?,
        1,
        "need a decision first",
    )?;
    ensure!(text.contains("was not made by Windlass"), "{text}");
    check_same(&account(testbed)?, &before).context("something was changed")?;
    expect(&run(testbed, &["destroy", "--yes"])?, 0, "Done.")?;
    check_same(&account(testbed)?, &before).context("something was deleted")?;
    Ok(())
}

#[test]
fn instances_are_not_ended_without_being_asked_for() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    testbed.aws().set_desired("prod-web", 2)?;
    expect(&run(testbed, &["destroy", "--yes"])?, 1, "has 2 instances")?;
    cluster_file(testbed, &WEB.replace("max: 3", "max: 1"))?;
    expect(
        &run(testbed, &["apply", "--yes"])?,
        1,
        "would end 1 of its own choice",
    )?;
    ensure!(testbed.aws().group("prod-web")?.instances.len() == 2);
    expect(&run(testbed, &["destroy", "--yes", "--force"])?, 0, "Done.")?;
    Ok(())
}

/// The key is made first, the parameter encrypted with it, and its end has to be asked for.
#[test]
fn the_key_of_the_join_credential_is_made_and_kept() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file_with(testbed, "  token: {createKey: true}\n", WEB)?;
    let before = account(testbed)?;
    let text = expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let made = text.find("created KMS key `alias/prod-windlass-join`");
    let made = made.with_context(|| format!("no key in {text}"))?;
    ensure!(text.find("created role").is_some_and(|role| made < role));
    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
    let after = account(testbed)?;
    ensure!(
        after["ssm parameters"].contains("alias/prod-windlass-join"),
        "{}",
        after["ssm parameters"]
    );
    for part in ["windlass.dev/key", "kms:ViaService", "true", "Enabled"] {
        ensure!(
            after["kms keys"].contains(part),
            "no `{part}` in {}",
            after["kms keys"]
        );
    }
    let policy = &after["iam GetRolePolicy prod-windlass-node prod-windlass-node"];
    ensure!(
        policy.contains("alias/prod-windlass-join")
            || policy.contains("alias%2Fprod-windlass-join"),
        "{policy}"
    );

    let text = expect(&run(testbed, &["destroy", "--yes"])?, 0, "stays")?;
    ensure!(text.contains("--schedule-key-deletion"), "{text}");
    let kept = account(testbed)?;
    ensure!(kept["kms keys"] == after["kms keys"], "the key was changed");
    expect(
        &run(testbed, &["destroy", "--yes", "--schedule-key-deletion"])?,
        0,
        "deleted KMS key",
    )?;
    check_same(&account(testbed)?, &before).context("something is left")
}

#[test]
fn a_zonal_group_is_made_in_each_zone() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let subnets = subnets(testbed)?;
    let zonal = format!(
        "  - {{name: data, min: 0, max: 3, zonal: true, subnets: [{}, {}]}}\n",
        subnets[0], subnets[1]
    );
    cluster_file(testbed, &zonal)?;
    let before = account(testbed)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    let groups = testbed
        .aws()
        .query(AUTOSCALING, "DescribeAutoScalingGroups", &[])?;
    let mut names = values(&groups, "AutoScalingGroupName");
    names.sort();
    ensure!(
        names == ["prod-data-us-east-1a", "prod-data-us-east-1b"],
        "{names:?}"
    );
    let mut of_groups = values(&groups, "VPCZoneIdentifier");
    of_groups.sort();
    let mut expected = subnets[..2].to_vec();
    expected.sort();
    ensure!(of_groups == expected, "{of_groups:?}");
    expect(
        &run(testbed, &["destroy", "--group=data", "--yes"])?,
        0,
        "Done.",
    )?;
    expect(&run(testbed, &["destroy", "--yes"])?, 0, "Done.")?;
    check_same(&account(testbed)?, &before).context("something is left")
}

/// It cannot be changed: another takes its place, and the old one goes.
#[test]
fn a_launch_configuration_is_replaced_by_another() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, ALL)?;
    let before = account(testbed)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    let names = || -> Result<Vec<String>> {
        let xml = testbed
            .aws()
            .query(AUTOSCALING, "DescribeLaunchConfigurations", &[])?;
        Ok(values(&xml, "LaunchConfigurationName"))
    };
    let old = names()?;
    ensure!(old.len() == 1 && old[0].starts_with("prod-old-"), "{old:?}");
    let front = ALL.replace("max: 3, launch", "max: 3, labels: {tier: front}, launch");
    cluster_file(testbed, &front)?;
    let text = expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    ensure!(text.contains("deleted launch configuration"), "{text}");
    let new = names()?;
    ensure!(new.len() == 1 && new != old, "{new:?}");
    let groups = testbed
        .aws()
        .query(AUTOSCALING, "DescribeAutoScalingGroups", &[])?;
    ensure!(
        values(&groups, "LaunchConfigurationName") == new,
        "{groups}"
    );
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    expect(&run(testbed, &["destroy", "--yes"])?, 0, "Done.")?;
    check_same(&account(testbed)?, &before).context("something is left")
}

/// One run at a time: the other says who is at it, and does nothing.
#[test]
fn two_do_not_change_a_cluster_at_once() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    let proxy = testbed.proxy_aws()?;
    let held = proxy.hold(Matcher::action("CreateRole"), Hold::BeforeForwarding);
    let mut first = command(testbed, proxy.url(), &["apply", "--yes"])?
        .env("USER", "ana")
        .stderr(Stdio::null())
        .spawn()
        .context("start windlass")?;
    held.wait(SOON)?;
    let second = command(testbed, &testbed.moto_url(), &["apply", "--yes"])?
        .env("USER", "bob")
        .output()?;
    expect(&second, 1, "is changing this cluster since")?;
    expect(&second, 1, "ana@")?;
    held.release();
    let status = first.wait().context("wait for windlass")?;
    ensure!(status.success(), "the first ended with {status}");
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    Ok(())
}
