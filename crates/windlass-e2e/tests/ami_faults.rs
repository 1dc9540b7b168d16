//! `windlass ami build` when AWS fails or denies a call, and when it is interrupted or killed at one:
//! each of its calls in turn. What is left is then removed by it or by `windlass ami gc`.
//!
//! The builder is played: it says by `windlass ami report`, as its script does, that all went well,
//! and stops; likewise the instance that tests the image. That their own scripts come to that is what
//! suite `ami` shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass_e2e::{
    Ssm, called, check_exactly, expect, granted, granted_for, launched_builder, nth_call,
    ssm_error, stop_instance, values, was_held,
};
use windlass_provision::iam::{Actor, Feature};
use windlass_testbed::proxy::{Act, HeldRequest, Hold, Matcher, Request};
use windlass_testbed::{Proxy, Testbed, wait_for};

/// Time for one call of a process that has just started on a busy machine.
const SOON: Duration = Duration::from_mins(1);
/// The stock image that builders start from.
const STOCK: &str = "ami-1e749f67";
/// The region of the copies.
const ELSEWHERE: &str = "eu-west-1";
/// The parameter that names the newest image.
const ANNOUNCED: &str = "/windlass/prod/image/amd64";
/// More calls than a build makes.
const MANY: usize = 100;

/// An account with the builder's instance profile, its configuration, and who plays its builders.
struct Scene {
    testbed: &'static Testbed,
    config: PathBuf,
    play: Arc<Play>,
    player: Option<thread::JoinHandle<Result<()>>>,
}

/// How instances are played.
#[derive(Default)]
struct Play {
    /// Nothing is: they run on.
    is_paused: AtomicBool,
    /// What is wrong with images once they have booted: the file that a failed check is in.
    fault: Mutex<Option<PathBuf>>,
    /// Those that test images are not played.
    hangs_at_boot: AtomicBool,
    is_over: AtomicBool,
}

impl Scene {
    fn begin() -> Result<Self> {
        Self::publishing(&json!({}))
    }

    /// With more in `spec.ami.publish`.
    fn publishing(more: &Value) -> Result<Self> {
        let testbed = windlass_e2e::testbed()?;
        let profile = [("InstanceProfileName", "prod-windlass-ami")];
        testbed
            .aws()
            .query("iam", "CreateInstanceProfile", &profile)?;
        let subnets = testbed.aws().query("ec2", "DescribeSubnets", &[])?;
        let subnet = values(&subnets, "subnetId").into_iter().next();
        let config = testbed.directory().join("ami.yaml");
        let mut publish = json!({
            "copies": [{"region": ELSEWHERE, "kmsKey": "alias/images"}],
            "accounts": ["444455556666"],
            "parameter": ANNOUNCED,
        });
        for (field, value) in more.as_object().context("an object")? {
            publish[field] = value.clone();
        }
        let document = json!({
            "apiVersion": "windlass.dev/v1alpha1",
            "kind": "Cluster",
            "spec": {
                "cluster": "prod",
                "region": windlass_testbed::REGION,
                "endpoint": "api.example.com:443",
                "kubernetes": "v1.36.3",
                "subnets": [subnet.context("there is a subnet")?],
                "securityGroups": ["sg-1"],
                "ami": {
                    "source": {"id": STOCK},
                    "windlass": {
                        "url": "https://downloads.example.com/windlass",
                        "sha256": "0".repeat(64),
                    },
                    // Other accounts cannot use what the account's own key has encrypted.
                    "builder": {"rootVolume": {"size": "20Gi", "kmsKey": "alias/images"}},
                    "publish": publish,
                },
            },
        });
        fs::write(&config, document.to_string())?;
        let play = Arc::new(Play::default());
        let by_player = Arc::clone(&play);
        Ok(Self {
            testbed,
            config,
            play,
            player: Some(thread::spawn(move || play_builders(testbed, &by_player))),
        })
    }

    /// Ends the player, which fails the test if it could not play.
    fn end(mut self) -> Result<()> {
        self.play.is_over.store(true, Ordering::SeqCst);
        let player = self.player.take().context("it plays")?;
        player
            .join()
            .unwrap_or_else(|_| panic!("the player panicked"))
    }

    fn command(&self, endpoint: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(windlass_e2e::binary()?);
        command
            .arg("ami")
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .envs(Testbed::aws_environment(endpoint))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }

    fn build(&self, endpoint: &str) -> Result<Command> {
        self.command(endpoint, &["build", "--poll", "100ms"])
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(&self.testbed.moto_url(), arguments)?;
        command.output().context("run windlass")
    }

    /// A build that nothing disturbs.
    fn build_in_peace(&self) -> Result<()> {
        let output = self.build(&self.testbed.moto_url())?.output()?;
        expect(&output, 0, "ami-").map(drop)
    }

    /// Removes all images, as `prune` does, and makes sure that nothing at all is left.
    fn tidy(&self) -> Result<()> {
        Ssm::of(self.testbed).delete(ANNOUNCED)?;
        expect(&self.run(&["prune", "--keep", "0", "--yes"])?, 0, "")?;
        expect(&self.run(&["list"])?, 0, "no image of cluster `prod`")?;
        self.wait_until_nothing_is_left()
    }

    /// A builder that was ended while it spoke takes its report back; nobody else takes anything.
    fn wait_until_nothing_is_left(&self) -> Result<()> {
        wait_for("nothing to be left", SOON, || {
            Ok(left(self.testbed)?.is_empty())
        })
        .with_context(|| format!("left: {:#?}", left(self.testbed)))
    }
}

impl Drop for Scene {
    /// A test that fails leaves no player to the next one's builders.
    fn drop(&mut self) {
        self.play.is_over.store(true, Ordering::SeqCst);
    }
}

/// Plays the builders and who tests their images: each says how it went, and stops.
fn play_builders(testbed: &'static Testbed, play: &Play) -> Result<()> {
    let sections = testbed.directory().join("sections");
    fs::write(&sections, "section clean ok 0.1s\n")?;
    let mut played = BTreeSet::new();
    while !play.is_over.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(30));
        let described = running(testbed)?;
        let images = values(&described, "imageId");
        for ((instance, build), image) in values(&described, "instanceId")
            .iter()
            .zip(builds(&described))
            .zip(images)
        {
            let tests = image != STOCK;
            // Asked after the look: who pauses does so before there is an instance.
            let is_held = play.is_paused.load(Ordering::SeqCst)
                || tests && play.hangs_at_boot.load(Ordering::SeqCst);
            if is_held || !played.insert(instance.clone()) {
                continue;
            }
            let fault = play.fault.lock().unwrap_or_else(PoisonError::into_inner);
            let fault = fault.as_ref().filter(|_| tests).cloned();
            let who = if tests {
                format!("{build}-boot")
            } else {
                build.clone()
            };
            let state = if fault.is_some() {
                "failed"
            } else {
                "succeeded"
            };
            let report = Command::new(windlass_e2e::binary()?)
                .args(["ami", "report", "--state", state, "--build", &who])
                .args(["--region", windlass_testbed::REGION])
                .arg("--sections")
                .arg(&sections)
                .arg("--log")
                .arg(fault.as_ref().unwrap_or(&sections))
                .envs(Testbed::aws_environment(&testbed.moto_url()))
                .output()?;
            expect(&report, 0, "")?;
            let named = [("InstanceId.1", instance.as_str())];
            let stopped = testbed.aws().query("ec2", "StopInstances", &named)?;
            let (_, before) = stopped.split_once("<previousState>").context("a state")?;
            if values(before, "name").first().map(String::as_str) != Some("running") {
                // The build was given up meanwhile, and an instance that is no more neither says
                // anything nor can be stopped: moto takes it back to life.
                testbed.aws().query("ec2", "TerminateInstances", &named)?;
                Ssm::of(testbed).delete(&format!("/windlass/ami/{build}/report"))?;
            }
        }
    }
    Ok(())
}

/// The instances of builds that run, as EC2 describes them.
fn running(testbed: &Testbed) -> Result<String> {
    let running = [
        ("Filter.1.Name", "tag-key"),
        ("Filter.1.Value.1", "windlass.dev/build"),
        ("Filter.2.Name", "instance-state-name"),
        ("Filter.2.Value.1", "running"),
    ];
    testbed.aws().query("ec2", "DescribeInstances", &running)
}

/// The builds that the described things belong to.
fn builds(xml: &str) -> Vec<String> {
    xml.split("<key>windlass.dev/build</key>")
        .skip(1)
        .filter_map(|rest| values(rest, "value").into_iter().next())
        .collect()
}

/// All that there is of builds: instances that are not terminated, security groups, images,
/// snapshots, reports.
fn left(testbed: &Testbed) -> Result<Vec<String>> {
    let aws = testbed.aws();
    let by_tag = [
        ("Filter.1.Name", "tag-key"),
        ("Filter.1.Value.1", "windlass.dev/build"),
    ];
    let mut left = Ssm::of(testbed).names_below("/windlass/ami/")?;
    let mut alive = by_tag.to_vec();
    alive.extend([
        ("Filter.2.Name", "instance-state-name"),
        ("Filter.2.Value.1", "pending"),
        ("Filter.2.Value.2", "running"),
        ("Filter.2.Value.3", "stopping"),
        ("Filter.2.Value.4", "stopped"),
    ]);
    let instances = aws.query("ec2", "DescribeInstances", &alive)?;
    left.extend(values(&instances, "instanceId"));
    let groups = aws.query("ec2", "DescribeSecurityGroups", &by_tag)?;
    left.extend(values(&groups, "groupName"));
    let mut owned = by_tag.to_vec();
    owned.push(("Owner.1", "self"));
    let images = aws.query("ec2", "DescribeImages", &owned)?;
    left.extend(values(&images, "imageId"));
    let snapshots = aws.query("ec2", "DescribeSnapshots", &by_tag)?;
    left.extend(values(&snapshots, "snapshotId"));
    Ok(left)
}

/// Whether a call makes something that somebody has to take away again.
fn creates(request: &Request) -> bool {
    let action = request.action.as_deref().unwrap_or_default();
    let makes = |word| action.starts_with(word);
    ["Copy", "Create", "Put", "Run"].into_iter().any(makes)
}

/// Holds each call of a build in turn (in transit those that create) and has `disturb` do something to the build meanwhile; `check`
/// looks at what came of it. Gives how many calls there were.
fn at_each_call(
    scene: &Scene,
    at: Hold,
    disturb: impl Fn(&mut Child, HeldRequest) -> Result<()>,
    check: impl Fn(&Output) -> Result<()>,
) -> Result<usize> {
    for call in 0..MANY {
        let proxy = scene.testbed.proxy_aws()?;
        let counts = move |request: &Request| at != Hold::InTransit || creates(request);
        let held = proxy.hold(nth_call(call, counts), at);
        let mut child = scene
            .build(proxy.url())?
            .spawn()
            .context("start windlass")?;
        let came = was_held(&held, &mut child, SOON)?;
        if came {
            disturb(&mut child, held)?;
        }
        let output = child.wait_with_output()?;
        if came && at == Hold::InTransit {
            // The program may have ended before.
            wait_for("the call to arrive", SOON, || {
                let requests = proxy.requests();
                let mut creating = requests.iter().filter(|it| creates(it));
                Ok(creating.nth(call).is_some_and(|it| it.answer.is_some()))
            })?;
        }
        if !came {
            expect(&output, 0, "ami-")?;
            scene.tidy()?;
            return Ok(call);
        }
        check(&output).with_context(|| format!("disturbed at call {call}"))?;
    }
    anyhow::bail!("it never came to its end")
}

#[test]
fn a_build_that_is_killed_at_any_call_leaves_nothing_that_cannot_be_removed() -> Result<()> {
    let scene = Scene::begin()?;
    let kill = |child: &mut Child, held: HeldRequest| {
        child.kill().context("kill windlass")?;
        held.refuse();
        Ok(())
    };
    let calls = at_each_call(&scene, Hold::BeforeAnswering, kill, |_| {
        // Nobody knows that nobody waits for it: its time is not over.
        let text = expect(&scene.run(&["gc"])?, 0, "")?;
        for build in text.lines().filter_map(|line| line.strip_prefix("build ")) {
            ensure!(build.contains("stays: its time is over at"), "{text}");
            let id = build.split_whitespace().next().context("an id")?;
            expect(&scene.run(&["gc", "--build", id])?, 0, "removed")?;
        }
        scene.build_in_peace()?;
        let images: Value = serde_json::from_slice(&scene.run(&["list", "-o", "json"])?.stdout)?;
        let images = images.as_array().context("a list")?;
        ensure!(
            images.len() == 2,
            "an image and its copy, found {images:#?}"
        );
        ensure!(
            images.iter().all(|image| image["kubernetes"] == "v1.36.3"),
            "an image without its tags: {images:#?}"
        );
        scene.tidy()
    })?;
    ensure!(calls > 15, "{calls} calls");
    scene.end()
}

#[test]
fn a_build_that_is_interrupted_at_any_call_leaves_nothing() -> Result<()> {
    interrupted_at_each_call(Hold::BeforeAnswering)
}

#[test]
fn what_is_on_its_way_at_an_interrupt_is_not_left() -> Result<()> {
    interrupted_at_each_call(Hold::InTransit)
}

fn interrupted_at_each_call(hold: Hold) -> Result<()> {
    let scene = Scene::begin()?;
    let interrupt = |child: &mut Child, held: HeldRequest| {
        let pid = child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        if hold == Hold::InTransit {
            // Time to clean up before it arrives, for a program that does not wait for it.
            thread::sleep(Duration::from_millis(500));
        }
        held.release();
        Ok(())
    };
    let calls = at_each_call(&scene, hold, interrupt, |output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Before there is a build an interrupt ends the program as any other, and while a whole one is
        // cleaned up it changes nothing.
        let code = output.status.code();
        let is_published = said.contains("is built and not all of spec.ami.publish is done");
        match code {
            Some(0) => {}
            Some(4) if is_published => {}
            Some(4) | None => scene.wait_until_nothing_is_left().context(said)?,
            _ => anyhow::bail!("ended with {code:?}: {said}"),
        }
        scene.tidy()
    })?;
    let fewest = if hold == Hold::InTransit { 5 } else { 15 };
    ensure!(fewest < calls, "{calls} calls");
    scene.end()
}

/// How the service of a call denies it.
fn denial(action: &str) -> Act {
    if action.ends_with("Parameter") {
        return ssm_error("AccessDeniedException");
    }
    Act::ec2_error(400, "UnauthorizedOperation")
}

#[test]
fn a_call_that_fails_once_is_made_again() -> Result<()> {
    let scene = Scene::begin()?;
    let proxy = scene.testbed.proxy_aws()?;
    // Each is cut off before it arrives when it comes first, and let through when it comes again.
    let known = Mutex::new(BTreeSet::new());
    let is_new = Matcher::new(move |request| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((request.action.clone(), request.body.clone()))
    });
    proxy.on(is_new, Act::DropBeforeForwarding);
    expect(&scene.build(proxy.url())?.output()?, 0, "ami-")?;
    let calls = proxy.requests();
    let cut_off = calls.iter().filter(|call| call.answer.is_none()).count();
    ensure!(cut_off > 15, "{cut_off} of {} calls", calls.len());
    scene.tidy()?;
    scene.end()
}

#[test]
fn a_denied_action_is_named_and_nothing_is_left_once_it_is_allowed() -> Result<()> {
    let scene = Scene::begin()?;
    let proxy = scene.testbed.proxy_aws()?;
    expect(&scene.build(proxy.url())?.output()?, 0, "ami-")?;
    let calls = proxy.requests();
    drop(proxy);
    scene.tidy()?;
    let mut actions = BTreeSet::new();
    for call in &calls {
        let action = call.action.clone().context("an action")?;
        if !actions.insert(action.clone()) {
            continue;
        }
        let proxy = scene.testbed.proxy_aws()?;
        proxy.on(Matcher::action(&action), denial(&action));
        let output = scene.build(proxy.url())?.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        ensure!(said.contains(&action), "no {action} in {said}");
        // Who builds need not be allowed to look at roles: the launch tells whether it has one.
        let is_look = ["GetRole", "GetInstanceProfile"].contains(&&*action);
        if is_look {
            ensure!(code == Some(0), "{action}: {code:?}: {said}");
        } else {
            ensure!(matches!(code, Some(1 | 5)), "{action}: {code:?}: {said}");
            ensure!(
                code == Some(5) || said.contains("permission"),
                "{action}: {said}"
            );
        }
        // What could not be removed is named with its build.
        for build in said
            .lines()
            .filter_map(|line| line.split_once("gc --build "))
        {
            let id = build.1.split('`').next().context("an id")?;
            expect(&scene.run(&["gc", "--build", id])?, 0, "")?;
        }
        scene
            .tidy()
            .with_context(|| format!("{action} was denied: {said}"))?;
    }
    ensure!(actions.len() > 14, "{actions:?}");
    scene.end()
}

#[test]
fn a_builder_that_fails_is_kept_if_that_is_asked_for() -> Result<()> {
    let scene = Scene::begin()?;
    scene.play.is_paused.store(true, Ordering::SeqCst);
    let mut build = scene.build(&scene.testbed.moto_url())?;
    let build = build.arg("--on-failure=keep").spawn()?;
    let builder = launched_builder(scene.testbed)?;
    stop_instance(scene.testbed, &builder)?;
    let said = expect(&build.wait_with_output()?, 1, "has not said how it went")?;
    let left = left(scene.testbed)?;
    ensure!(left.contains(&builder), "{left:?}");
    let (_, rest) = said.split_once("gc --build ").context("how it goes")?;
    let id = rest.split('`').next().context("an id")?;
    expect(&scene.run(&["gc", "--build", id])?, 0, "removed")?;
    scene.play.is_paused.store(false, Ordering::SeqCst);
    scene.tidy()?;
    scene.end()
}

#[test]
fn an_image_in_use_stays() -> Result<()> {
    let scene = Scene::begin()?;
    let aws = scene.testbed.aws();
    scene.build_in_peace()?;
    let listed = expect(&scene.run(&["list"])?, 0, &format!("parameter {ANNOUNCED}"))?;
    let image = listed
        .split_whitespace()
        .find(|word| word.starts_with("ami-"));
    let image = image.context("an image")?.to_owned();
    // The parameter names it.
    let pruned = expect(
        &scene.run(&["prune", "--keep", "0", "--yes"])?,
        0,
        "removed",
    )?;
    ensure!(!pruned.contains(&image), "{pruned}");
    ensure!(pruned.contains(ELSEWHERE), "the copy goes: {pruned}");
    // An instance runs on it.
    Ssm::of(scene.testbed).delete(ANNOUNCED)?;
    let launch = [
        ("ImageId", image.as_str()),
        ("MinCount", "1"),
        ("MaxCount", "1"),
    ];
    let launched = aws.query("ec2", "RunInstances", &launched_by(&launch))?;
    let instance = values(&launched, "instanceId").into_iter().next();
    let instance = instance.context("an instance")?;
    expect(
        &scene.run(&["prune", "--keep", "0", "--yes"])?,
        0,
        "nothing to remove",
    )?;
    expect(&scene.run(&["list"])?, 0, &instance)?;
    aws.query("ec2", "TerminateInstances", &[("InstanceId.1", &instance)])?;
    // A group launches from it.
    let template = [
        ("LaunchTemplateName", "by-hand"),
        ("LaunchTemplateData.ImageId", image.as_str()),
        ("LaunchTemplateData.InstanceType", "m5.large"),
    ];
    aws.query("ec2", "CreateLaunchTemplate", &template)?;
    let group = [
        ("AutoScalingGroupName", "by-hand"),
        ("LaunchTemplate.LaunchTemplateName", "by-hand"),
        ("LaunchTemplate.Version", "1"),
        ("MinSize", "0"),
        ("MaxSize", "1"),
        ("AvailabilityZones.member.1", "us-west-2a"),
    ];
    aws.query("autoscaling", "CreateAutoScalingGroup", &group)?;
    expect(
        &scene.run(&["prune", "--keep", "0", "--yes"])?,
        0,
        "nothing to remove",
    )?;
    expect(&scene.run(&["list"])?, 0, "group by-hand")?;
    aws.query(
        "autoscaling",
        "DeleteAutoScalingGroup",
        &[("AutoScalingGroupName", "by-hand")],
    )?;
    // It is one of the newest; it is asked about; it is only shown.
    expect(&scene.run(&["prune"])?, 0, "nothing to remove")?;
    expect(
        &scene.run(&["prune", "--keep", "0", "--dry-run"])?,
        0,
        &image,
    )?;
    expect(
        &scene.run(&["prune", "--keep", "0"])?,
        0,
        "nothing was removed",
    )?;
    scene.tidy()?;
    scene.end()
}

#[test]
fn a_build_of_another_cluster_is_not_removed() -> Result<()> {
    let scene = Scene::begin()?;
    let aws = scene.testbed.aws();
    // Its time is over, and it is not this cluster's to remove.
    let foreign = [
        ("ImageId", "ami-1e749f67"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "windlass.dev/build"),
        ("TagSpecification.1.Tag.1.Value", "theirs"),
        ("TagSpecification.1.Tag.2.Key", "windlass.dev/cluster"),
        ("TagSpecification.1.Tag.2.Value", "staging"),
        ("TagSpecification.1.Tag.3.Key", "windlass.dev/expires"),
        ("TagSpecification.1.Tag.3.Value", "2020-01-01T00:00:00Z"),
    ];
    let launched = aws.query("ec2", "RunInstances", &launched_by(&foreign))?;
    let theirs = values(&launched, "instanceId").into_iter().next();
    let theirs = theirs.context("an instance")?;
    let said = expect(&scene.run(&["gc"])?, 0, "")?;
    ensure!(!said.contains("theirs"), "{said}");
    let refused = scene.run(&["gc", "--build", "theirs"])?;
    expect(&refused, 1, "nothing of a build `theirs` of this cluster")?;
    // As its own it is removed, without being named, since its time is over.
    let tag = [
        ("ResourceId.1", theirs.as_str()),
        ("Tag.1.Key", "windlass.dev/cluster"),
        ("Tag.1.Value", "prod"),
    ];
    aws.query("ec2", "CreateTags", &tag)?;
    expect(
        &scene.run(&["gc", "--dry-run"])?,
        0,
        &format!("would remove {theirs}"),
    )?;
    expect(&scene.run(&["gc"])?, 0, &format!("removed {theirs}"))?;
    scene.tidy()?;
    scene.end()
}

/// Parameters as they are, for `RunInstances`.
fn launched_by<'a>(parameters: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = parameters.to_vec();
    all.push(("InstanceType", "m5.large"));
    all
}

#[test]
fn who_builds_and_prunes_may_do_just_that() -> Result<()> {
    let scene = Scene::publishing(&json!({"deprecateAfter": "90d"}))?;
    let aws = scene.testbed.aws();
    let proxy = scene.testbed.proxy_aws()?;
    deprecates(&proxy);
    // A builder that stops and has said nothing: its console is asked for.
    scene.play.is_paused.store(true, Ordering::SeqCst);
    let build = scene.build(proxy.url())?.spawn()?;
    stop_instance(scene.testbed, &launched_builder(scene.testbed)?)?;
    expect(&build.wait_with_output()?, 1, "has not said how it went")?;
    scene.play.is_paused.store(false, Ordering::SeqCst);

    expect(&scene.build(proxy.url())?.output()?, 0, "ami-")?;
    let groups = [
        ("by-template", "LaunchTemplate.LaunchTemplateName"),
        ("by-configuration", "LaunchConfigurationName"),
    ];
    let template = [
        ("LaunchTemplateName", "by-template"),
        ("LaunchTemplateData.ImageId", "ami-1e749f67"),
        ("LaunchTemplateData.InstanceType", "m5.large"),
    ];
    aws.query("ec2", "CreateLaunchTemplate", &template)?;
    let configuration = [
        ("LaunchConfigurationName", "by-configuration"),
        ("ImageId", "ami-1e749f67"),
        ("InstanceType", "m5.large"),
    ];
    aws.query("autoscaling", "CreateLaunchConfiguration", &configuration)?;
    for (name, source) in groups {
        let group = [
            ("AutoScalingGroupName", name),
            (source, name),
            ("MinSize", "0"),
            ("MaxSize", "1"),
            ("AvailabilityZones.member.1", "us-west-2a"),
        ];
        aws.query("autoscaling", "CreateAutoScalingGroup", &group)?;
    }
    Ssm::of(scene.testbed).delete(ANNOUNCED)?;
    let commands: [&[&str]; 3] = [&["list"], &["prune", "--keep", "0", "--yes"], &["gc"]];
    for arguments in commands {
        expect(&scene.command(proxy.url(), arguments)?.output()?, 0, "")?;
    }
    let mut called = called(&proxy);
    // The role is looked at too, which is the provisioner's to make.
    let of_role = granted_for(&[Feature::ProvisionBuilder]);
    called.retain(|action| !of_role.contains(action));
    check_exactly(&granted(&[Actor::AmiBuilder]), &called)?;
    scene.tidy()?;
    scene.end()
}

/// The images of a cluster's file, as `ami list` says them.
fn listed(scene: &Scene) -> Result<Vec<Value>> {
    let output = scene.run(&["list", "-o", "json"])?;
    expect(&output, 0, "")?;
    serde_json::from_slice(&output.stdout).context("a list")
}

#[test]
fn an_image_is_published_once_an_instance_of_it_finds_it_right() -> Result<()> {
    let scene = Scene::publishing(&json!({"bootTest": true}))?;
    let proxy = scene.testbed.proxy_aws()?;
    expect(&scene.build(proxy.url())?.output()?, 0, "section clean ok")?;
    let announced = Ssm::of(scene.testbed).get(ANNOUNCED)?;
    let image = announced.context("it is announced")?.value;
    let launched = proxy.requests_matching(&Matcher::action("RunInstances"));
    let from: Vec<String> = launched
        .iter()
        .filter_map(|it| it.parameter("ImageId"))
        .collect();
    ensure!(from == [STOCK, &image], "{from:?}");
    // What its own and its copy's groups can ask for.
    let passed = [
        ("Owner.1", "self"),
        ("Filter.1.Name", "tag:windlass.dev/boot-test"),
        ("Filter.1.Value.1", "passed"),
    ];
    let tagged = scene
        .testbed
        .aws()
        .query("ec2", "DescribeImages", &passed)?;
    ensure!(values(&tagged, "imageId") == [image.clone()], "{tagged}");
    ensure!(
        proxy.requests().iter().any(|it| {
            it.action.as_deref() == Some("CreateTags")
                && it.parameter("ResourceId.1").is_some_and(|id| id != image)
                && it.body_text().contains("boot-test")
        }),
        "the copy has no tag"
    );
    let left = left(scene.testbed)?;
    ensure!(
        left.iter()
            .all(|it| it.starts_with("ami-") || it.starts_with("snap-")),
        "{left:?}"
    );

    // It has passed: nothing is launched again.
    proxy.forget_requests();
    expect(&scene.build(proxy.url())?.output()?, 0, "is there already")?;
    ensure!(
        proxy
            .requests_matching(&Matcher::action("RunInstances"))
            .is_empty()
    );
    scene.tidy()?;
    scene.end()
}

#[test]
fn an_image_that_is_not_right_once_it_has_booted_is_not_published() -> Result<()> {
    let scene = Scene::publishing(&json!({"bootTest": true}))?;
    let log = scene.testbed.directory().join("failed");
    fs::write(
        &log,
        "FAIL  services  containerd.service runs: it is failed\n",
    )?;
    *scene
        .play
        .fault
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(log);
    let said = expect(
        &scene.build(&scene.testbed.moto_url())?.output()?,
        1,
        "the image is not published",
    )?;
    for part in [
        "has not passed its boot test",
        "containerd.service runs: it is failed",
    ] {
        ensure!(said.contains(part), "no `{part}` in {said}");
    }
    ensure!(Ssm::of(scene.testbed).get(ANNOUNCED)?.is_none(), "{said}");
    ensure!(listed(&scene)?.is_empty(), "{said}");
    scene.wait_until_nothing_is_left()?;

    // Somebody looks at it: it stays with its instances, and is not published.
    let mut build = scene.build(&scene.testbed.moto_url())?;
    let said = expect(&build.arg("--on-failure=keep").output()?, 1, "gc --build ")?;
    ensure!(Ssm::of(scene.testbed).get(ANNOUNCED)?.is_none(), "{said}");
    ensure!(listed(&scene)?.len() == 1, "{said}");
    let (_, rest) = said.split_once("gc --build ").context("how it goes")?;
    let id = rest.split('`').next().context("an id")?;
    expect(&scene.run(&["gc", "--build", id])?, 0, "removed")?;
    // The next build tests what is there, and leaves it when it fails again.
    let again = scene.build(&scene.testbed.moto_url())?.output()?;
    expect(&again, 1, "containerd.service runs: it is failed")?;
    ensure!(listed(&scene)?.len() == 1 && Ssm::of(scene.testbed).get(ANNOUNCED)?.is_none());
    scene.tidy()?;
    scene.end()
}

#[test]
fn a_boot_test_that_is_interrupted_or_killed_leaves_no_instance() -> Result<()> {
    let scene = Scene::publishing(&json!({"bootTest": true}))?;
    scene.play.hangs_at_boot.store(true, Ordering::SeqCst);
    let reached = |build: &mut Child| -> Result<String> {
        let mut tester = None;
        wait_for("the image to be booted", SOON, || {
            ensure!(build.try_wait()?.is_none(), "the build has ended");
            tester = testers(scene.testbed)?.into_iter().next();
            Ok(tester.is_some())
        })?;
        tester.context("an instance")
    };
    let mut build = scene.build(&scene.testbed.moto_url())?.spawn()?;
    reached(&mut build)?;
    Command::new("kill")
        .args(["-INT", &build.id().to_string()])
        .status()?;
    expect(&build.wait_with_output()?, 4, "interrupted: cleaning up")?;
    scene.wait_until_nothing_is_left()?;

    let mut build = scene.build(&scene.testbed.moto_url())?.spawn()?;
    let tester = reached(&mut build)?;
    build.kill()?;
    build.wait()?;
    let text = expect(&scene.run(&["gc"])?, 0, "stays: its time is over at")?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("build ")?.split_whitespace().next())
        .context("a build")?;
    let removed = expect(&scene.run(&["gc", "--build", id])?, 0, "removed")?;
    ensure!(removed.contains(&tester), "{removed}");
    ensure!(testers(scene.testbed)?.is_empty());
    ensure!(Ssm::of(scene.testbed).get(ANNOUNCED)?.is_none());

    // Its image is whole and not tested: the next build does that, and publishes it.
    scene.play.hangs_at_boot.store(false, Ordering::SeqCst);
    let again = scene.build(&scene.testbed.moto_url())?.output()?;
    let said = expect(&again, 0, "is there already")?;
    ensure!(said.contains("testing windlass-prod-"), "{said}");
    let announced = Ssm::of(scene.testbed).get(ANNOUNCED)?;
    ensure!(
        announced.is_some_and(|it| said.contains(&it.value)),
        "{said}"
    );
    scene.tidy()?;
    scene.end()
}

/// The instances that run to test an image.
fn testers(testbed: &Testbed) -> Result<Vec<String>> {
    let described = running(testbed)?;
    let instances = values(&described, "instanceId").into_iter();
    let of_images = instances.zip(values(&described, "imageId"));
    Ok(of_images
        .filter(|(_, image)| image != STOCK)
        .map(|(instance, _)| instance)
        .collect())
}

/// moto does not know how to deprecate an image: the proxy says in its place that it is done.
fn deprecates(proxy: &Proxy) {
    let done = Act::Answer {
        status: 200,
        content_type: "text/xml".to_owned(),
        body: "<EnableImageDeprecationResponse><requestId>testbed</requestId><return>true</return>\
               </EnableImageDeprecationResponse>"
            .to_owned(),
    };
    proxy.on(Matcher::action("EnableImageDeprecation"), done);
}

/// Which images were to be deprecated, and from when on.
fn deprecated(proxy: &Proxy) -> BTreeSet<(String, String)> {
    let asked = proxy.requests_matching(&Matcher::action("EnableImageDeprecation"));
    let parameter = |request: &Request, name| request.parameter(name).unwrap_or_default();
    let asked = asked.iter();
    asked
        .map(|it| (parameter(it, "ImageId"), parameter(it, "DeprecateAt")))
        .collect()
}

#[test]
fn an_image_and_its_copy_are_deprecated_by_the_image_s_age() -> Result<()> {
    let scene = Scene::publishing(&json!({"deprecateAfter": "90d"}))?;
    // Denied: the image is there, and what is missing of its publication is said.
    let proxy = scene.testbed.proxy_aws()?;
    let denied = Matcher::action("EnableImageDeprecation");
    proxy.on(denied, Act::ec2_error(400, "UnauthorizedOperation"));
    let said = expect(
        &scene.build(proxy.url())?.output()?,
        1,
        "is built and not all of spec.ami.publish is done",
    )?;
    ensure!(said.contains("--features usual,ami-deprecation`"), "{said}");
    ensure!(Ssm::of(scene.testbed).get(ANNOUNCED)?.is_none(), "{said}");
    drop(proxy);

    // The next run finishes it, and the one after comes to the same.
    let mut before = None;
    for _ in 0..2 {
        let proxy = scene.testbed.proxy_aws()?;
        deprecates(&proxy);
        let output = scene.build(proxy.url())?.output()?;
        let text = expect(&output, 0, "is there already")?;
        let images = listed(&scene)?;
        let ids: BTreeSet<&str> = images.iter().filter_map(|it| it["id"].as_str()).collect();
        let deprecated = deprecated(&proxy);
        let named: BTreeSet<&str> = deprecated.iter().map(|(image, _)| image.as_str()).collect();
        ensure!(
            ids == named && ids.len() == 2,
            "{ids:?}, and {deprecated:?}"
        );

        let original = Ssm::of(scene.testbed).get(ANNOUNCED)?;
        let original = original.context("it is announced")?.value;
        let original = images.iter().find(|it| it["id"] == *original);
        let created = original.context("it is listed")?["created"].clone();
        let created: Timestamp = created.as_str().context("a time")?.parse()?;
        let due = created + SignedDuration::from_hours(90 * 24);
        let due = due.to_string()[..16].to_owned() + ":00Z";
        ensure!(
            deprecated.iter().all(|(_, at)| *at == due),
            "{created}: {deprecated:?}"
        );
        ensure!(text.contains(&format!("deprecated from {due}")), "{text}");
        ensure!(before.is_none_or(|before| before == deprecated));
        before = Some(deprecated);
    }
    scene.tidy()?;
    scene.end()
}
