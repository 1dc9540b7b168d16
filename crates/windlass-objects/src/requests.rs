//! What a pod requests. Source: `k8s.io/component-helpers/resource`, KEP-1287 (in-place resize),
//! KEP-2837 (pod-level resources).

use std::borrow::Cow;

use windlass_model::{Quantity, ResourceList, Resources, SchedulerVersion};

use crate::api;

/// The requests of a pod that is to be placed: its specification alone counts.
pub(crate) fn of_spec(spec: &api::PodSpec) -> Resources {
    let mut total = aggregate(spec, |container, _| spec_requests(container));
    if let Some(pod_level) = spec.resources.as_ref().and_then(|r| r.requests.as_ref())
        && is_pod_level_set(&pod_level.0)
    {
        for (name, amount) in supported(&pod_level.0) {
            total.insert(name.clone(), amount);
        }
    }
    finish(total, spec)
}

/// The requests of a pod on its node, if its status has anything to say of them.
pub(crate) fn resized(pod: &api::Pod, version: SchedulerVersion) -> Option<Resources> {
    let status = &pod.status;
    let is_mentioned = status.resources.is_some()
        || status.allocated_resources.is_some()
        || status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .any(|container| {
                container.resources.is_some() || container.allocated_resources.is_some()
            });
    if !is_mentioned {
        return None;
    }
    let mut total = match version {
        SchedulerVersion::V1_36 => on_node_by_container(pod),
        SchedulerVersion::V1_37 => on_node_by_sums(pod),
    };
    if let Some(pod_level) = pod
        .spec
        .resources
        .as_ref()
        .and_then(|r| r.requests.as_ref())
        && is_pod_level_set(&pod_level.0)
    {
        let raised = pod_level_on_node(pod, &pod_level.0);
        match version {
            SchedulerVersion::V1_36 => {
                for (name, _) in supported(&pod_level.0) {
                    total.insert(name.clone(), raised.get(name).unwrap_or(Quantity::ZERO));
                }
            }
            SchedulerVersion::V1_37 => {
                for (name, amount) in supported(&raised) {
                    total.insert(name.clone(), amount);
                }
            }
        }
    }
    Some(finish(total, &pod.spec))
}

/// Requests that the API server fills in: from limits, and at pod level from both.
/// Source: `pkg/apis/core/v1/defaults.go` `SetDefaults_Pod`.
pub(crate) fn with_defaults(spec: &api::PodSpec) -> Cow<'_, api::PodSpec> {
    let lacks_requests = |resources: &api::Requirements| {
        resources
            .limits
            .0
            .iter()
            .any(|(name, _)| request_of(resources, name).is_none())
    };
    let containers_lack = spec
        .containers
        .iter()
        .chain(&spec.init_containers)
        .any(|container| lacks_requests(&container.resources));
    if !containers_lack && spec.resources.is_none() {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
        fill_from_limits(&mut container.resources, |_| true);
    }
    let effective = aggregate(&spec, |container, _| spec_requests(container));
    if let Some(pod_level) = &mut spec.resources
        && (pod_level.requests.is_some() || !pod_level.limits.0.is_empty())
    {
        let requests = &mut pod_level.requests.get_or_insert_default().0;
        for (name, amount) in supported(&effective) {
            if requests.get(name).is_none() {
                requests.insert(name.clone(), amount);
            }
        }
        fill_from_limits(pod_level, is_supported_at_pod_level);
    }
    Cow::Owned(spec)
}

fn request_of(resources: &api::Requirements, name: &str) -> Option<Quantity> {
    resources.requests.as_ref().and_then(|r| r.0.get(name))
}

fn fill_from_limits(resources: &mut api::Requirements, is_wanted: impl Fn(&str) -> bool) {
    for (name, amount) in resources.limits.0.iter() {
        let known = resources.requests.as_ref().and_then(|r| r.0.get(name));
        if known.is_none() && is_wanted(name) {
            resources
                .requests
                .get_or_insert_default()
                .0
                .insert(name.clone(), amount);
        }
    }
}

fn spec_requests(container: &api::Container) -> Cow<'_, ResourceList> {
    container
        .resources
        .requests
        .as_ref()
        .map_or_else(nothing, |requests| Cow::Borrowed(&requests.0))
}

fn nothing<'a>() -> Cow<'a, ResourceList> {
    Cow::Owned(ResourceList::default())
}

/// Which of a pod's containers a list is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    App,
    Sidecar,
    Init,
}

/// Sums app containers and sidecars, and raises the sum to the peak while init containers run.
/// Source: `AggregateContainerRequests`.
fn aggregate<'a>(
    spec: &'a api::PodSpec,
    requests: impl Fn(&'a api::Container, Role) -> Cow<'a, ResourceList>,
) -> ResourceList {
    let mut app = ResourceList::default();
    for container in &spec.containers {
        app.add(&requests(container, Role::App));
    }
    let mut sidecars = ResourceList::default();
    let mut init_peak = ResourceList::default();
    for container in &spec.init_containers {
        if container.restart_policy == "Always" {
            let own = requests(container, Role::Sidecar);
            app.add(&own);
            sidecars.add(&own);
            init_peak.raise_to(&sidecars);
        } else {
            let mut in_use = requests(container, Role::Init).into_owned();
            in_use.add(&sidecars);
            init_peak.raise_to(&in_use);
        }
    }
    app.raise_to(&init_peak);
    app
}

fn status_of<'a>(pod: &'a api::Pod, name: &str, role: Role) -> Option<&'a api::ContainerStatus> {
    let statuses = match role {
        Role::App => &pod.status.container_statuses,
        Role::Sidecar | Role::Init => &pod.status.init_container_statuses,
    };
    statuses.iter().find(|status| status.name == name)
}

fn is_resize_infeasible(pod: &api::Pod) -> bool {
    pod.status
        .conditions
        .iter()
        .find(|condition| condition.kind == "PodResizePending")
        .is_some_and(|condition| condition.reason == "Infeasible")
}

/// 1.36: the maximum is taken container by container.
fn on_node_by_container(pod: &api::Pod) -> ResourceList {
    let is_infeasible = is_resize_infeasible(pod);
    aggregate(&pod.spec, |container, role| {
        let own = spec_requests(container);
        let status = match role {
            Role::Init => None,
            Role::App | Role::Sidecar => status_of(pod, &container.name, role),
        };
        let Some(status) = status else {
            return own;
        };
        let Some(resources) = &status.resources else {
            return own;
        };
        let mut most = if is_infeasible {
            ResourceList::default()
        } else {
            own.into_owned()
        };
        raise(&mut most, resources.requests.as_ref());
        raise(&mut most, status.allocated_resources.as_ref());
        Cow::Owned(most)
    })
}

fn raise(list: &mut ResourceList, other: Option<&api::Amounts>) {
    if let Some(other) = other {
        list.raise_to(&other.0);
    }
}

/// 1.37: the maximum of three whole-pod sums.
fn on_node_by_sums(pod: &api::Pod) -> ResourceList {
    let is_infeasible = is_resize_infeasible(pod);
    let in_spec = aggregate(&pod.spec, |container, _| spec_requests(container));
    let fallback = |container| {
        if is_infeasible {
            nothing()
        } else {
            spec_requests(container)
        }
    };
    let status = &pod.status;
    let pod_actuated = status.resources.as_ref().and_then(|r| r.requests.as_ref());
    let (allocated, actuated) = match (&status.allocated_resources, pod_actuated) {
        (Some(allocated), Some(actuated)) => (allocated.0.clone(), actuated.0.clone()),
        _ => (
            aggregate(&pod.spec, |container, role| {
                status_of(pod, &container.name, role)
                    .and_then(|status| status.allocated_resources.as_ref())
                    .map_or_else(|| fallback(container), |list| Cow::Borrowed(&list.0))
            }),
            aggregate(&pod.spec, |container, role| {
                status_of(pod, &container.name, role)
                    .and_then(|status| {
                        let actuated = status.resources.as_ref().and_then(|r| r.requests.as_ref());
                        actuated.or(status.allocated_resources.as_ref())
                    })
                    .map_or_else(|| fallback(container), |list| Cow::Borrowed(&list.0))
            }),
        ),
    };
    let mut most = if is_infeasible {
        ResourceList::default()
    } else {
        in_spec
    };
    most.raise_to(&actuated);
    most.raise_to(&allocated);
    most
}

fn pod_level_on_node(pod: &api::Pod, in_spec: &ResourceList) -> ResourceList {
    let Some(resources) = &pod.status.resources else {
        return in_spec.clone();
    };
    let mut most = if is_resize_infeasible(pod) {
        ResourceList::default()
    } else {
        in_spec.clone()
    };
    raise(&mut most, resources.requests.as_ref());
    raise(&mut most, pod.status.allocated_resources.as_ref());
    most
}

fn is_supported_at_pod_level(name: &str) -> bool {
    name == "cpu" || name == "memory" || name.starts_with("hugepages-")
}

fn is_pod_level_set(list: &ResourceList) -> bool {
    supported(list).next().is_some()
}

fn supported(list: &ResourceList) -> impl Iterator<Item = (&windlass_model::SmolStr, Quantity)> {
    list.iter()
        .filter(|(name, _)| is_supported_at_pod_level(name))
}

fn finish(mut total: ResourceList, spec: &api::PodSpec) -> Resources {
    total.add(&spec.overhead.0);
    Resources {
        pods: 0,
        ..Resources::from_list(&total)
    }
}
