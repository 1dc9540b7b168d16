//! A buffer's pods wait beside the real ones. Source: `pkg/processors/capacitybuffer`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_model::{
    CapacityBuffer, ConditionStatus, ObjectName, OwnerReference, Pod, PodShape, PodTemplate,
    Safety, SmolStr, is_condition_true,
};

use super::Buffer;
use super::conditions::{
    ACTIVE_CAPACITY, Because, FAILED_TO_GET_POD_TEMPLATE, FAKE_PODS_INJECTED, IS_EMPTY, NOT_READY,
    PROVISIONING, READY,
};
use crate::{Event, EventObject, EventTiming, decide::Loop};

/// The pods of each buffer that is ready, by the buffer's place in the loop's list.
pub(crate) fn inject(context: &mut Loop<'_>) -> Vec<(usize, Vec<Arc<Pod>>)> {
    if !context.config.features.capacity_buffer_pod_injection {
        return Vec::new();
    }
    let now = context.now;
    let templates = &context.cluster.pod_templates;
    let mut injected = Vec::new();
    for (index, buffer) in context.buffers.list.iter_mut().enumerate() {
        if !is_looked_at(buffer, templates) {
            continue;
        }
        match pods_of(buffer, templates) {
            Ok(pods) => {
                let because = FAKE_PODS_INJECTED;
                buffer.set_condition(PROVISIONING, ConditionStatus::True, because, now);
                injected.push((index, pods));
            }
            Err((reason, message)) => {
                let because = (reason, message);
                buffer.set_condition(PROVISIONING, ConditionStatus::False, because, now);
            }
        }
    }
    injected
}

type Templates = BTreeMap<ObjectName, Arc<PodTemplate>>;

/// Whether it is, or was, ready, by the template as it is now.
fn is_looked_at(buffer: &Buffer, templates: &Templates) -> bool {
    let status = &buffer.status;
    let has_been_ready = is_condition_true(&status.conditions, READY)
        || is_condition_true(&status.conditions, PROVISIONING);
    let is_current = template_of(buffer, templates)
        .is_none_or(|template| status.pod_template_generation == Some(template.generation));
    status.strategy.as_deref() == Some(ACTIVE_CAPACITY) && has_been_ready && is_current
}

fn template_of<'a>(buffer: &Buffer, templates: &'a Templates) -> Option<&'a Arc<PodTemplate>> {
    let name = buffer.status.pod_template.as_ref()?;
    let namespace = buffer.model.name.namespace.clone();
    templates.get(&ObjectName::new(namespace, name.clone()))
}

fn pods_of(
    buffer: &Buffer,
    templates: &Templates,
) -> Result<Vec<Arc<Pod>>, (&'static str, SmolStr)> {
    let said = |(reason, message): Because| (reason, SmolStr::new_static(message));
    let status = &buffer.status;
    let is_ready = is_condition_true(&status.conditions, READY);
    let (true, Some(name), Some(replicas)) = (is_ready, &status.pod_template, status.replicas)
    else {
        return Err(said(NOT_READY));
    };
    if replicas <= 0 {
        return Err(said(IS_EMPTY));
    }
    let Some(template) = template_of(buffer, templates) else {
        let message = format!("podtemplates \"{name}\" not found");
        return Err((FAILED_TO_GET_POD_TEMPLATE, message.into()));
    };
    let shape = Arc::new(shape_of(&buffer.model, &template.pod.shape));
    let pods = (1..=replicas).map(|number| {
        Arc::new(Pod {
            name: format!("capacity-buffer-{}-{number}", buffer.model.name.name).into(),
            uid: format!("{}-{number}", buffer.model.uid).into(),
            shape: Arc::clone(&shape),
            ..Pod::clone(&template.pod)
        })
    });
    Ok(pods.collect())
}

/// The buffer's pods may always be moved: nobody has to leave for them.
fn shape_of(buffer: &CapacityBuffer, template: &PodShape) -> PodShape {
    PodShape {
        controller: Some(OwnerReference {
            api_version: "autoscaling.x-k8s.io/v1beta1".into(),
            kind: "CapacityBuffer".into(),
            name: buffer.name.name.clone(),
            uid: buffer.uid.clone(),
        }),
        safety: Safety {
            safe_to_evict: Some("true".into()),
            ..template.safety.clone()
        },
        ..template.clone()
    }
}

/// What a scale-up attempt did for the buffers' pods, said of the buffers.
#[derive(Default)]
pub(crate) struct Said {
    /// The buffers whose pods new nodes are for.
    pub(crate) triggered: BTreeSet<usize>,
    /// Why no group helps the others' pods, without saying the same twice.
    pub(crate) not_triggered: BTreeMap<usize, BTreeSet<SmolStr>>,
}

/// Tells each buffer what came of its pods; `sizes` are the new sizes of groups, for people.
pub(crate) fn announce(context: &mut Loop<'_>, said: Said, sizes: Option<&str>) {
    let Said {
        triggered,
        not_triggered,
    } = said;
    let name_of = |context: &Loop<'_>, index: usize| context.buffers.list[index].model.name.clone();
    if let Some(sizes) = sizes {
        for index in triggered {
            let name = name_of(context, index);
            let message = format!(
                "capacity buffer {} fake pods triggered scale-up: {sizes}",
                name.name
            );
            let object = EventObject::CapacityBuffer(name);
            let event = Event::normal("TriggeredScaleUp", object, message);
            context.plan.events.push(event.at(EventTiming::OnceGrown));
        }
    }
    for (index, reasons) in not_triggered {
        let name = name_of(context, index);
        let reasons: Vec<&str> = reasons.iter().map(SmolStr::as_str).collect();
        let message = format!(
            "capacity buffer {} fake pods didn't trigger scale-up: {}",
            name.name,
            reasons.join(",")
        );
        let object = EventObject::CapacityBuffer(name);
        let event = Event::normal("NotTriggerScaleUp", object, message);
        context.plan.events.push(event);
    }
}
