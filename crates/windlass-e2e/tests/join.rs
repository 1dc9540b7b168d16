//! A real join: rendered user data and `windlass join` in a machine of the test's own, with an
//! instance metadata service (version 2 only), moto's Parameter Store, the real kubeadm, kubelet
//! and containerd, against the real API server. Needs Linux and root.
//!
//! The tests run at the same time: each has a cluster's name, a group and machines of its own. Those
//! that change what all joins of a cluster depend on (the API server's being there, who approves
//! certificates) have a second test bed, and take turns on it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use windlass_e2e::{
    ArgumentLists, Credential, Imds, Instance, Machine, Network, Tool, check_what_was_said,
    files_with, joinable_testbed, lone_instance, prepare_for_joins, ssm_error,
};
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Group, Options, Part, Process, Spec, Testbed, is_ready, wait_for};

const SOON: Duration = Duration::from_mins(5);
/// kubeadm's checks that a machine of the tests fails, whatever has been done in it.
const UNMET_HERE: &[&str] = &["SystemVerification", "Swap"];
/// The second test bed, and whose turn it is.
static SECOND: LazyLock<Testbed> = LazyLock::new(|| {
    let started = Testbed::start(Options::default());
    started.unwrap_or_else(|error| panic!("the second test bed does not start: {error:#}"))
});
static TURN: Mutex<()> = Mutex::new(());
static ARGUMENTS: LazyLock<ArgumentLists> = LazyLock::new(ArgumentLists::watch);

/// What all tests begin with: a cluster that can be joined, a published credential, and an
/// instance of one of the cluster's groups.
struct Scene {
    testbed: &'static Testbed,
    tool: Tool,
    credential: Credential,
    cluster: &'static str,
    group: String,
    instance: Instance,
    secret: String,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// Whether a scene's group is one of the cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tagged {
    /// It has the tag by which the cluster's groups are known.
    Ours,
    /// It has not.
    NotOurs,
}

impl Scene {
    /// On the test bed that all share.
    fn begin(cluster: &'static str) -> Result<Self> {
        Self::on(joinable_testbed()?, cluster, Tagged::Ours, None)
    }

    /// On the second test bed, alone.
    fn begin_alone(cluster: &'static str, tagged: Tagged) -> Result<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let testbed = LazyLock::force(&SECOND);
        // An approver of an earlier test has taken a binding away.
        prepare_for_joins(testbed)?;
        Self::on(testbed, cluster, tagged, Some(turn))
    }

    fn on(
        testbed: &'static Testbed,
        cluster: &'static str,
        tagged: Tagged,
        turn: Option<MutexGuard<'static, ()>>,
    ) -> Result<Self> {
        LazyLock::force(&ARGUMENTS);
        let mut group = Group::new(&format!("{cluster}-workers")).sizes(0, 3, 1);
        if tagged == Tagged::Ours {
            group = group.discovered_by(cluster);
        }
        let mut scene = Self {
            testbed,
            tool: Tool::of(testbed),
            credential: Credential::of(testbed, cluster),
            cluster,
            instance: lone_instance(testbed, &group)?,
            group: group.name,
            secret: String::new(),
            _turn: turn,
        };
        scene.credential.rotate(&scene.tool, &[])?.expect(0)?;
        let published = scene.credential.published()?;
        published.secret().clone_into(&mut scene.secret);
        scene.tool.keep_secret(published.secret());
        Ok(scene)
    }

    fn machine(&self, name: &str, network: Network) -> Result<Machine> {
        self.machine_with(name, network, &self.testbed.moto_url())
    }

    fn machine_with(&self, name: &str, network: Network, aws: &str) -> Result<Machine> {
        Machine::boot(self.testbed, name, &self.instance, network, aws)
    }

    fn render(&self, flags: &[&str]) -> Result<String> {
        let mut render = vec![
            "userdata",
            "render",
            "--cluster",
            self.cluster,
            "--group",
            &self.group,
            "--cloud-provider",
            "none",
            "--ignore-preflight-errors",
            "all",
            "--labels",
            "team=web",
            "--taints",
            "dedicated=web:NoSchedule",
        ];
        render.extend(flags);
        Ok(self.tool.run(&render)?.expect(0)?.stdout)
    }

    fn node(&self) -> Result<Option<Node>> {
        let nodes = Api::<Node>::all(self.testbed.cluster().client());
        Ok(self.testbed.run(nodes.get_opt(&self.instance.host_name))?)
    }

    fn provider_id(&self) -> String {
        format!("aws:///{}/{}", self.instance.zone, self.instance.id)
    }

    /// The node as it must be, whoever joined it.
    fn check_node(&self, machine: &Machine) -> Result<Node> {
        let node = self.node()?.context("the Node is there")?;
        let spec = node.spec.clone().unwrap_or_default();
        ensure!(
            spec.provider_id.as_deref() == Some(&*self.provider_id()),
            "{spec:?}"
        );
        let taints = spec.taints.unwrap_or_default();
        ensure!(
            taints.iter().any(|taint| taint.key == "dedicated"),
            "{taints:?}"
        );
        let labels = node.metadata.labels.clone().unwrap_or_default();
        ensure!(
            labels
                .get("windlass.dev/node-group")
                .is_some_and(|it| *it == self.group)
        );
        ensure!(
            labels.get("team").is_some_and(|it| it == "web"),
            "{labels:?}"
        );
        // Its own credential, by the cluster's CA, is who it is to the API server.
        let review = self.as_kubelet(machine)?;
        let user = review["status"]["userInfo"]["username"]
            .as_str()
            .unwrap_or_default();
        ensure!(
            user == format!("system:node:{}", self.instance.host_name),
            "{review}"
        );
        // Nothing with the token is left, anywhere that a join writes to.
        let places = [
            "/run/windlass",
            "/etc/windlass",
            "/etc/kubernetes",
            "/var/log/windlass",
            "/tmp/windlass-join",
        ];
        let found = files_with(machine.command("/bin/grep")?, &self.secret, &places)?;
        // The kubelet's own bootstrap file is kubeadm's, which removes it.
        ensure!(found.is_empty(), "the token is left in {found:?}");
        for log in ["kubelet.log", "console", "systemctl.log"] {
            self.tool.check(&machine.log(log))?;
        }
        Ok(node)
    }

    /// A review of who the kubelet's kubeconfig logs in as.
    fn as_kubelet(&self, machine: &Machine) -> Result<Value> {
        let endpoint = self.testbed.api_url();
        let output = machine
            .command("/usr/bin/curl")?
            .args(["-sS", "--cacert", "/etc/kubernetes/pki/ca.crt"])
            .args(["--cert", "/var/lib/kubelet/pki/kubelet-client-current.pem"])
            .args(["-H", "Content-Type: application/json", "-d"])
            .arg(r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#)
            .arg(format!(
                "{endpoint}/apis/authentication.k8s.io/v1/selfsubjectreviews"
            ))
            .output()?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// As the cloud controller does once an instance is gone.
    fn forget_node(&self) -> Result<()> {
        let nodes = Api::<Node>::all(self.testbed.cluster().client());
        let how = DeleteParams::default();
        self.testbed
            .run(nodes.delete(&self.instance.host_name, &how))?;
        wait_for("the Node to be gone", SOON, || Ok(self.node()?.is_none()))
    }

    fn wait_until_ready(&self) -> Result<()> {
        wait_for("the node to turn ready", SOON, || {
            Ok(self.node()?.as_ref().is_some_and(is_ready))
        })
    }

    /// Ends the machine, after it was seen that nothing secret was said: in what it has run, in
    /// any log or event, in any argument list.
    fn end(self, machine: Machine) -> Result<()> {
        for log in ["kubelet.log", "console", "systemctl.log"] {
            self.tool.check(&machine.log(log))?;
        }
        self.tool
            .check(&machine.read("/var/log/windlass/join.log"))?;
        machine.end();
        eprintln!(
            "{}",
            check_what_was_said(self.testbed, self.tool.secrets())?
        );
        ARGUMENTS.check(&["windlass"], self.tool.secrets())?;
        Ok(())
    }

    /// What `windlass join` is told, with times that a test can wait for.
    fn node_yaml(&self, more: &Value) -> String {
        let mut config = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "Node", "cluster": self.cluster,
            "nodeGroup": self.group, "cloudProvider": "none", "ignorePreflightErrors": ["all"],
            "labels": {"team": "web"},
            "taints": [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}],
            "readyTimeout": "1m",
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config.to_string()
    }

    fn configure(&self, machine: &Machine, more: &Value) -> Result<()> {
        let script = format!(
            "mkdir -p /etc/windlass; cat >/etc/windlass/node.yaml <<'EOF'\n{}\nEOF\n",
            self.node_yaml(more)
        );
        let output = machine.run_script(&script)?;
        ensure!(output.status.success(), "{}", text(&output));
        Ok(())
    }

    fn join(&self, machine: &Machine, more: &Value) -> Result<Output> {
        self.configure(machine, more)?;
        Ok(machine.command("windlass")?.arg("join").output()?)
    }

    /// The approver of certificate requests, at work.
    fn approver(&self, flags: &[&str]) -> Result<Process> {
        let begin = ["csr-approver", "--cluster", self.cluster];
        let arguments = [&begin[..], flags].concat();
        let name = format!("approver-{}", self.cluster);
        let mut approver = Spec::new(&name, &windlass_e2e::binary()?, arguments);
        approver.environment = self.tool.environment().to_vec();
        let approver = self.testbed.spawn(approver)?;
        wait_for("the approver to be at work", SOON, || {
            Ok(approver.log().contains("judging certificate requests"))
        })?;
        Ok(approver)
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The last line, which says how it went.
fn last_line(output: &Output) -> String {
    let text = text(output);
    let line = text
        .lines()
        .rfind(|line| line.starts_with("windlass-join: result="));
    line.unwrap_or_default().to_owned()
}

/// How it ended, with its line.
fn ended(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    let line = last_line(output);
    eprintln!("{line}");
    ensure!(output.status.code() == Some(code), "{}", text(output));
    for word in words {
        ensure!(line.contains(word), "no `{word}`: {}", text(output));
    }
    Ok(())
}

#[test]
fn rendered_user_data_makes_a_ready_node() -> Result<()> {
    let scene = Scene::begin("script")?;
    let machine = scene.machine("script", Network::Configured)?;
    let command = |name: &str, script: &str| -> Result<String> {
        let path = scene.testbed.directory().join(name);
        fs::write(&path, script)?;
        Ok(path.display().to_string())
    };
    let failing = command("failing", "echo never >>/run/marks\nexit 7\n")?;
    let mut flags = vec!["--mode=script", "--pre-join", &failing];
    let required = [&flags[..], &["--require-commands"]].concat();
    let output = machine.run_script(&scene.render(&required)?)?;
    ended(&output, 11, &["phase=pre-join", "echo never"])?;
    ensure!(!machine.log("systemctl.log").contains("start kubelet"));

    let before = command("before", "# a word\necho 'it''s' before >>/run/marks\n")?;
    let after = command(
        "after",
        "test -s /etc/kubernetes/kubelet.conf && echo after >>/run/marks",
    )?;
    flags.extend(["--pre-join", &before, "--post-join", &after]);
    let output = machine.run_script(&scene.render(&flags)?)?;
    ended(&output, 0, &["result=joined"])?;
    let marks = machine.read("/run/marks");
    ensure!(marks == "never\nnever\nits before\nafter\n", "{marks}");
    scene.tool.check(&text(&output))?;
    scene.wait_until_ready()?;
    scene.check_node(&machine)?;
    // Asked with a session token only.
    ensure!(
        machine.imds().refused() == 0,
        "{} requests without one",
        machine.imds().refused()
    );
    // At the next boot nothing is done again.
    let again = machine.run_script(&scene.render(&["--mode=script"])?)?;
    ensure!(text(&again).contains("joined before"), "{}", text(&again));
    ended(&again, 0, &["result=joined"])?;
    scene.end(machine)
}

#[test]
fn the_agents_user_data_joins_by_the_images_windlass() -> Result<()> {
    let scene = Scene::begin("agent")?;
    let machine = scene.machine("agent", Network::Configured)?;
    let begun = Instant::now();
    let output = machine.run_script(&scene.render(&[])?)?;
    eprintln!("user data to a ready node in {:?}", begun.elapsed());
    ended(&output, 0, &["result=joined"])?;
    scene.tool.check(&text(&output))?;
    ensure!(
        scene.node()?.as_ref().is_some_and(is_ready),
        "{}",
        text(&output)
    );
    scene.check_node(&machine)?;
    let status: Value = serde_json::from_str(&machine.read("/run/windlass/status.json"))?;
    ensure!(status["result"] == "joined", "{status}");
    ensure!(
        machine.log("console").contains("result=joined"),
        "{}",
        machine.log("console")
    );
    scene
        .tool
        .check(&machine.read("/var/log/windlass/join.log"))?;

    // A reboot changes no file of the node.
    let tree = "find /etc/kubernetes /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env \
                -type f -exec sha256sum {} +";
    let before = text(&machine.run_script(tree)?);
    let again = machine.command("windlass")?.arg("join").output()?;
    ended(&again, 0, &["result=already-joined"])?;
    ensure!(
        text(&machine.run_script(tree)?) == before,
        "files have changed"
    );
    scene.end(machine)
}

#[test]
fn without_a_network_it_has_joined_and_says_what_is_missing() -> Result<()> {
    let scene = Scene::begin("no-network")?;
    let machine = scene.machine("no-network", Network::Missing)?;
    let output = scene.join(&machine, &json!({"readyTimeout": "10s"}))?;
    ended(&output, 0, &["result=joined"])?;
    ensure!(
        text(&output).contains("no network yet"),
        "{}",
        text(&output)
    );
    let node = scene.check_node(&machine)?;
    ensure!(!is_ready(&node));
    scene.end(machine)
}

#[test]
fn another_authority_is_refused_before_anything_is_sent() -> Result<()> {
    let scene = Scene::begin("wrong-ca")?;
    let proxy = scene.testbed.proxy_api_server()?;
    let mut machine = scene.machine("wrong-ca", Network::Missing)?;
    machine.reach(proxy.url())?;
    // The parameter sends the node to somebody else's server, under the pinned hash's name.
    let published = scene.credential.published()?.document;
    let mut forged = published.clone();
    forged["endpoint"] = json!(format!("127.0.0.1:{}", proxy.port()));
    forged["caHashes"] = json!([format!("sha256:{}", "0".repeat(64))]);
    scene.credential.overwrite(&forged.to_string())?;
    let output = scene.join(&machine, &json!({}))?;
    ended(&output, 13, &["phase=authority", "pins"])?;
    let script = machine.run_script(&scene.render(&["--mode=script"])?)?;
    ended(&script, 13, &["phase=authority", "not the pinned one"])?;

    // Everything in it agrees, but the instance was launched with the right hash.
    let mut consistent = published.clone();
    consistent["endpoint"] = forged["endpoint"].clone();
    let (bundle, pin) = other_authority()?;
    consistent["ca"] = json!(bundle);
    consistent["caHashes"] = json!([pin]);
    scene.credential.overwrite(&consistent.to_string())?;
    let right = published["caHashes"][0].as_str().context("a pin")?;
    let output = scene.join(&machine, &json!({"caPins": [right]}))?;
    ended(&output, 13, &["phase=authority"])?;
    let pins = format!("--ca-pins={right}");
    let script = machine.run_script(&scene.render(&["--mode=script", &pins])?)?;
    ended(&script, 13, &["phase=authority"])?;
    ensure!(proxy.requests().is_empty(), "{:?}", proxy.requests());
    ensure!(scene.node()?.is_none());
    scene.end(machine)
}

/// A CA that is not the cluster's: its bundle in base64, and its pin.
fn other_authority() -> Result<(String, String)> {
    use base64::Engine as _;
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key)?.pem();
    let script = "openssl x509 -noout -pubkey | openssl pkey -pubin -outform der | \
                  openssl dgst -sha256 -r";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().context("a pipe")?, pem.as_bytes())?;
    let hash = String::from_utf8(child.wait_with_output()?.stdout)?;
    let hash = hash.split(' ').next().context("a hash")?;
    let bundle = base64::prelude::BASE64_STANDARD.encode(pem);
    Ok((bundle, format!("sha256:{hash}")))
}

#[test]
fn an_expired_token_is_never_joined_with() -> Result<()> {
    let scene = Scene::begin("expired")?;
    let machine = scene.machine("expired", Network::Missing)?;
    let published = scene.credential.published()?.document;
    let mut expired = published.clone();
    expired["expires"] = json!("2026-01-01T00:00:00Z");
    scene.credential.overwrite(&expired.to_string())?;
    let output = scene.join(&machine, &json!({"budget": "10s"}))?;
    ended(&output, 16, &["phase=credentials", "expired"])?;
    let mut script = scene.machine("expired-script", Network::Missing)?;
    script.set_env("WINDLASS_JOIN_BUDGET", "10");
    let output = script.run_script(&scene.render(&["--mode=script"])?)?;
    ended(&output, 16, &["expired"])?;
    script.end();
    ensure!(
        !machine.log("systemctl.log").contains("kubelet"),
        "kubeadm was run"
    );

    // It is waited for: a rotator that comes back is enough.
    scene.configure(&machine, &json!({"readyTimeout": "20s"}))?;
    let joining = begun(&machine)?;
    wait_for("the first attempt to be over", SOON, || {
        let log = machine.read("/var/log/windlass/join.log");
        Ok(log.contains("attempt 1: the published token has expired"))
    })?;
    scene.credential.overwrite(&published.to_string())?;
    let output = joining.wait_with_output()?;
    ended(&output, 0, &["result=joined"])?;
    scene.end(machine)
}

/// `windlass join` on its way.
fn begun(machine: &Machine) -> Result<std::process::Child> {
    let mut command = machine.command("windlass")?;
    command.arg("join");
    Ok(command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?)
}

#[test]
fn a_denied_parameter_ends_it_at_once_with_what_to_allow() -> Result<()> {
    let scene = Scene::begin("denied")?;
    let proxy = scene.testbed.proxy_aws()?;
    proxy.on(
        Matcher::action("GetParameter"),
        ssm_error("AccessDeniedException"),
    );
    let machine = scene.machine_with("denied", Network::Missing, proxy.url())?;
    let begun = Instant::now();
    let output = scene.join(&machine, &json!({}))?;
    ended(
        &output,
        12,
        &[
            "phase=credentials",
            "ssm:GetParameter",
            &scene.credential.parameter(),
        ],
    )?;
    eprintln!("it took {:?}", begun.elapsed());
    // Without a hook its group is told to replace it.
    let told = proxy.requests_matching(&Matcher::action("SetInstanceHealth"));
    ensure!(told.len() == 1, "{told:?}");
    ensure!(told[0].parameter("InstanceId").as_deref() == Some(&*scene.instance.id));
    ensure!(told[0].parameter("HealthStatus").as_deref() == Some("Unhealthy"));
    let script = machine.run_script(&scene.render(&["--mode=script"])?)?;
    ended(&script, 12, &["denied", "ssm:GetParameter"])?;
    ensure!(
        proxy
            .requests_matching(&Matcher::action("SetInstanceHealth"))
            .len()
            == 2
    );
    scene.end(machine)
}

#[test]
fn a_lifecycle_hook_is_told_how_it_went() -> Result<()> {
    let scene = Scene::begin("hook")?;
    let proxy = scene.testbed.proxy_aws()?;
    // moto has no such call.
    let complete = Matcher::action("CompleteLifecycleAction");
    let done = "<CompleteLifecycleActionResponse><CompleteLifecycleActionResult/>\
                </CompleteLifecycleActionResponse>";
    proxy.on(
        complete.clone(),
        Act::Answer {
            status: 200,
            content_type: "text/xml".to_owned(),
            body: done.to_owned(),
        },
    );
    let machine = scene.machine_with("hook", Network::Missing, proxy.url())?;
    let hook = json!({"autoScalingGroup": scene.group, "name": "join"});
    let output = scene.join(
        &machine,
        &json!({"lifecycleHook": hook, "readyTimeout": "20s"}),
    )?;
    ended(&output, 0, &["result=joined"])?;
    let told = proxy.requests_matching(&complete);
    let results: Vec<_> = told
        .iter()
        .map(|request| {
            request
                .parameter("LifecycleActionResult")
                .unwrap_or_default()
        })
        .collect();
    ensure!(results == ["CONTINUE"], "{results:?}");
    ensure!(told[0].parameter("LifecycleHookName").as_deref() == Some("join"));
    machine.end();

    proxy.forget_requests();
    scene.credential.overwrite(r#"{"v":9}"#)?;
    let machine = scene.machine_with("hook-failed", Network::Missing, proxy.url())?;
    let output = scene.join(&machine, &json!({"lifecycleHook": hook}))?;
    ended(&output, 12, &["phase=credentials", "version"])?;
    let told = proxy.requests_matching(&complete);
    let results: Vec<_> = told
        .iter()
        .map(|request| {
            request
                .parameter("LifecycleActionResult")
                .unwrap_or_default()
        })
        .collect();
    ensure!(results == ["ABANDON"], "{results:?}");
    scene.end(machine)
}

#[test]
fn an_api_server_that_is_down_for_a_minute_is_waited_for() -> Result<()> {
    let scene = Scene::begin_alone("outage", Tagged::Ours)?;
    let machine = scene.machine("api-down", Network::Configured)?;
    scene.testbed.stop(Part::ApiServer);
    let down_since = Instant::now();
    let joining = scene
        .configure(&machine, &json!({}))
        .and_then(|()| begun(&machine));
    // The minute is what is tested, not a wait for something to happen.
    thread::sleep(Duration::from_mins(1).saturating_sub(down_since.elapsed()));
    scene.testbed.restart(Part::ApiServer)?;
    let output = joining?.wait_with_output()?;
    ended(&output, 0, &["result=joined"])?;
    ensure!(
        text(&output).contains("cannot reach the API server"),
        "{}",
        text(&output)
    );
    scene.check_node(&machine)?;
    scene.end(machine)
}

#[test]
fn an_instance_that_is_not_ours_gets_no_certificate() -> Result<()> {
    let scene = Scene::begin_alone("foreign", Tagged::NotOurs)?;
    let _approver = scene.approver(&["--patience", "2s"])?;
    let machine = scene.machine("not-ours", Network::Missing)?;
    let output = scene.join(&machine, &json!({"budget": "2m"}))?;
    let denied = "the certificate request was denied";
    let words = ["phase=kubeadm", denied, "in no group of this cluster"];
    ended(&output, 16, &words)?;
    // kubeadm would have waited for minutes, and so for all of the time.
    let first = format!("attempt 1: {denied}");
    ensure!(text(&output).contains(&first), "{}", text(&output));
    ensure!(scene.node()?.is_none());
    scene.tool.check(&text(&output))?;
    scene.end(machine)
}

#[test]
fn an_instance_that_is_ours_gets_its_certificate_from_the_approver() -> Result<()> {
    let scene = Scene::begin_alone("approved", Tagged::Ours)?;
    let approver = scene.approver(&[])?;
    let machine = scene.machine("ours", Network::Configured)?;
    let output = scene.join(&machine, &json!({}))?;
    ended(&output, 0, &["result=joined"])?;
    ensure!(approver.log().contains("approved"), "{}", approver.log());
    scene.check_node(&machine)?;
    scene.end(machine)
}

/// A line that a join says on its way, and how long after it the join is killed.
type Moment = (&'static str, Duration);

const fn at(line: &'static str) -> Moment {
    (line, Duration::ZERO)
}

const fn after(millis: u64, line: &'static str) -> Moment {
    (line, Duration::from_millis(millis))
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    /// The join with all that it has started, as systemd ends a unit.
    All,
    /// The join alone: its kubeadm goes on.
    JoinAlone,
}

const KUBELET_STARTS: &str = "kubeadm: [kubelet-start] Starting the kubelet";

#[test]
fn a_join_that_is_killed_anywhere_is_taken_up_by_the_next() -> Result<()> {
    // Once the kubelet has been started it goes on without the join, and gets its certificate at
    // about the time at which the next join looks for it.
    let moments = [
        at("joins killed as"),
        at("kubeadm: [preflight] Running"),
        at("kubeadm: [kubelet-start] Writing"),
        at(KUBELET_STARTS),
        after(300, KUBELET_STARTS),
        after(700, KUBELET_STARTS),
        after(1_200, KUBELET_STARTS),
        after(1_800, KUBELET_STARTS),
        after(2_500, KUBELET_STARTS),
        after(4_000, KUBELET_STARTS),
        at("kubeadm: [kubelet-check] Waiting"),
        at("kubeadm: [kubelet-start] Waiting"),
        at("kubeadm: This node has joined"),
        at("is ready"),
    ];
    taken_up(&Scene::begin("killed")?, Killed::All, &moments)
}

#[test]
fn a_kubeadm_that_outlives_its_join_is_ended_by_the_next() -> Result<()> {
    let moments = [
        at("kubeadm: [preflight] Running"),
        at(KUBELET_STARTS),
        after(700, KUBELET_STARTS),
        at("kubeadm: [kubelet-start] Waiting"),
    ];
    taken_up(&Scene::begin("orphaned")?, Killed::JoinAlone, &moments)
}

#[test]
fn a_kubelet_that_a_killed_join_has_started_makes_the_next_fail_at_no_moment() -> Result<()> {
    let scene = Scene::begin("left-kubelet")?;
    let machine = scene.machine("left-kubelet", Network::Configured)?;
    scene.configure(&machine, &json!({}))?;
    killed_at(&machine, KUBELET_STARTS, Duration::ZERO, Killed::All)?;
    // Left alone, that kubelet makes a ready Node in this time, and kubeadm then refuses to join.
    machine.wrap_kubeadm("join) sleep 15; exec \"$real\" \"$@\" ;;")?;
    let output = scene.join(&machine, &json!({"budget": "2m"}))?;
    ended(&output, 0, &["joined"])?;
    scene.wait_until_ready()?;
    scene.check_node(&machine)?;
    scene.end(machine)
}

#[test]
fn a_kubeadm_that_fails_after_the_certificate_has_come_has_joined() -> Result<()> {
    let scene = Scene::begin("failed-late")?;
    let machine = scene.machine("failed-late", Network::Configured)?;
    machine.wrap_kubeadm("join) \"$real\" \"$@\"; exit 1 ;;")?;
    let output = scene.join(&machine, &json!({"budget": "3m"}))?;
    ended(&output, 0, &["result=joined"])?;
    ensure!(
        text(&output).contains("joined, though"),
        "{}",
        text(&output)
    );
    scene.check_node(&machine)?;
    machine.end();
    scene.forget_node()?;

    let mut machine = scene.machine("failed-late-script", Network::Configured)?;
    machine.wrap_kubeadm("join) \"$real\" \"$@\"; exit 1 ;;")?;
    machine.set_env("WINDLASS_JOIN_BUDGET", "180");
    let output = machine.run_script(&scene.render(&["--mode=script"])?)?;
    ended(&output, 0, &["result=joined"])?;
    scene.wait_until_ready()?;
    scene.check_node(&machine)?;
    scene.end(machine)
}

/// Has a join killed at each of the moments, on a new machine each time, and another one make the
/// same node of it as if nothing had been.
fn taken_up(scene: &Scene, killed: Killed, moments: &[Moment]) -> Result<()> {
    for (number, (line, delay)) in moments.iter().enumerate() {
        let what = format!("killed {delay:?} after `{line}`");
        let name = format!("{}-{number}", scene.cluster);
        let machine = scene.machine(&name, Network::Configured)?;
        // What a join leaves is not to be ignored by the next one's checks.
        let checks = json!({"ignorePreflightErrors": UNMET_HERE});
        scene.configure(&machine, &checks)?;
        killed_at(&machine, line, *delay, killed).context(what.clone())?;
        let output = machine.command("windlass")?.arg("join").output()?;
        eprintln!("{what}: {}", last_line(&output));
        ensure!(output.status.success(), "{what}: {}", text(&output));
        scene.tool.check(&text(&output))?;
        scene.wait_until_ready().context(what.clone())?;
        scene.check_node(&machine).context(what)?;
        machine.end();
        scene.forget_node()?;
    }
    let secrets = scene.tool.secrets();
    eprintln!("{}", check_what_was_said(scene.testbed, secrets)?);
    ARGUMENTS.check(&["windlass"], secrets).map(drop)
}

/// Starts a join and kills it with SIGKILL so long after it has said `line`.
fn killed_at(machine: &Machine, line: &str, delay: Duration, killed: Killed) -> Result<()> {
    let mut joining = begun(machine)?;
    let mut said = String::new();
    let mut lines = BufReader::new(joining.stderr.take().context("a pipe")?).lines();
    loop {
        let next = lines
            .next()
            .with_context(|| format!("it ended: {said}"))??;
        if next.contains(line) {
            break;
        }
        said.push_str(&next);
        said.push('\n');
    }
    // What is tested is the moment, not a wait for something to happen.
    thread::sleep(delay);
    let programs = match killed {
        Killed::All => "windlass|kubeadm",
        Killed::JoinAlone => "windlass",
    };
    // nsenter's child is the join: both have the name in their arguments.
    let script = format!(
        "for p in /proc/[0-9]*; do \
           if tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -Eq '^([^ ]*/)?({programs}) join'; \
           then kill -KILL ${{p#/proc/}}; fi; done; true"
    );
    machine.run_script(&script)?;
    joining.wait()?;
    Ok(())
}

#[test]
fn no_secret_is_in_any_argument_list() -> Result<()> {
    let scene = Scene::begin("arguments")?;
    let lists = ArgumentLists::watch();
    let machine = scene.machine("arguments", Network::Missing)?;
    scene.join(&machine, &json!({"readyTimeout": "5s"}))?;
    let programs = ["windlass", "kubeadm", "kubelet"];
    eprintln!("{}", lists.check(&programs, scene.tool.secrets())?);
    scene.end(machine)
}

#[test]
fn metadata_without_a_session_are_refused_by_the_service_itself() -> Result<()> {
    // The test's own service: a join that fell back to version 1 would not pass with it.
    let imds = Imds::start(&Instance {
        id: "i-0123456789abcdef0".to_owned(),
        zone: "us-east-1a".to_owned(),
        host_name: "a".to_owned(),
        address: "10.0.0.1".to_owned(),
    })?;
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}"])
        .arg(format!("{}/latest/meta-data/instance-id", imds.url()))
        .output()?;
    ensure!(output.stdout == b"401", "{output:?}");
    ensure!(imds.refused() == 1);
    Ok(())
}
