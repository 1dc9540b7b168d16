mod configuration;
mod form;

use windlass_model::{NodeSelector, SchedulerVersion, SmolStr, SpreadConstraint};

use crate::plugin::Plugin;

pub use configuration::ConfigurationError;

/// What the scheduler's one profile says: which version's rules hold, and what a
/// `KubeSchedulerConfiguration` may change of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    version: SchedulerVersion,
    pre_filters: Vec<Plugin>,
    filters: Vec<Plugin>,
    added_affinity: Option<NodeSelector>,
    ignored_resources: Vec<SmolStr>,
    ignored_resource_groups: Vec<SmolStr>,
    default_constraints: Vec<SpreadConstraint>,
}

/// The one profile as each version of the scheduler understands it.
///
/// Which version decides is known only once the cluster is; that a configuration is right must be
/// known before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiles {
    v1_36: Profile,
    v1_37: Profile,
}

impl Default for Profiles {
    /// The default profile.
    fn default() -> Self {
        Self {
            v1_36: Profile::new(SchedulerVersion::V1_36),
            v1_37: Profile::new(SchedulerVersion::V1_37),
        }
    }
}

impl Profiles {
    /// The profile of a `KubeSchedulerConfiguration`.
    pub fn from_configuration(
        configuration: &serde_json::Value,
    ) -> Result<Self, ConfigurationError> {
        let of = |version| Profile::from_configuration(configuration, version);
        Ok(Self {
            v1_36: of(SchedulerVersion::V1_36)?,
            v1_37: of(SchedulerVersion::V1_37)?,
        })
    }

    /// The profile for a scheduler of this version.
    pub fn of(&self, version: SchedulerVersion) -> &Profile {
        match version {
            SchedulerVersion::V1_36 => &self.v1_36,
            SchedulerVersion::V1_37 => &self.v1_37,
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::new(SchedulerVersion::default())
    }
}

impl Profile {
    /// The default profile of a version.
    pub fn new(version: SchedulerVersion) -> Self {
        let filters = Plugin::in_order(version);
        Self {
            version,
            pre_filters: pre_filters_among(&filters, version),
            filters,
            added_affinity: None,
            ignored_resources: Vec::new(),
            ignored_resource_groups: Vec::new(),
            default_constraints: Vec::new(),
        }
    }

    /// Whose rules hold.
    pub fn version(&self) -> SchedulerVersion {
        self.version
    }

    pub(crate) fn pre_filters(&self) -> &[Plugin] {
        &self.pre_filters
    }

    pub(crate) fn filters(&self) -> &[Plugin] {
        &self.filters
    }

    /// Required node affinity that every pod gets in addition.
    pub(crate) fn added_affinity(&self) -> Option<&NodeSelector> {
        self.added_affinity.as_ref()
    }

    /// Hard spread constraints of pods without any of their own.
    pub(crate) fn default_constraints(&self) -> &[SpreadConstraint] {
        &self.default_constraints
    }

    /// Whether `NodeResourcesFit` leaves a resource out.
    pub(crate) fn ignores(&self, resource: &str) -> bool {
        let is_extended = resource.contains('/') && !resource.contains("kubernetes.io/");
        let group = resource.split('/').next().unwrap_or(resource);
        is_extended
            && (self.ignored_resources.iter().any(|name| name == resource)
                || self
                    .ignored_resource_groups
                    .iter()
                    .any(|name| name == group))
    }

    /// Whether a plugin's Filter fails in this profile for want of what its `PreFilter` writes.
    pub(crate) fn is_broken(&self, plugin: Plugin) -> bool {
        plugin.needs_pre_filter_state() && !self.pre_filters.contains(&plugin)
    }
}

fn pre_filters_among(plugins: &[Plugin], version: SchedulerVersion) -> Vec<Plugin> {
    plugins
        .iter()
        .copied()
        .filter(|plugin| plugin.has_pre_filter(version))
        .collect()
}
