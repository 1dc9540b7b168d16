use windlass_model::SmolStr;

/// At which step a pod was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// `PreFilter` failed: the pod fits on no node.
    PreFilter,
    /// `PreFilter` named the nodes in question, and this is not one.
    PreFilterResult,
    /// The node's Filter failed.
    Filter,
}

impl Phase {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreFilter => "PreFilter",
            Self::PreFilterResult => "PreFilterResult",
            Self::Filter => "Filter",
        }
    }
}

/// The scheduler's status code of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Preemption could help.
    Unschedulable,
    /// Preemption could not help.
    UnschedulableAndUnresolvable,
    /// The check itself failed.
    Error,
}

impl Code {
    /// The scheduler's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::UnschedulableAndUnresolvable => "UnschedulableAndUnresolvable",
            Self::Error => "Error",
        }
    }
}

/// Why a pod does not fit on a node: the first plugin, in order, that said no.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rejection {
    /// At which step.
    pub phase: Phase,
    /// The plugin; for [`Phase::PreFilterResult`] those that named nodes, sorted and joined by
    /// `, `; empty when none of them alone is to blame.
    pub plugin: SmolStr,
    /// The status code.
    pub code: Code,
    /// The plugin's reasons, in its words; may be empty.
    pub reasons: Vec<SmolStr>,
}

impl Rejection {
    pub(crate) fn filter(plugin: &'static str, code: Code, reason: &'static str) -> Self {
        Self {
            phase: Phase::Filter,
            plugin: SmolStr::new_static(plugin),
            code,
            reasons: vec![SmolStr::new_static(reason)],
        }
    }
}
