use crate::{Quantity, SmolStr, valid_qualified_name};

/// Amounts by resource name, sorted by name: a node's capacity, a container's requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ResourceList(Vec<(SmolStr, Quantity)>);

impl ResourceList {
    /// The amount of `name`, if it is listed.
    pub fn get(&self, name: &str) -> Option<Quantity> {
        self.0
            .binary_search_by(|(n, _)| n.as_str().cmp(name))
            .ok()
            .map(|i| self.0[i].1)
    }

    /// Sets the amount of `name`.
    pub fn insert(&mut self, name: impl Into<SmolStr>, amount: Quantity) {
        let name = name.into();
        match self.0.binary_search_by(|(n, _)| n.cmp(&name)) {
            Ok(i) => self.0[i].1 = amount,
            Err(i) => self.0.insert(i, (name, amount)),
        }
    }

    /// Adds `other`, name by name.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let sum = self.get(name).unwrap_or(Quantity::ZERO).plus(amount);
            self.insert(name.clone(), sum);
        }
    }

    /// Raises each amount to that of `other`, over the names of both.
    pub fn raise_to(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let most = self.get(name).map_or(amount, |own| own.max(amount));
            self.insert(name.clone(), most);
        }
    }

    /// The amounts, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&SmolStr, Quantity)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// How many names are listed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<SmolStr>> FromIterator<(N, Quantity)> for ResourceList {
    fn from_iter<I: IntoIterator<Item = (N, Quantity)>>(amounts: I) -> Self {
        let mut list = Self::default();
        for (name, amount) in amounts {
            list.insert(name, amount);
        }
        list
    }
}

/// A resource vector, rounded as the scheduler reads it: what a pod requests, what a node offers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub milli_cpu: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Local ephemeral storage in bytes.
    pub ephemeral_storage_bytes: i64,
    /// How many pods; 0 in a pod's request.
    pub pods: i64,
    /// Extended resources, huge pages and attachable volumes in whole units, sorted by name;
    /// also those with an amount of 0 that were named.
    pub scalars: Vec<(SmolStr, i64)>,
}

impl Resources {
    /// Reads a list as `NodeInfo` does: names that the scheduler does not know are left out.
    /// Source: `k8s.io/kubernetes/pkg/scheduler/framework/types.go` `Resource.Add`.
    pub fn from_list(list: &ResourceList) -> Self {
        let mut resources = Self::default();
        for (name, amount) in list.iter() {
            match name.as_str() {
                "cpu" => resources.milli_cpu = amount.millis_ceil(),
                "memory" => resources.memory_bytes = amount.units_ceil(),
                "ephemeral-storage" => resources.ephemeral_storage_bytes = amount.units_ceil(),
                "pods" => resources.pods = amount.units_ceil(),
                other if is_scheduled_scalar(other) => {
                    resources.scalars.push((name.clone(), amount.units_ceil()));
                }
                _ => {}
            }
        }
        resources
    }

    /// The amount of a scalar resource, if it is named.
    pub fn scalar(&self, name: &str) -> Option<i64> {
        self.scalars
            .binary_search_by(|(n, _)| n.as_str().cmp(name))
            .ok()
            .map(|i| self.scalars[i].1)
    }

    /// Adds `other`; saturates.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes `other` away; saturates.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = with(self.milli_cpu, other.milli_cpu);
        self.memory_bytes = with(self.memory_bytes, other.memory_bytes);
        self.ephemeral_storage_bytes =
            with(self.ephemeral_storage_bytes, other.ephemeral_storage_bytes);
        self.pods = with(self.pods, other.pods);
        for (name, amount) in &other.scalars {
            match self.scalars.binary_search_by(|(n, _)| n.cmp(name)) {
                Ok(i) => self.scalars[i].1 = with(self.scalars[i].1, *amount),
                Err(i) => self.scalars.insert(i, (name.clone(), with(0, *amount))),
            }
        }
    }
}

/// Whether the scheduler counts `name` beside cpu, memory, ephemeral storage and pods.
/// Source: `k8s.io/component-helpers` `IsScalarResourceName`.
pub fn is_scheduled_scalar(name: &str) -> bool {
    name.starts_with("hugepages-")
        || name.starts_with("attachable-volumes-")
        || name.contains("kubernetes.io/")
        || is_extended(name)
}

fn is_extended(name: &str) -> bool {
    name.contains('/')
        && !name.starts_with("requests.")
        && valid_qualified_name(&format!("requests.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_left_out() {
        let list: ResourceList = ["cpu", "storage", "nvidia.com/gpu", "hugepages-2Mi"]
            .into_iter()
            .map(|name| (name, Quantity::from_units(2)))
            .collect();
        let resources = Resources::from_list(&list);
        assert_eq!(resources.milli_cpu, 2000);
        assert_eq!(resources.scalars.len(), 2);
        assert_eq!(resources.scalar("nvidia.com/gpu"), Some(2));
    }
}
