//! `DynamicResources`: claims to devices, and who has them.
//! Source: `pkg/scheduler/framework/plugins/dynamicresources`.

mod allocated;
mod capacity;
mod constraints;
mod expression;
mod pools;
mod search;
mod selectors;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{
    Allocation, AllocationMode, Claim, Cluster, DeviceClass, DeviceRequest, DeviceSubRequest,
    ExtendedRequest, ObjectName, Pod, ResourceClaim, ResourceSlice, SchedulerVersion, SliceNodes,
    SmolStr,
};

use crate::rejection::Code;
use crate::snapshot::NodeState;
use allocated::Allocated;
use pools::ByPool;
use search::{Ground, Stop};
use selectors::Selectors;

/// An extended resource of this prefix is asked of the class that the rest names.
const CLASS_PREFIX: &str = "deviceclass.resource.kubernetes.io/";

/// The claim that stands for the extended resources of a pod; no object can have the name.
const EXTENDED_RESOURCES: &str = "<extended-resources>";

/// Devices and who has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices {
    version: SchedulerVersion,
    classes: Arc<BTreeMap<SmolStr, Arc<DeviceClass>>>,
    /// The class of an extended resource.
    by_resource: Arc<BTreeMap<SmolStr, SmolStr>>,
    local_slices: Arc<FxHashMap<SmolStr, Vec<Arc<ResourceSlice>>>>,
    shared_slices: Arc<Vec<Arc<ResourceSlice>>>,
    by_pool: Arc<ByPool>,
    claims: FxHashMap<ObjectName, Arc<ClaimState>>,
    allocated: Allocated,
    selectors: Selectors,
}

/// A claim with what it has got in the snapshot.
#[derive(Clone, Debug)]
pub(crate) struct ClaimState {
    claim: Arc<ResourceClaim>,
    allocation: Option<Arc<Allocation>>,
    /// Uids of pods.
    reserved_for: Vec<SmolStr>,
}

/// Claims, and what each of them gets.
type Granted = (Vec<Arc<ResourceClaim>>, Vec<Allocation>);

/// What a claim was before a change.
pub(crate) type ClaimBefore = (ObjectName, Option<Arc<ClaimState>>);

/// What `DynamicResources` makes of a pod before it looks at any node.
#[derive(Clone, Debug)]
pub(crate) struct DevicePlan {
    allocated: Vec<Arc<Allocation>>,
    to_allocate: Vec<Arc<ResourceClaim>>,
    extended: Vec<Extended>,
}

/// An extended resource that the pod requests.
#[derive(Clone, Debug)]
struct Extended {
    name: SmolStr,
    /// The class that devices may be allocated of for it.
    class: Option<SmolStr>,
    requests: Vec<ExtendedRequest>,
}

impl Devices {
    pub(crate) fn new(cluster: &Cluster, version: SchedulerVersion) -> Self {
        let mut devices = Self {
            version,
            classes: Arc::new(cluster.device_classes.clone()),
            by_resource: Arc::new(classes_by_resource(cluster.device_classes.values())),
            ..Self::default()
        };
        let mut local: FxHashMap<SmolStr, Vec<Arc<ResourceSlice>>> = FxHashMap::default();
        let mut shared = Vec::new();
        let mut by_pool = ByPool::default();
        for slice in &cluster.resource_slices {
            let pool = (slice.driver.clone(), slice.pool.clone());
            by_pool.entry(pool).or_default().push(Arc::clone(slice));
            match &slice.nodes {
                // Up to 1.36 counters are looked at whatever node they are for.
                SliceNodes::Node(node)
                    if version >= SchedulerVersion::V1_37 || slice.shared_counters.is_empty() =>
                {
                    local
                        .entry(node.clone())
                        .or_default()
                        .push(Arc::clone(slice));
                }
                _ => shared.push(Arc::clone(slice)),
            }
        }
        devices.local_slices = Arc::new(local);
        devices.shared_slices = Arc::new(shared);
        devices.by_pool = Arc::new(by_pool);
        for (name, claim) in &cluster.resource_claims {
            let state = ClaimState {
                allocation: claim.allocation.clone().map(Arc::new),
                reserved_for: claim.reserved_for.clone(),
                claim: Arc::clone(claim),
            };
            devices.set_claim(name, Some(Arc::new(state)));
        }
        devices
    }

    /// Whether devices may be allocated for an extended resource.
    pub(crate) fn maps(&self, resource: &str) -> bool {
        self.class_of(resource).is_some()
    }

    fn class_of(&self, resource: &str) -> Option<&SmolStr> {
        self.by_resource.get(resource)
    }

    /// Runs `PreFilter`; `None` when the pod has nothing to do with devices.
    pub(crate) fn plan(&self, pod: &Pod) -> Result<Option<Arc<DevicePlan>>, (Code, SmolStr)> {
        let fail = |text: String| Err((Code::UnschedulableAndUnresolvable, SmolStr::from(text)));
        let mut states = Vec::new();
        let mut plan = DevicePlan {
            allocated: Vec::new(),
            to_allocate: Vec::new(),
            extended: Vec::new(),
        };
        for claim in &pod.shape.constraints.claims {
            let (name, from_template) = match claim {
                Claim::NotNeeded => continue,
                Claim::NotCreatedYet => {
                    let pod = pod.full_name();
                    return fail(format!("pod \"{pod}\": ResourceClaim not created yet"));
                }
                Claim::Unknown { entry } => {
                    let pod = pod.full_name();
                    return fail(format!(
                        "pod \"{pod}\", spec.resourceClaim \"{entry}\": none of the supported \
                         fields are set"
                    ));
                }
                Claim::Named {
                    name,
                    from_template,
                } => (name, *from_template),
            };
            let full_name = ObjectName::new(pod.namespace().clone(), name.clone());
            let Some(state) = self.claims.get(&full_name) else {
                return fail(format!("claim {}/{name} not found", pod.namespace()));
            };
            if state.claim.is_being_deleted {
                return fail(format!("resourceclaim \"{name}\" is being deleted"));
            }
            if from_template && state.claim.controller_uid != pod.uid {
                return fail(format!(
                    "ResourceClaim {full_name} was not created for Pod {} (Pod is not owner)",
                    pod.full_name()
                ));
            }
            states.push(state);
        }
        for state in states {
            let Some(allocation) = &state.allocation else {
                self.check_classes(&state.claim)?;
                plan.to_allocate.push(Arc::clone(&state.claim));
                continue;
            };
            let selector = allocation.node_selector.as_ref();
            if selector.is_some_and(|selector| !pools::is_valid(selector)) {
                let text = SmolStr::new_static("invalid nodeSelectorTerms");
                return Err((Code::Error, text));
            }
            plan.allocated.push(Arc::clone(allocation));
        }
        self.plan_extended(pod, &mut plan);
        let is_empty = pod.shape.constraints.claims.is_empty() && plan.extended.is_empty();
        Ok((!is_empty).then(|| Arc::new(plan)))
    }

    fn check_classes(&self, claim: &ResourceClaim) -> Result<(), (Code, SmolStr)> {
        let unresolvable = Code::UnschedulableAndUnresolvable;
        for request in &claim.requests {
            let exists = |request: &str, class: &SmolStr| {
                if class.is_empty() {
                    let text = format!("request {request}: unsupported request type");
                    return Err((Code::Error, text.into()));
                }
                if self.classes.contains_key(class) {
                    return Ok(());
                }
                let text = format!("request {request}: device class {class} does not exist");
                Err((unresolvable, text.into()))
            };
            if let Some(exactly) = &request.exactly {
                exists(&request.name, &exactly.device_class)?;
                continue;
            }
            if request.first_available.is_empty() {
                let text = format!(
                    "resource claim {}, request {}: unknown request type",
                    claim.name, request.name
                );
                return Err((unresolvable, text.into()));
            }
            for alternative in &request.first_available {
                let name = format!("{}/{}", request.name, alternative.name);
                exists(&name, &alternative.device_class)?;
            }
        }
        Ok(())
    }

    /// Extended resources matter only when one of them at least has a class.
    fn plan_extended(&self, pod: &Pod, plan: &mut DevicePlan) {
        let requested = pod.shape.requests.scalars.iter();
        let extended = requested
            .filter(|(name, amount)| *amount != 0 && is_extended(name))
            .map(|(name, amount)| Extended {
                name: name.clone(),
                class: self.class_of(name).cloned(),
                requests: extended_requests(pod, name, *amount),
            });
        let extended: Vec<Extended> = extended.collect();
        if extended.iter().any(|resource| resource.class.is_some()) {
            plan.extended = extended;
        }
    }

    /// Whether the pod's claims can be met on the node.
    pub(crate) fn check(
        &mut self,
        plan: &DevicePlan,
        state: &NodeState,
    ) -> Result<(), (Code, SmolStr)> {
        self.allocate(plan, state).map(|_| ())
    }

    fn allocate(
        &mut self,
        plan: &DevicePlan,
        state: &NodeState,
    ) -> Result<Granted, (Code, SmolStr)> {
        let unresolvable = |text| {
            let text = SmolStr::new_static(text);
            (Code::UnschedulableAndUnresolvable, text)
        };
        let node = &state.node;
        let is_usable = |allocation: &Arc<Allocation>| {
            let selector = allocation.node_selector.as_ref();
            selector.is_none_or(|selector| selector.matches(&node.labels, &node.name))
        };
        let mut claims = plan.to_allocate.clone();
        claims.extend(implicit_claim(plan, state).map_err(unresolvable)?);
        // Only told when the other claims can be met.
        let verdict = if plan.allocated.iter().all(is_usable) {
            Ok(())
        } else {
            Err(unresolvable("resourceclaim not available on the node"))
        };
        if claims.is_empty() {
            return verdict.map(|()| (claims, Vec::new()));
        }
        let failed = |text: String| {
            let text = format!("running \"DynamicResources\" filter plugin: {text}");
            (Code::Error, text.into())
        };
        let local = self.local_slices.get(&node.name).into_iter().flatten();
        let slices = local.chain(self.shared_slices.iter());
        let brought = state.brought.as_ref().map_or(&[][..], |b| &b.slices);
        let pools = pools::gather(slices, brought, &self.by_pool, node, self.version);
        let ground = Ground {
            node,
            pools: pools.map_err(failed)?,
            classes: &self.classes,
            allocated: &self.allocated,
            version: self.version,
        };
        match search::search(&ground, &claims, &mut self.selectors) {
            Ok(Some(allocations)) => verdict.map(|()| (claims, allocations)),
            Ok(None) => Err(unresolvable("cannot allocate all claims")),
            Err(Stop::InvalidPools) => Err(unresolvable("invalid resource pools were encountered")),
            Err(Stop::TooMany) => Err(failed("allocation max size exceeded".to_owned())),
            Err(Stop::GaveUp) => {
                let name = &node.name;
                Err(failed(format!(
                    "node {name}: timed out trying to allocate devices"
                )))
            }
            Err(Stop::Failed(text)) => Err(failed(text)),
        }
    }

    /// Gives a pod that is put on a node what it claims, and says what the claims were before.
    /// Claims that cannot be met are left as they are.
    pub(crate) fn reserve(&mut self, pod: &Pod, state: &NodeState) -> Vec<ClaimBefore> {
        let Ok(Some(plan)) = self.plan(pod) else {
            return Vec::new();
        };
        let mut before = Vec::new();
        if let Ok((claims, allocations)) = self.allocate(&plan, state) {
            for (claim, allocation) in claims.into_iter().zip(allocations) {
                let name = if claim.name.name == EXTENDED_RESOURCES {
                    ObjectName::new(pod.namespace().clone(), implicit_name(pod))
                } else {
                    claim.name.clone()
                };
                let granted = ClaimState {
                    claim,
                    allocation: Some(Arc::new(allocation)),
                    reserved_for: Vec::new(),
                };
                before.push(self.change_claim(name, Some(granted)));
            }
        }
        for name in claim_names(pod) {
            let Some(state) = self.claims.get(&name) else {
                continue;
            };
            if state.allocation.is_some() && !state.reserved_for.contains(&pod.uid) {
                let mut reserved = ClaimState::clone(state);
                reserved.reserved_for.push(pod.uid.clone());
                before.push(self.change_claim(name, Some(reserved)));
            }
        }
        before
    }

    /// Takes from a pod that leaves its node what nobody else has reserved, and says what the
    /// claims were before. Claims made for the pod alone are always given back.
    pub(crate) fn release(&mut self, pod: &Pod) -> Vec<ClaimBefore> {
        let mut before = Vec::new();
        for claim in &pod.shape.constraints.claims {
            let Claim::Named {
                name,
                from_template,
            } = claim
            else {
                continue;
            };
            let name = ObjectName::new(pod.namespace().clone(), name.clone());
            let Some(state) = self.claims.get(&name) else {
                continue;
            };
            let mut released = ClaimState::clone(state);
            released.reserved_for.retain(|uid| *uid != pod.uid);
            if *from_template || released.reserved_for.is_empty() {
                released.allocation = None;
            }
            before.push(self.change_claim(name, Some(released)));
        }
        let implicit = ObjectName::new(pod.namespace().clone(), implicit_name(pod));
        if self.claims.contains_key(&implicit) {
            before.push(self.change_claim(implicit, None));
        }
        before
    }

    /// What a claim has got.
    pub(crate) fn allocation(&self, claim: &ObjectName) -> Option<&Allocation> {
        self.claims.get(claim)?.allocation.as_deref()
    }

    /// Makes a claim again what it was before a change.
    pub(crate) fn restore(&mut self, (name, state): ClaimBefore) {
        self.set_claim(&name, state);
    }

    fn change_claim(&mut self, name: ObjectName, state: Option<ClaimState>) -> ClaimBefore {
        let before = self.set_claim(&name, state.map(Arc::new));
        (name, before)
    }

    fn set_claim(
        &mut self,
        name: &ObjectName,
        state: Option<Arc<ClaimState>>,
    ) -> Option<Arc<ClaimState>> {
        if let Some(allocation) = state.as_ref().and_then(|state| state.allocation.as_ref()) {
            self.allocated.add(allocation);
        }
        let before = match state {
            Some(state) => self.claims.insert(name.clone(), state),
            None => self.claims.remove(name),
        };
        if let Some(allocation) = before.as_ref().and_then(|state| state.allocation.as_ref()) {
            self.allocated.remove(allocation);
        }
        before
    }
}

/// The classes of extended resources: those that they name, of which the newest has a resource,
/// and of equally old ones the first by name; and each class's own. A class that comes too late
/// for the one does not have the other either.
/// Source: `k8s.io/dynamic-resource-allocation/deviceclass/extendedresourcecache`.
fn classes_by_resource<'a>(
    classes: impl Iterator<Item = &'a Arc<DeviceClass>>,
) -> BTreeMap<SmolStr, SmolStr> {
    let mut by_resource: BTreeMap<SmolStr, &Arc<DeviceClass>> = BTreeMap::new();
    for class in classes {
        let resource = &class.extended_resource_name;
        if !resource.is_empty() {
            let known = by_resource.get(resource);
            if known.is_some_and(|known| class.created_at <= known.created_at) {
                continue;
            }
            by_resource.insert(resource.clone(), class);
        }
        by_resource.insert(format!("{CLASS_PREFIX}{}", class.name).into(), class);
    }
    let classes = by_resource.into_iter();
    classes
        .map(|(resource, class)| (resource, class.name.clone()))
        .collect()
}

fn is_extended(resource: &str) -> bool {
    resource.starts_with(CLASS_PREFIX)
        || resource.contains('/') && !resource.contains("kubernetes.io/")
}

/// The claim for the extended resources that the node does not offer itself.
fn implicit_claim(
    plan: &DevicePlan,
    state: &NodeState,
) -> Result<Option<Arc<ResourceClaim>>, &'static str> {
    let mut requests = Vec::new();
    let mut has_devices = false;
    for resource in &plan.extended {
        let listed = state.node.allocatable.get(&resource.name);
        let offers = listed.is_some_and(|amount| !amount.is_zero());
        match &resource.class {
            Some(class) if !offers => {
                has_devices = true;
                requests.extend(resource.requests.iter().map(|request| DeviceRequest {
                    name: request.name.clone(),
                    exactly: Some(DeviceSubRequest {
                        device_class: class.clone(),
                        allocation_mode: AllocationMode::ExactCount,
                        count: request.count,
                        ..DeviceSubRequest::default()
                    }),
                    first_available: Vec::new(),
                }));
            }
            _ if listed.is_none() => return Err("cannot fit resource"),
            _ => {}
        }
    }
    requests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(has_devices.then(|| {
        Arc::new(ResourceClaim {
            name: ObjectName::new("", EXTENDED_RESOURCES),
            requests,
            ..ResourceClaim::default()
        })
    }))
}

/// The requests that the pod's containers make, or one of a pod that does not say which do.
fn extended_requests(pod: &Pod, resource: &SmolStr, amount: i64) -> Vec<ExtendedRequest> {
    let known = pod.shape.constraints.extended_requests.iter();
    let own: Vec<_> = known
        .filter(|request| request.resource == *resource)
        .cloned()
        .collect();
    if !own.is_empty() {
        return own;
    }
    vec![ExtendedRequest {
        name: SmolStr::new_static("container-0-request-0"),
        resource: resource.clone(),
        count: amount,
    }]
}

fn implicit_name(pod: &Pod) -> SmolStr {
    format!("{EXTENDED_RESOURCES}/{}", pod.name).into()
}

fn claim_names(pod: &Pod) -> impl Iterator<Item = ObjectName> + '_ {
    pod.shape
        .constraints
        .claims
        .iter()
        .filter_map(|claim| match claim {
            Claim::Named { name, .. } => {
                Some(ObjectName::new(pod.namespace().clone(), name.clone()))
            }
            Claim::NotNeeded | Claim::NotCreatedYet | Claim::Unknown { .. } => None,
        })
}
