use serde::{Deserialize, Serialize};
use windlass_model::{
    BufferStatus, ObjectName, QuotaStatus, SmolStr, StatusCondition, TemplateSource,
};

/// What is written to the objects of the optional features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ObjectWrite {
    /// Write conditions of a `ProvisioningRequest`; others of its conditions stay.
    UpdateProvisioningRequest {
        /// The request.
        request: ObjectName,
        /// Its uid, so that a namesake is left alone.
        uid: SmolStr,
        /// The conditions.
        conditions: Vec<StatusCondition>,
    },
    /// Write the template of a `CapacityBuffer`'s pods.
    WriteBufferTemplate {
        /// The buffer.
        buffer: ObjectName,
        /// The buffer's uid: the buffer owns its template.
        uid: SmolStr,
        /// The template's name, in the buffer's namespace.
        template: SmolStr,
        /// What it is made from.
        source: TemplateSource,
        /// The value of the annotation [`crate::capacity_buffer::SOURCE_ANNOTATION`].
        source_mark: SmolStr,
        /// The API server completes the pod by a dry run, except one that exists.
        dry_run: bool,
    },
    /// Write the status of a `CapacityBuffer`.
    UpdateCapacityBuffer {
        /// The buffer.
        buffer: ObjectName,
        /// Its uid, so that a namesake is left alone.
        uid: SmolStr,
        /// The status.
        status: BufferStatus,
    },
    /// Write the status of a `CapacityQuota`.
    UpdateCapacityQuota {
        /// The quota.
        quota: SmolStr,
        /// Its uid, so that a namesake is left alone.
        uid: SmolStr,
        /// The status.
        status: QuotaStatus,
    },
    /// Delete a `ProvisioningRequest` that was answered long ago.
    DeleteProvisioningRequest {
        /// The request.
        request: ObjectName,
        /// Its uid, so that a namesake is left alone.
        uid: SmolStr,
    },
}
