//! `windlass csr-approver`: a node's certificate is approved only for an instance of one of the
//! cluster's groups.

mod evidence;
mod leave;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::{debug, error, info, warn};
use windlass_aws_client::{Client, Options};
use windlass_kube::{Api, ApiError, wait_for_change};
use windlass_provision::csr::{CertificateRequest, Rules, Verdict, judge, node_of};
use windlass_provision::token::own_group;

use crate::output;
use crate::runtime;
use crate::token::{Cluster, ClusterArgs, install_tls};

/// Arguments of `windlass csr-approver`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ApproverArgs {
    #[command(subcommand)]
    command: Option<ApproverCommand>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Name of the cluster: of its tokens' group, and in the tag
    /// `k8s.io/cluster-autoscaler/<cluster>` of its Auto Scaling groups.
    #[arg(
        long = "cluster",
        value_name = "NAME",
        env = "WINDLASS_CLUSTER",
        required = true
    )]
    name: Option<String>,
    /// AWS region; else that of the environment or the instance.
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
    /// Longest time from an instance's launch to its request.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = crate::token::duration)]
    boot_budget: Duration,
    /// How long an instance that AWS does not show yet is waited for.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = crate::token::duration)]
    patience: Duration,
    /// Pause before another look at requests that have to wait, or after a failure. A new request
    /// is seen at once.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = crate::token::duration)]
    interval: Duration,
    /// Leave the bindings in place by which the controller manager approves whatever a bootstrap
    /// token asks for. With them this approver only denies what it is quicker with.
    #[arg(long)]
    keep_auto_approval: bool,
}

#[derive(Subcommand)]
enum ApproverCommand {
    /// Let an instance back whose certificate lapsed while it was stopped: once, within 15 minutes.
    Allow(AllowArgs),
}

#[derive(Args)]
struct AllowArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Which instance.
    #[arg(value_name = "INSTANCE-ID")]
    instance: String,
}

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// How long one watch of them lasts: one that begins anew is the sign that the server is there.
const LONGEST_WATCH: Duration = Duration::from_secs(55);
/// How long a burst of requests is gathered.
const BURST: Duration = Duration::from_millis(50);
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
/// The role that lets the controller manager approve a group's requests for node certificates.
const AUTO_APPROVAL_ROLE: &str = "system:certificates.k8s.io:certificatesigningrequests:nodeclient";
/// The groups of bootstrap tokens all begin so.
const BOOTSTRAP_GROUPS: &str = "system:bootstrappers";

pub(crate) fn run(args: &ApproverArgs) -> anyhow::Result<ExitCode> {
    crate::logging::start();
    install_tls();
    runtime::block_on(async {
        match &args.command {
            Some(ApproverCommand::Allow(args)) => {
                let cluster = Cluster::connect(&args.cluster).await?;
                let until = leave::grant(cluster.api(), &args.instance).await?;
                output::talk(&format!(
                    "instance {} may come back until {until}",
                    args.instance
                ));
                Ok(ExitCode::SUCCESS)
            }
            None => {
                let approver = Approver::connect(args).await?;
                let approving = Box::pin(approve_requests(&approver, args));
                crate::token::until_told_to_end(approving).await
            }
        }
    })?
}

/// Judges requests until dropped.
async fn approve_requests(approver: &Approver, args: &ApproverArgs) {
    if args.keep_auto_approval {
        warn!("the controller manager still approves what bootstrap tokens ask for");
    } else {
        approver.remove_auto_approval().await;
    }
    info!(cluster = approver.name, "judging certificate requests");
    loop {
        let problem = match approver.look().await {
            Ok(Look::Done(version)) => {
                let changed = wait_for_change(&approver.api, REQUESTS, &version, LONGEST_WATCH);
                match changed.await {
                    Ok(()) => {
                        tokio::time::sleep(BURST).await;
                        continue;
                    }
                    Err(problem) => anyhow::Error::new(problem).context("watch the requests"),
                }
            }
            Ok(Look::Waiting) => {
                tokio::time::sleep(args.interval).await;
                continue;
            }
            Err(problem) => problem,
        };
        warn!(
            problem = format!("{problem:#}"),
            "cannot look at the certificate requests"
        );
        tokio::time::sleep(args.interval).await;
    }
}

/// What is left after a look at all requests.
enum Look {
    /// Nothing, as of this version of the list.
    Done(String),
    /// Some have to wait for something that is no change of a request.
    Waiting,
}

/// Whether a request is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Waiting,
}

struct Approver {
    api: Api,
    client: Client,
    name: String,
    rules: Rules,
}

impl Approver {
    async fn connect(args: &ApproverArgs) -> anyhow::Result<Self> {
        let Some(name) = args.name.clone() else {
            bail!("--cluster is missing");
        };
        let rules = Rules {
            bootstrap_group: own_group(&name)?.as_str().to_owned(),
            boot_budget: args.boot_budget,
            patience: args.patience,
        };
        let options = Options {
            region: args.region.clone(),
            ..Options::default()
        };
        Ok(Self {
            api: Cluster::connect(&args.cluster).await?.api().clone(),
            client: Client::connect(options).await?,
            name,
            rules,
        })
    }

    async fn look(&self) -> anyhow::Result<Look> {
        let list: Value = self.api.get(REQUESTS).await.context("list the requests")?;
        let items = list.get("items").and_then(Value::as_array);
        let mut progress = Progress::Done;
        for object in items.into_iter().flatten() {
            match self.decide(object).await {
                Ok(Progress::Done) => {}
                Ok(Progress::Waiting) => progress = Progress::Waiting,
                Err(problem) => {
                    progress = Progress::Waiting;
                    let name = object.pointer("/metadata/name").and_then(Value::as_str);
                    warn!(
                        request = name,
                        problem = format!("{problem:#}"),
                        "not judged yet"
                    );
                }
            }
        }
        let version = list.pointer("/metadata/resourceVersion");
        Ok(match (progress, version.and_then(Value::as_str)) {
            (Progress::Done, Some(version)) => Look::Done(version.to_owned()),
            _ => Look::Waiting,
        })
    }

    async fn decide(&self, object: &Value) -> anyhow::Result<Progress> {
        let request = match CertificateRequest::from_object(object) {
            Ok(request) => request,
            Err(problem) => {
                let name = object.pointer("/metadata/name").and_then(Value::as_str);
                debug!(request = name, %problem, "not judged here");
                return Ok(Progress::Done);
            }
        };
        let verdict = match node_of(&request, &self.rules) {
            Err(verdict) => verdict,
            Ok(node) => {
                let evidence = evidence::gather(&self.api, &self.client, &self.name, node).await?;
                judge(&request, &evidence, &self.rules, self.client.server_time())
            }
        };
        let name = request.name.as_str();
        let node = request.node_name().unwrap_or_default();
        match verdict {
            Verdict::Ignore(why) => debug!(request = name, why, "left alone"),
            Verdict::Wait(why) => {
                info!(request = name, node, why, "waiting");
                return Ok(Progress::Waiting);
            }
            Verdict::Approve { why, uses_leave } => {
                if uses_leave {
                    let evidence =
                        evidence::gather(&self.api, &self.client, &self.name, node).await?;
                    // Used up before it is used: it is for one certificate.
                    let id = evidence
                        .instance
                        .map(|instance| instance.id)
                        .unwrap_or_default();
                    if !leave::use_up(&self.api, &id).await? {
                        return Ok(Progress::Waiting);
                    }
                }
                self.write(object, "Approved", "WindlassVerified", &why)
                    .await?;
                info!(request = name, node, why, "approved");
            }
            Verdict::Deny(why) => {
                self.write(object, "Denied", "WindlassDenied", &why).await?;
                warn!(
                    request = name,
                    node,
                    user = request.requester.user,
                    why,
                    "denied"
                );
                self.record_denial(&request, &why).await;
            }
        }
        Ok(Progress::Done)
    }

    /// Writes a decision, unless somebody has decided in the meantime.
    async fn write(
        &self,
        object: &Value,
        kind: &str,
        reason: &str,
        message: &str,
    ) -> anyhow::Result<()> {
        let mut object = object.clone();
        let condition = json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastUpdateTime": self.client.server_time().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        match object
            .pointer_mut("/status/conditions")
            .and_then(Value::as_array_mut)
        {
            Some(conditions) => conditions.push(condition),
            None => object["status"] = json!({ "conditions": [condition] }),
        }
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let path = format!("{REQUESTS}/{}/approval", name.unwrap_or_default());
        match self
            .api
            .replace::<serde::de::IgnoredAny>(&path, &object)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() || error.is_not_found() => {
                bail!("somebody else has changed it in the meantime")
            }
            Err(error) => Err(error).context("write the decision"),
        }
    }

    async fn record_denial(&self, request: &CertificateRequest, why: &str) {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "windlass-csr-", "namespace": "default"},
            "involvedObject": {
                "apiVersion": "certificates.k8s.io/v1",
                "kind": "CertificateSigningRequest",
                "name": request.name,
                "uid": request.uid,
            },
            "type": "Warning",
            "reason": "CertificateRequestDenied",
            "message": why,
            "source": {"component": "windlass-csr-approver"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        });
        let path = "/api/v1/namespaces/default/events";
        if let Err(problem) = self.api.create::<serde::de::IgnoredAny>(path, &event).await {
            debug!(%problem, "the event was not written");
        }
    }

    /// Takes away what makes the controller manager approve every bootstrap token's request.
    /// Where it may not, it says what to do.
    async fn remove_auto_approval(&self) {
        match self.auto_approvals().await {
            Ok(names) => {
                for name in names {
                    match self.api.delete(&format!("{BINDINGS}/{name}"), None).await {
                        Ok(_) => info!(binding = name, "removed the automatic approval"),
                        Err(problem) => error!(
                            binding = name, %problem,
                            "cannot remove the automatic approval: `kubectl delete \
                             clusterrolebinding` it, or this approver protects nothing"
                        ),
                    }
                }
            }
            Err(problem) => error!(
                %problem,
                "cannot see whether bootstrap tokens are approved automatically: delete \
                 ClusterRoleBinding kubeadm:node-autoapprove-bootstrap if it is there"
            ),
        }
    }

    /// Bindings of the role for automatic approval to groups of bootstrap tokens alone.
    async fn auto_approvals(&self) -> Result<Vec<String>, ApiError> {
        let list: Value = self.api.get(BINDINGS).await?;
        let items = list.get("items").and_then(Value::as_array);
        let names = items.into_iter().flatten().filter_map(|binding| {
            let name = binding.pointer("/metadata/name")?.as_str()?;
            is_auto_approval(binding).then(|| name.to_owned())
        });
        Ok(names.collect())
    }
}

fn is_auto_approval(binding: &Value) -> bool {
    let role = binding.pointer("/roleRef/name").and_then(Value::as_str);
    let subjects = binding.get("subjects").and_then(Value::as_array);
    let is_bootstrap = |subject: &Value| {
        subject["kind"] == "Group"
            && subject["name"].as_str().is_some_and(|name| {
                name == BOOTSTRAP_GROUPS || name.starts_with(&format!("{BOOTSTRAP_GROUPS}:"))
            })
    };
    role == Some(AUTO_APPROVAL_ROLE)
        && subjects.is_some_and(|all| !all.is_empty() && all.iter().all(is_bootstrap))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(role: &str, groups: &[&str]) -> Value {
        let subjects: Vec<Value> = groups
            .iter()
            .map(|name| json!({"kind": "Group", "name": name}))
            .collect();
        json!({"roleRef": {"name": role}, "subjects": subjects})
    }

    #[test]
    fn only_the_approval_of_bootstrap_tokens_is_taken_away() {
        let kubeadms = ["system:bootstrappers:kubeadm:default-node-token"];
        assert!(is_auto_approval(&binding(AUTO_APPROVAL_ROLE, &kubeadms)));
        assert!(is_auto_approval(&binding(
            AUTO_APPROVAL_ROLE,
            &[BOOTSTRAP_GROUPS]
        )));
        // Renewals of nodes, and what others use it for, stay.
        assert!(!is_auto_approval(&binding(
            AUTO_APPROVAL_ROLE,
            &["system:nodes"]
        )));
        assert!(!is_auto_approval(&binding(
            AUTO_APPROVAL_ROLE,
            &[kubeadms[0], "ops"]
        )));
        assert!(!is_auto_approval(&binding(
            "system:node-bootstrapper",
            &kubeadms
        )));
        assert!(!is_auto_approval(&binding(AUTO_APPROVAL_ROLE, &[])));
    }
}
