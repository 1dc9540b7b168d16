//! The images that a cluster's builds have left in a region: who uses them, and which may go.

use std::collections::{BTreeMap, BTreeSet};

use windlass_aws_client::autoscaling::{AutoScalingGroup, LaunchTemplateSpecification};
use windlass_aws_client::ec2::ImageState;
use windlass_aws_client::{CallError, Client};

use super::build::{ARCHITECTURE_TAG, KUBERNETES_TAG, RECIPE_TAG};
use crate::provision::OWNER_TAG;

/// An image of a cluster's builds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltImage {
    /// Its region.
    pub region: String,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made, as EC2 writes it: text that sorts by time.
    pub created: String,
    /// From when on it is deprecated, as EC2 writes it; none if it never is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated_from: Option<String>,
    /// `pending`, `available`, `failed`, …
    pub state: String,
    /// The version of Kubernetes in it, such as `v1.36.3`.
    pub kubernetes: String,
    /// The hash of the recipe that it was built by.
    pub recipe: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Its snapshots.
    pub snapshots: Vec<String>,
    /// What launches from it or runs on it: groups, instances, the parameter that names it.
    pub used_by: Vec<String>,
}

impl BuiltImage {
    fn of(region: &str, image: ImageState) -> Self {
        let tag = |key: &str| image.tags.get(key).cloned().unwrap_or_default();
        Self {
            region: region.to_owned(),
            snapshots: image.snapshots().map(str::to_owned).collect(),
            kubernetes: tag(KUBERNETES_TAG),
            recipe: tag(RECIPE_TAG),
            architecture: tag(ARCHITECTURE_TAG),
            id: image.id,
            name: image.name,
            created: image.creation_date,
            deprecated_from: image.deprecation_time,
            state: image.state,
            used_by: Vec::new(),
        }
    }
}

/// The images of a cluster in the client's region, the newest first, each with what uses it. `announced`
/// names the parameter that an image's id is written to.
///
/// # Errors
///
/// When a call fails.
pub async fn images(
    client: &Client,
    cluster: &str,
    announced: Option<&str>,
) -> Result<Vec<BuiltImage>, CallError> {
    let ec2 = client.ec2();
    let found = ec2.own_images_by_tag(OWNER_TAG, cluster).await?;
    let mut images: Vec<BuiltImage> = found
        .into_iter()
        .map(|image| BuiltImage::of(client.region(), image))
        .collect();
    images.sort_unstable_by(|a, b| (&b.created, &b.id).cmp(&(&a.created, &a.id)));
    if images.is_empty() {
        return Ok(images);
    }
    let mut users = groups_by_image(client).await?;
    if let Some(name) = announced
        && let Some(parameter) = client.ssm().get_parameter(name).await?
    {
        let id = parameter.value.expose().trim().to_owned();
        users
            .entry(id)
            .or_default()
            .push(format!("parameter {name}"));
    }
    for image in &mut images {
        image.used_by = users.remove(&image.id).unwrap_or_default();
        let instances = ec2.describe_instances("image-id", &image.id).await?;
        let alive = instances.iter().filter(|it| it.state() != "terminated");
        image.used_by.extend(alive.map(|it| it.id.clone()));
    }
    Ok(images)
}

/// The account's groups, whoever made them, by the images that they launch from.
async fn groups_by_image(client: &Client) -> Result<BTreeMap<String, Vec<String>>, CallError> {
    let groups = client.autoscaling().describe_groups_by_tags(&[]).await?;
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for group in &groups {
        for image in launched_images(client, group).await? {
            let of_image = users.entry(image).or_default();
            of_image.push(format!("group {}", group.name));
        }
    }
    Ok(users)
}

/// The images that a group launches from.
async fn launched_images(
    client: &Client,
    group: &AutoScalingGroup,
) -> Result<BTreeSet<String>, CallError> {
    let mut images = BTreeSet::new();
    if let Some(name) = &group.launch_configuration_name {
        let names = std::slice::from_ref(name);
        let autoscaling = client.autoscaling();
        let found = autoscaling.describe_launch_configurations(names).await?;
        images.extend(found.into_iter().filter_map(|it| it.image_id));
    }
    for template in templates(group) {
        let (id, name) = (template.id.as_deref(), template.name.as_deref());
        let version = template.version.as_deref().unwrap_or("$Default");
        let ec2 = client.ec2();
        let found = ec2
            .describe_launch_template_version(id, name, version)
            .await?;
        images.extend(found.and_then(|it| it.data.image_id));
    }
    Ok(images)
}

/// The template versions that a group names.
fn templates(group: &AutoScalingGroup) -> Vec<&LaunchTemplateSpecification> {
    let policy = group.mixed_instances_policy.iter();
    let of_policy = policy.flat_map(|policy| {
        let overrides = policy.overrides.iter();
        let own = overrides.filter_map(|it| it.launch_template_specification.as_ref());
        std::iter::once(&policy.launch_template).chain(own)
    });
    let mut templates: Vec<_> = group.launch_template.iter().chain(of_policy).collect();
    templates.dedup();
    templates
}

/// Those of a region's images, the newest first, that may go: nothing uses them, they are whole or
/// have failed, and there are `keep` newer whole ones for the same architecture.
pub fn superseded(images: &[BuiltImage], keep: usize) -> Vec<&BuiltImage> {
    let mut newer: BTreeMap<&str, usize> = BTreeMap::new();
    let mut gone = Vec::new();
    for image in images {
        let is_whole = image.state == "available";
        let count = newer.entry(&image.architecture).or_default();
        let is_over = is_whole || image.state == "failed";
        if is_over && keep <= *count && image.used_by.is_empty() {
            gone.push(image);
        }
        *count += usize::from(is_whole);
    }
    gone
}

/// Removes an image and its snapshots. Safe to do again.
///
/// # Errors
///
/// When a call fails: [`super::leftovers`] finds the snapshots that are left then.
pub async fn remove(client: &Client, image: &BuiltImage) -> Result<(), CallError> {
    let ec2 = client.ec2();
    ec2.deregister_image(&image.id).await?;
    for snapshot in &image.snapshots {
        ec2.delete_snapshot(snapshot).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, architecture: &str, state: &str, used_by: &[&str]) -> BuiltImage {
        BuiltImage {
            region: "us-west-2".to_owned(),
            id: id.to_owned(),
            name: id.to_owned(),
            created: String::new(),
            deprecated_from: None,
            state: state.to_owned(),
            kubernetes: "v1.36.3".to_owned(),
            recipe: "r".to_owned(),
            architecture: architecture.to_owned(),
            snapshots: Vec::new(),
            used_by: used_by.iter().map(|&it| it.to_owned()).collect(),
        }
    }

    fn gone(images: &[BuiltImage], keep: usize) -> Vec<&str> {
        let superseded = superseded(images, keep);
        superseded.iter().map(|image| image.id.as_str()).collect()
    }

    #[test]
    fn what_is_old_and_unused_goes() {
        let newest_first = [
            image("ami-6", "amd64", "available", &[]),
            image("ami-5", "arm64", "available", &[]),
            image("ami-4", "amd64", "available", &["group web"]),
            image("ami-3", "amd64", "available", &[]),
            image("ami-2", "arm64", "available", &[]),
            image("ami-1", "amd64", "available", &["i-1"]),
        ];
        assert_eq!(gone(&newest_first, 1), ["ami-3", "ami-2"]);
        assert_eq!(gone(&newest_first, 2), ["ami-3"]);
        assert_eq!(gone(&newest_first, 3), [""; 0]);
        assert_eq!(gone(&newest_first, 0), ["ami-6", "ami-5", "ami-3", "ami-2"]);
    }

    #[test]
    fn an_image_that_is_made_right_now_stays_and_a_failed_one_counts_for_nothing() {
        let newest_first = [
            image("ami-4", "amd64", "pending", &[]),
            image("ami-3", "amd64", "failed", &[]),
            image("ami-2", "amd64", "available", &[]),
            image("ami-1", "amd64", "available", &[]),
        ];
        assert_eq!(gone(&newest_first, 1), ["ami-1"]);
        assert_eq!(gone(&newest_first, 0), ["ami-3", "ami-2", "ami-1"]);
    }
}
