//! What instances may do.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster_config::{ClusterConfig, ImageReference, SourceReference};
use crate::iam::{self, Feature, Images, Place};

impl ClusterConfig {
    /// Where the policies of a cluster hold, in an account.
    pub fn place(&self, account: &str) -> Place {
        let spec = &self.spec;
        Place {
            parameter: self.join_parameter(),
            plain_parameter: spec.compat.join_token_parameter.clone(),
            key: self.join_key(),
            other_groups: self.other_groups(),
            images: self.images(),
            ..Place::new(&spec.region, account, &spec.cluster)
        }
    }

    /// Names of groups that do not begin with the cluster's, which the file itself gives them.
    fn other_groups(&self) -> Vec<String> {
        let own = format!("{}-", self.spec.cluster);
        self.groups()
            .filter(|group| !group.aws_name.starts_with(&own))
            .map(|group| {
                if group.group.zonal {
                    format!("{}-*", group.aws_name)
                } else {
                    group.aws_name
                }
            })
            .collect()
    }

    /// Whence the images come and whither they go.
    fn images(&self) -> Images {
        let spec = &self.spec;
        let own = format!("/windlass/{}/image/", spec.cluster);
        let is_public = |name: &str| name.starts_with("/aws/service/");
        let is_other = |name: &str| !name.starts_with(&own) && !is_public(name);
        let named: BTreeSet<String> = self
            .groups()
            .filter_map(|group| match group.image {
                Some(ImageReference::Parameter(name)) if is_other(name) => Some(name.to_owned()),
                _ => None,
            })
            .collect();
        let mut images = Images {
            named: named.into_iter().collect(),
            ..Images::default()
        };
        let Some(ami) = &spec.ami else {
            return images;
        };
        if let Some(SourceReference::Parameter(name)) = ami.source.reference()
            && !is_public(name)
        {
            images.source = Some(name.to_owned());
        }
        let announced = ami.publish.parameter.as_ref();
        images.announced = announced.filter(|name| is_other(name)).cloned();
        let copies = &ami.publish.copies;
        images.copies = copies.iter().map(|copy| copy.region.clone()).collect();
        let of_builder = (&spec.region, &ami.builder.root_volume.kms_key);
        images.keys = [of_builder]
            .into_iter()
            .chain(copies.iter().map(|copy| (&copy.region, &copy.kms_key)))
            .filter_map(|(region, key)| Some((region.clone(), key.clone()?)))
            .collect();
        images.profile.clone_from(&ami.builder.instance_profile);
        images
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
