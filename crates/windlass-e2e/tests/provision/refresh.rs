//! AWS replaces the nodes of an older template itself. moto has no instance refreshes: a fake answers
//! in its place at the proxy, with what the test says, and the test replaces the instances in moto
//! where AWS would.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use windlass_e2e::{called, check_granted, expect, granted_for};
use windlass_provision::iam::{Actor, Feature};
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Proxy, Testbed, wait_for};

use crate::roll::change_the_template;
use crate::scene::{AUTOSCALING, EC2, SOON, cluster_file, command, run};

const GROUP: &str = "  - {name: web, min: 0, max: 4}\n";
const START: &str = "StartInstanceRefresh";
const DESCRIBE: &str = "DescribeInstanceRefreshes";

/// A proxy with the fake: it takes every start, and lists nothing until it is told to.
fn with_fake(testbed: &Testbed) -> Result<Proxy> {
    let proxy = testbed.proxy_aws()?;
    let started = "<InstanceRefreshId>fake-1</InstanceRefreshId>";
    proxy.on(Matcher::action(START), answer(START, started));
    proxy.on(Matcher::action(DESCRIBE), nothing());
    Ok(proxy)
}

fn answer(action: &str, result: &str) -> Act {
    Act::Answer {
        status: 200,
        content_type: "text/xml".to_owned(),
        body: format!(
            "<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"
        ),
    }
}

fn nothing() -> Act {
    answer(DESCRIBE, "<InstanceRefreshes/>")
}

/// The one refresh that there is, so far.
fn refresh(status: &str, percent: u32, left: u32, reason: &str) -> Act {
    let refresh = format!(
        "<InstanceRefreshes><member><InstanceRefreshId>fake-1</InstanceRefreshId>\
         <AutoScalingGroupName>prod-web</AutoScalingGroupName><Status>{status}</Status>\
         <StatusReason>{reason}</StatusReason><PercentageComplete>{percent}</PercentageComplete>\
         <InstancesToUpdate>{left}</InstancesToUpdate></member></InstanceRefreshes>"
    );
    answer(DESCRIBE, &refresh)
}

/// Instances of an older template, and a hook on which something drains nodes.
fn two_old_instances(testbed: &Testbed) -> Result<()> {
    cluster_file(testbed, GROUP)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    testbed.aws().set_desired("prod-web", 2)?;
    change_the_template(testbed, GROUP)
}

fn add_hook(testbed: &Testbed) -> Result<()> {
    let hook = [
        ("AutoScalingGroupName", "prod-web"),
        ("LifecycleHookName", "drain"),
        (
            "LifecycleTransition",
            "autoscaling:EC2_INSTANCE_TERMINATING",
        ),
        ("HeartbeatTimeout", "300"),
        ("DefaultResult", "CONTINUE"),
    ];
    let aws = testbed.aws();
    aws.query(AUTOSCALING, "PutLifecycleHook", &hook)?;
    Ok(())
}

/// What AWS does meanwhile. moto tells of each instance the template's default version.
fn replace_instances(testbed: &Testbed) -> Result<()> {
    let aws = testbed.aws();
    let newest = [
        ("LaunchTemplateName", "prod-web"),
        ("SetDefaultVersion", "3"),
    ];
    aws.query(EC2, "ModifyLaunchTemplate", &newest)?;
    for id in aws.group("prod-web")?.instance_ids() {
        let instance = [
            ("InstanceId", id.as_str()),
            ("ShouldDecrementDesiredCapacity", "false"),
        ];
        aws.query(
            AUTOSCALING,
            "TerminateInstanceInAutoScalingGroup",
            &instance,
        )?;
    }
    Ok(())
}

fn roll(testbed: &Testbed, proxy: &Proxy, more: &[&str]) -> Result<Command> {
    let fixed = [
        "roll",
        "--group=web",
        "--yes",
        "--strategy=instance-refresh",
    ];
    let mut command = command(testbed, proxy.url(), &[&fixed[..], more].concat())?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

fn count(proxy: &Proxy, action: &str) -> usize {
    proxy.requests_matching(&Matcher::action(action)).len()
}

/// Starts a run and waits until it has looked so often.
fn started(testbed: &Testbed, proxy: &Proxy, looks: usize) -> Result<Child> {
    proxy.forget_requests();
    let child = roll(testbed, proxy, &[])?
        .spawn()
        .context("start windlass")?;
    wait_for("the refresh to be followed", SOON, || {
        Ok(looks <= count(proxy, DESCRIBE))
    })?;
    Ok(child)
}

#[test]
fn aws_replaces_the_nodes_where_something_drains_them() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    two_old_instances(testbed)?;
    let proxy = with_fake(testbed)?;
    let refused = roll(testbed, &proxy, &[])?.output()?;
    let text = expect(&refused, 1, "no lifecycle hook for ending instances")?;
    ensure!(text.contains("does not drain Kubernetes nodes"), "{text}");
    add_hook(testbed)?;
    let canary = roll(testbed, &proxy, &["--canary"])?.output()?;
    expect(&canary, 1, "--canary is of the strategy `drain`")?;
    let shown = roll(testbed, &proxy, &["--dry-run"])?.output()?;
    expect(&shown, 0, "2 nodes to replace")?;
    ensure!(count(&proxy, START) == 0, "nobody was to start one");

    let looked = || Matcher::action(DESCRIBE);
    proxy.on(looked(), refresh("InProgress", 50, 1, "Warming up."));
    proxy.on(looked(), refresh("Pending", 0, 2, "")).times(1);
    proxy.on(looked(), nothing()).times(1);
    let child = started(testbed, &proxy, 3)?;
    replace_instances(testbed)?;
    proxy.on(looked(), refresh("Successful", 100, 0, ""));
    let text = expect(&child.wait_with_output()?, 0, "Done.")?;
    for line in [
        "instance refresh fake-1 has begun",
        "Pending: 0 %, 2 left",
        "InProgress: 50 %, 1 left: Warming up.",
        "Successful: 100 %, 0 left",
    ] {
        ensure!(text.contains(line), "no `{line}` in {text}");
    }
    let asked = proxy.requests_matching(&Matcher::action(START));
    let [asked] = &asked[..] else {
        anyhow::bail!("{} refreshes were started", asked.len());
    };
    let template = "DesiredConfiguration.LaunchTemplate";
    for (name, value) in [
        ("AutoScalingGroupName", "prod-web"),
        ("Strategy", "Rolling"),
        (&format!("{template}.LaunchTemplateName"), "prod-web"),
        (&format!("{template}.Version"), "3"),
        ("Preferences.SkipMatching", "true"),
        ("Preferences.AutoRollback", "true"),
        ("Preferences.MinHealthyPercentage", "90"),
        ("Preferences.MaxHealthyPercentage", "110"),
        ("Preferences.ScaleInProtectedInstances", "Wait"),
    ] {
        let found = asked.parameter(name);
        ensure!(found.as_deref() == Some(value), "{name}: {found:?}");
    }
    let called = called(&proxy);
    check_granted(&[Actor::Provisioner], &called)?;
    let granted = granted_for(&[Feature::ProvisionRefresh]);
    ensure!(granted.is_subset(&called), "{granted:?}, {called:?}");
    let again = roll(testbed, &proxy, &[])?.output()?;
    expect(&again, 0, "nothing to replace")?;
    ensure!(count(&proxy, START) == 1, "another one was started");
    Ok(())
}

/// Of a group of several types, whose policy is said again: left out, it would be lost.
#[test]
fn a_refresh_that_does_not_succeed_is_told_with_aws_s_reason() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let group = "  - {name: web, min: 0, max: 4, \
                 instances: {types: [m5.large, m5a.large], spot: 50%}}\n";
    cluster_file(testbed, group)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    testbed.aws().set_desired("prod-web", 2)?;
    let labelled = group.replace("max: 4", "max: 4, labels: {tier: web}");
    cluster_file(testbed, &labelled)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "version: 1 → 2")?;
    add_hook(testbed)?;
    for (status, part) in [
        ("Failed", "the next run goes on from there"),
        ("Cancelled", "stay so"),
        ("RollbackSuccessful", "AWS has taken the group back"),
        ("RollbackFailed", "look at the group's activities"),
    ] {
        let proxy = with_fake(testbed)?;
        let looked = || Matcher::action(DESCRIBE);
        proxy.on(
            looked(),
            refresh(status, 30, 1, "Too many failed launches."),
        );
        proxy.on(looked(), nothing()).times(1);
        let reason = format!("ended as {status}: Too many failed launches.");
        let output = roll(testbed, &proxy, &[])?.output()?;
        let text = expect(&output, 1, &reason)?;
        ensure!(text.contains(part), "no `{part}` in {text}");
        let asked = proxy.requests_matching(&Matcher::action(START));
        let asked = asked.first().context("a start")?;
        let policy = "DesiredConfiguration.MixedInstancesPolicy";
        let template = format!("{policy}.LaunchTemplate");
        let shares = format!("{policy}.InstancesDistribution");
        for (name, value) in [
            (
                format!("{template}.LaunchTemplateSpecification.Version"),
                "2",
            ),
            (
                format!("{template}.Overrides.member.2.InstanceType"),
                "m5a.large",
            ),
            (
                format!("{shares}.OnDemandPercentageAboveBaseCapacity"),
                "50",
            ),
        ] {
            let found = asked.parameter(&name);
            ensure!(found.as_deref() == Some(value), "{name}: {found:?}");
        }
    }
    Ok(())
}

#[test]
fn an_interrupt_leaves_the_refresh_to_aws_and_the_next_run_follows_it() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    two_old_instances(testbed)?;
    add_hook(testbed)?;
    let proxy = with_fake(testbed)?;
    let looked = || Matcher::action(DESCRIBE);
    proxy.on(looked(), refresh("InProgress", 0, 2, ""));
    proxy.on(looked(), nothing()).times(1);
    let child = started(testbed, &proxy, 2)?;
    ensure!(count(&proxy, START) == 1, "none was started");
    proxy.forget_requests();
    let pid = child.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status()?;
    let text = expect(&child.wait_with_output()?, 1, "interrupted")?;
    for part in [
        "the same command follows it again",
        "aws autoscaling cancel-instance-refresh --auto-scaling-group-name prod-web",
    ] {
        ensure!(text.contains(part), "no `{part}` in {text}");
    }
    let asked = called(&proxy);
    ensure!(
        asked.iter().all(|action| action == DESCRIBE),
        "AWS was asked for more: {asked:?}"
    );

    let child = started(testbed, &proxy, 2)?;
    replace_instances(testbed)?;
    proxy.on(looked(), refresh("Successful", 100, 0, ""));
    let text = expect(&child.wait_with_output()?, 0, "Done.")?;
    ensure!(text.contains("fake-1 is under way: following it"), "{text}");
    ensure!(count(&proxy, START) == 0, "another one was started");
    Ok(())
}
