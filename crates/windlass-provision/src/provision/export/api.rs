//! What the command line and `CloudFormation` say in the same words, those of AWS's API.

use serde::Serialize;
use serde_json::{Value, json};
use windlass_aws_client::autoscaling::{ConfiguredMetadata, ConfiguredVolume};
use windlass_aws_client::ec2::{MetadataOptions, TemplateVolume};

use crate::provision::resource::{Mixed, Tags};

pub(super) fn tags(tags: &Tags) -> Value {
    tags.iter()
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect()
}

/// Security groups, that which is made with the other resources by a reference.
pub(super) fn security_groups(groups: &[String], own: Option<&str>, reference: &Value) -> Value {
    groups
        .iter()
        .map(|group| {
            if Some(group.as_str()) == own {
                reference.clone()
            } else {
                json!(group)
            }
        })
        .collect()
}

/// Volumes of a launch template.
pub(super) fn template_volumes(volumes: &[TemplateVolume]) -> Value {
    volumes
        .iter()
        .map(|volume| {
            let ebs = &volume.ebs;
            json!({
                "DeviceName": volume.device,
                "Ebs": {
                    "VolumeSize": ebs.size_gib,
                    "VolumeType": ebs.kind,
                    "Iops": ebs.iops,
                    "Throughput": ebs.throughput,
                    "Encrypted": ebs.encrypted,
                    "KmsKeyId": ebs.kms_key,
                    "DeleteOnTermination": ebs.delete_on_termination,
                },
            })
        })
        .collect()
}

/// Volumes of a launch configuration, which knows no keys for them.
pub(super) fn configured_volumes(volumes: &[ConfiguredVolume]) -> Value {
    volumes
        .iter()
        .map(|volume| {
            let ebs = &volume.ebs;
            json!({
                "DeviceName": volume.device,
                "Ebs": {
                    "VolumeSize": ebs.size_gib,
                    "VolumeType": ebs.kind,
                    "Iops": ebs.iops,
                    "Throughput": ebs.throughput,
                    "Encrypted": ebs.encrypted,
                    "DeleteOnTermination": ebs.delete_on_termination,
                },
            })
        })
        .collect()
}

/// How the metadata service of a launch template's instances answers.
pub(super) fn template_metadata(options: &MetadataOptions) -> Value {
    json!({
        "HttpTokens": options.http_tokens,
        "HttpPutResponseHopLimit": options.hop_limit,
        "HttpEndpoint": options.http_endpoint,
        "InstanceMetadataTags": options.instance_metadata_tags,
    })
}

/// The same of a launch configuration's, which have no tags there.
pub(super) fn configured_metadata(options: &ConfiguredMetadata) -> Value {
    json!({
        "HttpTokens": options.http_tokens,
        "HttpPutResponseHopLimit": options.hop_limit,
        "HttpEndpoint": options.http_endpoint,
    })
}

/// A group's policy of several types, all by one launch template.
pub(super) fn mixed_instances(mixed: &Mixed, template: &impl Serialize) -> Value {
    let overrides: Vec<Value> = mixed
        .types
        .iter()
        .map(|name| json!({ "InstanceType": name }))
        .collect();
    json!({
        "LaunchTemplate": {
            "LaunchTemplateSpecification": template,
            "Overrides": overrides,
        },
        "InstancesDistribution": {
            "OnDemandBaseCapacity": mixed.on_demand_base,
            "OnDemandPercentageAboveBaseCapacity": mixed.on_demand_percentage,
            "SpotAllocationStrategy": mixed.spot_allocation_strategy,
        },
    })
}
