//! The exhaustive search for devices that meet all claims of a pod on one node.
//! Source: `k8s.io/dynamic-resource-allocation/structured`.

mod counters;
mod granted;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{
    Allocation, AllocationMode, Device, DeviceClass, DeviceSubRequest, DeviceTaint,
    DeviceToleration, Node, Quantity, ResourceClaim, ResourceSlice, SchedulerVersion, SliceNodes,
    SmolStr,
};

use super::allocated::{Allocated, Consumed};
use super::capacity::{consumption, is_allowed};
use super::constraints::{ConstraintState, RequestName};
use super::pools::{DeviceId, Pool, PoolState};
use super::selectors::Selectors;

/// Most devices of one claim. Source: `resource.k8s.io/v1` `AllocationResultsMaxSize`.
const MOST_DEVICES: usize = 32;

/// Most steps of one search. The scheduler gives up after ten seconds, which a decision that must
/// not depend on the clock cannot; so many steps are of that order.
const MOST_STEPS: u32 = 2_000_000;

/// Why a search ended without an answer.
pub(super) enum Stop {
    /// The check failed, with this text.
    Failed(String),
    /// A pool whose devices might have helped makes no sense.
    InvalidPools,
    /// More devices than a claim can hold.
    TooMany,
    /// Too many steps.
    GaveUp,
}

/// What the search may look at.
pub(super) struct Ground<'a> {
    pub(super) node: &'a Node,
    pub(super) pools: Vec<Pool<'a>>,
    pub(super) classes: &'a BTreeMap<SmolStr, Arc<DeviceClass>>,
    pub(super) allocated: &'a Allocated,
    pub(super) version: SchedulerVersion,
}

/// Where a device is in [`Ground::pools`]: pool, slice, device.
type Place = (usize, usize, usize);

/// What of a device's capacity a request may count on.
#[derive(Clone, Copy)]
enum Room {
    /// All that the device has.
    All,
    /// What others have left.
    Left,
}

/// Where the search stands.
#[derive(Clone, Copy)]
struct Step {
    claim: usize,
    request: usize,
    alternative: usize,
    device: usize,
    /// Works on this alternative alone.
    is_in_alternative: bool,
}

/// A request, or an alternative of one.
struct Wanted<'a> {
    name: RequestName<'a>,
    details: &'a DeviceSubRequest,
    class: &'a DeviceClass,
    count: usize,
    /// The devices of an `All` request.
    all: Vec<Place>,
}

/// A device chosen for a claim.
struct Choice<'a> {
    place: Place,
    request: SmolStr,
    is_admin: bool,
    is_shared: bool,
    consumed: Consumed,
    slice: &'a ResourceSlice,
}

struct Search<'a, 'g> {
    ground: &'g Ground<'a>,
    selectors: &'g mut Selectors,
    claims: &'a [Arc<ResourceClaim>],
    /// By claim and request: one entry, or one for each alternative.
    wanted: Vec<Vec<Vec<Wanted<'a>>>>,
    constraints: Vec<Vec<ConstraintState<'a>>>,
    choices: Vec<Vec<Choice<'a>>>,
    /// Claims that have been given a device in this search.
    giving: FxHashMap<Place, Vec<usize>>,
    /// What has been given of shared devices in this search.
    sharing: FxHashMap<Place, (u32, Consumed)>,
    /// Counters taken in this search, by pool, set and name.
    counters: BTreeMap<(usize, SmolStr, SmolStr), Quantity>,
    /// The pools whose counters stand for all of a name.
    counting: BTreeMap<&'a SmolStr, usize>,
    selectable: FxHashMap<(Place, usize, usize, usize), bool>,
    steps: u32,
}

/// The devices for each of the claims, or `None` when they cannot be had together.
pub(super) fn search<'a>(
    ground: &Ground<'a>,
    claims: &'a [Arc<ResourceClaim>],
    selectors: &mut Selectors,
) -> Result<Option<Vec<Allocation>>, Stop> {
    let mut search = Search {
        ground,
        selectors,
        claims,
        wanted: Vec::new(),
        constraints: Vec::new(),
        choices: claims.iter().map(|_| Vec::new()).collect(),
        giving: FxHashMap::default(),
        sharing: FxHashMap::default(),
        counters: BTreeMap::new(),
        counting: BTreeMap::new(),
        selectable: FxHashMap::default(),
        steps: 0,
    };
    for claim in 0..claims.len() {
        search.prepare(claim)?;
    }
    if search.step(Step::start(0), (0, 0, 0))? {
        return Ok(Some(search.allocations()));
    }
    let is_invalid = |pool: &Pool<'_>| pool.state == PoolState::Invalid;
    if ground.pools.iter().any(is_invalid) {
        return Err(Stop::InvalidPools);
    }
    Ok(None)
}

impl Step {
    fn start(claim: usize) -> Self {
        Self {
            claim,
            request: 0,
            alternative: 0,
            device: 0,
            is_in_alternative: false,
        }
    }
}

impl<'a> Search<'a, '_> {
    /// Looks at a claim's requests before any device is chosen.
    fn prepare(&mut self, claim_index: usize) -> Result<(), Stop> {
        let claim = &self.claims[claim_index];
        self.wanted.push(Vec::new());
        let mut least = 0;
        for (index, request) in claim.requests.iter().enumerate() {
            let alternatives: Vec<_> = match &request.exactly {
                Some(exactly) if request.first_available.is_empty() => vec![(None, exactly)],
                _ => request
                    .first_available
                    .iter()
                    .map(|alternative| (Some(&alternative.name), alternative))
                    .collect(),
            };
            self.wanted[claim_index].push(Vec::new());
            for (alternative, details) in alternatives {
                let name = RequestName {
                    request: &request.name,
                    alternative,
                };
                let wanted = self.prepare_request(claim_index, index, name, details)?;
                self.wanted[claim_index][index].push(wanted);
            }
            let counts = self.wanted[claim_index][index]
                .iter()
                .map(|wanted| wanted.count);
            least += counts.min().unwrap_or(0);
        }
        if least > MOST_DEVICES {
            return Err(Stop::Failed(format!(
                "claim {}: number of requested devices {least} exceeds the claim limit of \
                 {MOST_DEVICES}",
                claim.name
            )));
        }
        let unknown = &windlass_model::DeviceConstraint::Unknown;
        if let Some(index) = claim.constraints.iter().position(|c| c == unknown) {
            return Err(Stop::Failed(format!(
                "claim {}, constraint #{index}: empty constraint (unsupported constraint type?)",
                claim.name
            )));
        }
        let version = self.ground.version;
        let constraints = claim.constraints.iter();
        let states = constraints.map(|constraint| ConstraintState::new(constraint, version));
        self.constraints.push(states.collect());
        Ok(())
    }

    fn prepare_request(
        &mut self,
        claim: usize,
        request: usize,
        name: RequestName<'a>,
        details: &'a DeviceSubRequest,
    ) -> Result<Wanted<'a>, Stop> {
        let own_name = name.alternative.unwrap_or(name.request);
        let claim_name = &self.claims[claim].name;
        let failed =
            |what: &str| Stop::Failed(format!("claim {claim_name}, request {own_name}: {what}"));
        if let Some(index) = details.selectors.iter().position(Option::is_none) {
            return Err(Stop::Failed(format!(
                "claim {claim_name}, request {own_name}, selector #{index}: CEL expression empty \
                 (unsupported selector type?)"
            )));
        }
        let Some(class) = self.ground.classes.get(&details.device_class) else {
            let class = &details.device_class;
            return Err(failed(&format!("could not retrieve device class {class}")));
        };
        let mut wanted = Wanted {
            name,
            details,
            class,
            count: 0,
            all: Vec::new(),
        };
        match &details.allocation_mode {
            AllocationMode::ExactCount => {
                wanted.count = usize::try_from(details.count).unwrap_or(0);
            }
            AllocationMode::All => {
                for pool in &self.ground.pools {
                    let state = match pool.state {
                        PoolState::Usable => continue,
                        PoolState::Incomplete => "currently being updated",
                        PoolState::Invalid => "currently invalid",
                    };
                    let (driver, pool) = (pool.driver, pool.name);
                    return Err(failed(&format!(
                        "asks for all devices, but resource pool {driver}/{pool} is {state}"
                    )));
                }
                let key = (claim, request, self.wanted[claim][request].len());
                // Since 1.37 a device that others use is one of all, and not to be had.
                let room = if self.ground.version >= SchedulerVersion::V1_37 {
                    Room::All
                } else {
                    Room::Left
                };
                for place in self.places() {
                    if self.is_selectable(key, &wanted, place)?
                        && self.is_within_capacity(details, place, room)?
                    {
                        wanted.all.push(place);
                    }
                }
                wanted.count = wanted.all.len();
            }
            AllocationMode::Unset => return Err(failed("unsupported count mode ")),
            AllocationMode::Other(mode) => {
                return Err(failed(&format!("unsupported count mode {mode}")));
            }
        }
        Ok(wanted)
    }

    fn places(&self) -> Vec<Place> {
        let pools = self.ground.pools.iter().enumerate();
        pools
            .flat_map(|(p, pool)| {
                pool.slices
                    .iter()
                    .enumerate()
                    .flat_map(move |(s, slice)| (0..slice.devices.len()).map(move |d| (p, s, d)))
            })
            .collect()
    }

    fn slice(&self, place: Place) -> &'a Arc<ResourceSlice> {
        self.ground.pools[place.0].slices[place.1]
    }

    fn device(&self, place: Place) -> &'a Device {
        &self.slice(place).devices[place.2]
    }

    fn id(&self, place: Place) -> DeviceId {
        self.ground.pools[place.0].device_id(self.device(place))
    }

    /// Chooses what is left to choose from `step` on; within a request only devices from `from` on
    /// are tried, so that sets of devices are and not sequences.
    fn step(&mut self, step: Step, from: Place) -> Result<bool, Stop> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(Stop::GaveUp);
        }
        if step.claim == self.claims.len() {
            return Ok(true);
        }
        if step.request == self.wanted[step.claim].len() {
            return match self.step(Step::start(step.claim + 1), (0, 0, 0)) {
                // Other choices before may leave this claim an alternative with fewer devices.
                Err(Stop::TooMany) => Ok(false),
                result => result,
            };
        }
        let wanted = &self.wanted[step.claim][step.request][step.alternative];
        if wanted.name.alternative.is_some() && !step.is_in_alternative {
            return self.step_alternatives(step);
        }
        let is_all = wanted.details.allocation_mode == AllocationMode::All;
        if is_all && wanted.all.is_empty() {
            return Ok(false);
        }
        if step.device >= wanted.count {
            let next = Step {
                request: step.request + 1,
                ..Step::start(step.claim)
            };
            return self.step(next, (0, 0, 0));
        }
        if self.choices[step.claim].len() + wanted.count - step.device > MOST_DEVICES {
            return Err(Stop::TooMany);
        }
        if is_all {
            let place = wanted.all[step.device];
            return self.step_with(step, place, true);
        }
        self.step_from(step, from)
    }

    fn step_alternatives(&mut self, step: Step) -> Result<bool, Stop> {
        let mut all_too_many = true;
        for alternative in 0..self.wanted[step.claim][step.request].len() {
            let inner = Step {
                alternative,
                is_in_alternative: true,
                ..step
            };
            match self.step(inner, (0, 0, 0)) {
                Err(Stop::TooMany) => {}
                Ok(false) => all_too_many = false,
                result => return result,
            }
        }
        if all_too_many {
            Err(Stop::TooMany)
        } else {
            Ok(false)
        }
    }

    fn step_from(&mut self, step: Step, from: Place) -> Result<bool, Stop> {
        for pool in from.0..self.ground.pools.len() {
            if self.ground.pools[pool].state != PoolState::Usable {
                continue;
            }
            let first_slice = if pool == from.0 { from.1 } else { 0 };
            for slice in first_slice..self.ground.pools[pool].slices.len() {
                let first_device = if (pool, slice) == (from.0, from.1) {
                    from.2
                } else {
                    0
                };
                for device in first_device..self.ground.pools[pool].slices[slice].devices.len() {
                    let place = (pool, slice, device);
                    if self.is_candidate(step, place)? && self.step_with(step, place, false)? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn is_candidate(&mut self, step: Step, place: Place) -> Result<bool, Stop> {
        let wanted = &self.wanted[step.claim][step.request][step.alternative];
        let details = wanted.details;
        if self.is_in_use(step, details, place) {
            return Ok(false);
        }
        // Taken out for the call, which needs the rest of the search.
        let key = (step.claim, step.request, step.alternative);
        let wanted = std::mem::take(&mut self.wanted[step.claim][step.request]);
        let is_selectable = self.is_selectable(key, &wanted[step.alternative], place);
        self.wanted[step.claim][step.request] = wanted;
        Ok(is_selectable? && self.is_within_capacity(details, place, Room::Left)?)
    }

    fn is_in_use(&self, step: Step, details: &DeviceSubRequest, place: Place) -> bool {
        let given = self.giving.get(&place);
        if details.admin_access {
            return given.is_some_and(|claims| claims.contains(&step.claim));
        }
        given.is_some_and(|claims| !claims.is_empty())
            || self.ground.allocated.is_taken(&self.id(place))
    }

    /// Gives the device to the request and goes on; takes it back when that leads nowhere. A
    /// device that an `All` request must have and a constraint forbids is an error.
    fn step_with(&mut self, step: Step, place: Place, is_needed: bool) -> Result<bool, Stop> {
        if !self.give(step, place, is_needed)? {
            return Ok(false);
        }
        let next = Step {
            device: step.device + 1,
            ..step
        };
        let result = self.step(next, (place.0, place.1, place.2 + 1));
        if !matches!(result, Ok(true)) {
            self.take_back(step, place);
        }
        result
    }

    fn give(&mut self, step: Step, place: Place, is_needed: bool) -> Result<bool, Stop> {
        let wanted = &self.wanted[step.claim][step.request][step.alternative];
        let details = wanted.details;
        let device = self.device(place);
        let is_shared = device.allows_multiple_allocations;
        if self.is_in_use(step, details, place) && !(is_shared && details.admin_access) {
            return Ok(false);
        }
        let id = self.id(place);
        let is_share_of_used =
            is_shared && (self.sharing.contains_key(&place) || self.is_shared_before(&id));
        if !is_share_of_used && !self.has_counters(place) {
            return Ok(false);
        }
        let repels = |taint: &DeviceTaint| {
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
                && !details.tolerations.iter().any(|t| tolerates(t, taint))
        };
        if device.taints.iter().any(repels) {
            return Ok(false);
        }
        let wanted = &self.wanted[step.claim][step.request][step.alternative];
        let constraints = &mut self.constraints[step.claim];
        for index in 0..constraints.len() {
            if constraints[index].add(&wanted.name, &id.driver, device) {
                continue;
            }
            for earlier in &mut constraints[..index] {
                earlier.remove(&wanted.name);
            }
            if is_needed {
                return Err(Stop::Failed(format!(
                    "claim {}, request {}: cannot add device {}/{}/{} because a claim constraint \
                     would not be satisfied",
                    self.claims[step.claim].name,
                    wanted.name.alternative.unwrap_or(wanted.name.request),
                    id.driver,
                    id.pool,
                    id.device
                )));
            }
            return Ok(false);
        }
        // Looked at once more: what was given since may have used it up.
        if !self.is_within_capacity(details, place, Room::Left)? {
            let name = &self.wanted[step.claim][step.request][step.alternative].name;
            for constraint in &mut self.constraints[step.claim] {
                constraint.remove(name);
            }
            return Ok(false);
        }
        let consumed = if is_shared {
            self.consumption(details, place)?
        } else {
            Consumed::new()
        };
        let wanted = &self.wanted[step.claim][step.request][step.alternative];
        let request = wanted.name.full();
        let slice = self.slice(place);
        self.choices[step.claim].push(Choice {
            place,
            request,
            is_admin: details.admin_access,
            is_shared,
            consumed: consumed.clone(),
            slice,
        });
        if !is_share_of_used {
            self.count(place, Quantity::plus);
        }
        if is_shared {
            let (shares, sum) = self.sharing.entry(place).or_default();
            *shares += 1;
            combine(sum, &consumed, Quantity::plus);
        } else {
            self.giving.entry(place).or_default().push(step.claim);
        }
        Ok(true)
    }

    /// Whether claims that were met before have shares of the device, so that its counters are
    /// taken already. Up to 1.36 only shares of capacity count.
    fn is_shared_before(&self, id: &DeviceId) -> bool {
        let allocated = self.ground.allocated;
        if self.ground.version >= SchedulerVersion::V1_37 {
            allocated.is_shared(id)
        } else {
            allocated.consumed(id).is_some()
        }
    }

    fn take_back(&mut self, step: Step, place: Place) {
        let name = &self.wanted[step.claim][step.request][step.alternative].name;
        for constraint in &mut self.constraints[step.claim] {
            constraint.remove(name);
        }
        let Some(choice) = self.choices[step.claim].pop() else {
            return;
        };
        let mut was_first = true;
        if choice.is_shared {
            if let Some((shares, sum)) = self.sharing.get_mut(&place) {
                *shares -= 1;
                combine(sum, &choice.consumed, Quantity::minus);
                was_first = *shares == 0;
            }
            if was_first {
                self.sharing.remove(&place);
                was_first = !self.is_shared_before(&self.id(place));
            }
        } else if let Some(claims) = self.giving.get_mut(&place) {
            claims.pop();
        }
        if was_first {
            self.count(place, Quantity::minus);
        }
    }

    fn is_selectable(
        &mut self,
        key: (usize, usize, usize),
        wanted: &Wanted<'a>,
        place: Place,
    ) -> Result<bool, Stop> {
        let key = (place, key.0, key.1, key.2);
        if let Some(known) = self.selectable.get(&key) {
            return Ok(*known);
        }
        let (slice, device) = (self.slice(place), self.device(place));
        let mut is_selectable = true;
        for selector in wanted
            .class
            .selectors
            .iter()
            .chain(&wanted.details.selectors)
        {
            let failed = |text: String| Stop::Failed(format!("device {}: {text}", device.name));
            let Some(selector) = selector else {
                return Err(failed("unsupported selector type".to_owned()));
            };
            is_selectable = self
                .selectors
                .matches(selector, slice, place.2)
                .map_err(failed)?;
            if !is_selectable {
                break;
            }
        }
        let node = self.ground.node;
        is_selectable = is_selectable
            && (slice.nodes != SliceNodes::PerDevice || device.covers(&node.name, &node.labels));
        self.selectable.insert(key, is_selectable);
        Ok(is_selectable)
    }

    /// Whether what the request wants of the device's capacity may be had.
    fn is_within_capacity(
        &self,
        details: &DeviceSubRequest,
        place: Place,
        room: Room,
    ) -> Result<bool, Stop> {
        let device = self.device(place);
        let is_defined = |name: &SmolStr| device.capacity.iter().any(|c| c.name == *name);
        let mut wanted = details.capacity.iter();
        if !wanted.all(|request| is_defined(&request.name)) {
            return Ok(false);
        }
        let id = self.id(place);
        let wanted = self.consumption(details, place)?;
        let given = self.sharing.get(&place).map(|(_, consumed)| consumed);
        let before = self.ground.allocated.consumed(&id);
        Ok(device.capacity.iter().all(|capacity| {
            let of = |consumed: Option<&Consumed>| {
                let amount = consumed.and_then(|consumed| consumed.get(&capacity.name));
                amount.copied().unwrap_or(Quantity::ZERO)
            };
            let wanted = of(Some(&wanted));
            let taken = match room {
                Room::All => Quantity::ZERO,
                Room::Left => of(given).plus(of(before)),
            };
            is_allowed(wanted, capacity) && wanted.plus(taken) <= capacity.value
        }))
    }

    fn consumption(&self, details: &DeviceSubRequest, place: Place) -> Result<Consumed, Stop> {
        consumption(details, self.device(place), self.ground.version).map_err(Stop::Failed)
    }
}

fn combine(sum: &mut Consumed, other: &Consumed, with: impl Fn(Quantity, Quantity) -> Quantity) {
    for (name, amount) in other {
        let own = sum.entry(name.clone()).or_insert(Quantity::ZERO);
        *own = with(*own, *amount);
    }
}

/// Source: `k8s.io/dynamic-resource-allocation/resourceclaim` `ToleratesTaint`.
fn tolerates(toleration: &DeviceToleration, taint: &DeviceTaint) -> bool {
    (toleration.effect.is_empty() || toleration.effect == taint.effect)
        && (toleration.key.is_empty() || toleration.key == taint.key)
        && match toleration.operator.as_str() {
            "" | "Equal" => toleration.value == taint.value,
            "Exists" => true,
            _ => false,
        }
}
