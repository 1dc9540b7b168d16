//! Which pods wait for a node: the pod list processors. Source: `pkg/core/podlistprocessor`.

pub(crate) mod age;
mod classify;
mod drained;
mod filter_schedulable;
mod hints;

use std::sync::Arc;

use windlass_model::{Duration, Pod, PodShape};

pub(crate) use classify::{Standing, is_expendable, standing};
pub use hints::Hints;

use crate::{
    Event, EventObject, Part, capacity_buffer, decide::Loop, instant::after, proactive,
    provisioning_request,
};

/// A pod of [`PendingPods`], by its place there.
pub(crate) type PodIndex = u32;

/// The pods that wait, in the order of the cluster, with what this loop finds for each.
#[derive(Default)]
pub(crate) struct PendingPods {
    pods: Vec<Arc<Pod>>,
    fates: Vec<Fate>,
    /// Where the pods stand that exist on paper alone, in order.
    on_paper: Vec<(std::ops::Range<PodIndex>, Origin)>,
}

/// Whose pods on paper are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A controller will make them.
    Controller,
    /// The buffer at this place of the loop's list.
    Buffer(usize),
}

/// What a loop finds for a pending pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Not looked at any further, and not reported.
    Dropped,
    /// A node that is there, or on its way, can hold it.
    Schedulable,
    /// Nothing yet: some group may help.
    Waiting,
    /// New nodes are asked for on its behalf.
    Triggered,
    /// No group helps; why is with this class of pods.
    Unschedulable(u32),
}

impl PendingPods {
    /// These pods alone, all of them waiting.
    pub(crate) fn waiting(pods: Vec<Arc<Pod>>) -> (Self, Vec<PodIndex>) {
        let mut pending = Self::default();
        for pod in pods {
            pending.push(pod, Fate::Waiting);
        }
        let all = pending.indices(Fate::Waiting);
        (pending, all)
    }

    fn push(&mut self, pod: Arc<Pod>, fate: Fate) {
        self.pods.push(pod);
        self.fates.push(fate);
    }

    pub(crate) fn pod(&self, index: PodIndex) -> &Arc<Pod> {
        &self.pods[index as usize]
    }

    /// Whose the pod is, if it exists on paper alone: nothing is said of it.
    pub(crate) fn origin(&self, index: PodIndex) -> Option<Origin> {
        let before = self
            .on_paper
            .partition_point(|(range, _)| range.end <= index);
        let (range, origin) = self.on_paper.get(before)?;
        range.contains(&index).then_some(*origin)
    }

    fn push_on_paper(&mut self, pods: Vec<(Arc<Pod>, Fate)>, origin: Origin) {
        let index = |place: usize| PodIndex::try_from(place).unwrap_or(PodIndex::MAX);
        let start = index(self.pods.len());
        for (pod, fate) in pods {
            self.push(pod, fate);
        }
        let end = index(self.pods.len());
        if start < end {
            self.on_paper.push((start..end, origin));
        }
    }

    pub(crate) fn set_fate(&mut self, index: PodIndex, fate: Fate) {
        self.fates[index as usize] = fate;
    }

    /// The pods with their fates, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Pod>, Fate)> {
        self.pods.iter().zip(self.fates.iter().copied())
    }

    fn indices(&self, fate: Fate) -> Vec<PodIndex> {
        (0..)
            .zip(&self.fates)
            .filter(|(_, own)| **own == fate)
            .map(|(index, _)| index)
            .collect()
    }
}

/// The pods that new nodes are to be found for, out of all that wait; those that fit on the
/// nodes of the snapshot are placed there.
pub(crate) fn process(context: &mut Loop<'_>) -> (PendingPods, Vec<PodIndex>) {
    let mut pending = gather(context);
    inject(context, &mut pending);
    drained::append(context, &mut pending);
    let waiting = pending.indices(Fate::Waiting);
    context.budget.begin(Part::FilterOutSchedulable);
    let waiting = filter_schedulable::run(context, &mut pending, waiting);
    context.budget.end(Part::FilterOutSchedulable);
    let mut in_need = Vec::with_capacity(waiting.len());
    let mut consumers = Consumers::default();
    for index in waiting {
        let pod = pending.pod(index);
        if pod.shape.is_daemonset_pod() || consumers.take(context, pod) {
            pending.set_fate(index, Fate::Dropped);
            continue;
        }
        match age::due(pod, context.config).filter(|due| *due >= context.now) {
            None => in_need.push(index),
            // It wants to be older than its delay, not as old.
            Some(due) => context.plan.wake_by(after(due, Duration::from_millis(1))),
        }
    }
    provisioning_request::inject(context);
    provisioning_request::book(context);
    limit_injected(context, &mut pending, &mut in_need);
    (pending, in_need)
}

/// Adds the pods that exist on paper alone: those that controllers will make, then those of
/// buffers.
fn inject(context: &mut Loop<'_>, pending: &mut PendingPods) {
    let mut shapes = WithoutTpus::default();
    let mut ready = |context: &Loop<'_>, pods: Vec<Arc<Pod>>| -> Vec<(Arc<Pod>, Fate)> {
        let fate = |pod: &Pod| {
            if is_expendable(pod, context.config) {
                Fate::Dropped
            } else {
                Fate::Waiting
            }
        };
        pods.iter()
            .map(|pod| (shapes.clear(pod), fate(pod)))
            .collect()
    };
    if context.config.features.proactive_scaleup {
        let pods = proactive::missing_pods(context);
        crate::report::count_injected(context, pods.len());
        let pods = ready(context, pods);
        pending.push_on_paper(pods, Origin::Controller);
    }
    for (buffer, pods) in capacity_buffer::inject(context) {
        let pods = ready(context, pods);
        pending.push_on_paper(pods, Origin::Buffer(buffer));
    }
}

/// Drops pods that controllers will make, the first ones first, until no more than
/// `--pod-injection-limit` pods wait. Real pods are never dropped. Source:
/// `pkg/processors/podinjection/enforce`.
fn limit_injected(context: &mut Loop<'_>, pending: &mut PendingPods, in_need: &mut Vec<PodIndex>) {
    if !context.config.features.proactive_scaleup {
        return;
    }
    let limit = usize::try_from(context.config.features.pod_injection_limit).unwrap_or(0);
    let surplus = in_need.len().saturating_sub(limit);
    let dropped: Vec<PodIndex> = in_need
        .iter()
        .copied()
        .filter(|index| pending.origin(*index) == Some(Origin::Controller))
        .take(surplus)
        .collect();
    for index in &dropped {
        pending.set_fate(*index, Fate::Dropped);
    }
    in_need.retain(|index| dropped.binary_search(index).is_err());
    crate::report::count_skipped_injection(context, dropped.len());
}

/// Pods that use the room of a `ProvisioningRequest`: the request brings nodes, they do not.
/// Source: `pkg/processors/provreq/pods_filter.go`.
#[derive(Default)]
struct Consumers {
    told: usize,
}

impl Consumers {
    /// Most events of a loop.
    const MOST_EVENTS: usize = 50;

    /// Whether the pod is such a one, which is told so.
    fn take(&mut self, context: &mut Loop<'_>, pod: &Pod) -> bool {
        if !context.config.features.provisioning_requests {
            return false;
        }
        let Some(request) = provisioning_request::consumed_by(pod) else {
            return false;
        };
        if self.told < Self::MOST_EVENTS {
            self.told += 1;
            let message = format!(
                "Unschedulable pod didn't trigger scale-up, because it's consuming \
                 ProvisioningRequest {request}"
            );
            let pod = EventObject::Pod(pod.full_name());
            context.plan.events.push(Event::normal("", pod, message));
        }
        true
    }
}

/// Unschedulable pods, then those that a bypassed scheduler has not looked at; expendable ones
/// count for nothing.
fn gather(context: &mut Loop<'_>) -> PendingPods {
    let mut pending = PendingPods::default();
    let mut unprocessed = Vec::new();
    let mut unschedulable_count = 0_usize;
    let mut shapes = WithoutTpus::default();
    for pod in &context.cluster.pods {
        let fate = if is_expendable(pod, context.config) {
            Fate::Dropped
        } else {
            Fate::Waiting
        };
        match standing(pod, context.config) {
            Standing::Unschedulable => {
                unschedulable_count += 1;
                pending.push(shapes.clear(pod), fate);
            }
            Standing::Unprocessed => unprocessed.push((shapes.clear(pod), fate)),
            _ => {}
        }
    }
    crate::report::count_pending(context, unschedulable_count, unprocessed.len());
    for (pod, fate) in unprocessed {
        pending.push(pod, fate);
    }
    pending
}

/// Requests of Cloud TPUs, which no node lists, are left out of the pods that ask for them.
#[derive(Default)]
struct WithoutTpus {
    cleared: Vec<(Arc<PodShape>, Arc<PodShape>)>,
}

impl WithoutTpus {
    fn clear(&mut self, pod: &Arc<Pod>) -> Arc<Pod> {
        let is_tpu = |name: &str| name.starts_with("cloud-tpus.google.com/");
        let scalars = &pod.shape.requests.scalars;
        if !scalars.iter().any(|(name, _)| is_tpu(name)) {
            return Arc::clone(pod);
        }
        let known = self
            .cleared
            .iter()
            .find(|(original, _)| Arc::ptr_eq(original, &pod.shape));
        let shape = if let Some((_, cleared)) = known {
            Arc::clone(cleared)
        } else {
            let mut shape = PodShape::clone(&pod.shape);
            shape.requests.scalars.retain(|(name, _)| !is_tpu(name));
            let shape = Arc::new(shape);
            self.cleared
                .push((Arc::clone(&pod.shape), Arc::clone(&shape)));
            shape
        };
        Arc::new(Pod {
            shape,
            ..Pod::clone(pod)
        })
    }
}
