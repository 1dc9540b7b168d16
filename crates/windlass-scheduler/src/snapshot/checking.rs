//! Runs `PreFilter` and the filters. Every check is there twice: [`Snapshot::verdict`] says yes or
//! no in the order that is cheapest, [`Snapshot::refusal`] says why, in the profile's order.

use std::sync::Arc;

use windlass_model::{Pod, SmolStr};

use super::Snapshot;
use super::node_state::NodeState;
use crate::devices::DevicePlan;
use crate::dimensions::CORE_NAMES;
use crate::plugin::Plugin;
use crate::ports;
use crate::rejection::{Code, Phase, Rejection};
use crate::spread::Skew;
use crate::statics::{ADDED_AFFINITY, AFFINITY, FEATURES, Flags, NODE_NAME, TAINT, UNSCHEDULABLE};
use crate::volumes::{self, LimitsVerdict, VolumePlan};

/// What `PreFilter` found out about a pod.
pub(super) struct Prepared {
    pub(super) shape: u32,
    volumes: Option<Arc<VolumePlan>>,
    /// A claim that one pod alone may use is in use.
    has_claim_in_use: bool,
    devices: Option<Arc<DevicePlan>>,
    /// Whether `spec.nodeName` names the only node in question.
    is_named: bool,
    /// Whether affinity fields name the only nodes in question.
    has_affinity_names: bool,
}

/// Whether a pod fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fits,
    /// It does not, and no pod that is added anywhere changes that.
    Lasting,
    /// It does not at present.
    Passing,
}

impl Snapshot {
    /// Runs `PreFilter`.
    pub(super) fn pre_filter(&mut self, pod: &Arc<Pod>) -> Result<Prepared, Rejection> {
        let shape = self.shape_id(&pod.shape);
        self.know_what_repels(shape);
        let mut prepared = Prepared {
            shape,
            volumes: None,
            has_claim_in_use: false,
            devices: None,
            is_named: false,
            has_affinity_names: false,
        };
        let traits = self.shapes.get(shape).traits;
        if !traits.has_pre_filter {
            return Ok(prepared);
        }
        if traits.has_terms {
            self.know_what_it_asks(shape);
        }
        if traits.has_volumes {
            prepared.volumes = Some(self.volume_plan(shape, pod));
        }
        let profile = Arc::clone(&self.profile);
        for plugin in profile.pre_filters() {
            self.pre_filter_of(*plugin, pod, &mut prepared)
                .map_err(|(code, text)| refused_before(*plugin, code, &text))?;
            self.unite_names(&prepared)?;
        }
        Ok(prepared)
    }

    fn pre_filter_of(
        &mut self,
        plugin: Plugin,
        pod: &Arc<Pod>,
        prepared: &mut Prepared,
    ) -> Result<(), (Code, SmolStr)> {
        let shape = self.shapes.get(prepared.shape);
        let constraints = self.statics.class(shape.constraints);
        let unresolvable = |text| (Code::UnschedulableAndUnresolvable, text);
        match plugin {
            Plugin::NodeName => {
                prepared.is_named = constraints.constraints.node_name.is_some();
            }
            Plugin::NodeAffinity => {
                let names = constraints.affinity_names.as_ref();
                if names.is_some_and(Vec::is_empty) {
                    let text = SmolStr::new_static("pod affinity terms conflict");
                    return Err(unresolvable(text));
                }
                prepared.has_affinity_names = names.is_some();
            }
            Plugin::VolumeRestrictions => {
                if let Some(plan) = &prepared.volumes {
                    if let Some(text) = &plan.restrictions.failure {
                        return Err(unresolvable(text.clone()));
                    }
                    let claims = &plan.restrictions.exclusive_claims;
                    prepared.has_claim_in_use =
                        !claims.is_empty() && self.is_any_in_use(shape.namespace, claims);
                }
            }
            Plugin::VolumeBinding => {
                let failure = prepared
                    .volumes
                    .as_ref()
                    .and_then(|p| p.binding.failure.clone());
                return failure.map_or(Ok(()), Err);
            }
            Plugin::VolumeZone => {
                let failure = prepared
                    .volumes
                    .as_ref()
                    .and_then(|p| p.zone.failure.clone());
                return failure.map_or(Ok(()), Err);
            }
            Plugin::PodTopologySpread => {
                let incoming = shape.incoming.as_ref();
                if let Some(text) = incoming.and_then(|i| i.spread_failure.as_ref()) {
                    return Err((Code::Error, text.into()));
                }
            }
            Plugin::InterPodAffinity => {
                let incoming = shape.incoming.as_ref();
                if let Some(text) = incoming.and_then(|i| i.affinity_failure.as_ref()) {
                    return Err(unresolvable(text.into()));
                }
            }
            Plugin::DynamicResources => {
                if shape.traits.has_devices {
                    prepared.devices = self.devices.plan(pod)?;
                }
            }
            Plugin::NodeUnschedulable
            | Plugin::TaintToleration
            | Plugin::NodePorts
            | Plugin::NodeResourcesFit
            | Plugin::NodeVolumeLimits
            | Plugin::NodeDeclaredFeatures => {}
        }
        Ok(())
    }

    /// Fails when the sets of names that two plugins gave have nothing in common.
    fn unite_names(&self, prepared: &Prepared) -> Result<(), Rejection> {
        if !(prepared.is_named && prepared.has_affinity_names) {
            return Ok(());
        }
        let class = self
            .statics
            .class(self.shapes.get(prepared.shape).constraints);
        let names = class.affinity_names.iter().flatten();
        if class
            .constraints
            .node_name
            .iter()
            .any(|name| names.clone().any(|n| n == name))
        {
            return Ok(());
        }
        Err(Rejection {
            phase: Phase::PreFilter,
            plugin: SmolStr::default(),
            code: Code::UnschedulableAndUnresolvable,
            reasons: vec![SmolStr::new_static(
                "node(s) didn't satisfy plugin(s) [NodeAffinity NodeName] simultaneously",
            )],
        })
    }

    /// Whether `PreFilter` named nodes, and not this one.
    pub(super) fn is_left_out(&self, prepared: &Prepared, slot: u32) -> bool {
        if !prepared.is_named && !prepared.has_affinity_names {
            return false;
        }
        let name = &self.state_at(slot).node.name;
        let class = self
            .statics
            .class(self.shapes.get(prepared.shape).constraints);
        prepared.is_named && class.constraints.node_name.as_ref() != Some(name)
            || prepared.has_affinity_names
                && !class.affinity_names.iter().flatten().any(|n| n == name)
    }

    /// Whether the pod fits by the node's filters.
    pub(super) fn verdict(&mut self, prepared: &Prepared, slot: u32) -> Verdict {
        match self.verdict_on_others(prepared.shape, slot) {
            Verdict::Fits => self.verdict_on_node(prepared, slot),
            verdict => verdict,
        }
    }

    /// What the pods of other nodes say: it comes first, since it is read off dense arrays.
    pub(super) fn verdict_on_others(&self, shape: u32, slot: u32) -> Verdict {
        let shape = self.shapes.get(shape);
        let has_affinity = self.enabled(Plugin::InterPodAffinity);
        let repels = |repeller: &u32| {
            self.affinity.repellers[*repeller as usize].repels(slot, &self.topology)
        };
        if has_affinity && shape.repelled_by.iter().any(repels) {
            return Verdict::Lasting;
        }
        let Some(incoming) = &shape.incoming else {
            return Verdict::Fits;
        };
        let companies = &self.affinity.companies;
        let shuns = |company: &u32| companies[*company as usize].repels(slot, &self.topology);
        if has_affinity && incoming.anti_affinity.iter().any(shuns) {
            return Verdict::Lasting;
        }
        if self.enabled(Plugin::PodTopologySpread) && self.skew(shape, slot) != Skew::Within {
            return Verdict::Passing;
        }
        if has_affinity
            && let Some((company, is_member)) = incoming.affinity
            && !companies[company as usize].attracts(slot, is_member, &self.topology)
        {
            return Verdict::Passing;
        }
        Verdict::Fits
    }

    /// What the node and its own pods say.
    pub(super) fn verdict_on_node(&mut self, prepared: &Prepared, slot: u32) -> Verdict {
        let Some(state) = &self.nodes[slot as usize] else {
            return Verdict::Lasting;
        };
        let shape = self.shapes.get(prepared.shape);
        let flags = self
            .statics
            .flags(shape.constraints, state.class, &state.node);
        let has_room =
            !self.enabled(Plugin::NodeResourcesFit) || self.has_room(prepared.shape, state);
        let has_ports = !shape.traits.has_ports
            || !self.enabled(Plugin::NodePorts)
            || !self.has_port_conflict(prepared.shape, state);
        if self.is_broken || self.statics.that_filter(flags) != 0 || !has_room || !has_ports {
            return Verdict::Lasting;
        }
        if prepared.volumes.is_none() && prepared.devices.is_none() {
            return Verdict::Fits;
        }
        self.verdict_on_storage_and_devices(prepared, slot)
    }

    fn verdict_on_storage_and_devices(&mut self, prepared: &Prepared, slot: u32) -> Verdict {
        if prepared.volumes.is_some() {
            for plugin in [
                Plugin::VolumeRestrictions,
                Plugin::NodeVolumeLimits,
                Plugin::VolumeBinding,
                Plugin::VolumeZone,
            ] {
                if self.enabled(plugin) && self.refusal_of(plugin, prepared, slot).is_some() {
                    return Verdict::Lasting;
                }
            }
        }
        let plugin = Plugin::DynamicResources;
        if prepared.devices.is_some()
            && self.enabled(plugin)
            && self.refusal_of(plugin, prepared, slot).is_some()
        {
            return Verdict::Lasting;
        }
        Verdict::Fits
    }

    /// The first filter, in the profile's order, that keeps the pod off the node.
    pub(super) fn refusal(&mut self, prepared: &Prepared, slot: u32) -> Option<Rejection> {
        let profile = Arc::clone(&self.profile);
        profile
            .filters()
            .iter()
            .find_map(|plugin| self.refusal_of(*plugin, prepared, slot))
    }

    /// Why a plugin's filter keeps the pod off the node.
    pub(super) fn refusal_of(
        &mut self,
        plugin: Plugin,
        prepared: &Prepared,
        slot: u32,
    ) -> Option<Rejection> {
        if self.is_broken && self.profile.is_broken(plugin) {
            let text = format!(
                "running \"{0}\" filter plugin: error reading \"PreFilter{0}\" from cycleState: \
                 not found",
                plugin.name()
            );
            return Some(refused(plugin, Code::Error, vec![text.into()]));
        }
        let unresolvable = Code::UnschedulableAndUnresolvable;
        let because = |code, reason| Some(refused(plugin, code, vec![SmolStr::new_static(reason)]));
        match plugin {
            Plugin::NodeUnschedulable => {
                self.static_refusal(plugin, prepared, slot, UNSCHEDULABLE, UNSCHEDULABLE_NODE)
            }
            Plugin::NodeName => self.static_refusal(plugin, prepared, slot, NODE_NAME, OTHER_NAME),
            Plugin::TaintToleration => {
                self.static_refusal(plugin, prepared, slot, TAINT, UNTOLERATED)
            }
            Plugin::NodeAffinity => self
                .static_refusal(plugin, prepared, slot, ADDED_AFFINITY, NOT_ADDED_AFFINITY)
                .or_else(|| self.static_refusal(plugin, prepared, slot, AFFINITY, NOT_AFFINITY)),
            Plugin::NodeDeclaredFeatures => {
                self.static_refusal(plugin, prepared, slot, FEATURES, NO_FEATURE)
            }
            Plugin::NodePorts => {
                if self.has_port_conflict(prepared.shape, self.state_at(slot)) {
                    return because(Code::Unschedulable, PORT_TAKEN);
                }
                None
            }
            Plugin::NodeResourcesFit => self.resources_refusal(prepared.shape, slot),
            Plugin::VolumeRestrictions
            | Plugin::NodeVolumeLimits
            | Plugin::VolumeBinding
            | Plugin::VolumeZone => self.storage_refusal(plugin, prepared, slot),
            Plugin::PodTopologySpread => match self.skew(self.shapes.get(prepared.shape), slot) {
                Skew::Within => None,
                Skew::Exceeded => because(Code::Unschedulable, SKEWED),
                Skew::NoKey => because(unresolvable, NO_SPREAD_KEY),
            },
            Plugin::InterPodAffinity => self.affinity_refusal(prepared.shape, slot),
            Plugin::DynamicResources => {
                let plan = prepared.devices.as_ref()?;
                let state = self.nodes[slot as usize].as_ref()?;
                let (code, text) = self.devices.check(plan, state).err()?;
                Some(refused(plugin, code, vec![text]))
            }
        }
    }

    fn static_refusal(
        &mut self,
        plugin: Plugin,
        prepared: &Prepared,
        slot: u32,
        flag: Flags,
        reason: &'static str,
    ) -> Option<Rejection> {
        let state = self.nodes[slot as usize].as_ref()?;
        let constraints = self.shapes.get(prepared.shape).constraints;
        let flags = self.statics.flags(constraints, state.class, &state.node);
        let reasons = vec![SmolStr::new_static(reason)];
        (flags & flag != 0).then(|| refused(plugin, Code::UnschedulableAndUnresolvable, reasons))
    }

    /// Whether the requests of pods of the shape are free on the node.
    fn has_room(&self, shape: u32, state: &NodeState) -> bool {
        let request = &self.shapes.get(shape).request;
        let free = |has: i64, taken: i64| has.wrapping_sub(taken);
        let (has, taken) = (&state.allocatable, &state.requested);
        let core = request.core.iter().enumerate();
        state.free_pods() > 0
            && core
                .into_iter()
                .all(|(i, wanted)| *wanted <= 0 || *wanted <= free(has.core[i], taken.core[i]))
            && request.scalars.iter().all(|(dimension, wanted)| {
                let has = has.scalar(*dimension);
                *wanted <= free(has, taken.scalar(*dimension))
                    || !self.dimensions.is_checked(*dimension, has)
            })
    }

    /// How many pods of the shape the node has room for, where it has room for one.
    pub(super) fn room_for(&self, shape: u32, slot: u32) -> usize {
        if !self.enabled(Plugin::NodeResourcesFit) || self.shapes.get(shape).traits.has_ports {
            return 1;
        }
        let state = self.state_at(slot);
        let request = &self.shapes.get(shape).request;
        let (has, taken) = (&state.allocatable, &state.requested);
        let times = |wanted: i64, has: i64, taken: i64| match wanted {
            1.. => has.wrapping_sub(taken) / wanted,
            _ => i64::MAX,
        };
        let core =
            (0..request.core.len()).map(|i| times(request.core[i], has.core[i], taken.core[i]));
        let scalars = request.scalars.iter().map(|(dimension, wanted)| {
            let has = has.scalar(*dimension);
            if self.dimensions.is_checked(*dimension, has) {
                times(*wanted, has, taken.scalar(*dimension))
            } else {
                i64::MAX
            }
        });
        let least = core.chain(scalars).min().unwrap_or(i64::MAX);
        usize::try_from(least.min(state.free_pods()))
            .unwrap_or(0)
            .max(1)
    }

    fn resources_refusal(&self, shape: u32, slot: u32) -> Option<Rejection> {
        let state = self.state_at(slot);
        let request = &self.shapes.get(shape).request;
        let mut reasons = Vec::new();
        let mut code = Code::Unschedulable;
        if state.free_pods() < 1 {
            reasons.push(SmolStr::new_static("Too many pods"));
        }
        let mut compare = |name: &str, wanted: i64, has: i64, taken: i64| {
            if wanted > has.wrapping_sub(taken) {
                reasons.push(SmolStr::from(format!("Insufficient {name}")));
                if wanted > has {
                    code = Code::UnschedulableAndUnresolvable;
                }
            }
        };
        let (has, taken) = (&state.allocatable, &state.requested);
        for (i, name) in CORE_NAMES.into_iter().enumerate() {
            if request.core[i] > 0 {
                compare(name, request.core[i], has.core[i], taken.core[i]);
            }
        }
        // By name, as the shape's list is.
        for (dimension, wanted) in &request.scalars {
            let has = has.scalar(*dimension);
            if self.dimensions.is_checked(*dimension, has) {
                let name = self.dimensions.name(*dimension);
                compare(name, *wanted, has, taken.scalar(*dimension));
            }
        }
        (!reasons.is_empty()).then(|| refused(Plugin::NodeResourcesFit, code, reasons))
    }

    fn has_port_conflict(&self, shape: u32, state: &NodeState) -> bool {
        let wanted = &self.shapes.get(shape).shape.constraints.host_ports;
        state.with_ports > 0
            && !wanted.is_empty()
            && state
                .pods
                .iter()
                .any(|placed| ports::conflict(wanted, &placed.pod.shape.constraints.host_ports))
    }

    fn skew(&self, shape: &crate::shapes::Shape, slot: u32) -> Skew {
        let spread = shape.incoming.as_ref().and_then(|i| i.spread.as_ref());
        let Some((spread, counts_incoming)) = spread else {
            return Skew::Within;
        };
        self.spreads.all[*spread as usize]
            .rules
            .iter()
            .zip(counts_incoming)
            .map(|(rule, counts)| rule.skew(slot, *counts, &self.topology))
            .find(|skew| *skew != Skew::Within)
            .unwrap_or(Skew::Within)
    }

    fn affinity_refusal(&self, shape: u32, slot: u32) -> Option<Rejection> {
        let shape = self.shapes.get(shape);
        let companies = &self.affinity.companies;
        let because = |code, reason| {
            let reasons = vec![SmolStr::new_static(reason)];
            Some(refused(Plugin::InterPodAffinity, code, reasons))
        };
        if let Some(incoming) = &shape.incoming {
            if let Some((company, is_member)) = incoming.affinity
                && !companies[company as usize].attracts(slot, is_member, &self.topology)
            {
                return because(Code::UnschedulableAndUnresolvable, NO_COMPANY);
            }
            let is_shunned =
                |company: &u32| companies[*company as usize].repels(slot, &self.topology);
            if incoming.anti_affinity.iter().any(is_shunned) {
                return because(Code::Unschedulable, BAD_COMPANY);
            }
        }
        let repels = |repeller: &u32| {
            self.affinity.repellers[*repeller as usize].repels(slot, &self.topology)
        };
        if shape.repelled_by.iter().any(repels) {
            return because(Code::Unschedulable, REPELLED);
        }
        None
    }

    fn storage_refusal(
        &mut self,
        plugin: Plugin,
        prepared: &Prepared,
        slot: u32,
    ) -> Option<Rejection> {
        let plan = prepared.volumes.as_ref()?;
        let because = |code, text: SmolStr| Some(refused(plugin, code, vec![text]));
        match plugin {
            Plugin::VolumeRestrictions => {
                if self.has_disk_conflict(plan, slot) {
                    return because(Code::Unschedulable, SmolStr::new_static(DISK_TAKEN));
                }
                if prepared.has_claim_in_use {
                    return because(Code::Unschedulable, SmolStr::new_static(CLAIM_IN_USE));
                }
                None
            }
            Plugin::NodeVolumeLimits => match self.volume_limits(plan, slot) {
                LimitsVerdict::Within => None,
                LimitsVerdict::Exceeded => {
                    because(Code::Unschedulable, SmolStr::new_static(TOO_MANY_VOLUMES))
                }
                LimitsVerdict::NotInstalled(driver) => {
                    let text = format!("{driver} CSI driver is not installed on the node");
                    because(Code::Unschedulable, text.into())
                }
                LimitsVerdict::Failed(code, text) => because(code, text),
            },
            Plugin::VolumeBinding => {
                if !plan.binding.may_fail() {
                    return None;
                }
                let node = &self.state_at(slot).node;
                match plan.binding.check(node, &self.catalog) {
                    Ok(reasons) if reasons.is_empty() => None,
                    Ok(reasons) => {
                        let reasons = reasons.into_iter().map(SmolStr::new_static).collect();
                        Some(refused(plugin, Code::UnschedulableAndUnresolvable, reasons))
                    }
                    Err(text) => {
                        let text = format!("running \"VolumeBinding\" filter plugin: {text}");
                        because(Code::Error, text.into())
                    }
                }
            }
            _ => {
                if let Some((code, text)) = &plan.zone.failure {
                    return because(*code, text.clone());
                }
                if plan.zone.matches(&self.state_at(slot).node.labels) {
                    return None;
                }
                because(
                    Code::UnschedulableAndUnresolvable,
                    SmolStr::new_static(OTHER_ZONE),
                )
            }
        }
    }

    fn has_disk_conflict(&self, plan: &VolumePlan, slot: u32) -> bool {
        let wanted = &plan.restrictions.disks;
        let state = self.state_at(slot);
        !wanted.is_empty()
            && state.with_volumes > 0
            && state.pods.iter().any(|placed| {
                volumes::disks(&placed.pod)
                    .any(|used| wanted.iter().any(|disk| volumes::conflict(disk, used)))
            })
    }

    fn volume_limits(&mut self, plan: &VolumePlan, slot: u32) -> LimitsVerdict {
        if !plan.limits.may_fail() {
            return LimitsVerdict::Within;
        }
        let with_volumes: Vec<(u32, Arc<Pod>)> = self
            .state_at(slot)
            .pods
            .iter()
            .filter(|placed| self.shapes.get(placed.shape).traits.has_volumes)
            .map(|placed| (placed.shape, Arc::clone(&placed.pod)))
            .collect();
        let others: Vec<Arc<VolumePlan>> = with_volumes
            .iter()
            .map(|(shape, pod)| self.volume_plan(*shape, pod))
            .collect();
        let state = self.state_at(slot);
        let brought = state.brought.as_ref().and_then(|b| b.csi_node.as_ref());
        let csi_node = brought.or_else(|| self.catalog.csi_node(&state.node.name));
        plan.limits.check(
            &state.node,
            csi_node.map(AsRef::as_ref),
            others.iter().map(AsRef::as_ref),
            &self.catalog,
            self.profile.version() >= windlass_model::SchedulerVersion::V1_37,
        )
    }

    /// Whether a pod on some node uses one of these claims.
    fn is_any_in_use(&self, namespace: u32, claims: &[SmolStr]) -> bool {
        let uses = |source: &windlass_model::VolumeSource| match source {
            windlass_model::VolumeSource::Claim { name, .. } => claims.contains(name),
            _ => false,
        };
        self.shapes.all.iter().any(|shape| {
            shape.traits.has_volumes
                && shape.namespace == namespace
                && (!shape.placements.is_empty() || !shape.terminating.is_empty())
                && shape
                    .shape
                    .constraints
                    .volumes
                    .iter()
                    .any(|volume| uses(&volume.source))
        })
    }

    fn volume_plan(&mut self, shape: u32, pod: &Arc<Pod>) -> Arc<VolumePlan> {
        let is_own = self.shapes.get(shape).traits.has_ephemeral_volumes;
        let key = (shape, is_own.then(|| (pod.name.clone(), pod.uid.clone())));
        let catalog = &self.catalog;
        let plan = self
            .volume_plans
            .entry(key)
            .or_insert_with(|| Arc::new(VolumePlan::new(pod, catalog)));
        Arc::clone(plan)
    }
}

fn refused(plugin: Plugin, code: Code, reasons: Vec<SmolStr>) -> Rejection {
    Rejection {
        phase: Phase::Filter,
        plugin: SmolStr::new_static(plugin.name()),
        code,
        reasons,
    }
}

fn refused_before(plugin: Plugin, code: Code, text: &str) -> Rejection {
    let reason = if code == Code::Error {
        format!("running PreFilter plugin \"{}\": {text}", plugin.name()).into()
    } else {
        SmolStr::from(text)
    };
    Rejection {
        phase: Phase::PreFilter,
        plugin: SmolStr::new_static(plugin.name()),
        code,
        reasons: vec![reason],
    }
}

/// The rejection of a node that `PreFilter` did not name.
pub(super) fn left_out(prepared: &Prepared) -> Rejection {
    let plugin = match (prepared.has_affinity_names, prepared.is_named) {
        (true, true) => "NodeAffinity, NodeName",
        (false, true) => "NodeName",
        _ => "NodeAffinity",
    };
    Rejection {
        phase: Phase::PreFilterResult,
        plugin: SmolStr::new_static(plugin),
        code: Code::UnschedulableAndUnresolvable,
        reasons: Vec::new(),
    }
}

const UNSCHEDULABLE_NODE: &str = "node(s) were unschedulable";
const OTHER_NAME: &str = "node(s) didn't match the requested node name";
const UNTOLERATED: &str = "node(s) had untolerated taint(s)";
const NOT_ADDED_AFFINITY: &str = "node(s) didn't match scheduler-enforced node affinity";
const NOT_AFFINITY: &str = "node(s) didn't match Pod's node affinity/selector";
const NO_FEATURE: &str = "node(s) didn't match Pod's required features";
const PORT_TAKEN: &str = "node(s) didn't have free ports for the requested pod ports";
const DISK_TAKEN: &str = "node(s) had no available disk";
const CLAIM_IN_USE: &str = "node(s) unavailable due to PersistentVolumeClaim with \
                            ReadWriteOncePod access mode already in-use by another pod";
const TOO_MANY_VOLUMES: &str = "node(s) exceed max volume count";
const OTHER_ZONE: &str = "node(s) had no available volume zone";
const SKEWED: &str = "node(s) didn't match pod topology spread constraints";
const NO_SPREAD_KEY: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";
const NO_COMPANY: &str = "node(s) didn't match pod affinity rules";
const BAD_COMPANY: &str = "node(s) didn't match pod anti-affinity rules";
const REPELLED: &str = "node(s) didn't satisfy existing pods anti-affinity rules";
