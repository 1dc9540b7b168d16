//! `spec.providerID` of a node on AWS.

use std::fmt;

/// Prefix of the ids that stand for instances which were asked for and are not there yet.
pub const PLACEHOLDER_PREFIX: &str = "i-placeholder-";

/// Zone and instance id, as in `aws:///us-east-1a/i-0123456789abcdef0`.
///
/// Instances are looked up by their id alone: a kubelet may write another zone text than Auto
/// Scaling does, and ids are unique.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId {
    /// Zone; may be empty.
    pub zone: String,
    /// Instance id, or a placeholder's.
    pub instance: String,
}

impl ProviderId {
    /// Reads a provider id; none for those of other clouds, of hybrid nodes, and of other forms.
    /// Fargate's third segment is accepted and dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let (zone, rest) = text.strip_prefix("aws:///")?.split_once('/')?;
        if !is_plain(zone, "") {
            return None;
        }
        let instance = if rest.starts_with(PLACEHOLDER_PREFIX) {
            // Group names may hold capitals, dots, underscores and slashes.
            rest
        } else {
            let (instance, tail) = rest.split_once('/').unwrap_or((rest, ""));
            if instance.is_empty() || !is_plain(instance, "") || !is_plain(tail, ".") {
                return None;
            }
            instance
        };
        Some(Self {
            zone: zone.to_owned(),
            instance: instance.to_owned(),
        })
    }

    /// Whether the instance is one that was asked for and is not there yet.
    pub fn is_placeholder(&self) -> bool {
        self.instance.starts_with(PLACEHOLDER_PREFIX)
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "aws:///{}/{}", self.zone, self.instance)
    }
}

fn is_plain(text: &str, more: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || more.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, instance: Option<&str>) {
        let parsed = ProviderId::parse(text);
        assert_eq!(parsed.as_ref().map(|id| id.instance.as_str()), instance);
    }

    /// Point 1 of the acceptance checklist.
    #[test]
    fn checklist_01_provider_ids() {
        check("aws123", None);
        check("kubernetes:///us-east-1a/i-0", None);
        check("aws://us-east-1a/i-0", None);
        check("aws:///us-east-1a/i-01234abcdef", Some("i-01234abcdef"));
        check(
            "aws:///us-east-1a/i-placeholder-some.arbitrary.cluster.local",
            Some("i-placeholder-some.arbitrary.cluster.local"),
        );
        check(
            "aws:///us-east-1a/i-placeholder-MyAsgName_1-3",
            Some("i-placeholder-MyAsgName_1-3"),
        );
        check(
            "aws:///us-west-2b/5fa0-1c/fargate-ip-10-0-1-2.us-west-2.compute.internal",
            Some("5fa0-1c"),
        );
        check("eks-hybrid:///us-west-2/my-cluster/my-node", None);
        check("aws:////i-0123", Some("i-0123"));
        check("aws:///us-east-1a/I-0", None);
        check("aws:///us-east-1a/", None);
        check("", None);
    }
}
