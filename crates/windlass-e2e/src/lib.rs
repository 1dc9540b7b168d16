//! End-to-end suites: the built binary against a real control plane and moto.
//!
//! The suites are the files of `tests/`; each is one process with one test bed, whose tests run one
//! after the other (those of `token` and `join` at the same time: see [`joinable_testbed`]):
//! `cargo xtask test --suite NAME`, or by hand
//!
//! ```text
//! cargo build --workspace --bin windlass --test NAME
//! cargo test --workspace --test NAME -- --test-threads=1 --nocapture [TEST]
//! ```
//!
//! (Of the whole workspace: a selection of packages would compile their dependencies with other
//! features once more.)
//!
//! Here is what they have in common: [`Run`] starts `windlass run` with the flags of the how-to,
//! under the rights that `windlass manifests` renders for its flags and no others, and gives a
//! [`Windlass`] to watch and to kill.
//! The binary is `$WINDLASS_BIN`, else the one that cargo has built beside the tests.
//!
//! ```no_run
//! use std::time::Duration;
//! use windlass_e2e::Run;
//! use windlass_testbed::{Group, Workload};
//!
//! # fn main() -> anyhow::Result<()> {
//! let testbed = windlass_e2e::testbed()?;
//! testbed.aws().create_group(&Group::new("web").sizes(1, 10, 1).discovered_by("demo"))?;
//! let windlass = Run::of_cluster("demo").flag("--scan-interval=10s").start(testbed, "windlass")?;
//! testbed.cluster().deploy(&Workload::new("web", 12))?;
//! testbed.cluster().wait_until_all_run("default", "web", 12, Duration::from_secs(60))?;
//! println!("{:?}", windlass.metric("cluster_autoscaler_nodes_count")?);
//! # Ok(())
//! # }
//! ```

mod account;
mod at_call;
mod builder;
mod command;
mod credential;
mod image;
mod imds;
mod join;
mod permissions;
mod pods;
mod rights;
mod secrets;
mod spare_node;
mod ssm;

pub use account::{Account, ENCRYPTED, account, check_same, without_instances};
pub use at_call::{nth_call, was_held};
pub use builder::{launched_builder, play_builder, stop_instance, values};
pub use command::{Finished, Tool, expect};
pub use credential::{
    Credential, Published, apply_component, bearer, client_as, joinable_testbed,
    service_account_kubeconfig, who_is,
};
pub use image::{CONTAINER_IMAGES, Chroot};
pub use imds::{Imds, Instance};
pub use join::{Machine, Network, described_instance, lone_instance, prepare_for_joins};
pub use permissions::{Policies, called, check_exactly, check_granted, granted, granted_for};
pub use pods::run_pod;
pub use rights::{check_rights, rights_of, wait_until_granted};
pub use secrets::{ArgumentLists, check_what_was_said, files_with};
pub use ssm::{Parameter, Ssm, ssm_error};

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;
use windlass_provision::iam::Actor;
use windlass_provision::manifests;
use windlass_testbed::{Process, Proxy, Spec, Testbed, User, wait_for};

pub use spare_node::SpareNode;

/// The shared test bed, empty, and without any right of an autoscaler: [`Run::start`] grants those
/// that its flags ask for. Every test begins with it.
pub fn testbed() -> Result<&'static Testbed> {
    let testbed = windlass_testbed::shared();
    testbed.clear()?;
    take_rights(testbed)?;
    Ok(testbed)
}

/// Grants the rights of the Go autoscaler's chart, for programs that are not ours.
pub fn grant_rights(testbed: &Testbed) -> Result<()> {
    testbed.cluster().apply(DROP_IN_RBAC)
}

/// Takes all rights from the autoscaler's account that earlier tests have granted.
fn take_rights(testbed: &Testbed) -> Result<()> {
    let cluster = testbed.cluster();
    let rendered = ListParams::default().labels(
        "app.kubernetes.io/name in (cluster-autoscaler, cluster-autoscaler-token-rotation)",
    );
    let parameters = DeleteParams::default();
    let everywhere = Api::<ClusterRoleBinding>::all(cluster.client());
    cluster.run(everywhere.delete_collection(&parameters, &rendered))?;
    for namespace in ["kube-system", "kube-public"] {
        let bindings = cluster.api::<RoleBinding>(namespace);
        cluster.run(bindings.delete_collection(&parameters, &rendered))?;
    }
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        cluster.delete_object(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": { "name": "cluster-autoscaler", "namespace": "kube-system" },
        }))?;
    }
    Ok(())
}

const DROP_IN_RBAC: &str = include_str!("../../../testbed/manifests/drop-in-rbac.yaml");

/// How `windlass run` is to be started. Starts as the how-to's Deployment has it.
#[derive(Clone, Debug)]
pub struct Run {
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    kubeconfig: Option<PathBuf>,
    aws: Option<String>,
    host_name: Option<String>,
    rights: Rights,
}

/// What the autoscaler's account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    /// What is rendered for the flags.
    Rendered,
    /// What it may already.
    AsTheyAre,
}

impl Run {
    /// With the flags of the how-to, for the groups that are tagged for `cluster`.
    pub fn of_cluster(cluster: &str) -> Self {
        let discovery = format!(
            "--node-group-auto-discovery=asg:tag=k8s.io/cluster-autoscaler/enabled,\
             k8s.io/cluster-autoscaler/{cluster}"
        );
        Self::with_flags([
            "--v=4",
            "--stderrthreshold=info",
            "--cloud-provider=aws",
            "--skip-nodes-with-local-storage=false",
            &discovery,
        ])
    }

    /// With these flags alone, besides where the API server is and where to serve HTTP.
    pub fn with_flags<'a>(flags: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            flags: flags.into_iter().map(str::to_owned).collect(),
            environment: Vec::new(),
            kubeconfig: None,
            aws: None,
            host_name: None,
            rights: Rights::Rendered,
        }
    }

    /// Adds a flag, such as `--scan-interval=1s`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Adds flags.
    #[must_use]
    pub fn flags<'a>(mut self, flags: impl IntoIterator<Item = &'a str>) -> Self {
        self.flags.extend(flags.into_iter().map(str::to_owned));
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Through a proxy before the API server.
    pub fn api_server_through(mut self, testbed: &Testbed, proxy: &Proxy) -> Result<Self> {
        self.kubeconfig = Some(testbed.kubeconfig_through(User::ClusterAutoscaler, proxy)?);
        Ok(self)
    }

    /// Through a proxy before AWS.
    #[must_use]
    pub fn aws_through(mut self, proxy: &Proxy) -> Self {
        self.aws = Some(proxy.url().to_owned());
        self
    }

    /// On a host of this name, which is who it is in an election of leaders.
    #[must_use]
    pub fn host_name(mut self, name: &str) -> Self {
        self.host_name = Some(name.to_owned());
        self
    }

    /// With what rights there are already.
    #[must_use]
    pub fn without_rights(mut self) -> Self {
        self.rights = Rights::AsTheyAre;
        self
    }

    /// Grants what `windlass manifests` renders for these flags, in roles of the process's name.
    pub fn grant_rights(&self, testbed: &Testbed, name: &str) -> Result<()> {
        let role = format!("cluster-autoscaler-{name}");
        let rendered = manifests::rights_of_run("cluster-autoscaler", &role, &self.flags);
        // With flags that are not valid it ends before it needs any.
        let rendered = rendered.into_iter().flatten();
        let objects: Vec<_> = rendered.map(|manifest| manifest.object).collect();
        for object in &objects {
            testbed.cluster().apply_object(object)?;
        }
        rights::wait_until_granted(testbed, &objects)
    }

    /// Who it is to AWS.
    fn actors(&self) -> Vec<Actor> {
        let mut actors = vec![Actor::Autoscaler];
        let rotates = ["--token-rotation", "--token-rotation=true"];
        if self
            .flags
            .iter()
            .any(|flag| rotates.contains(&flag.as_str()))
        {
            actors.push(Actor::Rotator);
        }
        actors
    }

    /// Starts it. Its log is `NAME.log` beside those of the parts.
    pub fn start(&self, testbed: &'static Testbed, name: &str) -> Result<Windlass> {
        if self.rights == Rights::Rendered {
            self.grant_rights(testbed, name)?;
        }
        let address = format!("127.0.0.1:{}", testbed.free_port()?);
        let kubeconfig = self
            .kubeconfig
            .clone()
            .unwrap_or_else(|| testbed.kubeconfig(User::ClusterAutoscaler));
        let aws = self.aws.clone().unwrap_or_else(|| testbed.moto_url());
        let calls = testbed.proxy_before(&aws)?;
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(self.flags.iter().cloned());
        arguments.push(format!("--kubeconfig={}", kubeconfig.display()));
        arguments.push(format!("--address={address}"));
        let mut spec = match &self.host_name {
            None => Spec::new(name, &binary()?, arguments),
            Some(host_name) => on_host(name, host_name, &binary()?, &arguments)?,
        };
        spec.environment = Testbed::aws_environment(calls.url());
        spec.environment.extend(self.environment.iter().cloned());
        Ok(Windlass {
            process: testbed.spawn(spec)?,
            address,
            testbed,
            calls,
            actors: self.actors(),
        })
    }
}

/// The program in a namespace with a host name of its own; it keeps the process id.
fn on_host(name: &str, host_name: &str, program: &Path, arguments: &[String]) -> Result<Spec> {
    let is_root = fs::metadata("/proc/self")
        .context("look at /proc/self")?
        .uid()
        == 0;
    let namespaces: &[&str] = if is_root {
        &["--uts"]
    } else {
        &["--user", "--map-root-user", "--uts"]
    };
    let program = program.to_str().context("the binary's path is not UTF-8")?;
    let script = "hostname \"$0\" && exec \"$@\"";
    let mut words: Vec<&str> = namespaces.to_vec();
    words.extend(["/bin/sh", "-c", script, host_name, program]);
    words.extend(arguments.iter().map(String::as_str));
    Ok(Spec::new(name, "/usr/bin/unshare".as_ref(), words))
}

/// A running `windlass run`. Dropping it ends it.
#[derive(Debug)]
pub struct Windlass {
    process: Process,
    address: String,
    testbed: &'static Testbed,
    /// What it asks of AWS comes through here.
    calls: Proxy,
    actors: Vec<Actor>,
}

impl Windlass {
    /// The process, to pause, signal or restart it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Everything that it has written so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until its log has `text`.
    pub fn wait_for_log(&self, text: &str, deadline: Duration) -> Result<()> {
        let what = format!("`{text}` in {}", self.process.log_path().display());
        wait_for(&what, deadline, || Ok(self.log().contains(text)))
    }

    /// The actions of AWS that it has called, by their names in policies.
    pub fn called(&self) -> BTreeSet<String> {
        called(&self.calls)
    }

    /// Fails if its log tells of a panic, or if it has called anything of AWS that its policies do
    /// not grant.
    pub fn check_for_panics(&self) -> Result<()> {
        check_granted(&self.actors, &self.called())?;
        match self.log().lines().find(|line| line.contains("panicked at")) {
            Some(line) => bail!("it panicked: {line}"),
            None => Ok(()),
        }
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) -> ExitStatus {
        self.process.kill()
    }

    /// Ends it with SIGTERM and waits.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop()
    }

    /// Status and text of a page, such as `/metrics`.
    pub fn http_get(&self, path: &str) -> Result<(u16, String)> {
        self.testbed
            .http_get(&format!("http://{}{path}", self.address))
    }

    /// Whether `/health-check` answers with success.
    pub fn is_healthy(&self) -> bool {
        self.http_get("/health-check")
            .is_ok_and(|(status, _)| status == 200)
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> Result<String> {
        let (status, text) = self.http_get("/metrics")?;
        if status != 200 {
            bail!("/metrics answers {status}: {text}");
        }
        Ok(text)
    }

    /// The values of one metric: name with labels, as written, and number.
    pub fn metric(&self, name: &str) -> Result<Vec<(String, f64)>> {
        samples(&self.metrics()?, name)
    }

    /// The one value of the sample whose name and labels are `sample`, as written.
    pub fn sample(&self, sample: &str) -> Result<f64> {
        let name = sample.split('{').next().unwrap_or(sample);
        self.metric(name)?
            .into_iter()
            .find(|(found, _)| found == sample)
            .map(|(_, value)| value)
            .with_context(|| format!("there is no sample `{sample}`"))
    }

    /// Resident memory, in KiB.
    pub fn resident_memory_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&path).with_context(|| format!("read `{path}`"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"))
            .context("the process has no resident memory")?
            .trim()
            .parse()
            .context("read the resident memory")
    }
}

/// The binary under test.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("WINDLASS_BIN").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    // Tests lie in `target/PROFILE/deps`, the binary in `target/PROFILE`.
    let test = std::env::current_exe().context("find the running program")?;
    let beside = test
        .ancestors()
        .nth(2)
        .context("find the target directory")?
        .join("windlass");
    if !beside.exists() {
        bail!(
            "`{}` is not there: `cargo build --workspace --bin windlass --test bad_input`, or name \
             another with WINDLASS_BIN",
            beside.display()
        );
    }
    Ok(beside)
}

fn samples(text: &str, name: &str) -> Result<Vec<(String, f64)>> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        // A longer name that begins alike is another metric.
        if !rest.starts_with(['{', ' ']) {
            continue;
        }
        let (labels, value) = match rest.rsplit_once("} ") {
            Some((labels, value)) => (format!("{labels}}}"), value),
            None => (String::new(), rest),
        };
        let value = value
            .split_whitespace()
            .next()
            .context("a sample without a value")?;
        let value = value
            .parse()
            .with_context(|| format!("read the sample `{line}`"))?;
        found.push((format!("{name}{labels}"), value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_are_told_from_those_of_a_longer_name() {
        let text = "# TYPE up gauge\nup 1\nup_total{a=\"x y\"} 2 1700\nup{b=\"} {\"} 3.5\n";
        let found = samples(text, "up").unwrap();
        assert_eq!(
            found,
            [("up".to_owned(), 1.0), ("up{b=\"} {\"}".to_owned(), 3.5)]
        );
        assert_eq!(
            samples(text, "up_total").unwrap(),
            [("up_total{a=\"x y\"}".to_owned(), 2.0)]
        );
    }
}
