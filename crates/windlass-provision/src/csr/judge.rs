use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{CertificateRequest, SignerName};

const NODES_GROUP: &str = "system:nodes";
const NODE_USER_PREFIX: &str = "system:node:";

/// What the rules leave open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The group that the cluster's own bootstrap tokens put their bearers in.
    pub bootstrap_group: String,
    /// Longest time from an instance's launch to its request.
    pub boot_budget: Duration,
    /// How long an instance that AWS does not show yet is waited for: EC2 shows a new instance
    /// everywhere only after some seconds.
    pub patience: Duration,
}

/// An instance of one of the cluster's groups, as EC2 and Auto Scaling show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceFacts {
    /// Its id.
    pub id: String,
    /// Whether EC2 says `running`.
    pub is_running: bool,
    /// Its group, if that carries the cluster's tag.
    pub group: Option<String>,
    /// When it was launched.
    pub launched: Option<Timestamp>,
    /// All DNS names that EC2 reports for it.
    pub dns_names: Vec<String>,
    /// All addresses that EC2 reports for it.
    pub addresses: Vec<IpAddr>,
}

/// A Node of the requested name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Whether it is ready.
    pub is_ready: bool,
}

/// What the world looks like around a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The instance whose node has the requested name.
    pub instance: Option<InstanceFacts>,
    /// The Node of that name.
    pub node: Option<NodeFacts>,
    /// Whether an operator has let this instance back.
    pub is_allowed_back: bool,
}

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may have its certificate.
    Approve {
        /// Why: for the condition and the log.
        why: String,
        /// Whether the operator's leave made the difference, and is used up.
        uses_leave: bool,
    },
    /// It must not.
    Deny(String),
    /// Not for this approver.
    Ignore(&'static str),
    /// Look again soon.
    Wait(String),
}

/// The node that a request is for: the part of the rules that needs no evidence.
///
/// # Errors
///
/// The verdict, where the request itself decides it.
pub fn node_of<'a>(request: &'a CertificateRequest, rules: &Rules) -> Result<&'a str, Verdict> {
    if request.is_decided {
        return Err(Verdict::Ignore("it is decided"));
    }
    let requester = &request.requester;
    match request.signer {
        SignerName::KubeletClient => {
            if requester.groups.iter().any(|group| group == NODES_GROUP) {
                return Err(Verdict::Ignore("a node renews its own certificate"));
            }
            if !requester.groups.contains(&rules.bootstrap_group) {
                return Err(Verdict::Ignore("its token is none of Windlass's"));
            }
        }
        SignerName::KubeletServing => {
            if !requester.user.starts_with(NODE_USER_PREFIX) {
                return Err(Verdict::Deny(format!(
                    "`{}` is no node, and only a node may have a serving certificate",
                    requester.user
                )));
            }
        }
    }
    let deny = |why: &str| Err(Verdict::Deny(why.to_owned()));
    let Some(node) = request.node_name() else {
        return deny("its subject's common name is not `system:node:<name>`");
    };
    if request.organizations != [NODES_GROUP] || request.has_other_attributes {
        return deny("its subject is not O=system:nodes with a common name and nothing else");
    }
    match request.signer {
        SignerName::KubeletClient if request.has_alternative_names() => {
            return deny("a client certificate must have no alternative names");
        }
        SignerName::KubeletServing if requester.user != format!("{NODE_USER_PREFIX}{node}") => {
            return deny("a node may ask for its own serving certificate only");
        }
        _ => {}
    }
    if !usages_are_right(request) {
        return Err(Verdict::Deny(format!(
            "its usages are {:?}, not digital signature and {} (with or without key encipherment)",
            request.usages,
            needed_usage(request.signer),
        )));
    }
    Ok(node)
}

fn needed_usage(signer: SignerName) -> &'static str {
    match signer {
        SignerName::KubeletClient => "client auth",
        SignerName::KubeletServing => "server auth",
    }
}

fn usages_are_right(request: &CertificateRequest) -> bool {
    let mut usages: Vec<&str> = request.usages.iter().map(String::as_str).collect();
    usages.sort_unstable();
    usages.dedup();
    usages.retain(|usage| *usage != "key encipherment");
    let mut needed = [needed_usage(request.signer), "digital signature"];
    needed.sort_unstable();
    usages == needed
}

/// What is to be done about a request. `now` is on the clock of EC2's launch times.
pub fn judge(
    request: &CertificateRequest,
    evidence: &Evidence,
    rules: &Rules,
    now: Timestamp,
) -> Verdict {
    let node = match node_of(request, rules) {
        Ok(node) => node,
        Err(verdict) => return verdict,
    };
    let not_yet = |why: String| {
        if now.duration_since(request.created) < signed(rules.patience) {
            Verdict::Wait(why)
        } else {
            Verdict::Deny(why)
        }
    };
    let Some(instance) = &evidence.instance else {
        return not_yet(format!("there is no instance whose node is `{node}`"));
    };
    let id = &instance.id;
    if !instance.is_running {
        return not_yet(format!("instance {id} is not running"));
    }
    let Some(group) = &instance.group else {
        return not_yet(format!("instance {id} is in no group of this cluster"));
    };
    match request.signer {
        SignerName::KubeletClient => join(node, group, instance, evidence, rules, now),
        SignerName::KubeletServing => serve(request, group, instance),
    }
}

fn join(
    node: &str,
    group: &str,
    instance: &InstanceFacts,
    evidence: &Evidence,
    rules: &Rules,
    now: Timestamp,
) -> Verdict {
    let id = &instance.id;
    if evidence.node.is_some_and(|node| node.is_ready) {
        return Verdict::Deny(format!(
            "Node `{node}` is ready: it has its certificate, and nobody else gets one of its name"
        ));
    }
    let age = instance
        .launched
        .map(|launched| now.duration_since(launched));
    let is_young = age.is_some_and(|age| age < signed(rules.boot_budget));
    if is_young || evidence.is_allowed_back {
        let why = if is_young {
            "launched just now"
        } else {
            "let back by an operator"
        };
        return Verdict::Approve {
            why: format!("instance {id} of group `{group}`, {why}"),
            uses_leave: !is_young,
        };
    }
    Verdict::Deny(format!(
        "instance {id} was launched more than {} minutes ago; if it is to come back: `windlass \
         csr-approver allow {id}`",
        rules.boot_budget.as_secs() / 60
    ))
}

fn serve(request: &CertificateRequest, group: &str, instance: &InstanceFacts) -> Verdict {
    let id = &instance.id;
    if !request.has_alternative_names() {
        return Verdict::Deny("a serving certificate must have an alternative name".to_owned());
    }
    if request.has_other_names {
        return Verdict::Deny("it has names other than DNS names and addresses".to_owned());
    }
    let is_known = |name: &&String| {
        instance
            .dns_names
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    if let Some(name) = request.dns_names.iter().find(|name| !is_known(name)) {
        return Verdict::Deny(format!(
            "EC2 reports no DNS name `{name}` for instance {id}"
        ));
    }
    let mut addresses = request.addresses.iter();
    if let Some(address) = addresses.find(|address| !instance.addresses.contains(address)) {
        return Verdict::Deny(format!(
            "EC2 reports no address {address} for instance {id}"
        ));
    }
    Verdict::Approve {
        why: format!("names and addresses are those of instance {id} of group `{group}`"),
        uses_leave: false,
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use rcgen::SanType;

    use super::super::request::tests::object;
    use super::*;

    const GROUP: &str = "system:bootstrappers:windlass:prod";

    fn rules() -> Rules {
        Rules {
            bootstrap_group: GROUP.to_owned(),
            boot_budget: Duration::from_mins(15),
            patience: Duration::from_mins(1),
        }
    }

    fn now() -> Timestamp {
        "2026-01-01T00:05:00Z".parse().unwrap()
    }

    fn client() -> CertificateRequest {
        let object = object("system:node:n1", &[], SignerName::KubeletClient.name());
        let mut request = CertificateRequest::from_object(&object).unwrap();
        request.requester.groups.push(GROUP.to_owned());
        request
    }

    fn serving(names: &[SanType]) -> CertificateRequest {
        let object = object("system:node:n1", names, SignerName::KubeletServing.name());
        let mut request = CertificateRequest::from_object(&object).unwrap();
        request.requester.user = "system:node:n1".to_owned();
        request.requester.groups = vec![NODES_GROUP.to_owned()];
        request.usages = ["server auth", "key encipherment", "digital signature"]
            .map(str::to_owned)
            .into();
        request
    }

    fn evidence() -> Evidence {
        Evidence {
            instance: Some(InstanceFacts {
                id: "i-1".to_owned(),
                is_running: true,
                group: Some("workers".to_owned()),
                launched: Some("2026-01-01T00:00:00Z".parse().unwrap()),
                dns_names: vec!["n1".to_owned()],
                addresses: vec!["10.0.0.1".parse().unwrap()],
            }),
            node: None,
            is_allowed_back: false,
        }
    }

    fn of(request: &CertificateRequest, evidence: &Evidence) -> Verdict {
        judge(request, evidence, &rules(), now())
    }

    #[track_caller]
    fn denied(verdict: &Verdict, word: &str) {
        let Verdict::Deny(why) = verdict else {
            panic!("{verdict:?}");
        };
        assert!(why.contains(word), "{why}");
    }

    /// The client's request, changed.
    fn but(change: impl FnOnce(&mut CertificateRequest)) -> Verdict {
        let mut request = client();
        change(&mut request);
        of(&request, &evidence())
    }

    /// The client's request in a changed world.
    fn though(change: impl FnOnce(&mut Evidence, &mut InstanceFacts)) -> Verdict {
        let mut evidence = evidence();
        let mut instance = evidence.instance.take().unwrap();
        change(&mut evidence, &mut instance);
        evidence.instance = Some(instance);
        of(&client(), &evidence)
    }

    #[test]
    fn a_young_instance_of_a_group_may_join() {
        let verdict = of(&client(), &evidence());
        assert!(
            matches!(&verdict, Verdict::Approve { why, uses_leave: false } if why.contains("i-1")),
            "{verdict:?}"
        );
        let with_encipherment = but(|request| request.usages.push("key encipherment".to_owned()));
        assert!(matches!(with_encipherment, Verdict::Approve { .. }));
    }

    #[test]
    fn the_subject_must_be_a_nodes_and_nothing_more() {
        denied(
            &but(|r| r.common_names = vec!["system:node:".to_owned()]),
            "common name",
        );
        denied(
            &but(|r| r.common_names.push("system:node:n2".to_owned())),
            "common name",
        );
        denied(
            &but(|r| r.organizations.push("system:masters".to_owned())),
            "O=system:nodes",
        );
        denied(&but(|r| r.organizations.clear()), "O=system:nodes");
        denied(&but(|r| r.has_other_attributes = true), "nothing else");
        denied(
            &but(|r| r.dns_names.push("a".to_owned())),
            "alternative names",
        );
        denied(&but(|r| r.has_other_names = true), "alternative names");
        denied(&but(|r| r.usages.push("server auth".to_owned())), "usages");
        denied(&but(|r| r.usages.clear()), "usages");
    }

    #[test]
    fn requests_of_others_are_left_alone() {
        let hand_made = but(|r| r.requester.groups = vec!["system:bootstrappers".to_owned()]);
        assert!(matches!(hand_made, Verdict::Ignore(_)));
        let renewal = but(|r| r.requester.groups.push(NODES_GROUP.to_owned()));
        assert!(matches!(renewal, Verdict::Ignore(_)));
        assert!(matches!(but(|r| r.is_decided = true), Verdict::Ignore(_)));
    }

    #[test]
    fn the_instance_must_be_a_running_one_of_a_group() {
        denied(
            &though(|_, instance| instance.is_running = false),
            "not running",
        );
        denied(&though(|_, instance| instance.group = None), "no group");
        let nobody = of(&client(), &Evidence::default());
        denied(&nobody, "no instance whose node is `n1`");
    }

    #[test]
    fn an_instance_that_is_not_shown_yet_is_waited_for() {
        let mut fresh = client();
        fresh.created = now() - SignedDuration::from_secs(59);
        assert!(matches!(of(&fresh, &Evidence::default()), Verdict::Wait(_)));
        fresh.created = now() - SignedDuration::from_secs(60);
        assert!(matches!(of(&fresh, &Evidence::default()), Verdict::Deny(_)));
    }

    #[test]
    fn a_second_join_is_denied() {
        let ready = NodeFacts { is_ready: true };
        denied(
            &though(|evidence, _| evidence.node = Some(ready)),
            "is ready",
        );
        denied(
            &though(|evidence, _| {
                evidence.node = Some(ready);
                evidence.is_allowed_back = true;
            }),
            "is ready",
        );
        let not_ready = NodeFacts { is_ready: false };
        let again = though(|evidence, _| evidence.node = Some(not_ready));
        assert!(matches!(again, Verdict::Approve { .. }));
    }

    #[test]
    fn an_old_instance_needs_an_operators_leave() {
        let old: Timestamp = "2025-12-31T23:50:00Z".parse().unwrap();
        denied(
            &though(|_, instance| instance.launched = Some(old)),
            "csr-approver allow i-1",
        );
        denied(
            &though(|_, instance| instance.launched = None),
            "csr-approver allow i-1",
        );
        let allowed = though(|evidence, instance| {
            instance.launched = Some(old);
            evidence.is_allowed_back = true;
        });
        assert!(matches!(
            allowed,
            Verdict::Approve {
                uses_leave: true,
                ..
            }
        ));
    }

    #[test]
    fn a_serving_certificate_has_the_instances_names_only() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let ip = |text: &str| SanType::IpAddress(text.parse().unwrap());
        let asked = |names: &[SanType]| of(&serving(names), &evidence());
        assert!(matches!(
            asked(&[dns("n1"), ip("10.0.0.1")]),
            Verdict::Approve { .. }
        ));
        denied(&asked(&[]), "alternative name");
        denied(
            &asked(&[dns("n1"), dns("kubernetes.default")]),
            "kubernetes.default",
        );
        denied(&asked(&[ip("10.0.0.2")]), "10.0.0.2");
        let mut other = serving(&[dns("n1")]);
        other.requester.user = "system:node:n2".to_owned();
        denied(&of(&other, &evidence()), "its own serving certificate");
        other.requester.user = "system:bootstrap:abcdef".to_owned();
        denied(&of(&other, &evidence()), "is no node");
    }
}
