//! The objects of the optional features, as the API server keeps them.

use std::sync::Arc;

use windlass_model::{
    ConditionStatus, ObjectName, ProvisioningRequest, StatusCondition, set_condition,
};

use super::World;

impl World {
    /// Takes in a request, or another version of one.
    pub(super) fn add_provisioning_request(&mut self, request: ProvisioningRequest) {
        let requests = &mut self.cluster.provisioning_requests;
        requests.retain(|known| known.name != request.name);
        requests.push(Arc::new(request));
        self.wake();
    }

    pub(super) fn update_provisioning_request(
        &mut self,
        name: &ObjectName,
        uid: &str,
        conditions: &[StatusCondition],
    ) -> Result<(), String> {
        let mut requests = self.cluster.provisioning_requests.iter_mut();
        let Some(request) = requests.find(|it| it.name == *name && it.uid == uid) else {
            return Err(format!("ProvisioningRequest {name} is not there"));
        };
        let request = Arc::make_mut(request);
        for condition in conditions {
            set_condition(&mut request.conditions, condition.clone());
        }
        for condition in conditions {
            let text = format!("ProvisioningRequest {name}: {}", describe(condition));
            self.log.add("status", text);
        }
        Ok(())
    }

    pub(super) fn delete_provisioning_request(&mut self, name: &ObjectName, uid: &str) {
        let requests = &mut self.cluster.provisioning_requests;
        requests.retain(|it| it.name != *name || it.uid != uid);
        self.log
            .add("status", format!("ProvisioningRequest {name}: deleted"));
    }
}

/// A condition, for people.
pub(super) fn describe(condition: &StatusCondition) -> String {
    let StatusCondition {
        kind,
        status,
        reason,
        message,
        ..
    } = condition;
    let status = match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    let mut text = format!("{kind}={status} ({reason})");
    if !message.is_empty() {
        text += ": ";
        text += message;
    }
    text
}
