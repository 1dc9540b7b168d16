//! What people should know of a group. Pure.

use std::fmt;

/// Something that people should know of a group: in the log, in `windlass explain group`, and counted
/// by kind in a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What kind of thing it is.
    pub kind: ConditionKind,
    /// The thing itself, for people.
    pub text: String,
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Kinds of conditions: a closed set, so that a metric can have it for a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionKind {
    /// It is not grown.
    NotScaledUp,
    /// It is not shrunk.
    NotScaledDown,
    /// What a new node would look like is not known, or not any more.
    NoTemplate,
    /// What was asked for last does not come.
    LaunchesFail,
    /// One of its tags makes no sense.
    Tag,
    /// EKS finds something wrong with its node group.
    Eks,
    /// AWS may move its instances between zones without draining them.
    AzRebalance,
    /// Instances wait in its warm pool.
    WarmPool,
    /// Something optional is not known or not done, because AWS refuses or does not answer.
    Unanswered,
}

impl ConditionKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NotScaledUp,
        Self::NotScaledDown,
        Self::NoTemplate,
        Self::LaunchesFail,
        Self::Tag,
        Self::Eks,
        Self::AzRebalance,
        Self::WarmPool,
        Self::Unanswered,
    ];

    /// Its name as a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotScaledUp => "not-scaled-up",
            Self::NotScaledDown => "not-scaled-down",
            Self::NoTemplate => "no-template",
            Self::LaunchesFail => "launches-fail",
            Self::Tag => "tag",
            Self::Eks => "eks",
            Self::AzRebalance => "az-rebalance",
            Self::WarmPool => "warm-pool",
            Self::Unanswered => "unanswered",
        }
    }

    /// A condition of this kind.
    pub fn with(self, text: impl Into<String>) -> Condition {
        Condition {
            kind: self,
            text: text.into(),
        }
    }
}
