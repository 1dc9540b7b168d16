//! The objects of the optional features, each watched only where its feature is on.

use std::sync::Arc;

use windlass_model::ObjectName;
use windlass_objects::api::{self, Metadata};

use super::resources::{Deployment, Spawner, Watched};
use super::{Inner, WakeReasons};

/// Which optional features are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionalFeatures {
    /// `ProvisioningRequest`s, and the templates of their pods.
    pub provisioning_requests: bool,
    /// `CapacityBuffer`s, and what they may refer to.
    pub capacity_buffers: bool,
    /// `CapacityQuota`s.
    pub capacity_quotas: bool,
}

/// Begins to watch what the features look at.
pub(super) fn spawn(spawn: &mut Spawner<'_>, features: OptionalFeatures) {
    let OptionalFeatures {
        provisioning_requests,
        capacity_buffers,
        capacity_quotas,
    } = features;
    if provisioning_requests || capacity_buffers {
        spawn.all::<api::PodTemplateObject>("/api/v1/podtemplates");
    }
    if provisioning_requests {
        let path = "/apis/autoscaling.x-k8s.io/v1/provisioningrequests";
        spawn.all::<api::ProvisioningRequest>(path);
    }
    if capacity_buffers {
        spawn.all::<api::CapacityBuffer>("/apis/autoscaling.x-k8s.io/v1beta1/capacitybuffers");
        spawn.all::<api::ResourceQuota>("/api/v1/resourcequotas");
        spawn.all::<Deployment>("/apis/apps/v1/deployments");
    }
    if capacity_quotas {
        spawn.all::<api::CapacityQuota>("/apis/autoscaling.x-k8s.io/v1beta1/capacityquotas");
    }
}

/// A resource that a decision may wait for: kept in a map, and each change wakes.
macro_rules! feature {
    ($Type:ty, $name:literal, $missing:expr, $method:ident => $map:ident) => {
        impl Watched for $Type {
            const NAME: &'static str = $name;
            const IS_OPTIONAL: bool = true;
            const WHEN_MISSING: Option<&'static str> = $missing;

            fn metadata(&self) -> &Metadata {
                &self.metadata
            }

            fn insert(self, name: ObjectName, inner: &mut Inner) -> WakeReasons {
                let object = Arc::new(inner.converter.$method(&self));
                match inner.$map.insert(name, Arc::clone(&object)) {
                    Some(earlier) if earlier == object => WakeReasons::default(),
                    _ => WakeReasons::FEATURE,
                }
            }

            fn remove(name: &ObjectName, inner: &mut Inner) -> WakeReasons {
                match inner.$map.remove(name) {
                    Some(_) => WakeReasons::FEATURE,
                    None => WakeReasons::default(),
                }
            }

            fn names(inner: &Inner) -> Vec<ObjectName> {
                inner.$map.keys().cloned().collect()
            }
        }
    };
}

feature!(
    api::PodTemplateObject, "podtemplates", None,
    pod_template => pod_templates
);
feature!(
    api::ProvisioningRequest, "provisioningrequests",
    Some("--enable-provisioning-requests does nothing until the CustomResourceDefinition \
          provisioningrequests.autoscaling.x-k8s.io (version v1) is installed"),
    provisioning_request => provisioning_requests
);
feature!(
    api::CapacityBuffer, "capacitybuffers",
    Some("CapacityBuffers do nothing until the CustomResourceDefinition \
          capacitybuffers.autoscaling.x-k8s.io (version v1beta1) is installed"),
    capacity_buffer => capacity_buffers
);
feature!(
    api::CapacityQuota, "capacityquotas",
    Some("--capacity-quotas-enabled does nothing until the CustomResourceDefinition \
          capacityquotas.autoscaling.x-k8s.io (version v1beta1) is installed"),
    capacity_quota => capacity_quotas
);
feature!(
    api::ResourceQuota, "resourcequotas", None,
    resource_quota => resource_quotas
);
