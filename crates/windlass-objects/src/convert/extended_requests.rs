//! Which devices stand for the extended resources that containers request.

use windlass_model::{ExtendedRequest, Quantity, SmolStr};

use crate::api;

/// An extended resource of this prefix is asked of the class that the rest names.
const CLASS_PREFIX: &str = "deviceclass.resource.kubernetes.io/";

/// One request for each container and extended resource. Init containers that end use what later
/// containers have, and of what they want besides the largest request does for all.
/// Source: `pkg/scheduler/framework/plugins/dynamicresources/extendeddynamicresources.go`
/// `createRequestsAndMappings`.
pub(super) fn extended_requests(spec: &api::PodSpec) -> Vec<ExtendedRequest> {
    let inits = spec.init_containers.iter();
    let containers: Vec<(&api::Container, Life)> = inits
        .map(|container| match container.restart_policy.as_str() {
            "Always" => (container, Life::Long),
            _ => (container, Life::Short),
        })
        .chain(
            spec.containers
                .iter()
                .map(|container| (container, Life::Long)),
        )
        .collect();
    let mut resources: Vec<&SmolStr> = containers
        .iter()
        .flat_map(|(container, _)| container.resources.requests.iter())
        .flat_map(|requests| requests.0.iter().map(|(name, _)| name))
        .filter(|name| is_extended(name))
        .collect();
    resources.sort_unstable();
    resources.dedup();
    let mut requests: Vec<ExtendedRequest> = resources
        .into_iter()
        .flat_map(|resource| requests_for(resource, &containers))
        .collect();
    requests.sort_unstable();
    requests
}

/// How long a container keeps its devices.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Until it has ended, which the next waits for.
    Short,
    /// As long as the pod.
    Long,
}

fn is_extended(resource: &str) -> bool {
    resource.starts_with(CLASS_PREFIX)
        || resource.contains('/') && !resource.contains("kubernetes.io/")
}

fn requests_for(
    resource: &SmolStr,
    containers: &[(&api::Container, Life)],
) -> Vec<ExtendedRequest> {
    let of_life = |life| {
        let all = containers.iter().enumerate();
        all.filter(move |(_, (_, own))| *own == life)
            .filter_map(move |(index, (container, _))| Some((index, count(container, resource)?)))
    };
    let long: Vec<(usize, i64)> = of_life(Life::Long).collect();
    let beyond_later = of_life(Life::Short).filter_map(|(index, wanted)| {
        let later = long.iter().filter(|(other, _)| *other >= index);
        let has = later.fold(0_i64, |sum, (_, count)| sum.saturating_add(*count));
        (has < wanted).then_some((index, wanted - has))
    });
    // The first of the largest.
    let short = beyond_later.reduce(|most, next| if most.1 < next.1 { next } else { most });
    let requests = short.into_iter().chain(long.iter().copied());
    requests
        .map(|(index, count)| ExtendedRequest {
            name: format!(
                "container-{index}-request-{}",
                place_of(resource, containers[index].0)
            )
            .into(),
            resource: resource.clone(),
            count,
        })
        .collect()
}

/// What the container requests of the resource, where that is a number of devices.
fn count(container: &api::Container, resource: &str) -> Option<i64> {
    let amount = container.resources.requests.as_ref()?.0.get(resource)?;
    let units = amount.units_ceil();
    (units != 0 && Quantity::from_units(units) == amount).then_some(units)
}

/// The place of the resource among all that the container requests, by name.
fn place_of(resource: &str, container: &api::Container) -> usize {
    let requests = container.resources.requests.iter();
    let names = requests.flat_map(|requests| requests.0.iter().map(|(name, _)| name));
    names.filter(|name| name.as_str() < resource).count()
}
