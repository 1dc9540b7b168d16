//! What instances may do.

use serde_json::{Value, json};

use crate::cluster_config::ClusterConfig;
use crate::iam::{self, Feature, Place};

/// Where the policies of a cluster hold.
pub(super) fn place(config: &ClusterConfig, account: &str) -> Place {
    let spec = &config.spec;
    let key = spec.token.kms_key.clone();
    Place {
        parameter: config.join_parameter(),
        key: key.filter(|key| key.starts_with("arn:")),
        ..Place::new(&spec.region, account, &spec.cluster)
    }
}

/// Who may assume a role of instances.
pub(super) fn trust(place: &Place) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": place.ec2_service() },
            "Action": "sts:AssumeRole",
        }],
    })
}

/// What a node may do: read the join credential, and tell its group how the join went.
pub(super) fn node(config: &ClusterConfig, place: &Place) -> Value {
    let mut policy = iam::policy(&[Feature::Join, Feature::JoinReport], place);
    let mut more = Vec::new();
    if let Some(plain) = &config.spec.compat.join_token_parameter {
        more.push(json!({
            "Sid": "ReadPlainToken",
            "Effect": "Allow",
            "Action": "ssm:GetParameter",
            "Resource": place.arn_of_parameter(plain),
        }));
    }
    let key = config.spec.token.kms_key.as_deref();
    if let Some(key) = key.filter(|key| !key.starts_with("arn:")) {
        more.push(decrypt(place, key));
    }
    if let Some(statements) = policy["Statement"].as_array_mut() {
        statements.extend(more);
    }
    policy
}

/// Decrypting the join credential with a key that is named by its alias or its id.
fn decrypt(place: &Place, key: &str) -> Value {
    let mut condition = json!({
        "StringEquals": {
            "kms:EncryptionContext:PARAMETER_ARN": place.parameter_arn(),
            "kms:ViaService": place.ssm_host(),
        },
    });
    let resource = if key.starts_with("alias/") {
        // A policy names keys by id alone; the alias goes into the condition.
        condition["ForAnyValue:StringEquals"] = json!({ "kms:ResourceAliases": key });
        place.arn("kms", "key/*")
    } else {
        place.arn("kms", &format!("key/{key}"))
    };
    json!({
        "Sid": "DecryptWithNamedKey",
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": resource,
        "Condition": condition,
    })
}
