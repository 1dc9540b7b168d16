use serde::{Deserialize, Serialize};

use crate::{SmolStr, Timestamp};

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// The scheduler does not place the pod.
    NoSchedule,
    /// The scheduler avoids the node.
    PreferNoSchedule,
    /// The pod is not placed, and evicted where it runs.
    NoExecute,
    /// A value that Kubernetes does not define; it repels nobody.
    Other(SmolStr),
}

impl Effect {
    /// As Kubernetes writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Effect {
    fn from(text: &str) -> Self {
        match text {
            "NoSchedule" => Self::NoSchedule,
            "PreferNoSchedule" => Self::PreferNoSchedule,
            "NoExecute" => Self::NoExecute,
            other => Self::Other(other.into()),
        }
    }
}

/// A node's mark that repels pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Taint {
    /// The key.
    pub key: SmolStr,
    /// The value, often empty.
    pub value: SmolStr,
    /// The effect.
    pub effect: Effect,
    /// When it was added, where that was written down.
    pub time_added: Option<Timestamp>,
}

/// How a toleration's value is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TolerationOperator {
    /// The values are equal; also what an absent operator means.
    Equal,
    /// Any value.
    Exists,
    /// Any other word, `Lt` and `Gt` among them: tolerates nothing.
    Other(SmolStr),
}

/// A pod's leave to ignore taints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// The key; empty is any key.
    pub key: SmolStr,
    /// The comparison.
    pub operator: TolerationOperator,
    /// The value for [`TolerationOperator::Equal`].
    pub value: SmolStr,
    /// The effect; absent is any.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// Whether this toleration covers `taint`. Source: `k8s.io/api/core/v1` `ToleratesTaint`.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect
            .as_ref()
            .is_none_or(|effect| *effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && match self.operator {
                TolerationOperator::Equal => self.value == taint.value,
                TolerationOperator::Exists => true,
                TolerationOperator::Other(_) => false,
            }
    }
}
