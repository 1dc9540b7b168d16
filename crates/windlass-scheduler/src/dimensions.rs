use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use windlass_model::{Resources, SmolStr};

use crate::profile::Profile;

/// Scalar resources by number. Cpu, memory and ephemeral storage have places of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dimensions {
    scalars: Vec<Scalar>,
    by_name: FxHashMap<SmolStr, u32>,
}

#[derive(Clone, Debug)]
struct Scalar {
    name: SmolStr,
    /// The profile leaves it out of the check.
    is_ignored: bool,
    /// Devices may be allocated for it where a node does not list it.
    has_device_class: bool,
}

/// Cpu in thousandths, memory in bytes, ephemeral storage in bytes.
pub(crate) type Core = [i64; 3];

/// The reasons' names of [`Core`].
pub(crate) const CORE_NAMES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// What a pod requests.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Request {
    pub(crate) core: Core,
    /// Scalars by number, those of 0 left out.
    pub(crate) scalars: SmallVec<[(u32, i64); 2]>,
}

/// Amounts on a node: all it has, or what of it is taken.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Amounts {
    pub(crate) core: Core,
    scalars: Vec<i64>,
}

impl Amounts {
    pub(crate) fn scalar(&self, dimension: u32) -> i64 {
        self.scalars.get(dimension as usize).copied().unwrap_or(0)
    }

    /// Wraps around, as Go's integers do, so that [`Self::subtract`] undoes it exactly.
    pub(crate) fn add(&mut self, request: &Request) {
        self.combine(request, i64::wrapping_add);
    }

    /// Adds the same request so many times.
    pub(crate) fn add_times(&mut self, request: &Request, times: i64) {
        self.combine(request, |own, other| {
            own.wrapping_add(other.wrapping_mul(times))
        });
    }

    /// Undoes [`Self::add_times`].
    pub(crate) fn subtract_times(&mut self, request: &Request, times: i64) {
        self.combine(request, |own, other| {
            own.wrapping_sub(other.wrapping_mul(times))
        });
    }

    pub(crate) fn subtract(&mut self, request: &Request) {
        self.combine(request, i64::wrapping_sub);
    }

    fn combine(&mut self, request: &Request, with: impl Fn(i64, i64) -> i64) {
        for (own, other) in self.core.iter_mut().zip(request.core) {
            *own = with(*own, other);
        }
        for (dimension, amount) in &request.scalars {
            let index = *dimension as usize;
            if self.scalars.len() <= index {
                self.scalars.resize(index + 1, 0);
            }
            self.scalars[index] = with(self.scalars[index], *amount);
        }
    }
}

impl Dimensions {
    fn id(&mut self, name: &SmolStr, profile: &Profile, is_mapped: impl Fn(&str) -> bool) -> u32 {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let id = u32::try_from(self.scalars.len()).unwrap_or(u32::MAX);
        self.scalars.push(Scalar {
            name: name.clone(),
            is_ignored: profile.ignores(name),
            has_device_class: is_mapped(name),
        });
        self.by_name.insert(name.clone(), id);
        id
    }

    pub(crate) fn request(
        &mut self,
        resources: &Resources,
        profile: &Profile,
        is_mapped: impl Fn(&str) -> bool,
    ) -> Request {
        Request {
            core: [
                resources.milli_cpu,
                resources.memory_bytes,
                resources.ephemeral_storage_bytes,
            ],
            scalars: resources
                .scalars
                .iter()
                .filter(|(_, amount)| *amount != 0)
                .map(|(name, amount)| (self.id(name, profile, &is_mapped), *amount))
                .collect(),
        }
    }

    pub(crate) fn amounts(
        &mut self,
        resources: &Resources,
        profile: &Profile,
        is_mapped: impl Fn(&str) -> bool,
    ) -> Amounts {
        let mut amounts = Amounts::default();
        amounts.add(&self.request(resources, profile, is_mapped));
        amounts
    }

    pub(crate) fn name(&self, dimension: u32) -> &SmolStr {
        &self.scalars[dimension as usize].name
    }

    /// Whether `NodeResourcesFit` looks at the resource on a node that has so much of it.
    pub(crate) fn is_checked(&self, dimension: u32, allocatable: i64) -> bool {
        let scalar = &self.scalars[dimension as usize];
        !(scalar.is_ignored || scalar.has_device_class && allocatable == 0)
    }

    pub(crate) fn resources(&self, amounts: &Amounts) -> Resources {
        let mut scalars: Vec<(SmolStr, i64)> = self
            .scalars
            .iter()
            .zip(&amounts.scalars)
            .filter(|(_, amount)| **amount != 0)
            .map(|(scalar, amount)| (scalar.name.clone(), *amount))
            .collect();
        scalars.sort_unstable();
        Resources {
            milli_cpu: amounts.core[0],
            memory_bytes: amounts.core[1],
            ephemeral_storage_bytes: amounts.core[2],
            pods: 0,
            scalars,
        }
    }
}
