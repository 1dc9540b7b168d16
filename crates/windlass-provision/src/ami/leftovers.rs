//! What builds that did not come to their end have left behind.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use windlass_aws_client::ec2::ImageState;
use windlass_aws_client::{CallError, Client};

use super::build::{BUILD_TAG, EXPIRES_TAG, RECIPE_TAG};
use crate::provision::OWNER_TAG;

/// A build, and what there is of it besides its image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leftover {
    /// The build's id.
    pub build: String,
    /// When it is over whatever happened; unknown if its tag does not say.
    pub expires: Option<Timestamp>,
    /// Instances and security groups, by their ids.
    pub resources: Vec<String>,
}

impl Leftover {
    /// Whether nobody waits for it any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires < now)
    }
}

/// The builds of a cluster in the client's region that have an instance or a security group: those
/// that are under way, and those that were killed.
///
/// # Errors
///
/// When a call fails.
pub async fn builds(client: &Client, cluster: &str) -> Result<Vec<Leftover>, CallError> {
    let ec2 = client.ec2();
    let instances = ec2.describe_instances("tag-key", BUILD_TAG).await?;
    let alive = instances
        .into_iter()
        .filter(|it| it.state() != "terminated");
    let groups = ec2.security_groups("tag-key", BUILD_TAG).await?;
    let found = alive
        .map(|instance| (instance.id, instance.tags))
        .chain(groups.into_iter().map(|group| (group.id, group.tags)));

    let mut builds: BTreeMap<String, Leftover> = BTreeMap::new();
    for (id, tags) in found {
        let of_cluster = tags.get(OWNER_TAG).is_some_and(|it| it == cluster);
        let Some(build) = tags.get(BUILD_TAG).filter(|_| of_cluster) else {
            continue;
        };
        let entry = builds.entry(build.clone()).or_insert_with(|| Leftover {
            build: build.clone(),
            expires: None,
            resources: Vec::new(),
        });
        let expires = tags.get(EXPIRES_TAG).and_then(|it| it.parse().ok());
        entry.expires = entry.expires.max(expires);
        entry.resources.push(id);
    }
    Ok(builds.into_values().collect())
}

/// Snapshots of a cluster's images that no image has any more.
///
/// # Errors
///
/// When a call fails.
pub async fn orphaned_snapshots(client: &Client, cluster: &str) -> Result<Vec<String>, CallError> {
    let ec2 = client.ec2();
    // Before the images: a snapshot that is new in between belongs to one of them.
    let of_cluster = format!("tag:{OWNER_TAG}");
    // Backups of the nodes' volumes may have the cluster's tag too; only images have a recipe.
    let filters = [(of_cluster.as_str(), cluster), ("tag-key", RECIPE_TAG)];
    let mut snapshots = ec2.own_snapshots(&filters).await?;
    let images = ec2.own_images_by_tag(OWNER_TAG, cluster).await?;
    let used: BTreeSet<&str> = images.iter().flat_map(ImageState::snapshots).collect();
    snapshots.retain(|snapshot| !used.contains(snapshot.as_str()));
    Ok(snapshots)
}
