use windlass_model::SchedulerVersion;

/// A plugin of the scheduler that can keep a pod off a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Plugin {
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeRestrictions,
    NodeVolumeLimits,
    VolumeBinding,
    VolumeZone,
    PodTopologySpread,
    InterPodAffinity,
    DynamicResources,
    NodeDeclaredFeatures,
}

impl Plugin {
    /// The default profile's order. Source: `pkg/scheduler/apis/config/v1/default_plugins.go`.
    pub(crate) fn in_order(version: SchedulerVersion) -> Vec<Self> {
        let mut order = vec![
            Self::NodeUnschedulable,
            Self::NodeName,
            Self::TaintToleration,
            Self::NodeAffinity,
            Self::NodePorts,
            Self::NodeResourcesFit,
            Self::VolumeRestrictions,
            Self::NodeVolumeLimits,
            Self::VolumeBinding,
            Self::VolumeZone,
            Self::PodTopologySpread,
            Self::InterPodAffinity,
            Self::DynamicResources,
            Self::NodeDeclaredFeatures,
        ];
        if version >= SchedulerVersion::V1_37 {
            order.swap(0, 1);
        }
        order
    }

    /// This plugin in a set of bits.
    pub(crate) fn bit(self) -> u16 {
        1 << self as u16
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::NodeName => "NodeName",
            Self::TaintToleration => "TaintToleration",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::NodeResourcesFit => "NodeResourcesFit",
            Self::VolumeRestrictions => "VolumeRestrictions",
            Self::NodeVolumeLimits => "NodeVolumeLimits",
            Self::VolumeBinding => "VolumeBinding",
            Self::VolumeZone => "VolumeZone",
            Self::PodTopologySpread => "PodTopologySpread",
            Self::InterPodAffinity => "InterPodAffinity",
            Self::DynamicResources => "DynamicResources",
            Self::NodeDeclaredFeatures => "NodeDeclaredFeatures",
        }
    }

    /// Whether it takes part in `PreFilter` in a way that an answer can depend on.
    pub(crate) fn has_pre_filter(self, version: SchedulerVersion) -> bool {
        match self {
            Self::NodeUnschedulable | Self::TaintToleration => false,
            Self::NodeName => version >= SchedulerVersion::V1_37,
            _ => true,
        }
    }

    /// Whether its Filter reads what its `PreFilter` wrote, and fails where that did not run.
    pub(crate) fn needs_pre_filter_state(self) -> bool {
        match self {
            Self::NodePorts
            | Self::NodeResourcesFit
            | Self::VolumeRestrictions
            | Self::VolumeBinding
            | Self::PodTopologySpread
            | Self::InterPodAffinity
            | Self::DynamicResources
            | Self::NodeDeclaredFeatures => true,
            Self::NodeUnschedulable
            | Self::NodeName
            | Self::TaintToleration
            | Self::NodeAffinity
            | Self::NodeVolumeLimits
            | Self::VolumeZone => false,
        }
    }
}
