//! What AWS should have.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use windlass_aws_client::{CallError, Client, Options};
use windlass_provision::ami::Recipe;
use windlass_provision::ami::build::{self, BuildError};
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::document::JoinDocument;
use windlass_provision::iam::Actor;
use windlass_provision::provision::observe::FactsError;
use windlass_provision::provision::plan::{self, Action, Allowed};
use windlass_provision::provision::{advice, builder, desired, observe};

use super::Findings;

/// Maxima of all groups together from which on many instances may read the parameter at once.
const MANY_NODES: u32 = 200;

/// Looks at AWS; gives what is published there.
pub(super) async fn look(config: &ClusterConfig, findings: &mut Findings) -> Option<JoinDocument> {
    let options = Options {
        region: Some(config.spec.region.clone()),
        ..Options::default()
    };
    let client = match Client::connect(options).await {
        Ok(client) => client,
        Err(error) => {
            findings.fail(error.to_string(), "give AWS credentials");
            return None;
        }
    };
    match client.sts().get_caller_identity().await {
        Ok(caller) => findings.ok(format!("AWS answers as {}", caller.arn)),
        Err(error) => {
            failed(findings, &error);
            return None;
        }
    }
    let networks = subnets(&client, config, findings).await;
    security_groups(&client, config, &networks, findings).await;
    stock_image(&client, config, findings).await;
    resources(&client, config, findings).await;
    let published = credential(&client, config, findings).await;
    launches(&client, config, findings).await;
    let most: u32 = config.spec.groups.iter().map(|group| group.max).sum();
    if MANY_NODES < most {
        findings.warn(
            format!("the groups together may have {most} nodes, which read the parameter at boot"),
            "raise Parameter Store's throughput in its settings: 40 reads a second is the default",
        );
    }
    published
}

fn failed(findings: &mut Findings, error: &CallError) {
    findings.fail(error.to_string(), advice::advice(error, Actor::Doctor));
}

/// The networks that nodes and builders are put into.
async fn subnets(
    client: &Client,
    config: &ClusterConfig,
    findings: &mut Findings,
) -> BTreeSet<String> {
    let of_groups = config.groups().flat_map(|group| group.subnets);
    let builder = config.spec.ami.as_ref();
    let of_builder = builder.and_then(|ami| ami.builder.subnet.clone());
    let named: BTreeSet<String> = of_groups.chain(of_builder).collect();
    let mut networks = BTreeSet::new();
    for subnet in named {
        match client.ec2().vpc_of_subnet(&subnet).await {
            Ok(Some(network)) => {
                networks.insert(network);
            }
            Ok(None) => findings.fail(
                format!("there is no subnet {subnet} in {}", config.spec.region),
                "mend spec.subnets or spec.region",
            ),
            Err(error) => {
                failed(findings, &error);
                return networks;
            }
        }
    }
    if 1 < networks.len() {
        let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
        findings.warn(
            format!("the subnets are of several VPCs: {}", networks.join(", ")),
            "a security group is of one VPC alone: take subnets of that one",
        );
    }
    networks
}

/// The security groups that nodes are launched with, but for the one that is made for them, which is
/// looked at with the other resources.
async fn security_groups(
    client: &Client,
    config: &ClusterConfig,
    networks: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let named: Vec<&str> = config
        .spec
        .security_groups
        .iter()
        .map(String::as_str)
        .collect();
    if named.is_empty() {
        return;
    }
    let ec2 = client.ec2();
    let by_id = [("group-id", named.as_slice())];
    let found = match ec2
        .security_groups_with("spec.securityGroups", &by_id)
        .await
    {
        Ok(found) => found,
        Err(error) => return failed(findings, &error),
    };
    for id in named {
        let Some(group) = found.iter().find(|group| group.id == id) else {
            findings.fail(
                format!("there is no security group {id} in {}", config.spec.region),
                "mend spec.securityGroups or spec.region: no node is launched with it",
            );
            continue;
        };
        if !networks.is_empty() && !networks.contains(&group.vpc_id) {
            findings.fail(
                format!("security group {id} is of {}, and no subnet is", group.vpc_id),
                "name groups of the subnets' VPC in spec.securityGroups: no node is launched with it",
            );
        }
    }
}

/// What images are built from, and who builds them where that is not Windlass's to make.
async fn stock_image(client: &Client, config: &ClusterConfig, findings: &mut Findings) {
    let Ok(recipe) = Recipe::of(config) else {
        return;
    };
    match build::source(client, &recipe).await {
        Ok(source) => findings.ok(format!("images are built from {}", source.id)),
        Err(BuildError::Call(error)) => failed(findings, &error),
        Err(error) => findings.fail(error.to_string(), "mend spec.ami.source"),
    }
    let Some(named) = &recipe.ami.builder.instance_profile else {
        return;
    };
    if builder::role_name(config).is_some() {
        return;
    }
    match client.iam().instance_profile(named).await {
        Ok(Some(_)) => {}
        Ok(None) => findings.fail(
            format!("there is no instance profile `{named}` for the builder of images"),
            "make it (`windlass iam render --actor ami-instance` prints its policy), or leave \
             spec.ami.builder.instanceProfile out",
        ),
        Err(error) => failed(findings, &error),
    }
}

async fn resources(client: &Client, config: &ClusterConfig, findings: &mut Findings) {
    let facts = match observe::facts(client, config).await {
        Ok(facts) => facts,
        Err(FactsError::Call(error)) => return failed(findings, &error),
        Err(error @ (FactsError::NoSubnetOfNodes { .. } | FactsError::SeveralVpcs { .. })) => {
            return findings.fail(error.to_string(), "mend the subnets in the file");
        }
        Err(error) if config.spec.ami.is_some() => {
            return findings.fail(error.to_string(), "`windlass ami build`");
        }
        Err(error) => return findings.fail(error.to_string(), "name another image in the file"),
    };
    let desired = match desired::desired(config, &facts) {
        Ok(desired) => desired,
        Err(error) => return findings.fail(error.to_string(), "mend the group in the file"),
    };
    let observed = match observe::observe(client, config, &facts.zones).await {
        Ok(observed) => observed,
        Err(error) => return failed(findings, &error),
    };
    let plan = plan::plan(
        &config.spec.cluster,
        &desired,
        &observed,
        Allowed::default(),
    );
    if plan.is_empty() {
        findings.ok(format!(
            "{} AWS resources are as the file says",
            desired.len()
        ));
    }
    for change in &plan.changes {
        let fields: Vec<&str> = change
            .fields
            .iter()
            .take(3)
            .map(|field| field.path.as_str())
            .collect();
        let note = change.note.as_deref();
        if change.action == Action::Attention {
            let what = format!("{}: {}", change.id, note.unwrap_or("needs a decision"));
            findings.warn(
                what,
                "`windlass provision plan` shows it; `apply` waits for it",
            );
            continue;
        }
        if change.action == Action::Keep {
            let what = format!(
                "{}: {}: {}",
                change.id,
                note.unwrap_or_default(),
                fields.join(", ")
            );
            findings.warn(what, "take it back, or leave it: `windlass provision` does");
            continue;
        }
        let what = if observed.contains_key(&change.id) {
            let what = fields.join(", ");
            let what = note.filter(|_| what.is_empty()).unwrap_or(&what);
            format!("{} differs from the file: {what}", change.id)
        } else {
            format!("{} is not there", change.id)
        };
        findings.warn(what, "`windlass provision plan`, then `apply`");
    }
}

async fn credential(
    client: &Client,
    config: &ClusterConfig,
    findings: &mut Findings,
) -> Option<JoinDocument> {
    let name = config.join_parameter();
    let found = match client.ssm().get_parameter(&name).await {
        Ok(found) => found,
        Err(error) => {
            failed(findings, &error);
            return None;
        }
    };
    let Some(parameter) = found else {
        findings.fail(
            format!("parameter {name} is not there: no node can join"),
            "`windlass provision apply`, and run the token rotator",
        );
        return None;
    };
    if config.join_key().is_none() {
        findings.warn(
            format!(
                "{name} is encrypted with the account's own key, which every principal may use"
            ),
            "set spec.token.createKey, or name a key in spec.token.kmsKey",
        );
    }
    let document = match JoinDocument::from_value(&parameter.value) {
        Ok(document) => document,
        Err(error) => {
            findings.fail(
                format!("{name} holds no join credential: {error}"),
                "run the token rotator: `windlass manifests --component token-rotator`",
            );
            return None;
        }
    };
    let left = document.expires.duration_since(Timestamp::now());
    let budget = SignedDuration::try_from(config.spec.token.boot_budget.0).unwrap_or_default();
    if left < budget {
        findings.fail(
            format!(
                "the published token has {} s left, and a booting node needs {} s",
                left.as_secs(),
                budget.as_secs()
            ),
            "look at the token rotator's log",
        );
    } else {
        findings.ok(format!(
            "the published token is good for {} s",
            left.as_secs()
        ));
    }
    if document.endpoint != config.spec.endpoint {
        findings.fail(
            format!(
                "nodes are sent to {}, and spec.endpoint is {}",
                document.endpoint, config.spec.endpoint
            ),
            "mend spec.endpoint, or --endpoint of the rotator",
        );
    }
    Some(document)
}

/// Launches that failed within the last hour.
async fn launches(client: &Client, config: &ClusterConfig, findings: &mut Findings) {
    let since = Timestamp::now() - SignedDuration::from_hours(1);
    let autoscaling = client.autoscaling();
    // Of a zonal group without its zones nothing can be said.
    let zones = observe::zones(client, config).await.unwrap_or_default();
    for group in config.groups_in(&zones) {
        let name = &group.aws_name;
        let activities = autoscaling.describe_scaling_activities(name, since);
        // A group that is not there has been told of already.
        let Ok(activities) = activities.await else {
            continue;
        };
        let failed: Vec<&str> = activities
            .iter()
            .filter(|activity| activity.status_code == "Failed")
            .map(|activity| activity.status_message.as_str())
            .collect();
        if let Some(newest) = failed.first() {
            findings.warn(
                format!(
                    "{name}: {} launches failed in the last hour: {newest}",
                    failed.len()
                ),
                "capacity: other types or zones; quota: raise it; template: mend the file",
            );
        }
    }
}
