mod devices;
mod extended_requests;
mod extras;
mod node;
mod pod;
mod selector;
mod storage;
mod workload;

use rustc_hash::FxHashSet;
use windlass_model::{
    Constraints, ObjectName, OwnerReference, PodShape, Pool, SchedulerVersion, SmolStr,
};

use crate::api;

/// Where objects come from, which says what has already been done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a file. What a check depends on is defaulted as the API server does; a missing
    /// namespace is `default`, a missing uid is made from kind, namespace and name.
    Scenario,
    /// From test vectors: nothing is defaulted.
    AsGiven,
    /// From a live API server, which has defaulted everything but the pods that a controller is
    /// yet to make from a template.
    ApiServer,
}

/// Turns [`api`] types into model values. Equal pod shapes come out as one shared value, so keep
/// one converter for as long as its objects live.
#[derive(Clone, Debug)]
pub struct Converter {
    shapes: Pool<PodShape>,
    constraints: Pool<Constraints>,
    /// Keys of nodes' labels: every node has the same ones, and each decision looks at them often.
    label_keys: FxHashSet<SmolStr>,
    scheduler_version: SchedulerVersion,
    origin: Origin,
}

impl Converter {
    /// A converter with nothing shared yet.
    pub fn new(scheduler_version: SchedulerVersion, origin: Origin) -> Self {
        Self {
            shapes: Pool::default(),
            constraints: Pool::default(),
            label_keys: FxHashSet::default(),
            scheduler_version,
            origin,
        }
    }

    /// Whose scheduler the objects are for.
    pub fn scheduler_version(&self) -> SchedulerVersion {
        self.scheduler_version
    }

    /// Forgets shapes that no pod has any more; worth a call now and then where pods come and go.
    pub fn sweep(&mut self) {
        self.shapes.sweep();
        self.constraints.sweep();
        self.label_keys.clear();
    }

    /// The one copy of a label's key.
    fn label_key(&mut self, key: &SmolStr) -> SmolStr {
        if let Some(known) = self.label_keys.get(key) {
            return known.clone();
        }
        self.label_keys.insert(key.clone());
        key.clone()
    }

    fn namespace(&self, metadata: &api::Metadata) -> SmolStr {
        if metadata.namespace.is_empty() && self.origin == Origin::Scenario {
            SmolStr::new_static("default")
        } else {
            metadata.namespace.clone()
        }
    }

    fn full_name(&self, metadata: &api::Metadata) -> ObjectName {
        ObjectName::new(self.namespace(metadata), metadata.name.clone())
    }

    fn uid(&self, kind: &str, metadata: &api::Metadata) -> SmolStr {
        if metadata.uid.is_empty() {
            self.made_uid(kind, &self.namespace(metadata), &metadata.name)
        } else {
            metadata.uid.clone()
        }
    }

    /// The uid that stands in for a missing one; empty where none may be made up.
    fn made_uid(&self, kind: &str, namespace: &str, name: &str) -> SmolStr {
        if self.origin == Origin::Scenario {
            format!("{kind}/{namespace}/{name}").into()
        } else {
            SmolStr::default()
        }
    }

    fn controller(&self, metadata: &api::Metadata) -> Option<OwnerReference> {
        let owner = metadata
            .owner_references
            .iter()
            .find(|owner| owner.controller)?;
        let uid = if owner.uid.is_empty() {
            self.made_uid(&owner.kind, &self.namespace(metadata), &owner.name)
        } else {
            owner.uid.clone()
        };
        Some(OwnerReference {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid,
        })
    }

    fn controller_uid(&self, metadata: &api::Metadata) -> SmolStr {
        self.controller(metadata)
            .map_or_else(SmolStr::default, |owner| owner.uid)
    }
}
