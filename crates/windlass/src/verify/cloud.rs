//! What AWS says of a run, where the cluster's configuration file is given and AWS may be asked.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use windlass_aws_client::{Client, Options};
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::document::JoinDocument;
use windlass_provision::provision::desired::Zones;
use windlass_provision::provision::observe;

/// The last lines of a console that are shown.
const CONSOLE_LINES: usize = 3;
/// How `windlass join` begins the line that says how it ended.
const JOIN_LINE: &str = "windlass-join:";

/// The account of the configuration file.
pub(super) struct Cloud {
    client: Client,
    config: ClusterConfig,
}

impl Cloud {
    pub(super) async fn connect(config: ClusterConfig) -> anyhow::Result<Self> {
        let options = Options {
            region: Some(config.spec.region.clone()),
            ..Options::default()
        };
        let client = Client::connect(options).await.context("reach AWS")?;
        Ok(Self { client, config })
    }

    pub(super) fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// The zones of the subnets of zonal groups; empty where AWS does not tell them.
    pub(super) async fn zones(&self) -> Zones {
        let zones = observe::zones(&self.client, &self.config).await;
        zones.unwrap_or_default()
    }

    /// What a group's tags promise of its nodes: labels and taints.
    pub(super) async fn promised(&self, groups: &BTreeSet<String>) -> Vec<String> {
        const TEMPLATE: &str = "k8s.io/cluster-autoscaler/node-template/";
        let mut promised = Vec::new();
        for group in groups {
            let tags = self.client.autoscaling().describe_tags(group).await;
            let words: Vec<String> = tags
                .unwrap_or_default()
                .iter()
                .filter_map(|tag| {
                    let what = tag.key.strip_prefix(TEMPLATE)?;
                    Some(format!("{what}={}", tag.value))
                })
                .filter(|what| what.starts_with("label/") || what.starts_with("taint/"))
                .collect();
            promised.push(format!(
                "the tags of {group} promise [{}]",
                words.join(", ")
            ));
        }
        promised
    }

    /// What is wrong with the published join credential, if it may be read.
    pub(super) async fn credential_problem(&self) -> Option<String> {
        let name = self.config.join_parameter();
        // Who may not read it leaves it to the nodes.
        let found = self.client.ssm().get_parameter(&name).await.ok()?;
        let fix = "run the token rotator (`windlass doctor` tells more)";
        let Some(parameter) = found else {
            return Some(format!(
                "parameter {name} is not there, no node can join: {fix}"
            ));
        };
        match JoinDocument::from_value(&parameter.value) {
            Err(error) => Some(format!("{name} holds no join credential ({error}): {fix}")),
            Ok(document) if document.expires <= Timestamp::now() => {
                Some(format!("the published token has expired: {fix}"))
            }
            Ok(_) => None,
        }
    }

    /// The instances of groups, by id, with their zones. What AWS does not tell of is left out.
    pub(super) async fn instances(&self, groups: &BTreeSet<String>) -> BTreeMap<String, String> {
        let names: Vec<String> = groups.iter().cloned().collect();
        let autoscaling = self.client.autoscaling();
        let found = autoscaling.describe_groups_by_name(&names).await;
        let instances = found
            .unwrap_or_default()
            .into_iter()
            .flat_map(|group| group.instances);
        instances
            .map(|instance| (instance.instance_id, instance.availability_zone))
            .collect()
    }

    /// What groups could not launch since a time, in AWS' words.
    pub(super) async fn failed_launches(
        &self,
        groups: &BTreeSet<String>,
        since: Timestamp,
    ) -> Vec<String> {
        let mut told = BTreeSet::new();
        let autoscaling = self.client.autoscaling();
        for group in groups {
            let activities = autoscaling.describe_scaling_activities(group, since).await;
            for activity in activities.unwrap_or_default() {
                if activity.status_code == "Failed" || activity.status_code == "Cancelled" {
                    told.insert(format!("{group}: {}", activity.status_message));
                }
            }
        }
        told.into_iter().collect()
    }

    /// The end of an instance's console: the line in which the join says how it went, else the last.
    pub(super) async fn console(&self, instance: &str) -> Vec<String> {
        match self.client.ec2().console_output(instance).await {
            Ok(Some(text)) => tail(&text),
            Ok(None) => vec!["its console has nothing yet".to_owned()],
            Err(error) => vec![format!("its console: {error}")],
        }
    }

    /// How old the published credential is, in words; nothing where it may not be read.
    pub(super) async fn credential_age(&self) -> Option<String> {
        let name = self.config.join_parameter();
        let found = self.client.ssm().get_parameter(&name).await.ok()?;
        let document = JoinDocument::from_value(&found?.value).ok()?;
        let now = Timestamp::now();
        let age = now.duration_since(document.issued);
        let left = document.expires.duration_since(now);
        Some(if left <= SignedDuration::ZERO {
            format!("the published token expired {} s ago", -left.as_secs())
        } else {
            format!(
                "the published token is {} s old and good for {} s",
                age.as_secs(),
                left.as_secs()
            )
        })
    }
}

fn tail(console: &str) -> Vec<String> {
    let lines: Vec<&str> = console
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    if let Some(line) = lines.iter().rfind(|line| line.contains(JOIN_LINE)) {
        return vec![(*line).to_owned()];
    }
    let from = lines.len().saturating_sub(CONSOLE_LINES);
    lines[from..].iter().map(|&line| line.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_console_the_line_of_the_join_counts_and_else_the_end() {
        let joined = "boot\nwindlass-join: result=failed code=12\nlogin:\n\n";
        assert_eq!(tail(joined), ["windlass-join: result=failed code=12"]);
        assert_eq!(tail("a\nb\n\nc\nd\n"), ["b", "c", "d"]);
        assert!(tail("").is_empty());
    }
}
