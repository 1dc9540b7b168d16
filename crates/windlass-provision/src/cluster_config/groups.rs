//! A group with the defaults filled in, and what its nodes run.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::{self, Group, ImageReference, Instances, RootVolume};
use super::{ClusterConfig, NodeTaint};
use crate::join::LabelsFrom;
use crate::pin::CaPin;
use crate::userdata::{CloudProvider, LifecycleHook, Mode, OnFailure, UserData};

/// Hops that the metadata service's answers may take where nobody says otherwise: pods on the
/// pod network are then one hop too far away to be handed the node's role.
const METADATA_HOP_LIMIT: u32 = 1;

/// A group, everything said.
#[derive(Clone, Debug)]
pub struct ResolvedGroup<'a> {
    /// The group as the file has it.
    pub group: &'a Group,
    /// Name of its Auto Scaling group and of its launch template: `<cluster>-<group>`, if the file
    /// does not say otherwise; with the zone behind it, if it is one of several for one each.
    pub aws_name: String,
    /// Its subnets.
    pub subnets: Vec<String>,
    /// Its instance types, the preferred first.
    pub instance_types: Vec<&'a str>,
    /// How several types are bought; none for one type.
    pub instances: Option<&'a Instances>,
    /// Its machine image; none if neither it nor the defaults name one.
    pub image: Option<ImageReference<'a>>,
    /// Its root volume.
    pub root_volume: &'a RootVolume,
    /// Hops that the metadata service's answers may take.
    pub metadata_hop_limit: u32,
}

impl ClusterConfig {
    /// The groups, in the order of the file.
    pub fn groups(&self) -> impl Iterator<Item = ResolvedGroup<'_>> {
        self.spec.groups.iter().map(|group| self.resolve(group))
    }

    /// The groups as AWS has them, in the order of the file: one for each zone of a group that is
    /// zonal, by the zones of the subnets. Subnets of unknown zones are left out.
    pub fn groups_in(&self, zones: &BTreeMap<String, String>) -> Vec<ResolvedGroup<'_>> {
        let mut groups = Vec::new();
        for group in self.groups() {
            if !group.group.zonal {
                groups.push(group);
                continue;
            }
            let mut by_zone: BTreeMap<&String, Vec<String>> = BTreeMap::new();
            for subnet in &group.subnets {
                if let Some(zone) = zones.get(subnet) {
                    by_zone.entry(zone).or_default().push(subnet.clone());
                }
            }
            for (zone, subnets) in by_zone {
                groups.push(ResolvedGroup {
                    aws_name: format!("{}-{zone}", group.aws_name),
                    subnets,
                    ..group.clone()
                });
            }
        }
        groups
    }

    /// Subnets of zonal groups, whose zones have to be known.
    pub fn zonal_subnets(&self) -> BTreeSet<String> {
        self.groups()
            .filter(|group| group.group.zonal)
            .flat_map(|group| group.subnets)
            .collect()
    }

    fn resolve<'a>(&'a self, group: &'a Group) -> ResolvedGroup<'a> {
        let defaults = &self.spec.defaults;
        let instance_types = match &group.instances {
            Some(instances) => instances.types.iter().map(String::as_str).collect(),
            None => group
                .instance_type
                .iter()
                .chain(&defaults.instance_type)
                .take(1)
                .map(String::as_str)
                .collect(),
        };
        ResolvedGroup {
            group,
            aws_name: group
                .auto_scaling_group
                .clone()
                .unwrap_or_else(|| format!("{}-{}", self.spec.cluster, group.name)),
            subnets: if group.subnets.is_empty() {
                self.spec.subnets.clone()
            } else {
                group.subnets.clone()
            },
            instance_types,
            instances: group.instances.as_ref(),
            image: group
                .image
                .as_ref()
                .or(defaults.image.as_ref())
                .and_then(schema::Image::reference),
            root_volume: group.root_volume.as_ref().unwrap_or(&defaults.root_volume),
            metadata_hop_limit: defaults.metadata_hop_limit.unwrap_or(METADATA_HOP_LIMIT),
        }
    }

    /// What the group's instances run to become nodes.
    pub fn user_data(&self, group: &ResolvedGroup<'_>) -> UserData {
        let Self { spec, .. } = self;
        let join = &spec.join;
        let legacy_parameter = spec.compat.join_token_parameter.clone();
        let (mode, parameter) = match join.mode {
            schema::JoinMode::Agent => (Mode::Agent, self.join_parameter()),
            schema::JoinMode::Script => (Mode::Script, self.join_parameter()),
            schema::JoinMode::Legacy2019 => {
                (Mode::Legacy2019, legacy_parameter.unwrap_or_default())
            }
        };
        UserData {
            mode,
            cluster: spec.cluster.clone(),
            parameter,
            node_group: group.group.name.clone(),
            endpoint: spec.endpoint.clone(),
            labels: group
                .group
                .labels
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            taints: group
                .group
                .taints
                .iter()
                .map(|taint| (taint.key.clone(), taint.value.clone(), taint.effect.clone()))
                .collect(),
            // A group that is made from the file has its labels and taints from there.
            labels_from: LabelsFrom::Config,
            auto_scaling_group: None,
            local_disks: join.local_disks,
            pre_join: join.pre_join.clone(),
            post_join: join.post_join.clone(),
            cri_socket: join.cri_socket.clone(),
            cloud_provider: match spec.cloud_provider {
                schema::CloudProvider::External => CloudProvider::External,
                schema::CloudProvider::None => CloudProvider::None,
            },
            pins: self.pins(),
            lifecycle_hook: join.lifecycle_hook.as_ref().map(|hook| LifecycleHook {
                group: group.aws_name.clone(),
                hook: hook.name.clone(),
            }),
            on_failure: match join.on_failure {
                schema::OnFailure::Unhealthy => OnFailure::Unhealthy,
                schema::OnFailure::Keep => OnFailure::Keep,
            },
            // The configuration file knows the forms that fetch nothing.
            binary: None,
            ignore_preflight_errors: Vec::new(),
        }
    }

    /// The pins of `spec.caPins`; a checked configuration has only valid ones.
    fn pins(&self) -> Vec<CaPin> {
        self.spec
            .ca_pins
            .iter()
            .filter_map(|pin| pin.parse().ok())
            .collect()
    }
}

impl ResolvedGroup<'_> {
    /// The tags of the Auto Scaling group from which the autoscaler learns what a node of an
    /// empty group would be like. They say what [`ClusterConfig::user_data`] makes nodes register
    /// with: one source for both.
    pub fn node_template_tags(&self) -> BTreeMap<String, String> {
        const PREFIX: &str = "k8s.io/cluster-autoscaler/node-template";
        let mut tags = BTreeMap::new();
        for (key, value) in &self.group.labels {
            tags.insert(format!("{PREFIX}/label/{key}"), value.clone());
        }
        let group_label = format!("{PREFIX}/label/windlass.dev/node-group");
        tags.insert(group_label, self.group.name.clone());
        for NodeTaint { key, value, effect } in &self.group.taints {
            tags.insert(format!("{PREFIX}/taint/{key}"), format!("{value}:{effect}"));
        }
        let storage = format!("{PREFIX}/resources/ephemeral-storage");
        tags.insert(storage, self.root_volume.size.to_string());
        for (name, quantity) in &self.group.resources {
            tags.insert(format!("{PREFIX}/resources/{name}"), quantity.clone());
        }
        for (name, value) in &self.group.autoscaling_options {
            tags.insert(
                format!("{PREFIX}/autoscaling-options/{name}"),
                value.clone(),
            );
        }
        tags
    }
}
