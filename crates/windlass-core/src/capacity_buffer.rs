//! Room that is kept free for pods of a kind: pods that exist on paper alone wait beside the real
//! ones, so that nodes are added for them and kept for them. Source: `pkg/capacitybuffer`,
//! `pkg/processors/capacitybuffer`.
//!
//! The controller (`controller`) finds out what a buffer's pods are like and how many they are;
//! the injection (`injection`) has them wait. Each has a flag of its own.

mod conditions;
mod controller;
mod injection;
mod number;

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::{
    BufferStatus, CapacityBuffer, ConditionStatus, SmolStr, StatusCondition, Timestamp,
    find_condition, set_condition,
};

pub(crate) use controller::reconcile;
pub(crate) use injection::{Said, announce, inject};

use crate::{
    Action, ObjectWrite, OutcomeResult, decide::Loop, instant::after,
    provisioning_request::whole_seconds,
};

/// After so long a template that could not be written is tried again.
const RETRY_TIME: windlass_model::Duration = windlass_model::Duration::from_secs(30);

/// The annotation of a buffer's template that says what it was made from.
pub const SOURCE_ANNOTATION: &str = "windlass.dev/buffer-source";

/// The buffers as one loop knows them, the oldest first.
#[derive(Default)]
pub(crate) struct Buffers {
    list: Vec<Buffer>,
}

struct Buffer {
    model: Arc<CapacityBuffer>,
    /// As it is, and as this loop changes it.
    status: BufferStatus,
    /// As it was before this loop.
    before: BufferStatus,
}

/// Why a buffer's template could not be written, and when that is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateError {
    /// What it was to be made from.
    source_mark: SmolStr,
    message: String,
    retry_at: Timestamp,
}

/// The templates that could not be written, by their buffer's uid.
pub type TemplateErrors = BTreeMap<SmolStr, TemplateError>;

/// Takes in the buffers, with what this process has written of them.
pub(crate) fn observe(context: &mut Loop<'_>) {
    let features = &context.config.features;
    if !features.capacity_buffer_controller && !features.capacity_buffer_pod_injection {
        return;
    }
    note_outcomes(context);
    let buffers = &context.cluster.capacity_buffers;
    let by_uid: BTreeMap<&str, &BufferStatus> = buffers
        .iter()
        .map(|buffer| (buffer.uid.as_str(), &buffer.status))
        .collect();
    let errors = &mut context.memory.buffer_template_errors;
    errors.retain(|uid, _| by_uid.contains_key(uid.as_str()));
    let unseen = &mut context.memory.unseen_buffers;
    unseen.settle(context.now, |uid| by_uid.get(uid).copied());
    let mut list: Vec<Buffer> = buffers
        .iter()
        .map(|model| {
            let status = unseen.or(&model.uid, &model.status).clone();
            Buffer {
                model: Arc::clone(model),
                before: status.clone(),
                status,
            }
        })
        .collect();
    list.sort_by(|a, b| {
        let key = |buffer: &Buffer| (buffer.model.created_at, buffer.model.name.clone());
        key(a).cmp(&key(b))
    });
    context.buffers.list = list;
}

fn note_outcomes(context: &mut Loop<'_>) {
    for outcome in context.outcomes {
        let failure = match &outcome.result {
            OutcomeResult::Done => None,
            OutcomeResult::Failed { message, .. } | OutcomeResult::Refused { message } => {
                Some(message)
            }
        };
        let Action::Write(write) = &outcome.action else {
            continue;
        };
        match (write, failure) {
            (ObjectWrite::UpdateCapacityBuffer { uid, .. }, Some(_)) => {
                context.memory.unseen_buffers.forget(uid);
            }
            (
                ObjectWrite::WriteBufferTemplate {
                    uid, source_mark, ..
                },
                Some(message),
            ) => {
                let error = TemplateError {
                    source_mark: source_mark.clone(),
                    message: message.clone(),
                    retry_at: after(context.now, RETRY_TIME),
                };
                let errors = &mut context.memory.buffer_template_errors;
                errors.insert(uid.clone(), error);
            }
            (ObjectWrite::WriteBufferTemplate { uid, .. }, None) => {
                context.memory.buffer_template_errors.remove(uid);
            }
            _ => {}
        }
    }
}

/// Plans the writing of the statuses that this loop has changed.
pub(crate) fn finish(context: &mut Loop<'_>) {
    for buffer in std::mem::take(&mut context.buffers.list) {
        let Buffer {
            model,
            status,
            before,
        } = buffer;
        if status == before {
            continue;
        }
        context.plan.write(ObjectWrite::UpdateCapacityBuffer {
            buffer: model.name.clone(),
            uid: model.uid.clone(),
            status: status.clone(),
        });
        let unseen = &mut context.memory.unseen_buffers;
        unseen.note(model.uid.clone(), status, context.now);
    }
}

impl Buffer {
    /// Sets a condition; it is dated anew only where its status changes.
    fn set_condition(
        &mut self,
        kind: &'static str,
        status: ConditionStatus,
        because: (&'static str, impl Into<SmolStr>),
        now: Timestamp,
    ) {
        let (reason, message) = because;
        let known = find_condition(&self.status.conditions, kind);
        let last_transition = known
            .filter(|known| known.status == status)
            .map_or(Some(whole_seconds(now)), |known| known.last_transition);
        let condition = StatusCondition {
            kind: SmolStr::new_static(kind),
            status,
            reason: SmolStr::new_static(reason),
            message: message.into(),
            observed_generation: known.and_then(|known| known.observed_generation),
            last_transition,
        };
        set_condition(&mut self.status.conditions, condition);
    }

    fn is_handled(&self) -> bool {
        let strategy = &self.model.strategy;
        strategy.is_empty() || strategy == conditions::ACTIVE_CAPACITY
    }
}
