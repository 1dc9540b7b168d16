//! From an empty account to new nodes and back: the commands of the README's section "From zero", as
//! they stand there, with one configuration file.
//!
//! moto runs no instances and kwok no containers. What of them is played, and by what:
//!
//! - The instance that builds the image: its own user data runs in a Debian of the test's, and it
//!   alone writes the report and powers off.
//! - The control plane's instance: a machine with a network and a metadata service of its own. The
//!   control plane is the test bed's, its Node is kwok's; what runs in the machine are the containers
//!   of the pods that the applied Deployment and `DaemonSet` have there, with the arguments and
//!   variables that the API server has of them and the tokens of their service accounts.
//! - One of the two new nodes: a machine that boots from the image that has just been built, runs the
//!   user data of the launch template, joins with the image's kubeadm, kubelet and containerd, and
//!   runs the pod that comes to it. (What its boot differs in from an instance's is told by
//!   `Machine::boot_image`.)
//! - The other new node is kwok's.
//!
//! Needs root, as machines and images do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use windlass_e2e::{
    Chroot, ENCRYPTED, Instance, Machine, Network, Policies, Ssm, described_instance, expect,
    launched_builder, play_builder, prepare_for_joins, run_pod, values,
};
use windlass_parts::ImageParts;
use windlass_provision::iam::Actor;
use windlass_testbed::{Process, Testbed, User, is_ready, phase, wait_for};

const README: &str = include_str!("../../../README.md");
const GUIDE: &str = include_str!("../../../docs/from-zero.md");
/// Whose policies the guide asks for, for who runs the commands.
const ACTORS: [Actor; 3] = [Actor::Provisioner, Actor::AmiBuilder, Actor::Doctor];
/// Most commands of the section.
const MOST_COMMANDS: usize = 5;
/// The group, and its Auto Scaling group.
const GROUP: &str = "workers";
const AWS_GROUP: &str = "prod-workers";
/// The control plane's Node.
const CONTROL_PLANE: &str = "ip-10-9-9-9.ec2.internal";
/// Time for something that has just started on a busy machine.
const SOON: Duration = Duration::from_mins(2);
/// Short pauses, so that the nodes go soon after their pods.
const FLAGS: [&str; 5] = [
    "--scan-interval=5s",
    "--scale-down-unneeded-time=5s",
    "--scale-down-delay-after-add=5s",
    "--node-delete-delay-after-taint=1s",
    "--unremovable-node-recheck-timeout=5s",
];

/// The commands of the section.
fn commands() -> Result<Vec<&'static str>> {
    let section = README
        .split("\n## ")
        .find(|it| it.starts_with("From zero\n"));
    let section = section.context("the README has a section `From zero`")?;
    let commands: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    ensure!(
        (1..=MOST_COMMANDS).contains(&commands.len()),
        "{} commands: {commands:#?}",
        commands.len()
    );
    Ok(commands)
}

/// Of [`ACTORS`] those whose policies a command goes by.
fn actors_of(command: &str) -> &'static [Actor] {
    let is = |word: &str| command.contains(&format!("windlass {word}"));
    if is("ami") {
        // It makes the role of its instance.
        &[Actor::AmiBuilder, Actor::Provisioner]
    } else if is("provision") {
        &[Actor::Provisioner]
    } else if is("doctor") || is("verify") {
        &[Actor::Doctor]
    } else {
        &[]
    }
}

/// The account, the cluster, and what is played.
struct Scene {
    testbed: &'static Testbed,
    policies: Policies,
    /// Where the commands run, with the configuration file.
    directory: PathBuf,
    image: Chroot,
    control_plane: Machine,
    pods: Vec<Process>,
}

impl Scene {
    fn begin() -> Result<Self> {
        let testbed = windlass_testbed::shared();
        testbed.clear()?;
        prepare_for_joins(testbed)?;
        let directory = testbed.directory().join("from-zero");
        let image = Chroot::unpack(&directory)?;
        fs::create_dir_all(directory.join("bin"))?;
        symlink(windlass_e2e::binary()?, directory.join("bin/windlass"))?;
        let [_, _, kubectl] = ImageParts::ensure(&mut |_| {})?.kubernetes;
        symlink(kubectl, directory.join("bin/kubectl"))?;
        let config = cluster_file(testbed, &image)?;
        let file = directory.join("cluster.yaml");
        fs::write(&file, config.to_string())?;
        Ok(Self {
            testbed,
            policies: Policies::render(&file, &ACTORS)?,
            directory,
            image,
            control_plane: control_plane(testbed)?,
            pods: Vec::new(),
        })
    }

    /// Runs a command in a shell, plays what belongs to it meanwhile, and gives what it said. What it
    /// calls of AWS has to be allowed by the policies that are rendered for its file.
    fn run(&mut self, command: &str) -> Result<String> {
        eprintln!("$ {command}");
        let begun = Instant::now();
        if command.contains("windlass verify") {
            self.testbed.joiner().claim(AWS_GROUP);
        }
        let aws = self.testbed.proxy_aws()?;
        let path = format!("{}:/usr/bin:/bin", self.directory.join("bin").display());
        let mut child = Command::new("/bin/bash")
            .args(["-o", "pipefail", "-ec", command])
            .current_dir(&self.directory)
            .envs(Testbed::aws_environment(aws.url()))
            .env("KUBECONFIG", self.testbed.kubeconfig(User::Admin))
            .env("PATH", path)
            .env("HOME", &self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("run `{command}`"))?;
        let played = self.play(command);
        if played.is_err() {
            // It would wait for what does not come.
            let _ = child.kill();
        }
        let output = child.wait_with_output()?;
        eprintln!("{}({:.1} s)", said(&output), begun.elapsed().as_secs_f64());
        played.with_context(|| format!("`{command}` said: {}", said(&output)))?;
        let text = expect(&output, 0, "").with_context(|| format!("`{command}`"))?;
        let actors = actors_of(command);
        let allowed = self.policies.check_allowed(actors, &aws);
        allowed.with_context(|| format!("`{command}`"))?;
        eprintln!("{} calls of AWS, all allowed", aws.requests().len());
        ensure!(
            actors.is_empty() == aws.requests().is_empty(),
            "`{command}` calls AWS unless it needs nobody's policy"
        );
        if command.contains("kubectl apply") {
            self.start_pods()?;
        }
        Ok(text)
    }

    fn play(&self, command: &str) -> Result<()> {
        // Once there is the image, nothing is launched.
        if command.contains("windlass ami build") && State::of(self.testbed)?.0["images"].is_empty()
        {
            let instance = launched_builder(self.testbed)?;
            let said = play_builder(self.testbed, &self.image, &instance)?;
            ensure!(said.contains("result=succeeded"), "{said}");
        }
        if command.contains("windlass verify") {
            self.play_node()?;
        }
        Ok(())
    }

    /// Runs the containers of the pods that came to the control plane's node.
    fn start_pods(&mut self) -> Result<()> {
        let accounts = ["cluster-autoscaler", "windlass-token-rotator"];
        let mut found = Vec::new();
        wait_for("the pods of the control plane's node", SOON, || {
            found = self.testbed.cluster().pods("kube-system")?;
            found.retain(|pod| phase(pod) == "Running" && node_of(pod) == Some(CONTROL_PLANE));
            Ok(found.len() == accounts.len())
        })?;
        for pod in &found {
            let account = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.service_account_name.as_deref());
            ensure!(
                account.is_some_and(|account| accounts.contains(&account)),
                "{} runs as {account:?}",
                pod.name_any()
            );
            self.pods
                .push(run_pod(self.testbed, &self.control_plane, pod)?);
        }
        Ok(())
    }

    /// Has one of the new instances boot from the image, and ends it once it is terminated.
    fn play_node(&self) -> Result<()> {
        let mut claimed = Vec::new();
        wait_for("a new instance", SOON, || {
            claimed = self.testbed.joiner().claimed();
            Ok(!claimed.is_empty())
        })?;
        let instance = described_instance(self.testbed, &claimed[0])?;
        let root = self.image.root();
        let machine = Machine::boot_image(
            self.testbed,
            "node",
            &instance,
            root,
            &self.testbed.moto_url(),
        )?;
        let joined = machine.run_script(&self.launched_script()?)?;
        expect(&joined, 0, "result=joined")?;
        eprintln!("{} has joined", instance.host_name);
        let nodes = Api::<Node>::all(self.testbed.cluster().client());
        let node = self.testbed.run(nodes.get(&instance.host_name))?;
        check_node(&node, &instance)?;
        wait_for("the instance to be terminated", 2 * SOON, || {
            let state = self.testbed.aws().instance_state(&instance.id)?;
            Ok(state == "terminated")
        })?;
        // kwok has no part in it: the pod ran.
        let runtime = machine.log("containerd.log");
        let has_run = runtime
            .lines()
            .any(|line| line.contains("StartContainer") && line.contains("returns successfully"));
        ensure!(has_run, "no container has run: {runtime}");
        machine.end();
        Ok(())
    }

    /// What instances of the group run: the script in the user data of its launch template, which
    /// launches the image that was built.
    fn launched_script(&self) -> Result<String> {
        let aws = self.testbed.aws();
        let of_group = [
            ("LaunchTemplateName", AWS_GROUP),
            ("LaunchTemplateVersion.1", "$Latest"),
        ];
        let xml = aws.query("ec2", "DescribeLaunchTemplateVersions", &of_group)?;
        let built = State::of(self.testbed)?
            .0
            .remove("images")
            .unwrap_or_default();
        ensure!(
            built.into_iter().eq(values(&xml, "imageId")),
            "the template is not of the image that was built: {xml}"
        );
        let encoded = values(&xml, "userData").into_iter().next();
        let decoded = BASE64_STANDARD.decode(encoded.context("user data")?.trim())?;
        script_in(&String::from_utf8(decoded)?)
    }

    /// Ends what runs of the pods of the control plane's node.
    fn stop_pods(&mut self) -> Result<()> {
        for mut process in self.pods.drain(..) {
            process.stop();
            let log = process.log();
            ensure!(!log.contains("panicked at"), "it panicked: {log}");
        }
        Ok(())
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    )
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// The script of user data, as cloud-init takes it out of its one part.
fn script_in(user_data: &str) -> Result<String> {
    let boundary = user_data
        .split_once("boundary=\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .context("it has parts")?
        .0;
    let parts: Vec<&str> = user_data.split(&format!("--{boundary}")).collect();
    // What is before the first, the part, and what is after the last.
    let [_, part, _] = parts[..] else {
        bail!("not one part: {user_data}");
    };
    let (headers, script) = part.split_once("\n\n").context("a part has a content")?;
    ensure!(headers.contains("text/x-shellscript"), "{headers}");
    Ok(script.to_owned())
}

fn check_node(node: &Node, instance: &Instance) -> Result<()> {
    let spec = node.spec.clone().unwrap_or_default();
    let expected = format!("aws:///{}/{}", instance.zone, instance.id);
    ensure!(spec.provider_id == Some(expected), "{spec:?}");
    ensure!(is_ready(node), "{:?}", node.status);
    let group = node.labels().get("windlass.dev/node-group");
    ensure!(
        group.is_some_and(|group| group == GROUP),
        "{:?}",
        node.labels()
    );
    ensure!(
        !node.annotations().contains_key("kwok.x-k8s.io/node"),
        "{:?}",
        node.annotations()
    );
    Ok(())
}

fn cluster_file(testbed: &Testbed, image: &Chroot) -> Result<Value> {
    let first = |action, element| {
        let xml = testbed.aws().query("ec2", action, &[])?;
        let id = values(&xml, element).into_iter().next();
        id.with_context(|| format!("{element} in {xml}"))
    };
    Ok(json!({
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "Cluster",
        "spec": {
            "cluster": "prod",
            "region": windlass_testbed::REGION,
            "endpoint": testbed.api_url().replace("https://", ""),
            "kubernetes": "v1.36.3",
            "subnets": [first("DescribeSubnets", "subnetId")?],
            "securityGroups": [first("DescribeSecurityGroups", "groupId")?],
            "cloudProvider": "none",
            "token": {"kmsKey": "alias/prod"},
            "join": {"mode": "agent"},
            "defaults": {
                "image": {"tags": {"windlass.dev/kubernetes": "v1.36.3"}},
                "instanceType": "m5.large",
            },
            "groups": [{"name": GROUP, "min": 0, "max": 3}],
            "autoscaler": {"replicas": 1, "flags": FLAGS},
            "ami": image.ami(),
        },
    }))
}

/// The control plane's instance, and its Node.
fn control_plane(testbed: &'static Testbed) -> Result<Machine> {
    let instance = Instance {
        id: "i-0c0ffee0c0ffee000".to_owned(),
        zone: format!("{}a", windlass_testbed::REGION),
        host_name: CONTROL_PLANE.to_owned(),
        address: "10.9.9.9".to_owned(),
    };
    let aws = testbed.moto_url();
    let mut machine = Machine::boot(testbed, "control-plane", &instance, Network::Missing, &aws)?;
    machine.act_as_only(&[Actor::Autoscaler, Actor::Rotator]);
    let role = "node-role.kubernetes.io/control-plane";
    testbed.cluster().apply_object(&json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": CONTROL_PLANE,
            "labels": {role: "", "kubernetes.io/os": "linux", "kubernetes.io/hostname": CONTROL_PLANE},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {
            "providerID": format!("aws:///{}/{}", instance.zone, instance.id),
            "taints": [{"key": role, "effect": "NoSchedule"}],
        },
    }))?;
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    Ok(machine)
}

/// All that AWS has of what the commands could make: ids and names by kind.
#[derive(Debug, PartialEq, Eq)]
struct State(BTreeMap<&'static str, BTreeSet<String>>);

impl State {
    fn of(testbed: &Testbed) -> Result<Self> {
        let aws = testbed.aws();
        let mut kinds = BTreeMap::new();
        let own = ("Owner.1", "self");
        let alive = [
            ("Filter.1.Name", "instance-state-name"),
            ("Filter.1.Value.1", "pending"),
            ("Filter.1.Value.2", "running"),
            ("Filter.1.Value.3", "stopping"),
            ("Filter.1.Value.4", "stopped"),
        ];
        for (kind, service, action, parameters, element) in [
            (
                "groups",
                "autoscaling",
                "DescribeAutoScalingGroups",
                &[][..],
                "AutoScalingGroupName",
            ),
            (
                "launch configurations",
                "autoscaling",
                "DescribeLaunchConfigurations",
                &[],
                "LaunchConfigurationName",
            ),
            (
                "launch templates",
                "ec2",
                "DescribeLaunchTemplates",
                &[],
                "launchTemplateName",
            ),
            (
                "instances",
                "ec2",
                "DescribeInstances",
                &alive,
                "instanceId",
            ),
            (
                "security groups",
                "ec2",
                "DescribeSecurityGroups",
                &[],
                "groupId",
            ),
            ("volumes", "ec2", "DescribeVolumes", &ENCRYPTED, "volumeId"),
            ("images", "ec2", "DescribeImages", &[own], "imageId"),
            (
                "snapshots",
                "ec2",
                "DescribeSnapshots",
                &[own],
                "snapshotId",
            ),
            ("roles", "iam", "ListRoles", &[], "RoleName"),
            (
                "instance profiles",
                "iam",
                "ListInstanceProfiles",
                &[],
                "InstanceProfileName",
            ),
            (
                "policies",
                "iam",
                "ListPolicies",
                &[("Scope", "Local")],
                "PolicyName",
            ),
        ] {
            let xml = aws.query(service, action, parameters)?;
            kinds.insert(kind, values(&xml, element).into_iter().collect());
        }
        let parameters = Ssm::of(testbed).names_below("/")?;
        kinds.insert("parameters", parameters.into_iter().collect());
        Ok(Self(kinds))
    }

    /// What this has and another has not.
    fn besides(&self, other: &Self) -> BTreeMap<&'static str, BTreeSet<String>> {
        self.0
            .iter()
            .map(|(kind, ids)| {
                let more = ids.difference(&other.0[kind]).cloned();
                (*kind, more.collect::<BTreeSet<_>>())
            })
            .filter(|(_, more)| !more.is_empty())
            .collect()
    }
}

#[test]
fn the_commands_of_the_readme_make_nodes_come_and_go_and_destroy_leaves_nothing() -> Result<()> {
    for actor in ACTORS {
        let flag = format!("--actor {}`", actor.name());
        ensure!(GUIDE.contains(&flag), "no `{flag} in the guide");
    }
    let mut scene = Scene::begin()?;
    let testbed = scene.testbed;
    let before = State::of(testbed)?;
    ensure!(
        before.0["groups"].is_empty() && before.0["images"].is_empty(),
        "{before:#?}"
    );
    let mut last = String::new();
    let commands = commands()?;
    for command in &commands {
        last = scene.run(command)?;
    }
    ensure!(last.contains("PASS"), "the last one does not pass: {last}");
    ensure!(
        last.contains("0 nodes more than before"),
        "they have not gone: {last}"
    );
    let group = testbed.aws().group(AWS_GROUP)?;
    ensure!(
        group.instances.is_empty() && group.desired == 0,
        "{group:#?}"
    );

    // Each may be run again.
    let made = State::of(testbed)?;
    for (command, answer) in commands.iter().zip(["is there already", "No changes"]) {
        let said = scene.run(command)?;
        ensure!(said.contains(answer), "no `{answer}`: {said}");
    }
    ensure!(
        State::of(testbed)? == made,
        "{:#?} has become {:#?}",
        made,
        State::of(testbed)?
    );

    // The way back. What would write the parameter again goes first.
    scene.run("windlass manifests --config cluster.yaml | kubectl delete -f -")?;
    scene.stop_pods()?;
    scene.run("windlass provision destroy --config cluster.yaml --yes")?;
    let after = State::of(testbed)?;
    let left = after.besides(&before);
    // Images are not the groups': the one that was built stays, with its disk's snapshot.
    let kinds: Vec<&str> = left.keys().copied().collect();
    ensure!(kinds == ["images", "snapshots"], "left: {left:#?}");
    ensure!(left.values().all(|ids| ids.len() == 1), "left: {left:#?}");
    scene.run("windlass ami prune --config cluster.yaml --keep 0 --yes")?;
    let after = State::of(testbed)?;
    ensure!(
        after.besides(&before).is_empty(),
        "left: {:#?}",
        after.besides(&before)
    );
    ensure!(
        before.besides(&after).is_empty(),
        "gone: {:#?}",
        before.besides(&after)
    );
    scene.control_plane.end();
    Ok(())
}
