//! The security group of the nodes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::cluster_config::schema::Spec;
use crate::cluster_config::security_group::{ITSELF, Ingress};

use super::{Problems, is_id};

const PATH: &str = "spec.nodeSecurityGroup";
/// Most rules of a security group, where no quota was raised.
const MAX_RULES: usize = 60;
/// Longest description of a rule, besides what Windlass puts in front.
const MAX_DESCRIPTION: usize = 240;
/// Protocols that have ports.
const WITH_PORTS: [&str; 2] = ["tcp", "udp"];
/// Protocols that have a name, and their numbers.
const NAMED: [(&str, &str); 4] = [("tcp", "6"), ("udp", "17"), ("icmp", "1"), ("icmpv6", "58")];

pub(super) fn security_group(spec: &Spec, problems: &mut Problems) {
    let Some(group) = &spec.node_security_group else {
        return;
    };
    let has_subnet =
        !spec.subnets.is_empty() || spec.groups.iter().any(|it| !it.subnets.is_empty());
    problems.expect(has_subnet, PATH, || {
        "is made in the VPC of the subnets, and the file names none: name them in spec.subnets"
            .to_owned()
    });
    problems.expect(!spec.cluster.starts_with("sg-"), PATH, || {
        "AWS takes no name for a security group that begins with `sg-`, and its begins with that of \
         the cluster: make it by hand and name it in spec.securityGroups"
            .to_owned()
    });
    let Some(ingress) = &group.ingress else {
        return problems.expect(
            !spec.security_groups.is_empty(),
            &format!("{PATH}.ingress"),
            || {
                "is missing: without spec.securityGroups the nodes would let in nobody but each \
                 other, and the control plane would not reach them: name its group, as \
                 `- from: [self, sg-…]`"
                    .to_owned()
            },
        );
    };
    let mut seen = BTreeMap::new();
    for (index, rules) in ingress.iter().enumerate() {
        let path = format!("{PATH}.ingress[{index}]");
        self::ingress(&path, rules, problems);
        for rule in rules.rules() {
            if let Some(first) = seen.insert(rule.clone(), index) {
                problems.add(
                    format!("{path}.from"),
                    format!(
                        "`{rule}` is said in ingress[{first}] already: leave one of the two out"
                    ),
                );
            }
        }
    }
    problems.expect(seen.len() <= MAX_RULES, &format!("{PATH}.ingress"), || {
        format!("makes {} rules, and AWS takes {MAX_RULES}", seen.len())
    });
}

fn ingress(path: &str, rules: &Ingress, problems: &mut Problems) {
    let protocol = rules.protocol();
    if let Some(said) = &rules.protocol {
        self::protocol(&format!("{path}.protocol"), said, problems);
    }
    problems.expect(
        rules.ports.is_some() == WITH_PORTS.contains(&protocol),
        &format!("{path}.ports"),
        || match rules.ports {
            None => format!("is missing: say which of {protocol}, such as `0-65535`"),
            Some(_) => "only `tcp` and `udp` take it: leave it out".to_owned(),
        },
    );
    problems.expect(!rules.from.is_empty(), &format!("{path}.from"), || {
        "is empty: name `self`, security groups or networks".to_owned()
    });
    for (index, source) in rules.from.iter().enumerate() {
        self::source(&format!("{path}.from[{index}]"), source, problems);
    }
    if let Some(description) = &rules.description {
        let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
        problems.expect(
            description.len() <= MAX_DESCRIPTION && description.chars().all(allowed),
            &format!("{path}.description"),
            || {
                format!(
                    "`{description}`: expected at most {MAX_DESCRIPTION} of letters, digits, spaces \
                     and `._-:/()#,@[]+=&;{{}}!$*`, which is what AWS takes"
                )
            },
        );
    }
}

fn protocol(path: &str, said: &str, problems: &mut Problems) {
    if let Some((name, _)) = NAMED.iter().find(|(_, number)| *number == said) {
        return problems.add(path, format!("`{said}`: write `{name}`"));
    }
    let is_named = said == "all" || NAMED.iter().any(|(name, _)| *name == said);
    let is_number = said.parse::<u8>().is_ok_and(|it| it.to_string() == said);
    problems.expect(is_named || is_number, path, || {
        format!(
            "`{said}`: expected `tcp`, `udp`, `icmp`, `icmpv6`, `all`, or a protocol's number such as \
             \"4\""
        )
    });
}

fn source(path: &str, source: &str, problems: &mut Problems) {
    if source == ITSELF || is_id(source, "sg-") {
        return;
    }
    match network(source) {
        Some(canonical) => problems.expect(canonical == source, path, || {
            // AWS gives it back that way, and a rule is known by it.
            format!("`{source}`: write `{canonical}`")
        }),
        None => problems.add(
            path,
            format!(
                "`{source}`: expected `self`, a security group's id such as `sg-0123456789abcdef0`, or \
                 a network such as `10.0.0.0/8`"
            ),
        ),
    }
}

/// A network as AWS writes it; none for what is no network.
fn network(text: &str) -> Option<String> {
    let (address, length) = text.split_once('/')?;
    let bits: u32 = length
        .parse()
        .ok()
        .filter(|it: &u32| it.to_string() == length)?;
    if let Ok(address) = address.parse::<Ipv4Addr>() {
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
        let network = Ipv4Addr::from(u32::from(address) & mask);
        return Some(format!("{network}/{bits}"));
    }
    let address: Ipv6Addr = address.parse().ok()?;
    let mask = u128::MAX
        .checked_shl(128_u32.checked_sub(bits)?)
        .unwrap_or(0);
    let network = Ipv6Addr::from(u128::from(address) & mask);
    Some(format!("{network}/{bits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_as_aws_writes_them() {
        for (text, canonical) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.1.2.3/32", Some("10.1.2.3/32")),
            ("FD00:0::1/8", Some("fd00::/8")),
            ("::/0", Some("::/0")),
            ("10.0.0.0/33", None),
            ("fd00::/129", None),
            ("10.0.0.0", None),
            ("10.0.0.0/08", None),
            ("10.0.0/8", None),
        ] {
            assert_eq!(network(text).as_deref(), canonical, "{text}");
        }
    }
}
