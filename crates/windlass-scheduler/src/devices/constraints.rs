use windlass_model::{Device, DeviceAttribute, DeviceConstraint, SmolStr};

/// A claim's constraint and the devices that it holds over so far.
pub(super) struct ConstraintState<'a> {
    constraint: &'a DeviceConstraint,
    /// How many devices it holds over.
    devices: usize,
    /// Of a `MatchAttribute` the value; of a `DistinctAttribute` the last device's for each
    /// request: the scheduler forgets those of other devices of the same request.
    values: Vec<(&'a SmolStr, &'a DeviceAttribute)>,
}

impl<'a> ConstraintState<'a> {
    pub(super) fn new(constraint: &'a DeviceConstraint) -> Self {
        Self {
            constraint,
            devices: 0,
            values: Vec::new(),
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
                known.any(|known| known == value)
            } else {
                known.all(|known| known != value)
            };
        if !holds {
            return false;
        }
        self.devices += 1;
        if is_match {
            self.values.clear();
        } else {
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
            self.values.retain(|(name, _)| *name != request.request);
        }
    }
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
