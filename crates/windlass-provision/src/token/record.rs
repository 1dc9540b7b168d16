use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::{Timestamp, TimestampRound, Unit};
use serde::Deserialize;
use serde_json::{Value, json};
use windlass_aws_client::Secret;

use super::{BootstrapToken, SECRET_NAME_PREFIX, TokenId};

/// Namespace of all token Secrets.
pub const NAMESPACE: &str = "kube-system";
/// Type of all token Secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// Label of the Secrets that the rotator has made; it touches no other.
pub const MANAGED_BY_LABEL: &str = "windlass.dev/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY_ROTATOR: &str = "token-rotator";
/// The group that every binding of kubeadm for joining names.
pub const DEFAULT_NODE_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
/// How the groups of a token must begin.
pub const ACCOUNT_GROUP_PREFIX: &str = "system:bootstrappers:";

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// To log in.
    Authentication,
    /// To sign `cluster-info`.
    Signing,
}

impl Usage {
    /// As `kubeadm token create --usages` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Signing => "signing",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Authentication => "usage-bootstrap-authentication",
            Self::Signing => "usage-bootstrap-signing",
        }
    }
}

/// A group that a token may put its bearer in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupName(String);

impl GroupName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that would make the whole token useless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no group of a bootstrap token: it must be `system:bootstrappers:` and 1 to 256 of \
     a-z, 0-9, `:` and `-`, the last a letter or digit"
)]
pub struct GroupError(String);

impl FromStr for GroupName {
    type Err = GroupError;

    fn from_str(text: &str) -> Result<Self, GroupError> {
        let valid = text.strip_prefix(ACCOUNT_GROUP_PREFIX).is_some_and(|tail| {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            (1..=256).contains(&tail.len())
                && tail
                    .bytes()
                    .all(|byte| allowed(byte) || byte == b':' || byte == b'-')
                && tail.bytes().last().is_some_and(allowed)
        });
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(GroupError(text.to_owned()))
        }
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The group that tells Windlass's tokens of one cluster from hand-made ones.
///
/// # Errors
///
/// When the cluster's name has characters that a group may not have.
pub fn own_group(cluster: &str) -> Result<GroupName, GroupError> {
    format!("{ACCOUNT_GROUP_PREFIX}windlass:{cluster}").parse()
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct TokenRequest<'a> {
    /// The token.
    pub token: &'a BootstrapToken,
    /// When it expires, by the API server's clock. There is no token without it.
    pub expires: Timestamp,
    /// What it may be used for.
    pub usages: &'a [Usage],
    /// Groups besides `system:bootstrappers`.
    pub groups: &'a [GroupName],
    /// Free text.
    pub description: &'a str,
    /// Whether the rotator made it, and so may delete it.
    pub managed: bool,
}

impl TokenRequest<'_> {
    /// The Secret to create.
    pub fn to_secret(&self) -> Value {
        let mut data: BTreeMap<&str, String> = [
            ("token-id", self.token.id().to_string()),
            ("token-secret", self.token.secret().expose().to_owned()),
            ("expiration", rfc3339(self.expires)),
        ]
        .into();
        for usage in self.usages {
            data.insert(usage.key(), "true".to_owned());
        }
        if !self.groups.is_empty() {
            let groups: Vec<&str> = self.groups.iter().map(GroupName::as_str).collect();
            data.insert("auth-extra-groups", groups.join(","));
        }
        if !self.description.is_empty() {
            data.insert("description", self.description.to_owned());
        }
        let data: BTreeMap<&str, String> = data
            .into_iter()
            .map(|(key, value)| (key, BASE64_STANDARD.encode(value)))
            .collect();
        let labels = if self.managed {
            json!({ MANAGED_BY_LABEL: MANAGED_BY_ROTATOR })
        } else {
            json!({})
        };
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.token.id().secret_name(),
                "namespace": NAMESPACE,
                "labels": labels,
            },
            "type": SECRET_TYPE,
            "data": data,
        })
    }
}

/// Whole seconds and `Z`: what kubeadm writes, and every reader understands.
fn rfc3339(time: Timestamp) -> String {
    let rounded = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(jiff::RoundMode::Trunc);
    time.round(rounded).unwrap_or(time).to_string()
}

/// A token Secret of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// The token.
    pub token: BootstrapToken,
    /// UID of the Secret.
    pub uid: String,
    /// When the Secret was made, by the API server's clock.
    pub created: Timestamp,
    /// When it expires; none if never, which no token of Windlass's does.
    pub expires: Option<Timestamp>,
    /// What it may be used for.
    pub usages: Vec<Usage>,
    /// Groups besides `system:bootstrappers`, as written.
    pub groups: Vec<String>,
    /// Free text.
    pub description: String,
    /// Whether the rotator made it.
    pub managed: bool,
    /// Field manager that made the Secret, where the server says.
    pub made_by: Option<String>,
}

/// Why the authenticator would ignore a Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    /// Not a Secret of the form that the API has.
    #[error("it is no Secret: {0}")]
    Form(String),
    /// Its type is another.
    #[error("its type is not {SECRET_TYPE}")]
    Type,
    /// A key is missing, empty or no text.
    #[error("its key `{0}` is missing or no text")]
    Key(&'static str),
    /// Id and secret make no token, or the id is not that of the name.
    #[error("its id and secret make no token of that name")]
    Token,
    /// An expiry that cannot be read counts as passed.
    #[error("its expiration is no RFC 3339 time")]
    Expiration,
    /// It is being deleted.
    #[error("it is being deleted")]
    Deleting,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretObject {
    metadata: Metadata,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    data: BTreeMap<String, Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    uid: String,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    managed_fields: Vec<ManagedFields>,
}

#[derive(Deserialize)]
struct ManagedFields {
    #[serde(default)]
    manager: String,
}

impl TokenRecord {
    /// Reads a Secret as the API server's authenticator does.
    ///
    /// # Errors
    ///
    /// When the authenticator would ignore it.
    pub fn from_secret(object: &Value) -> Result<Self, RecordProblem> {
        let object = SecretObject::deserialize(object)
            .map_err(|error| RecordProblem::Form(error.to_string()))?;
        if object.kind != SECRET_TYPE {
            return Err(RecordProblem::Type);
        }
        if object.metadata.deletion_timestamp.is_some() {
            return Err(RecordProblem::Deleting);
        }
        let id: TokenId = text(&object.data, "token-id")?
            .expose()
            .parse()
            .map_err(|_| RecordProblem::Token)?;
        let secret = text(&object.data, "token-secret")?;
        let token: BootstrapToken = format!("{id}.{}", secret.expose())
            .parse()
            .map_err(|_| RecordProblem::Token)?;
        if object.metadata.name.strip_prefix(SECRET_NAME_PREFIX) != Some(id.as_str()) {
            return Err(RecordProblem::Token);
        }
        let expires = match text(&object.data, "expiration") {
            Ok(text) => Some(
                text.expose()
                    .parse()
                    .map_err(|_| RecordProblem::Expiration)?,
            ),
            Err(_) => None,
        };
        let optional = |key| text(&object.data, key).map(|value| value.expose().to_owned());
        let groups = optional("auth-extra-groups").unwrap_or_default();
        Ok(Self {
            token,
            uid: object.metadata.uid,
            created: object
                .metadata
                .creation_timestamp
                .unwrap_or(Timestamp::UNIX_EPOCH),
            expires,
            usages: [Usage::Authentication, Usage::Signing]
                .into_iter()
                .filter(|usage| optional(usage.key()).as_deref() == Ok("true"))
                .collect(),
            groups: groups
                .split(',')
                .filter(|group| !group.is_empty())
                .map(str::to_owned)
                .collect(),
            description: optional("description").unwrap_or_default(),
            managed: object
                .metadata
                .labels
                .get(MANAGED_BY_LABEL)
                .map(String::as_str)
                == Some(MANAGED_BY_ROTATOR),
            made_by: object
                .metadata
                .managed_fields
                .into_iter()
                .next()
                .map(|fields| fields.manager),
        })
    }

    /// Whether its bearer is in this group.
    pub fn is_in(&self, group: &GroupName) -> bool {
        self.groups.iter().any(|known| known == group.as_str())
    }

    /// Whether it has expired at `now`, by the API server's clock.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

fn text(data: &BTreeMap<String, Secret>, key: &'static str) -> Result<Secret, RecordProblem> {
    data.get(key)
        .and_then(|value| BASE64_STANDARD.decode(value.expose()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| !text.is_empty())
        .map(Secret::new)
        .ok_or(RecordProblem::Key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Value {
        let token: BootstrapToken = "abcdef.0123456789abcdef".parse().unwrap();
        let mut secret = TokenRequest {
            token: &token,
            expires: "2026-01-01T12:00:00.75Z".parse().unwrap(),
            usages: &[Usage::Authentication, Usage::Signing],
            groups: &[
                DEFAULT_NODE_GROUP.parse().unwrap(),
                own_group("prod").unwrap(),
            ],
            description: "join credential of prod",
            managed: true,
        }
        .to_secret();
        secret["metadata"]["uid"] = json!("u-1");
        secret["metadata"]["creationTimestamp"] = json!("2026-01-01T11:00:00Z");
        secret
    }

    #[test]
    fn a_secret_is_read_as_it_was_written() {
        let record = TokenRecord::from_secret(&example()).unwrap();
        assert_eq!(record.token.id().as_str(), "abcdef");
        assert_eq!(
            record.expires,
            Some("2026-01-01T12:00:00Z".parse().unwrap())
        );
        assert_eq!(record.usages, [Usage::Authentication, Usage::Signing]);
        assert_eq!(
            record.groups,
            [DEFAULT_NODE_GROUP, "system:bootstrappers:windlass:prod"]
        );
        assert!(record.managed);
        assert!(record.is_in(&own_group("prod").unwrap()));
        assert!(!record.is_in(&own_group("staging").unwrap()));
        assert!(record.is_expired("2026-01-01T12:00:00Z".parse().unwrap()));
        assert!(!record.is_expired("2026-01-01T11:59:59Z".parse().unwrap()));
    }

    #[test]
    fn what_the_authenticator_ignores_is_no_token() {
        let broken = |change: &dyn Fn(&mut Value)| {
            let mut secret = example();
            change(&mut secret);
            TokenRecord::from_secret(&secret).unwrap_err()
        };
        assert_eq!(
            broken(&|secret| secret["type"] = json!("Opaque")),
            RecordProblem::Type
        );
        assert_eq!(
            broken(&|secret| secret["metadata"]["name"] = json!("bootstrap-token-zzzzzz")),
            RecordProblem::Token
        );
        assert_eq!(
            broken(&|secret| secret["data"]["token-secret"] = json!("")),
            RecordProblem::Key("token-secret")
        );
        assert_eq!(
            broken(&|secret| secret["data"]["expiration"] = json!(BASE64_STANDARD.encode("soon"))),
            RecordProblem::Expiration
        );
        assert_eq!(
            broken(&|secret| {
                secret["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:30:00Z");
            }),
            RecordProblem::Deleting
        );
    }

    #[test]
    fn a_record_is_not_printed_with_its_secret() {
        let record = TokenRecord::from_secret(&example()).unwrap();
        assert!(!format!("{record:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn one_bad_group_would_spoil_the_token_and_is_refused() {
        assert!("system:bootstrappers:worker-1".parse::<GroupName>().is_ok());
        for wrong in [
            "system:masters",
            "system:bootstrappers:",
            "system:bootstrappers:a-",
            "system:bootstrappers:A",
            "system:bootstrappers:a\n",
        ] {
            assert!(wrong.parse::<GroupName>().is_err(), "{wrong:?}");
        }
        let longest = format!("{ACCOUNT_GROUP_PREFIX}{}", "a".repeat(256));
        assert!(longest.parse::<GroupName>().is_ok());
        assert!(format!("{longest}a").parse::<GroupName>().is_err());
        assert!(own_group("Prod").is_err());
    }
}
