//! What instances may do.

use serde_json::{Value, json};

use crate::cluster_config::ClusterConfig;
use crate::iam::{self, Feature, Place};

impl ClusterConfig {
    /// Where the policies of a cluster hold, in an account.
    pub fn place(&self, account: &str) -> Place {
        let spec = &self.spec;
        Place {
            parameter: self.join_parameter(),
            plain_parameter: spec.compat.join_token_parameter.clone(),
            key: self.join_key(),
            ..Place::new(&spec.region, account, &spec.cluster)
        }
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
pub(super) fn node(place: &Place) -> Value {
    iam::policy(&[Feature::Join, Feature::JoinReport], place)
}

/// What may be done with the key of the join credential. The account's own policies decide who;
/// nobody encrypts or decrypts with it but Systems Manager, for that one parameter.
pub(super) fn key(place: &Place) -> Value {
    let only = |sid: &str, key: &str, value: String| {
        json!({
            "Sid": sid,
            "Effect": "Deny",
            "Principal": { "AWS": "*" },
            "Action": ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            "Resource": "*",
            "Condition": { "StringNotEquals": { (key): value } },
        })
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "PoliciesOfTheAccount",
                "Effect": "Allow",
                "Principal": { "AWS": place.root_arn() },
                "Action": "kms:*",
                "Resource": "*",
            },
            only("OnlySystemsManager", "kms:ViaService", place.ssm_host()),
            only(
                "OnlyTheJoinCredential",
                "kms:EncryptionContext:PARAMETER_ARN",
                place.parameter_arn(),
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::{Request, Verdict, evaluate};

    #[test]
    fn the_key_is_for_the_join_credential_alone() {
        let place = Place::new("eu-west-1", "123456789012", "prod");
        let verdict = |action: &str, context: &[(&str, &str)]| {
            let request = Request {
                action: action.to_owned(),
                resource: "any".to_owned(),
                context: context
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            };
            evaluate(&key(&place), &request).unwrap()
        };
        let parameter = "arn:aws:ssm:eu-west-1:123456789012:parameter/windlass/prod/join";
        let through = |service, parameter| {
            [
                ("kms:ViaService", service),
                ("kms:EncryptionContext:PARAMETER_ARN", parameter),
            ]
        };
        let ssm = "ssm.eu-west-1.amazonaws.com";
        for (action, context, expected) in [
            ("kms:Decrypt", through(ssm, parameter), Verdict::Allowed),
            ("kms:Encrypt", through(ssm, parameter), Verdict::Allowed),
            ("kms:Decrypt", through(ssm, "arn:other"), Verdict::Denied),
            (
                "kms:Decrypt",
                through("s3.eu-west-1.amazonaws.com", parameter),
                Verdict::Denied,
            ),
            (
                "kms:PutKeyPolicy",
                through("none", "none"),
                Verdict::Allowed,
            ),
        ] {
            assert_eq!(verdict(action, &context), expected, "{action} {context:?}");
        }
        assert_eq!(verdict("kms:GenerateDataKey", &[]), Verdict::Denied);
    }
}
