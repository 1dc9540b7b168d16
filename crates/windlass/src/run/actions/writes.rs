//! Writes the objects of the optional features.

use windlass_core::ObjectWrite;
use windlass_core::capacity_buffer::SOURCE_ANNOTATION;
use windlass_kube::{Api, ApiError, BufferTemplate};

/// Writes it. A request's answer is waited for; nobody waits for the rest.
pub(super) async fn perform(api: &Api, write: &ObjectWrite) -> Result<(), ApiError> {
    match write {
        ObjectWrite::UpdateProvisioningRequest {
            request,
            uid,
            conditions,
        } => windlass_kube::update_provisioning_request(api, request, uid, conditions).await,
        ObjectWrite::DeleteProvisioningRequest { request, uid } => {
            api.wait_for_leave().await;
            windlass_kube::delete_provisioning_request(api, request, uid).await?;
            Ok(())
        }
        ObjectWrite::WriteBufferTemplate {
            buffer,
            uid,
            template,
            source,
            source_mark,
            dry_run,
        } => {
            api.wait_for_leave().await;
            let template = BufferTemplate {
                buffer,
                buffer_uid: uid,
                name: template,
                source,
                annotation: (SOURCE_ANNOTATION, source_mark),
                dry_run: *dry_run,
            };
            windlass_kube::write_buffer_template(api, &template).await
        }
        ObjectWrite::UpdateCapacityBuffer {
            buffer,
            uid,
            status,
        } => {
            api.wait_for_leave().await;
            windlass_kube::update_capacity_buffer(api, buffer, uid, status).await
        }
        ObjectWrite::UpdateCapacityQuota { quota, uid, status } => {
            api.wait_for_leave().await;
            windlass_kube::update_capacity_quota(api, quota, uid, status).await
        }
    }
}
