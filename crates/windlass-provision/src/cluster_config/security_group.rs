//! The security group of the nodes that is made for them.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use windlass_aws_client::ec2::{IngressRule, RuleSource};

/// The word for the group itself as a source.
pub const ITSELF: &str = "self";
/// The word for every protocol, and EC2's for it.
const ALL_PROTOCOLS: (&str, &str) = ("all", "-1");

/// A security group for the nodes, in the VPC of their subnets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeSecurityGroup {
    /// What it lets in. Without it everything from the nodes themselves and from whoever has one of
    /// `spec.securityGroups`.
    pub ingress: Option<Vec<Ingress>>,
}

/// Something that a security group lets in: one rule for each source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ingress {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `all`, or the number of another protocol. Without it `tcp`
    /// where there are ports, and `all` where there are none.
    pub protocol: Option<String>,
    /// A port, or the first and the last; of `tcp` and `udp` alone.
    pub ports: Option<PortRange>,
    /// Whence: [`ITSELF`], ids of security groups, and networks such as `10.0.0.0/8`.
    pub from: Vec<String>,
    /// What it is for.
    pub description: Option<String>,
}

impl Ingress {
    /// The protocol as EC2 has it.
    pub fn protocol(&self) -> &str {
        match self.protocol.as_deref() {
            None if self.ports.is_some() => "tcp",
            None => ALL_PROTOCOLS.1,
            Some(word) if word == ALL_PROTOCOLS.0 => ALL_PROTOCOLS.1,
            Some(word) => word,
        }
    }

    /// Its rules, in the order of the sources; the group itself is still [`ITSELF`].
    pub fn rules(&self) -> impl Iterator<Item = IngressRule> + '_ {
        let protocol = self.protocol();
        // EC2 wants type and code of ICMP, and has -1 for any.
        let any = protocol.starts_with("icmp").then_some((-1, -1));
        let ports = self.ports.map(|it| (it.first.into(), it.last.into()));
        self.from.iter().map(move |source| IngressRule {
            protocol: protocol.to_owned(),
            ports: ports.or(any),
            source: source_of(source),
        })
    }
}

/// What a source of the file is to EC2.
fn source_of(text: &str) -> RuleSource {
    let text = text.to_owned();
    if !text.contains('/') {
        RuleSource::Group(text)
    } else if text.contains(':') {
        RuleSource::Ipv6(text)
    } else {
        RuleSource::Ipv4(text)
    }
}

/// A port, or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last, which is not below the first.
    pub last: u16,
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.parse().ok();
        port(first)
            .zip(port(last))
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| Self { first, last })
            .ok_or_else(|| {
                format!("`{text}` are no ports: expected one such as `10250`, or `30000-32767`")
            })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last {
            return write!(formatter, "{first}");
        }
        write!(formatter, "{first}-{last}")
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    /// One port may be written as a number.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl Visitor<'_> for TextOrNumber {
            type Value = PortRange;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a port such as `10250`, or several such as `30000-32767`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<PortRange, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<PortRange, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<PortRange, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(TextOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_number_or_two() {
        let read = |text: &str| serde_saphyr::from_str::<PortRange>(text);
        for (text, shown) in [
            ("10250", "10250"),
            ("'10250'", "10250"),
            ("30000-32767", "30000-32767"),
        ] {
            assert_eq!(read(text).unwrap().to_string(), shown);
        }
        for text in ["70000", "-1", "9-1", "a", "1-2-3", "''"] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("are no ports"), "{text}: {error}");
        }
    }

    #[test]
    fn a_rule_is_made_for_each_source() {
        let said = |ingress: &str| -> Vec<String> {
            let ingress: Ingress = serde_saphyr::from_str(ingress).unwrap();
            ingress.rules().map(|rule| rule.to_string()).collect()
        };
        assert_eq!(
            said("{ports: 10250, from: [self, sg-1, 10.0.0.0/8, 'fd00::/8']}"),
            [
                "tcp 10250 from self",
                "tcp 10250 from sg-1",
                "tcp 10250 from 10.0.0.0/8",
                "tcp 10250 from fd00::/8",
            ]
        );
        assert_eq!(said("{from: [self]}"), ["all from self"]);
        assert_eq!(said("{protocol: icmp, from: [self]}"), ["icmp from self"]);
        assert_eq!(said("{protocol: '4', from: [self]}"), ["4 from self"]);
        assert_eq!(
            said("{protocol: udp, ports: 1-9, from: [self]}"),
            ["udp 1-9 from self"]
        );
    }
}
