//! What a buffer's pods are like and how many they are. Source: `pkg/capacitybuffer/controller`,
//! `pkg/capacitybuffer/translators`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;
use windlass_model::{
    BufferSource, ConditionStatus, ObjectName, Pod, PodShape, SmolStr, TemplateSource, Timestamp,
    Workload, WorkloadKind,
};

use super::SOURCE_ANNOTATION;
use super::conditions::{
    ACTIVE_CAPACITY, ATTRIBUTES_SET, ERROR, LIMITED_BY_QUOTAS, READY, RESOURCE_QUOTAS_ALLOCATED,
};
use super::number::{NumberError, Quotas, Wanted, number};
use crate::{ObjectWrite, Series, decide::Loop};

/// Longest name of an object.
const LONGEST_NAME: usize = 253;

/// Why a buffer is not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NotReady {
    #[error("neither podTemplateRef nor scalableRef is set")]
    NoSource,
    #[error("podtemplates \"{0}\" not found")]
    NoTemplate(SmolStr),
    #[error("{kind} \"{name}\" not found")]
    NoObject { kind: SmolStr, name: SmolStr },
    #[error(
        "{kind} of group \"{api_group}\" is not supported: Deployment, ReplicaSet, StatefulSet, \
         ReplicationController and Job are"
    )]
    UnknownKind { api_group: SmolStr, kind: SmolStr },
    #[error("{0}")]
    Template(String),
    #[error(transparent)]
    Number(#[from] NumberError),
}

/// What a buffer's pods are to be like, as it is now.
struct Found {
    source: TemplateSource,
    /// It changes with what the template is made from.
    mark: SmolStr,
    /// How many pods the scalable object has, where there is one.
    object_replicas: Option<i64>,
}

/// Brings each buffer's template, number and conditions up to date.
pub(crate) fn reconcile(context: &mut Loop<'_>) {
    if !context.config.features.capacity_buffer_controller {
        return;
    }
    let mut quotas = Quotas::new(&context.cluster.resource_quotas);
    for index in 0..context.buffers.list.len() {
        if context.buffers.list[index].is_handled() {
            reconcile_one(context, index, &mut quotas);
        }
    }
    measure(context);
}

/// Says since when buffers wait. Each is looked at in every loop, so that those that have been
/// reconciled were so just now; new ones wait for their template to be written and seen.
fn measure(context: &mut Loop<'_>) {
    let now = context.now;
    let waiting = context.buffers.list.iter();
    let oldest_new = waiting
        .filter(|buffer| buffer.is_handled() && buffer.status.conditions.is_empty())
        .filter_map(|buffer| buffer.model.created_at)
        .fold(now, Timestamp::min);
    for (is_new, oldest) in [("true", oldest_new), ("false", now)] {
        let series = Series::plain("capacity_buffer_oldest_reconciliation_timestamp_seconds")
            .with("new_buffer", is_new);
        context.plan.metrics.set(series, oldest.as_second() as f64);
    }
}

fn reconcile_one(context: &mut Loop<'_>, index: usize, quotas: &mut Quotas<'_>) {
    let now = context.now;
    let resolved = find_source(context, index).and_then(|found| {
        let shape = template_in_use(context, index, &found)?;
        Ok((found, shape))
    });
    let (found, shape) = match resolved {
        Ok((found, Some(shape))) => (found, shape),
        // It comes with the next view.
        Ok((_, None)) => return,
        Err(error) => {
            let buffer = &mut context.buffers.list[index];
            buffer.status.pod_template = None;
            buffer.status.pod_template_generation = None;
            not_ready(context, index, &error);
            return;
        }
    };
    let cluster = context.cluster;
    let buffer = &mut context.buffers.list[index];
    let model = Arc::clone(&buffer.model);
    let name = managed_name(&model.name.name);
    let managed = cluster
        .pod_templates
        .get(&ObjectName::new(model.name.namespace.clone(), name.clone()));
    buffer.status.pod_template = Some(name);
    buffer.status.pod_template_generation = managed.map(|managed| managed.generation);
    buffer.status.strategy = Some(SmolStr::new_static(ACTIVE_CAPACITY));
    let wanted = Wanted {
        replicas: model.replicas,
        percentage: model.percentage,
        limits: model.limits.as_ref(),
        object_replicas: found.object_replicas,
    };
    let wanted = match number(wanted, &shape.requests) {
        Ok(wanted) => wanted,
        Err(error) => {
            not_ready(context, index, &error.into());
            return;
        }
    };
    let (granted, limiting) = quotas.grant(&shape, wanted);
    buffer.status.replicas = Some(granted);
    buffer.set_condition(READY, ConditionStatus::True, ATTRIBUTES_SET, now);
    let (status, message) = if granted < wanted {
        let message = format!(
            "Buffer replicas limited from {wanted} to {granted} due to quotas: {}",
            limiting.join(", ")
        );
        (ConditionStatus::True, message)
    } else {
        (ConditionStatus::False, String::new())
    };
    let because = (RESOURCE_QUOTAS_ALLOCATED, message);
    buffer.set_condition(LIMITED_BY_QUOTAS, status, because, now);
}

fn not_ready(context: &mut Loop<'_>, index: usize, error: &NotReady) {
    let now = context.now;
    let buffer = &mut context.buffers.list[index];
    buffer.status.strategy = Some(SmolStr::new_static(ACTIVE_CAPACITY));
    buffer.status.replicas = None;
    let message = format!("Buffer not ready for provisioning: {error}");
    buffer.set_condition(READY, ConditionStatus::False, (ERROR, message), now);
}

/// The name of the template that is kept for a buffer.
fn managed_name(buffer: &str) -> SmolStr {
    const BEFORE: &str = "capacitybuffer-";
    const AFTER: &str = "-pod-template";
    let longest = LONGEST_NAME - BEFORE.len() - AFTER.len();
    // Names of objects are ASCII.
    let cut = buffer.get(..longest).unwrap_or(buffer);
    format!("{BEFORE}{cut}{AFTER}").into()
}

/// The shape of the pods of the template that is kept for a buffer; asks for the template where
/// there is none, or one made from something else.
fn template_in_use(
    context: &mut Loop<'_>,
    index: usize,
    found: &Found,
) -> Result<Option<Arc<PodShape>>, NotReady> {
    let model = &context.buffers.list[index].model;
    let template = managed_name(&model.name.name);
    let full_name = ObjectName::new(model.name.namespace.clone(), template.clone());
    let managed = context.cluster.pod_templates.get(&full_name);
    let is_current = managed
        .is_some_and(|managed| managed.annotations.get(SOURCE_ANNOTATION) == Some(&found.mark));
    if is_current {
        return Ok(managed.map(|managed| Arc::clone(&managed.pod.shape)));
    }
    let error = context.memory.buffer_template_errors.get(&model.uid);
    if let Some(error) = error.filter(|error| error.source_mark == found.mark) {
        context.plan.wake_by(error.retry_at);
        if error.retry_at > context.now {
            return Err(NotReady::Template(error.message.clone()));
        }
    }
    context.plan.write(ObjectWrite::WriteBufferTemplate {
        buffer: model.name.clone(),
        uid: model.uid.clone(),
        template,
        source: found.source.clone(),
        source_mark: found.mark.clone(),
        dry_run: context.config.features.capacity_buffer_pod_dry_run,
    });
    Ok(None)
}

/// What a buffer's pods are to be like.
fn find_source(context: &Loop<'_>, index: usize) -> Result<Found, NotReady> {
    let model = &context.buffers.list[index].model;
    let namespace = &model.name.namespace;
    match &model.source {
        None => Err(NotReady::NoSource),
        Some(BufferSource::PodTemplate(name)) => {
            let full_name = ObjectName::new(namespace.clone(), name.clone());
            let template = context.cluster.pod_templates.get(&full_name);
            let template = template.ok_or_else(|| NotReady::NoTemplate(name.clone()))?;
            let mark = format!("PodTemplate/{}/{}", template.uid, template.generation);
            Ok(Found {
                source: TemplateSource::PodTemplate(name.clone()),
                mark: mark.into(),
                object_replicas: None,
            })
        }
        Some(BufferSource::Scalable {
            api_group,
            kind,
            name,
        }) => {
            let Some(known) = workload_kind(api_group, kind) else {
                return Err(NotReady::UnknownKind {
                    api_group: api_group.clone(),
                    kind: kind.clone(),
                });
            };
            let full_name = ObjectName::new(namespace.clone(), name.clone());
            let workload = context
                .cluster
                .workloads
                .iter()
                .find(|workload| workload.kind == known && workload.name == full_name);
            let workload = workload.ok_or_else(|| NotReady::NoObject {
                kind: kind.clone(),
                name: name.clone(),
            })?;
            Ok(of_workload(context, workload))
        }
    }
}

fn workload_kind(api_group: &str, kind: &str) -> Option<WorkloadKind> {
    match (api_group, kind) {
        ("apps", "Deployment") => Some(WorkloadKind::Deployment),
        ("apps", "ReplicaSet") => Some(WorkloadKind::ReplicaSet),
        ("apps", "StatefulSet") => Some(WorkloadKind::StatefulSet),
        ("batch", "Job") => Some(WorkloadKind::Job),
        ("", "ReplicationController") => Some(WorkloadKind::ReplicationController),
        _ => None,
    }
}

/// The newest pod of a workload, which admission has completed; its template where there is none.
fn of_workload(context: &Loop<'_>, workload: &Arc<Workload>) -> Found {
    // A Job has no subresource `scale` that selects its pods.
    let pod = (workload.kind != WorkloadKind::Job)
        .then(|| newest_pod(context, workload))
        .flatten();
    if let Some(pod) = pod {
        return Found {
            source: TemplateSource::Pod(pod.name.clone()),
            mark: mark_of("Pod", &workload.uid, Some(&pod.shape)),
            object_replicas: Some(workload.current_replicas),
        };
    }
    let template = workload.template.as_ref().map(|pod| &*pod.shape);
    Found {
        source: TemplateSource::Workload {
            kind: workload.kind,
            name: workload.name.name.clone(),
        },
        mark: mark_of(workload.kind.as_str(), &workload.uid, template),
        object_replicas: workload.replicas,
    }
}

fn newest_pod<'a>(context: &Loop<'a>, workload: &Workload) -> Option<&'a Arc<Pod>> {
    let selector = workload.selector.as_ref()?;
    context
        .cluster
        .pods
        .iter()
        .filter(|pod| *pod.namespace() == workload.name.namespace)
        .filter(|pod| pod.deletion_timestamp.is_none() && !pod.phase.is_terminal())
        .filter(|pod| selector.matches(&pod.shape.labels))
        .max_by(|a, b| (a.created_at, &b.name).cmp(&(b.created_at, &a.name)))
}

/// A word that changes with the pods.
fn mark_of(kind: &str, uid: &str, shape: Option<&PodShape>) -> SmolStr {
    let mut hasher = FxHasher::default();
    shape.hash(&mut hasher);
    format!("{kind}/{uid}/{:016x}", hasher.finish()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_s_name_is_cut_to_what_the_api_allows() {
        assert_eq!(managed_name("web"), "capacitybuffer-web-pod-template");
        let long = "x".repeat(253);
        assert_eq!(managed_name(&long).len(), 253);
        assert!(managed_name(&long).ends_with("-pod-template"));
    }

    #[test]
    fn only_workloads_whose_pods_can_be_told_are_supported() {
        assert_eq!(
            workload_kind("apps", "Deployment"),
            Some(WorkloadKind::Deployment)
        );
        assert_eq!(workload_kind("", "Deployment"), None);
        assert_eq!(workload_kind("argoproj.io", "Rollout"), None);
    }
}
