use std::sync::Arc;

use windlass_model::{Cluster, Pod, SmolStr};

use crate::rejection::Code;
use crate::snapshot::NodeState;

/// Devices and who has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices {}

/// What `DynamicResources` makes of a pod before it looks at any node.
#[derive(Clone, Debug)]
pub(crate) struct DevicePlan {}

impl Devices {
    pub(crate) fn new(_cluster: &Cluster) -> Self {
        Self::default()
    }

    pub(crate) fn maps(&self, _resource: &str) -> bool {
        false
    }

    pub(crate) fn plan(&self, _pod: &Arc<Pod>) -> Result<Option<Arc<DevicePlan>>, (Code, SmolStr)> {
        Ok(None)
    }

    pub(crate) fn check(
        &self,
        _plan: &DevicePlan,
        _pod: &Pod,
        _state: &NodeState,
    ) -> Result<(), (Code, SmolStr)> {
        Ok(())
    }
}
