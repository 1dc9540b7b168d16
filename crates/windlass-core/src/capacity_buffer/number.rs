//! How many pods a buffer is. Source: `pkg/capacitybuffer/translators`,
//! `pkg/capacitybuffer/controller/resourcequotas.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::{
    ObjectName, PodShape, Quantity, QuotaScope, ResourceList, ResourceQuota, Resources, SmolStr,
};

/// Why the number cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NumberError {
    #[error("resources in configured limits not found in the pod template")]
    LimitsOfOtherResources,
    #[error("replicas, percentage and limits are not defined")]
    NothingDefined,
}

/// What a buffer says of its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) replicas: Option<i64>,
    pub(super) percentage: Option<i64>,
    pub(super) limits: Option<&'a ResourceList>,
    /// How many pods the scalable object has, where there is one.
    pub(super) object_replicas: Option<i64>,
}

/// The larger of the number and the share, as far as the limits allow; what they allow where
/// neither is said.
pub(super) fn number(wanted: Wanted<'_>, requests: &Resources) -> Result<i64, NumberError> {
    let share = wanted
        .percentage
        .zip(wanted.object_replicas)
        .map(|(percentage, replicas)| share_of(percentage, replicas));
    let number = wanted.replicas.max(share);
    let allowed = match wanted.limits {
        Some(limits) if !limits.is_empty() => Some(allowed_by(limits, requests)?),
        _ => None,
    };
    match (number, allowed) {
        (None, None) => Err(NumberError::NothingDefined),
        (Some(number), Some(allowed)) => Ok(number.min(allowed)),
        (Some(number), None) => Ok(number),
        (None, Some(allowed)) => Ok(allowed),
    }
}

/// So many percent, rounded up.
fn share_of(percentage: i64, replicas: i64) -> i64 {
    if percentage <= 0 || replicas <= 0 {
        return 0;
    }
    let whole = i128::from(percentage) * i128::from(replicas);
    i64::try_from((whole + 99) / 100).unwrap_or(i64::MAX)
}

fn allowed_by(limits: &ResourceList, requests: &Resources) -> Result<i64, NumberError> {
    limits
        .iter()
        .filter_map(|(name, limit)| {
            let request = millis(requests, name)?;
            Some(limit.millis_ceil() / request)
        })
        .min()
        .ok_or(NumberError::LimitsOfOtherResources)
}

/// What is requested of a resource, in thousandths; `None` for nothing.
fn millis(requests: &Resources, name: &str) -> Option<i64> {
    let whole = match name {
        "cpu" => return Some(requests.milli_cpu).filter(|millis| *millis > 0),
        "memory" => requests.memory_bytes,
        "ephemeral-storage" => requests.ephemeral_storage_bytes,
        other => requests.scalar(other)?,
    };
    Some(whole.saturating_mul(1000)).filter(|millis| *millis > 0)
}

/// The quotas of namespaces, and what buffers have been granted of each so far.
pub(super) struct Quotas<'a> {
    quotas: &'a [Arc<ResourceQuota>],
    /// In thousandths, by quota and resource.
    granted: BTreeMap<(&'a ObjectName, &'a SmolStr), i64>,
}

impl<'a> Quotas<'a> {
    pub(super) fn new(quotas: &'a [Arc<ResourceQuota>]) -> Self {
        Self {
            quotas,
            granted: BTreeMap::new(),
        }
    }

    /// Grants as many of so many pods as the quotas leave room for; with the names of those that
    /// leave none for the rest.
    pub(super) fn grant(&mut self, shape: &PodShape, wanted: i64) -> (i64, Vec<SmolStr>) {
        let quotas: Vec<&'a ResourceQuota> = self
            .quotas
            .iter()
            .map(AsRef::as_ref)
            .filter(|quota| quota.name.namespace == shape.namespace)
            .filter(|quota| quota.scopes.iter().all(|scope| matches(scope, shape)))
            .collect();
        let mut granted = wanted;
        let mut limiting = Vec::new();
        for quota in &quotas {
            let fit = self.room(quota, shape);
            if fit.is_some_and(|fit| fit < wanted) {
                limiting.push(quota.name.name.clone());
            }
            granted = granted.min(fit.unwrap_or(wanted));
        }
        for quota in quotas {
            for (name, _) in quota.hard.iter() {
                if let Some(request) = millis(&shape.requests, plain_name(name)) {
                    let sum = self.granted.entry((&quota.name, name)).or_default();
                    *sum = sum.saturating_add(request.saturating_mul(granted));
                }
            }
        }
        (granted, limiting)
    }

    /// For how many pods a quota leaves room; `None` if it does not limit what they request.
    fn room(&self, quota: &'a ResourceQuota, shape: &PodShape) -> Option<i64> {
        quota
            .hard
            .iter()
            .filter_map(|(name, hard)| {
                let request = millis(&shape.requests, plain_name(name))?;
                let used = quota.used.get(name).map_or(0, Quantity::millis_ceil);
                let granted = self.granted.get(&(&quota.name, name)).copied();
                let left = hard.millis_ceil() - used - granted.unwrap_or(0);
                Some((left / request).max(0))
            })
            .min()
    }
}

/// A quota names what is requested of cpu as `cpu` or as `requests.cpu`.
fn plain_name(name: &str) -> &str {
    name.strip_prefix("requests.").unwrap_or(name)
}

/// Whether a scope takes in a pod that runs on. Source: `pkg/quota/v1/evaluator/core/pods.go` of
/// Kubernetes.
fn matches(scope: &QuotaScope, shape: &PodShape) -> bool {
    let is_best_effort = shape.requests.milli_cpu == 0 && shape.requests.memory_bytes == 0;
    match scope.name.as_str() {
        "NotTerminating" => true,
        "BestEffort" => is_best_effort,
        "NotBestEffort" => !is_best_effort,
        "PriorityClass" => {
            let class = &shape.priority_class_name;
            match scope.operator.as_str() {
                "In" => scope.values.contains(class),
                "NotIn" => !scope.values.contains(class),
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => {
            let constraints = &shape.constraints;
            let terms = constraints
                .affinity
                .iter()
                .chain(&constraints.anti_affinity)
                .chain(&constraints.preferred_affinity)
                .chain(&constraints.preferred_anti_affinity);
            terms
                .into_iter()
                .any(|term| !term.namespaces.is_empty() || term.namespace_selector.is_some())
        }
        // `Terminating` among them: a buffer's pods have no end.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Wanted<'static> = Wanted {
        replicas: None,
        percentage: None,
        limits: None,
        object_replicas: None,
    };

    /// Half a core and a GiB.
    fn requests() -> Resources {
        Resources {
            milli_cpu: 500,
            memory_bytes: 1 << 30,
            ..Resources::default()
        }
    }

    fn list(amounts: &[(&str, &str)]) -> ResourceList {
        let parse = |text: &str| text.parse::<Quantity>().unwrap();
        let amounts = amounts.iter().map(|(name, text)| (*name, parse(text)));
        amounts.collect()
    }

    #[test]
    fn the_number_is_what_is_said() {
        let wanted = Wanted {
            replicas: Some(3),
            ..NOTHING
        };
        assert_eq!(number(wanted, &requests()), Ok(3));
        assert_eq!(
            number(NOTHING, &requests()),
            Err(NumberError::NothingDefined)
        );
    }

    #[test]
    fn the_larger_of_number_and_share_counts_and_a_share_is_rounded_up() {
        let wanted = |replicas, percentage| Wanted {
            replicas,
            percentage: Some(percentage),
            object_replicas: Some(11),
            ..NOTHING
        };
        assert_eq!(number(wanted(None, 20), &requests()), Ok(3));
        assert_eq!(number(wanted(Some(5), 20), &requests()), Ok(5));
        assert_eq!(number(wanted(Some(2), 20), &requests()), Ok(3));
        assert_eq!(number(wanted(None, 0), &requests()), Ok(0));
        // Without a scalable object a share says nothing.
        let alone = Wanted {
            percentage: Some(20),
            ..NOTHING
        };
        assert_eq!(number(alone, &requests()), Err(NumberError::NothingDefined));
    }

    #[test]
    fn limits_cap_the_number_by_the_scarcest_resource() {
        let limits = list(&[("cpu", "2"), ("memory", "3Gi"), ("nvidia.com/gpu", "1")]);
        let wanted = |replicas| Wanted {
            replicas,
            limits: Some(&limits),
            ..NOTHING
        };
        assert_eq!(number(wanted(None), &requests()), Ok(3));
        assert_eq!(number(wanted(Some(2)), &requests()), Ok(2));
        assert_eq!(number(wanted(Some(9)), &requests()), Ok(3));
    }

    #[test]
    fn limits_of_what_the_pods_do_not_request_are_a_mistake() {
        let limits = list(&[("nvidia.com/gpu", "1")]);
        let wanted = Wanted {
            replicas: Some(2),
            limits: Some(&limits),
            ..NOTHING
        };
        assert_eq!(
            number(wanted, &requests()),
            Err(NumberError::LimitsOfOtherResources)
        );
    }

    fn quota(name: &str, hard: &[(&str, &str)], used: &[(&str, &str)]) -> ResourceQuota {
        ResourceQuota {
            name: ObjectName::new("default", name),
            scopes: Vec::new(),
            hard: list(hard),
            used: list(used),
        }
    }

    fn shape() -> PodShape {
        PodShape {
            namespace: "default".into(),
            requests: requests(),
            ..PodShape::default()
        }
    }

    #[test]
    fn a_namespace_s_quota_limits_what_is_left_and_buffers_share_it() {
        let quotas = [
            Arc::new(quota(
                "a",
                &[("requests.cpu", "4")],
                &[("requests.cpu", "1")],
            )),
            Arc::new(quota("b", &[("memory", "100Gi"), ("pods", "1")], &[])),
        ];
        let mut quotas = Quotas::new(&quotas);
        assert_eq!(quotas.grant(&shape(), 4), (4, Vec::new()));
        assert_eq!(quotas.grant(&shape(), 4), (2, vec!["a".into()]));
        assert_eq!(quotas.grant(&shape(), 1), (0, vec!["a".into()]));
    }

    #[test]
    fn a_quota_that_is_overdrawn_leaves_nothing() {
        let quotas = [Arc::new(quota("a", &[("cpu", "1")], &[("cpu", "3")]))];
        assert_eq!(
            Quotas::new(&quotas).grant(&shape(), 4),
            (0, vec!["a".into()])
        );
    }

    #[test]
    fn another_namespace_s_quota_does_not_count() {
        let elsewhere = ResourceQuota {
            name: ObjectName::new("elsewhere", "a"),
            ..quota("a", &[("cpu", "0")], &[])
        };
        let quotas = [Arc::new(elsewhere)];
        assert_eq!(Quotas::new(&quotas).grant(&shape(), 4), (4, Vec::new()));
    }

    #[test]
    fn scopes_say_which_pods_a_quota_counts() {
        let scope = |name: &str, operator: &str, values: &[&str]| QuotaScope {
            name: name.into(),
            operator: operator.into(),
            values: values.iter().map(|value| SmolStr::new(*value)).collect(),
        };
        let plain = |name: &str| matches(&scope(name, "Exists", &[]), &shape());
        assert!(!plain("Terminating") && plain("NotTerminating"));
        assert!(!plain("BestEffort") && plain("NotBestEffort"));
        assert!(!plain("PriorityClass") && !plain("CrossNamespacePodAffinity"));
        let batch = PodShape {
            priority_class_name: "batch".into(),
            ..shape()
        };
        let of = |operator: &str, values: &[&str]| {
            matches(&scope("PriorityClass", operator, values), &batch)
        };
        assert!(of("In", &["batch"]) && !of("In", &["web"]));
        assert!(of("NotIn", &["web"]) && !of("NotIn", &["batch"]));
        assert!(of("Exists", &[]) && !of("DoesNotExist", &[]));
    }
}
