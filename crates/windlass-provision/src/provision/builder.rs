//! The role of the instances that build machine images: they may say how far they are, and nothing
//! else.
//!
//! It is one of the cluster's resources where the file builds images with it. `windlass ami build`
//! makes it beforehand, since there are no groups before there is an image.

use windlass_aws_client::{CallError, Client};

use super::plan::Resources;
use super::resource::{NodeRole, Profile, Resource, ResourceId, ResourceKind};
use super::{desired, observe, policies};
use crate::cluster_config::ClusterConfig;
use crate::iam::{self, Feature};

/// Name of the builder's role, policy and instance profile; none where the file builds no images, or
/// names an instance profile of the operator's own.
pub fn role_name(config: &ClusterConfig) -> Option<String> {
    let ami = config.spec.ami.as_ref()?;
    let own = format!("{}-windlass-ami", config.spec.cluster);
    let named = ami.builder.instance_profile.as_ref();
    named.is_none_or(|named| *named == own).then_some(own)
}

/// Which resources there may be.
pub fn ids(config: &ClusterConfig) -> impl Iterator<Item = ResourceId> {
    role_name(config).into_iter().flat_map(|name| {
        [ResourceKind::Role, ResourceKind::InstanceProfile].map(|kind| ResourceId {
            kind,
            name: name.clone(),
        })
    })
}

/// What they should be, in an account.
pub fn desired(config: &ClusterConfig, account: &str) -> Resources {
    let place = config.place(account);
    let tags = desired::tags(config);
    ids(config)
        .map(|id| {
            let name = id.name.clone();
            let resource = match id.kind {
                ResourceKind::Role => Resource::Role(NodeRole {
                    trust: policies::trust(&place),
                    policies: [(name, iam::policy(&[Feature::AmiReport], &place))].into(),
                    tags: tags.clone(),
                }),
                _ => Resource::Profile(Profile {
                    roles: [name].into(),
                    tags: tags.clone(),
                }),
            };
            (id, resource)
        })
        .collect()
}

/// What they are.
///
/// # Errors
///
/// When a call fails.
pub async fn observe(client: &Client, config: &ClusterConfig) -> Result<Resources, CallError> {
    let mut resources = Resources::new();
    for id in ids(config) {
        if let Some(resource) = observe::resource(client, &id).await? {
            resources.insert(id, resource);
        }
    }
    Ok(resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_s_role_is_made_unless_the_file_names_another() {
        let file = |more: &str| {
            let text = format!(
                "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
                 region: eu-west-1\n  endpoint: api:443\n  kubernetes: v1.36.3\n  \
                 subnets: [subnet-1]\n  securityGroups: [sg-1]\n{more}"
            );
            ClusterConfig::read("cluster.yaml", &text).unwrap()
        };
        let ami = |builder: &str| {
            let sha256 = "0".repeat(64);
            file(&format!(
                "  ami:\n    source: {{id: ami-1}}\n    windlass: {{url: 'https://a.example/w', \
                 sha256: '{sha256}'}}\n    builder: {{{builder}}}\n"
            ))
        };
        assert!(desired(&file(""), "123456789012").is_empty());
        assert!(desired(&ami("instanceProfile: mine"), "123456789012").is_empty());
        let made = desired(&ami(""), "123456789012");
        assert_eq!(
            made,
            desired(&ami("instanceProfile: prod-windlass-ami"), "123456789012")
        );
        assert_eq!(made.len(), 2);
        let Some(Resource::Role(role)) = made.values().next() else {
            panic!("the role comes first: {made:?}");
        };
        let policy = role.policies["prod-windlass-ami"].to_string();
        assert!(policy.contains("ssm:PutParameter"), "{policy}");
        assert!(!policy.contains("GetParameter"), "{policy}");
        assert!(made.values().all(|it| it.owner() == Some("prod")));
    }
}
