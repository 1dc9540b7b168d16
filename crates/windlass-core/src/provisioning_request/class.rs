//! Which requests are this autoscaler's to handle. Source: `pkg/provisioningrequest`.

use windlass_model::ProvisioningRequest;

pub(super) const CHECK_CAPACITY: &str = "check-capacity.autoscaling.x-k8s.io";
pub(super) const BEST_EFFORT_ATOMIC: &str = "best-effort-atomic-scale-up.autoscaling.x-k8s.io";

/// The parameter that says whose a check-capacity request is.
const PROCESSOR_INSTANCE: &str = "processorInstance";
/// The parameter that says that a check-capacity request is tried once.
const NO_RETRY: &str = "noRetry";

/// What is done about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Is there room for all of its pods? No node is added.
    CheckCapacity,
    /// Room for all of its pods is made at once, or none.
    BestEffortAtomic,
}

/// The class of a request that an autoscaler with this `--check-capacity-processor-instance`
/// handles; `None` for one that is somebody else's.
pub(crate) fn class_of(request: &ProvisioningRequest, instance: &str) -> Option<Class> {
    let class = request.class.as_str();
    if class == BEST_EFFORT_ATOMIC {
        return instance.is_empty().then_some(Class::BestEffortAtomic);
    }
    let wanted = request.parameters.get(PROCESSOR_INSTANCE);
    let wanted = wanted.map_or("", |value| value.as_str());
    let is_ours = match (instance.is_empty(), wanted.is_empty()) {
        (true, true) => class == CHECK_CAPACITY,
        (false, false) => wanted == instance && class == CHECK_CAPACITY,
        // The older way: the instance stands before the class.
        (false, true) => class.strip_prefix(instance) == Some(CHECK_CAPACITY),
        (true, false) => false,
    };
    is_ours.then_some(Class::CheckCapacity)
}

/// Whether the request fails for good where there is no room. Anything but `true` means no.
pub(super) fn is_tried_once(request: &ProvisioningRequest) -> bool {
    request
        .parameters
        .get(NO_RETRY)
        .is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use windlass_model::Labels;

    use super::*;
    use crate::provisioning_request::tests::request;

    fn of(class: &str, parameter: Option<&str>, instance: &str) -> Option<Class> {
        let parameters: Labels = parameter
            .map(|value| (PROCESSOR_INSTANCE, value))
            .into_iter()
            .collect();
        let request = ProvisioningRequest {
            class: class.into(),
            parameters,
            ..request("r")
        };
        class_of(&request, instance)
    }

    #[test]
    fn best_effort_atomic_is_handled_without_an_instance_only() {
        let class = BEST_EFFORT_ATOMIC;
        assert_eq!(of(class, None, ""), Some(Class::BestEffortAtomic));
        assert_eq!(of(class, None, "one"), None);
    }

    #[test]
    fn check_capacity_is_the_instance_s_that_it_names() {
        let check = Some(Class::CheckCapacity);
        assert_eq!(of(CHECK_CAPACITY, None, ""), check);
        assert_eq!(of(CHECK_CAPACITY, Some("one"), ""), None);
        assert_eq!(of(CHECK_CAPACITY, Some("one"), "one"), check);
        assert_eq!(of(CHECK_CAPACITY, Some("two"), "one"), None);
        assert_eq!(of(CHECK_CAPACITY, None, "one"), None);
    }

    #[test]
    fn an_instance_before_the_class_counts_where_no_parameter_says_otherwise() {
        let prefixed = format!("one{CHECK_CAPACITY}");
        assert_eq!(of(&prefixed, None, "one"), Some(Class::CheckCapacity));
        assert_eq!(of(&prefixed, None, ""), None);
        assert_eq!(of(&prefixed, Some("one"), "one"), None);
    }

    #[test]
    fn other_classes_are_somebody_else_s() {
        assert_eq!(of("queued-provisioning.gke.io", None, ""), None);
    }

    #[test]
    fn only_the_word_true_means_to_try_once() {
        let with = |value: &str| ProvisioningRequest {
            parameters: [(NO_RETRY, value)].into_iter().collect(),
            ..request("r")
        };
        assert!(is_tried_once(&with("true")));
        for value in ["false", "True", "1", ""] {
            assert!(!is_tried_once(&with(value)), "{value}");
        }
        assert!(!is_tried_once(&request("r")));
    }
}
