use crate::{LabelSelector, SmolStr};

/// What the scheduler does when a spread constraint cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WhenUnsatisfiable {
    /// The pod stays pending.
    DoNotSchedule,
    /// The node scores lower; never a filter.
    ScheduleAnyway,
}

/// Whether nodes that the pod cannot use count as domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InclusionPolicy {
    /// Only usable nodes count.
    Honor,
    /// All nodes count.
    Ignore,
}

/// One of a pod's topology spread constraints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpreadConstraint {
    /// The node label whose values are the domains.
    pub topology_key: SmolStr,
    /// The largest allowed difference to the emptiest domain, in pods.
    pub max_skew: i32,
    /// With fewer domains than this the emptiest counts as holding no pod; default 1.
    pub min_domains: i32,
    /// Filter or score.
    pub when_unsatisfiable: WhenUnsatisfiable,
    /// Which pods are counted; `None` selects none.
    pub selector: Option<LabelSelector>,
    /// Label keys whose values the incoming pod adds to the selector.
    pub match_label_keys: Vec<SmolStr>,
    /// Whether the pod's node affinity narrows the domains; default Honor.
    pub node_affinity_policy: InclusionPolicy,
    /// Whether taints narrow the domains; default Ignore.
    pub node_taints_policy: InclusionPolicy,
}
