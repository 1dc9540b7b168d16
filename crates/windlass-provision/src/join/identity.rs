use std::net::IpAddr;

use super::NodeNameRule;

/// What the metadata service answered, word for word; none where there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `instance-id`.
    pub instance_id: Option<String>,
    /// `placement/region`.
    pub region: Option<String>,
    /// `placement/availability-zone`.
    pub zone: Option<String>,
    /// `local-hostname`.
    pub local_hostname: Option<String>,
    /// `local-ipv4`.
    pub local_ipv4: Option<String>,
    /// `ipv6`, for subnets without IPv4.
    pub ipv6: Option<String>,
    /// `instance-type`.
    pub instance_type: Option<String>,
    /// `autoscaling/target-lifecycle-state`.
    pub target_lifecycle_state: Option<String>,
}

/// Who this instance is and which node it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Such as `i-0123456789abcdef0`.
    pub instance_id: String,
    /// Such as `us-west-2`.
    pub region: String,
    /// Such as `us-west-2a`.
    pub zone: String,
    /// Such as `m5.large`.
    pub instance_type: String,
    /// Name of the node.
    pub node_name: String,
    /// Address of the node.
    pub node_ip: String,
    /// Whether it is being warmed for a pool: it must not join yet.
    pub is_warming: bool,
}

/// Why the metadata do not say who this is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is nothing at a path.
    #[error("instance metadata has no {0}")]
    Missing(&'static str),
    /// Something of another form.
    #[error("instance metadata: the {what} `{text}` is not of the form it should have")]
    Form {
        /// What it should be.
        what: &'static str,
        /// As answered.
        text: String,
    },
}

impl Identity {
    /// Reads the metadata. `host_name` is what the host calls itself.
    ///
    /// # Errors
    ///
    /// When something is missing or of another form.
    pub fn of(
        metadata: &Metadata,
        rule: NodeNameRule,
        host_name: &str,
    ) -> Result<Self, IdentityError> {
        let Metadata {
            instance_id,
            region,
            zone,
            local_hostname,
            local_ipv4,
            ipv6,
            instance_type,
            target_lifecycle_state,
        } = metadata;
        let instance_id = checked("instance id", instance_id.as_ref(), |text| {
            text.strip_prefix("i-").is_some_and(|rest| {
                (8..=17).contains(&rest.len()) && rest.bytes().all(is_lower_hex)
            })
        })?;
        let place = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let region = checked("region", region.as_ref(), place)?;
        let zone = checked("availability zone", zone.as_ref(), place)?;
        let node_name = match rule {
            NodeNameRule::PrivateDns => {
                // A DHCP option set with several domains gives several words.
                let names = local_hostname
                    .as_ref()
                    .ok_or(IdentityError::Missing("host name"))?;
                names
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_lowercase()
            }
            NodeNameRule::InstanceId => instance_id.clone(),
            NodeNameRule::Hostname => host_name.trim().to_lowercase(),
        };
        let node_name = checked("host name", Some(&node_name), is_subdomain)?;
        let node_ip = checked("address", local_ipv4.as_ref().or(ipv6.as_ref()), |text| {
            text.parse::<IpAddr>().is_ok()
        })?;
        Ok(Self {
            instance_id,
            region,
            zone,
            instance_type: instance_type.clone().unwrap_or_default(),
            node_name,
            node_ip,
            is_warming: target_lifecycle_state
                .as_ref()
                .is_some_and(|state| state.starts_with("Warmed:")),
        })
    }

    /// `spec.providerID` of the Node: cloud controller, autoscaler and approver agree on it.
    pub fn provider_id(&self) -> String {
        format!("aws:///{}/{}", self.zone, self.instance_id)
    }
}

fn checked(
    what: &'static str,
    text: Option<&String>,
    is_right: impl Fn(&str) -> bool,
) -> Result<String, IdentityError> {
    let text = text.ok_or(IdentityError::Missing(what))?;
    if !text.is_empty() && is_right(text) {
        return Ok(text.clone());
    }
    Err(IdentityError::Form {
        what,
        text: text.clone(),
    })
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// Whether a node can have this name: a DNS subdomain.
fn is_subdomain(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.first().copied().is_some_and(inner)
                && bytes.last().copied().is_some_and(inner)
                && bytes.iter().all(|&b| inner(b) || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let some = |text: &str| Some(text.to_owned());
        Metadata {
            instance_id: some("i-0123456789abcdef0"),
            region: some("us-west-2"),
            zone: some("us-west-2-lax-1a"),
            local_hostname: some("IP-10-0-3-4.us-west-2.compute.internal corp.example"),
            local_ipv4: some("10.0.3.4"),
            ipv6: None,
            instance_type: some("m5.large"),
            target_lifecycle_state: None,
        }
    }

    #[test]
    fn the_first_host_name_in_lower_case_is_the_nodes() {
        let identity = Identity::of(&metadata(), NodeNameRule::PrivateDns, "x").unwrap();
        assert_eq!(identity.node_name, "ip-10-0-3-4.us-west-2.compute.internal");
        assert_eq!(
            identity.provider_id(),
            "aws:///us-west-2-lax-1a/i-0123456789abcdef0"
        );
        let by = |rule| {
            Identity::of(&metadata(), rule, "Host-1\n")
                .unwrap()
                .node_name
        };
        assert_eq!(by(NodeNameRule::InstanceId), "i-0123456789abcdef0");
        assert_eq!(by(NodeNameRule::Hostname), "host-1");
    }

    #[test]
    fn an_instance_that_is_warmed_for_a_pool_is_known() {
        let warming = Metadata {
            target_lifecycle_state: Some("Warmed:Stopped".to_owned()),
            ..metadata()
        };
        assert!(
            Identity::of(&warming, NodeNameRule::PrivateDns, "x")
                .unwrap()
                .is_warming
        );
    }

    #[test]
    fn metadata_of_another_form_are_refused_by_name() {
        let refused = |change: &dyn Fn(&mut Metadata)| {
            let mut metadata = metadata();
            change(&mut metadata);
            Identity::of(&metadata, NodeNameRule::PrivateDns, "x")
                .unwrap_err()
                .to_string()
        };
        let html = || Some("<html>".to_owned());
        assert!(refused(&|m| m.instance_id = html()).contains("instance id `<html>`"));
        assert!(refused(&|m| m.zone = html()).contains("zone"));
        assert!(refused(&|m| m.local_hostname = Some("-a".to_owned())).contains("host name"));
        assert!(refused(&|m| m.local_ipv4 = html()).contains("address"));
        assert_eq!(
            refused(&|m| m.region = None),
            "instance metadata has no region"
        );
    }
}
