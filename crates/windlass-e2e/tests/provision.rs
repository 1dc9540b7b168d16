//! `windlass provision` against moto: what it makes, that doing it again does nothing, and that a
//! run that ended anywhere is finished by the next.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use windlass_e2e::{Ssm, expect};
use windlass_testbed::proxy::{Act, Hold, Matcher};
use windlass_testbed::{Boot, Group, Testbed, User, Workload, wait_for};

/// Time for one call of a process that has just started on a busy machine.
const SOON: Duration = Duration::from_mins(1);

const AUTOSCALING: &str = "autoscaling";
const EC2: &str = "ec2";
const IAM: &str = "iam";

fn cluster_file(testbed: &Testbed, groups: &str) -> Result<PathBuf> {
    let subnet = first_subnet(testbed)?;
    let xml = testbed.aws().query(EC2, "DescribeSecurityGroups", &[])?;
    let security_group = values(&xml, "groupId").into_iter().next();
    let security_group = security_group.context("there is a security group")?;
    let path = testbed.directory().join("cluster.yaml");
    let text = format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
         region: {}\n  endpoint: api.example.com:443\n  kubernetes: v1.36.3\n  \
         subnets: [{subnet}]\n  securityGroups: [{security_group}]\n  tags: {{team: platform}}\n  \
         defaults: {{image: {{id: ami-1e749f67}}, instanceType: m5.large}}\n  \
         join: {{lifecycleHook: {{}}}}\n  groups:\n{groups}",
        windlass_testbed::REGION
    );
    fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
    Ok(path)
}

const WEB: &str =
    "  - {name: web, min: 0, max: 3, labels: {tier: web}, taints: ['a=b:NoSchedule']}\n";

fn first_subnet(testbed: &Testbed) -> Result<String> {
    let xml = testbed.aws().query(EC2, "DescribeSubnets", &[])?;
    let ids = values(&xml, "subnetId");
    ids.into_iter().next().context("there is a subnet")
}

/// The contents of all elements of one name.
fn values(xml: &str, element: &str) -> Vec<String> {
    xml.split(&format!("<{element}>"))
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&format!("</{element}>"))?.0.to_owned()))
        .collect()
}

/// The binary under test, on the cluster file, with AWS at `endpoint`.
fn command(testbed: &Testbed, endpoint: &str, arguments: &[&str]) -> Result<Command> {
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

fn run(testbed: &Testbed, arguments: &[&str]) -> Result<Output> {
    command(testbed, &testbed.moto_url(), arguments)?
        .output()
        .context("run windlass provision")
}

/// What there is of a cluster's resources, without the ids that AWS draws.
fn resources(testbed: &Testbed) -> Result<BTreeMap<String, Vec<String>>> {
    let aws = testbed.aws();
    let mut found = BTreeMap::new();
    let mut add = |name: &str, mut values: Vec<String>| {
        values.sort();
        found.insert(name.to_owned(), values);
    };
    let groups = aws.query(AUTOSCALING, "DescribeAutoScalingGroups", &[])?;
    for element in [
        "AutoScalingGroupName",
        "MinSize",
        "MaxSize",
        "Key",
        "Value",
        "ProcessName",
    ] {
        add(element, values(&groups, element));
    }
    let templates = aws.query(EC2, "DescribeLaunchTemplates", &[])?;
    for element in ["launchTemplateName", "latestVersionNumber", "key", "value"] {
        add(element, values(&templates, element));
    }
    let roles = aws.query(IAM, "ListRoles", &[])?;
    let own = |name: &String| !name.starts_with("AWSServiceRole");
    add(
        "RoleName",
        values(&roles, "RoleName").into_iter().filter(own).collect(),
    );
    for role in values(&roles, "RoleName").into_iter().filter(own) {
        let policies = aws.query(IAM, "ListRolePolicies", &[("RoleName", &role)])?;
        add(&format!("policies of {role}"), values(&policies, "member"));
    }
    let profiles = aws.query(IAM, "ListInstanceProfiles", &[])?;
    add(
        "InstanceProfileName",
        values(&profiles, "InstanceProfileName"),
    );
    add("roles in profiles", values(&profiles, "RoleName"));
    add("parameters", Ssm::of(testbed).names_below("/windlass/")?);
    for group in values(&groups, "AutoScalingGroupName") {
        let name = [("AutoScalingGroupName", group.as_str())];
        let hooks = aws.query(AUTOSCALING, "DescribeLifecycleHooks", &name)?;
        add(
            &format!("hooks of {group}"),
            values(&hooks, "LifecycleHookName"),
        );
    }
    Ok(found)
}

#[test]
fn apply_makes_what_plan_shows_and_a_second_changes_nothing() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    let before = resources(testbed)?;
    expect(
        &run(testbed, &["plan"])?,
        2,
        "Plan: 5 to create, 0 to change, 0 to destroy.",
    )?;
    expect(&run(testbed, &["apply"])?, 1, "nothing was done")?;
    ensure!(
        resources(testbed)? == before,
        "a refused apply changed something"
    );
    expect(
        &run(testbed, &["apply", "--yes"])?,
        0,
        "created Auto Scaling group `prod-web`",
    )?;
    let made = resources(testbed)?;
    let keys = &made["Key"];
    for tag in [
        "k8s.io/cluster-autoscaler/enabled",
        "k8s.io/cluster-autoscaler/prod",
        "k8s.io/cluster-autoscaler/node-template/label/tier",
        "k8s.io/cluster-autoscaler/node-template/taint/a",
        "kubernetes.io/cluster/prod",
        "windlass.dev/cluster",
        "team",
    ] {
        ensure!(
            keys.iter().any(|key| key == tag),
            "no tag `{tag}` in {keys:?}"
        );
    }
    ensure!(
        made["parameters"] == ["/windlass/prod/join"],
        "{:?}",
        made["parameters"]
    );
    ensure!(made["hooks of prod-web"] == ["windlass-join"]);
    ensure!(made["ProcessName"] == ["AZRebalance"]);

    expect(&run(testbed, &["apply", "--yes"])?, 0, "No changes")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    expect(&run(testbed, &["drift"])?, 0, "No changes")?;
    ensure!(
        resources(testbed)? == made,
        "the second apply changed something"
    );

    expect(&run(testbed, &["destroy", "--yes"])?, 0, "Done.")?;
    ensure!(
        resources(testbed)? == before,
        "something is left: {:#?}",
        resources(testbed)?
    );
    expect(
        &run(testbed, &["destroy", "--yes"])?,
        0,
        "nothing to delete",
    )?;
    Ok(())
}

#[test]
fn what_was_changed_by_hand_is_named_and_mended() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let made = resources(testbed)?;
    testbed.aws().set_limits("prod-web", 1, 7)?;
    let tag = |field| format!("Tags.member.1.{field}");
    let (id, kind, key) = (tag("ResourceId"), tag("ResourceType"), tag("Key"));
    let own = "k8s.io/cluster-autoscaler/prod";
    let parameters = [
        (id.as_str(), "prod-web"),
        (kind.as_str(), "auto-scaling-group"),
        (key.as_str(), own),
    ];
    testbed
        .aws()
        .query(AUTOSCALING, "DeleteTags", &parameters)?;
    let policy = [
        ("RoleName", "prod-windlass-node"),
        ("PolicyName", "prod-windlass-node"),
    ];
    testbed.aws().query(IAM, "DeleteRolePolicy", &policy)?;

    let text = expect(&run(testbed, &["drift"])?, 2, "max: 7 → 3")?;
    for part in [
        "min: 1 → 0",
        "tags[k8s.io/cluster-autoscaler/prod]",
        "policies",
    ] {
        ensure!(text.contains(part), "no `{part}` in {text}");
    }
    // One instance is there now, and stays within the new bounds.
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    expect(&run(testbed, &["drift"])?, 0, "No changes")?;
    ensure!(resources(testbed)? == made);
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
    let before = resources(testbed)?;
    let text = expect(
        &run(testbed, &["apply", "--yes"])?,
        1,
        "need a decision first",
    )?;
    ensure!(text.contains("was not made by Windlass"), "{text}");
    ensure!(resources(testbed)? == before, "something was changed");
    expect(&run(testbed, &["destroy", "--yes"])?, 0, "Done.")?;
    ensure!(resources(testbed)? == before, "something was deleted");
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

#[test]
fn an_error_of_aws_is_told_with_resource_action_and_what_to_do() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    for (action, answer, parts) in [
        (
            "CreateRole",
            Act::aws_error(403, "AccessDenied"),
            ["CreateRole of `prod-windlass-node`", "lack the permission"],
        ),
        (
            "CreateInstanceProfile",
            Act::aws_error(409, "LimitExceeded"),
            ["CreateInstanceProfile of `prod-windlass-node`", "a quota"],
        ),
        (
            "CreateLaunchTemplate",
            Act::ec2_error(400, "InvalidLaunchTemplateName.AlreadyExistsException"),
            ["CreateLaunchTemplate of `prod-web`", "at the same moment"],
        ),
        (
            "CreateAutoScalingGroup",
            Act::aws_error(400, "ValidationError"),
            ["CreateAutoScalingGroup of `prod-web`", "mend it there"],
        ),
    ] {
        let proxy = testbed.proxy_aws()?;
        proxy.on(Matcher::action(action), answer);
        let output = command(testbed, proxy.url(), &["apply", "--yes"])?.output()?;
        let text = expect(&output, 1, parts[0])?;
        ensure!(text.contains(parts[1]), "no `{}` in {text}", parts[1]);
        // What had been made stays, and the run without the fault goes on from it.
    }
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    Ok(())
}

#[test]
fn an_apply_that_is_killed_at_any_call_is_finished_by_the_next() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    let complete = resources(testbed)?;
    let calls = killed_at_each_call(
        testbed,
        &["apply", "--yes"],
        || expect(&run(testbed, &["destroy", "--yes"])?, 0, "").map(drop),
        || {
            expect(&run(testbed, &["apply", "--yes"])?, 0, "")?;
            expect(&run(testbed, &["plan"])?, 0, "No changes")?;
            let found = resources(testbed)?;
            ensure!(
                found == complete,
                "found {found:#?}, expected {complete:#?}"
            );
            Ok(())
        },
    )?;
    // The lock, what is there, and a call at least for each of the five resources.
    ensure!(calls > 15, "{calls} calls");
    Ok(())
}

#[test]
fn a_destroy_that_is_killed_at_any_call_is_finished_by_the_next() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, WEB)?;
    let foreign = Group::new("staging-web").sizes(0, 9, 0);
    testbed.aws().create_group(&foreign)?;
    let before = resources(testbed)?;
    let calls = killed_at_each_call(
        testbed,
        &["destroy", "--yes"],
        || expect(&run(testbed, &["apply", "--yes"])?, 0, "").map(drop),
        || {
            expect(&run(testbed, &["destroy", "--yes"])?, 0, "")?;
            let found = resources(testbed)?;
            ensure!(found == before, "found {found:#?}, expected {before:#?}");
            Ok(())
        },
    )?;
    ensure!(calls > 12, "{calls} calls");
    Ok(())
}

/// Runs a command again and again, killing it once AWS has carried its first, its second, … call
/// out and has not answered yet; gives the number of calls. Being killed before a call is sent is
/// being killed after the one before.
fn killed_at_each_call(
    testbed: &'static Testbed,
    arguments: &[&str],
    prepare: impl Fn() -> Result<()>,
    check: impl Fn() -> Result<()>,
) -> Result<usize> {
    for call in 0..100 {
        prepare()?;
        let proxy = testbed.proxy_aws()?;
        let counter = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&counter);
        let matcher = Matcher::new(move |_| count.fetch_add(1, Ordering::SeqCst) == call);
        let held = proxy.hold(matcher, Hold::BeforeAnswering);
        let mut child = command(testbed, proxy.url(), arguments)?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start windlass")?;
        if was_held(&held, &mut child)? {
            child.kill().context("kill windlass")?;
            child.wait().context("wait for windlass")?;
            held.refuse();
            check().with_context(|| format!("killed after call {call}"))?;
        } else {
            ensure!(call > 0, "it made no call");
            check().context("not killed at all")?;
            return Ok(call);
        }
    }
    bail!("it never came to its end")
}

/// Whether the call came; not, if the program ended before.
fn was_held(held: &windlass_testbed::proxy::HeldRequest, child: &mut Child) -> Result<bool> {
    let mut came = false;
    wait_for("the call or the end of the program", SOON, || {
        if held.wait(Duration::from_millis(20)).is_ok() {
            came = true;
            return Ok(true);
        }
        let ended = child.try_wait().context("look at windlass")?;
        Ok(ended.is_some())
    })?;
    Ok(came)
}

/// The console's way of 2019: a launch configuration, a group with the discovery tags.
fn make_as_the_how_to_does(testbed: &Testbed) -> Result<()> {
    let subnet = first_subnet(testbed)?;
    let aws = testbed.aws();
    let configuration = [
        ("LaunchConfigurationName", "k8s-workers-2019"),
        ("ImageId", "ami-1e749f67"),
        ("InstanceType", "m4.large"),
        ("UserData", "IyEvYmluL2Jhc2gK"),
    ];
    aws.query(AUTOSCALING, "CreateLaunchConfiguration", &configuration)?;
    let group = [
        ("AutoScalingGroupName", "k8s-workers"),
        ("LaunchConfigurationName", "k8s-workers-2019"),
        ("MinSize", "1"),
        ("MaxSize", "4"),
        ("DesiredCapacity", "1"),
        ("VPCZoneIdentifier", subnet.as_str()),
        ("Tags.member.1.ResourceId", "k8s-workers"),
        ("Tags.member.1.ResourceType", "auto-scaling-group"),
        ("Tags.member.1.Key", "k8s.io/cluster-autoscaler/enabled"),
        ("Tags.member.1.Value", "true"),
        ("Tags.member.1.PropagateAtLaunch", "true"),
    ];
    aws.query(AUTOSCALING, "CreateAutoScalingGroup", &group)?;
    Ok(())
}

#[test]
fn a_group_that_was_made_by_hand_is_taken_over_without_harm() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    cluster_file(testbed, "    []\n")?;
    make_as_the_how_to_does(testbed)?;
    let instances = testbed.aws().group("k8s-workers")?.instance_ids();
    let output = run(
        testbed,
        &["import", "--asg=k8s-workers", "--group=web", "--yes"],
    )?;
    expect(&output, 0, "Done.")?;
    let printed = String::from_utf8(output.stdout)?;
    let (_, entry) = printed.split_once("groups:\n").context("an entry")?;
    let entry = format!("  {}\n", entry.trim_end().replace('\n', "\n  "));
    cluster_file(testbed, &entry)?;

    let text = expect(&run(testbed, &["plan"])?, 2, "0 to destroy")?;
    ensure!(text.contains("windlass provision migrate"), "{text}");
    expect(
        &run(testbed, &["apply", "--yes"])?,
        1,
        "need a decision first",
    )?;
    let text = expect(&run(testbed, &["migrate", "--yes"])?, 0, "Done.")?;
    ensure!(
        text.contains("launch_configuration: k8s-workers-2019"),
        "{text}"
    );
    expect(&run(testbed, &["plan"])?, 0, "No changes")?;
    let group = testbed.aws().group("k8s-workers")?;
    ensure!(
        group.instance_ids() == instances,
        "an instance was replaced"
    );
    let left = testbed
        .aws()
        .query(AUTOSCALING, "DescribeLaunchConfigurations", &[])?;
    ensure!(left.contains("k8s-workers-2019"), "there is no way back");
    Ok(())
}

/// Two nodes of the group `web` with a pod each, and a template that has changed since.
fn two_old_nodes(testbed: &Testbed) -> Result<()> {
    let group = "  - {name: web, min: 0, max: 4}\n";
    cluster_file(testbed, group)?;
    expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    testbed.aws().set_desired("prod-web", 2)?;
    let cluster = testbed.cluster();
    cluster.wait_for_ready_nodes(2, SOON)?;
    cluster.deploy(&Workload::new("app", 2).requests("1100m", "64Mi"))?;
    cluster.wait_until_all_run("default", "app", 2, SOON)?;
    cluster_file(
        testbed,
        &group.replace("max: 4", "max: 4, labels: {tier: web}"),
    )?;
    let text = expect(&run(testbed, &["apply", "--yes"])?, 0, "Done.")?;
    ensure!(text.contains("windlass provision roll"), "{text}");
    // moto launches nothing from a later version that has user data.
    let version = [
        ("LaunchTemplateName", "prod-web"),
        ("LaunchTemplateData.ImageId", "ami-1e749f67"),
        ("LaunchTemplateData.InstanceType", "m5.large"),
    ];
    testbed
        .aws()
        .query(EC2, "CreateLaunchTemplateVersion", &version)?;
    let group = [
        ("AutoScalingGroupName", "prod-web"),
        ("LaunchTemplate.LaunchTemplateName", "prod-web"),
        ("LaunchTemplate.Version", "3"),
    ];
    testbed
        .aws()
        .query(AUTOSCALING, "UpdateAutoScalingGroup", &group)?;
    Ok(())
}

fn roll(testbed: &Testbed, arguments: &[&str]) -> Result<Output> {
    let fixed = ["roll", "--group=web", "--yes"];
    let arguments = [&fixed[..], arguments].concat();
    command(testbed, &testbed.moto_url(), &arguments)?
        .env("KUBECONFIG", testbed.kubeconfig(User::Admin))
        .output()
        .context("run windlass provision roll")
}

#[test]
fn old_nodes_are_replaced_by_new_ones_through_a_drain() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    two_old_nodes(testbed)?;
    let old = testbed.aws().group("prod-web")?.instance_ids();
    let text = expect(&roll(testbed, &["--dry-run"])?, 0, "2 nodes to replace")?;
    ensure!(text.contains("template prod-web version 1"), "{text}");
    let untouched = testbed.aws().group("prod-web")?.instance_ids();
    ensure!(untouched == old, "a dry run replaced something");
    expect(&roll(testbed, &[])?, 0, "Done.")?;
    let group = testbed.aws().group("prod-web")?;
    ensure!(group.desired == 2, "{} are wanted", group.desired);
    let kept: Vec<_> = group
        .instance_ids()
        .into_iter()
        .filter(|id| old.contains(id))
        .collect();
    ensure!(kept.is_empty(), "still there: {kept:?}");
    testbed
        .cluster()
        .wait_until_all_run("default", "app", 2, SOON)?;
    wait_for("two nodes that take pods", SOON, || {
        let nodes = testbed.cluster().nodes()?;
        let is_open = |node: &Node| {
            let spec = node.spec.as_ref();
            spec.is_none_or(|spec| spec.unschedulable != Some(true))
        };
        Ok(nodes.len() == 2 && nodes.iter().all(is_open))
    })
}

#[test]
fn a_replacement_that_fails_leaves_the_old_nodes_as_they_were() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    two_old_nodes(testbed)?;
    let old = testbed.aws().group("prod-web")?.instance_ids();
    // Of a pod that nobody makes again there is one on each node.
    for (index, node) in testbed.cluster().nodes()?.iter().enumerate() {
        testbed.cluster().apply_object(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("bare-{index}"), "namespace": "default"},
            "spec": {
                "nodeName": node.metadata.name,
                "containers": [{"name": "main", "image": "registry.invalid/pause"}],
            },
        }))?;
    }
    let failed = roll(testbed, &["--canary"])?;
    let text = expect(&failed, 1, "has no controller that would make it again")?;
    ensure!(text.contains("takes pods again"), "{text}");
    for node in testbed.cluster().nodes()? {
        let annotations = node.metadata.annotations.unwrap_or_default();
        let is_kept = annotations
            .keys()
            .any(|key| key.ends_with("/scale-down-disabled"));
        let is_cordoned = node
            .spec
            .is_some_and(|spec| spec.unschedulable == Some(true));
        ensure!(
            !is_kept && !is_cordoned,
            "{:?} is not as it was",
            node.metadata.name
        );
    }
    testbed.joiner().set_boot("prod-web", Boot::never());
    let failed = roll(testbed, &["--force", "--ready-timeout=5s"])?;
    expect(&failed, 1, "no old one was touched")?;
    let left = testbed.aws().group("prod-web")?.instance_ids();
    ensure!(
        old.iter().all(|id| left.contains(id)),
        "an old node was ended"
    );
    Ok(())
}

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
