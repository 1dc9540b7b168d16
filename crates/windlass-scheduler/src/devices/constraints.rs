use windlass_model::{Device, DeviceAttribute, DeviceConstraint, SchedulerVersion, SmolStr};

/// A claim's constraint and the devices that it holds over so far.
pub(super) struct ConstraintState<'a> {
    constraint: &'a DeviceConstraint,
    /// How many devices it holds over.
    devices: usize,
    /// Of a `MatchAttribute` the value; of a `DistinctAttribute` those to differ from.
    values: Vec<(&'a SmolStr, &'a DeviceAttribute)>,
    memory: Memory,
}

/// Whose values a device's value must differ from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// The last device's of each request: up to 1.36 the scheduler forgets those of other devices
    /// of the same request.
    LastOfRequest,
    /// All devices'.
    All,
}

impl<'a> ConstraintState<'a> {
    pub(super) fn new(constraint: &'a DeviceConstraint, version: SchedulerVersion) -> Self {
        let memory = if version >= SchedulerVersion::V1_37 {
            Memory::All
        } else {
            Memory::LastOfRequest
        };
        Self {
            constraint,
            devices: 0,
            values: Vec::new(),
            memory,
        }
    }

    /// Takes a device in; false, and nothing taken in, when the constraint would not hold.
    pub(super) fn add(
        &mut self,
        request: &RequestName<'a>,
        driver: &str,
        device: &'a Device,
    ) -> bool {
        let (requests, attribute) = match self.constraint {
            DeviceConstraint::MatchAttribute {
                requests,
                attribute,
            }
            | DeviceConstraint::DistinctAttribute {
                requests,
                attribute,
            } => (requests, attribute),
            DeviceConstraint::Unknown => return false,
        };
        if !request.is_among(requests) {
            return true;
        }
        let Some(value) = look_up(device, driver, attribute) else {
            return false;
        };
        let is_match = matches!(self.constraint, DeviceConstraint::MatchAttribute { .. });
        let mut known = self.values.iter().map(|(_, known)| *known);
        let holds = self.devices == 0
            || if is_match {
                known.any(|known| is_same(known, value))
            } else {
                known.all(|known| *value != DeviceAttribute::Unset && !is_same(known, value))
            };
        if !holds {
            return false;
        }
        self.devices += 1;
        if is_match {
            self.values.clear();
        } else if self.memory == Memory::LastOfRequest {
            self.values.retain(|(name, _)| *name != request.request);
        }
        self.values.push((request.request, value));
        true
    }

    /// Takes the device that was added last out again.
    pub(super) fn remove(&mut self, request: &RequestName<'_>) {
        let requests = match self.constraint {
            DeviceConstraint::MatchAttribute { requests, .. }
            | DeviceConstraint::DistinctAttribute { requests, .. } => requests,
            DeviceConstraint::Unknown => return,
        };
        if !request.is_among(requests) {
            return;
        }
        self.devices -= 1;
        if matches!(self.constraint, DeviceConstraint::DistinctAttribute { .. }) {
            match self.memory {
                Memory::LastOfRequest => self.values.retain(|(name, _)| *name != request.request),
                Memory::All => drop(self.values.pop()),
            }
        }
    }
}

/// An attribute without a value is like no other.
fn is_same(one: &DeviceAttribute, other: &DeviceAttribute) -> bool {
    one == other && *one != DeviceAttribute::Unset
}

/// A request, or an alternative of one.
pub(super) struct RequestName<'a> {
    pub(super) request: &'a SmolStr,
    pub(super) alternative: Option<&'a SmolStr>,
}

impl RequestName<'_> {
    /// Whether a constraint on these requests is about this one; an empty list is all.
    fn is_among(&self, requests: &[SmolStr]) -> bool {
        requests.is_empty() || requests.contains(self.request) || requests.contains(&self.full())
    }

    /// `REQUEST` or `REQUEST/ALTERNATIVE`.
    pub(super) fn full(&self) -> SmolStr {
        match self.alternative {
            Some(alternative) => format!("{}/{alternative}", self.request).into(),
            None => self.request.clone(),
        }
    }
}

/// The attribute by its full name, or by its short one where the domain is the driver's.
fn look_up<'a>(device: &'a Device, driver: &str, attribute: &str) -> Option<&'a DeviceAttribute> {
    let named = |wanted: &str| {
        device
            .attributes
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value)
    };
    named(attribute).or_else(|| {
        let (domain, short) = attribute.split_once('/')?;
        (domain == driver).then(|| named(short)).flatten()
    })
}
