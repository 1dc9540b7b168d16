//! The objects of the optional features, as the API server keeps them.

use std::sync::Arc;

use windlass_core::ObjectWrite;
use windlass_core::capacity_buffer::SOURCE_ANNOTATION;
use windlass_model::{
    BufferStatus, ConditionStatus, ObjectName, Phase, Pod, PodScheduled, PodTemplate,
    ProvisioningRequest, QuotaStatus, SmolStr, StatusCondition, TemplateSource, set_condition,
};

use super::World;

impl World {
    /// Writes what the autoscaler wants written.
    pub(super) fn write(&mut self, write: &ObjectWrite) -> Result<(), String> {
        match write {
            ObjectWrite::UpdateProvisioningRequest {
                request,
                uid,
                conditions,
            } => self.update_provisioning_request(request, uid, conditions),
            ObjectWrite::WriteBufferTemplate {
                buffer,
                template,
                source,
                source_mark,
                ..
            } => self.write_buffer_template(buffer, template, source, source_mark),
            ObjectWrite::UpdateCapacityBuffer {
                buffer,
                uid,
                status,
            } => self.update_capacity_buffer(buffer, uid, status),
            ObjectWrite::UpdateCapacityQuota { quota, uid, status } => {
                self.update_capacity_quota(quota, uid, status)
            }
            ObjectWrite::DeleteProvisioningRequest { request, uid } => {
                self.delete_provisioning_request(request, uid);
                Ok(())
            }
        }
    }

    /// Takes in a request, or another version of one.
    pub(super) fn add_provisioning_request(&mut self, request: ProvisioningRequest) {
        let requests = &mut self.cluster.provisioning_requests;
        requests.retain(|known| known.name != request.name);
        requests.push(Arc::new(request));
        self.wake();
    }

    fn update_provisioning_request(
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

    fn delete_provisioning_request(&mut self, name: &ObjectName, uid: &str) {
        let requests = &mut self.cluster.provisioning_requests;
        requests.retain(|it| it.name != *name || it.uid != uid);
        self.log
            .add("status", format!("ProvisioningRequest {name}: deleted"));
    }
}

impl World {
    /// Writes a buffer's template as the API server would keep it: its generation grows where the
    /// pods change.
    fn write_buffer_template(
        &mut self,
        buffer: &ObjectName,
        template: &SmolStr,
        source: &TemplateSource,
        mark: &SmolStr,
    ) -> Result<(), String> {
        let namespace = &buffer.namespace;
        let full_name = |name: &SmolStr| ObjectName::new(namespace.clone(), name.clone());
        let pod = match source {
            TemplateSource::PodTemplate(name) => {
                let template = self.cluster.pod_templates.get(&full_name(name));
                template.map(|template| Arc::clone(&template.pod))
            }
            TemplateSource::Workload { kind, name } => {
                let controller = self.controllers.get(&(*kind, full_name(name)));
                controller.and_then(|controller| controller.model.template.clone())
            }
            TemplateSource::Pod(name) => {
                let id = self.pods.id(&full_name(name));
                id.and_then(|id| self.pods.get(id)).cloned()
            }
        };
        let Some(pod) = pod else {
            return Err(format!("what CapacityBuffer {buffer} is made from is gone"));
        };
        let pod = Pod {
            name: SmolStr::default(),
            uid: SmolStr::default(),
            shape: Arc::clone(&pod.shape),
            resized_requests: None,
            created_at: None,
            deletion_timestamp: None,
            node_name: None,
            nominated_node_name: None,
            phase: Phase::Pending,
            scheduled: PodScheduled::Absent,
            is_ready: false,
        };
        let name = full_name(template);
        let earlier = self.cluster.pod_templates.get(&name);
        let generation = match earlier {
            Some(earlier) if *earlier.pod == pod => earlier.generation,
            Some(earlier) => earlier.generation + 1,
            None => 1,
        };
        let written = PodTemplate {
            uid: format!("PodTemplate/{name}").into(),
            generation,
            annotations: [(SOURCE_ANNOTATION, mark.clone())].into_iter().collect(),
            pod: Arc::new(pod),
            name: name.clone(),
        };
        self.cluster.pod_templates.insert(name, Arc::new(written));
        Ok(())
    }

    fn update_capacity_buffer(
        &mut self,
        name: &ObjectName,
        uid: &str,
        status: &BufferStatus,
    ) -> Result<(), String> {
        let mut buffers = self.cluster.capacity_buffers.iter_mut();
        let Some(buffer) = buffers.find(|it| it.name == *name && it.uid == uid) else {
            return Err(format!("CapacityBuffer {name} is not there"));
        };
        let buffer = Arc::make_mut(buffer);
        let before = std::mem::replace(&mut buffer.status, status.clone());
        let replicas = status.replicas.unwrap_or(0);
        if before.replicas != status.replicas {
            let text = format!("CapacityBuffer {name}: room for {replicas} pods");
            self.log.add("status", text);
        }
        for condition in status
            .conditions
            .iter()
            .filter(|it| !before.conditions.contains(it))
        {
            let text = format!("CapacityBuffer {name}: {}", describe(condition));
            self.log.add("status", text);
        }
        Ok(())
    }

    fn update_capacity_quota(
        &mut self,
        name: &str,
        uid: &str,
        status: &QuotaStatus,
    ) -> Result<(), String> {
        let mut quotas = self.cluster.capacity_quotas.iter_mut();
        let Some(quota) = quotas.find(|it| it.name == name && it.uid == uid) else {
            return Err(format!("CapacityQuota {name} is not there"));
        };
        let quota = Arc::make_mut(quota);
        let before = std::mem::replace(&mut quota.status, status.clone());
        if before.used != status.used {
            let used: Vec<String> = status
                .used
                .iter()
                .map(|(resource, amount)| format!("{resource} {amount}"))
                .collect();
            let text = format!("CapacityQuota {name}: {} used", used.join(", "));
            self.log.add("status", text);
        }
        for condition in status
            .conditions
            .iter()
            .filter(|it| !before.conditions.contains(it))
        {
            let text = format!("CapacityQuota {name}: {}", describe(condition));
            self.log.add("status", text);
        }
        Ok(())
    }
}

/// A condition, for people.
pub(crate) fn describe(condition: &StatusCondition) -> String {
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
