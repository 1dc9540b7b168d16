//! The API server: what is read from it and what is written to it.
//!
//! Reading: [`ClusterStore`] keeps the model of the cluster up to date from watches and says
//! how far it can be trusted ([`Freshness`]). Writing: taints ([`nodes`]), evictions
//! ([`evict`]), events ([`EventRecorder`]), the status `ConfigMap` ([`StatusWriter`]) and the
//! lease ([`lease`]).
//!
//! The crate refuses to know why anything is written: no decision is made here. Objects are
//! turned into the model as they arrive; what no decision reads is never kept.

mod api;
mod buffer_template;
mod changes;
mod connect;
mod events;
mod evict;
pub mod lease;
mod limiter;
mod newcomers;
pub mod nodes;
mod registered;
mod status;
mod statuses;
mod store;
mod watch;

pub use api::{Api, ApiError};
pub use buffer_template::{BufferTemplate, write_buffer_template};
pub use changes::wait_for_change;
pub use connect::{ConnectError, ConnectOptions, Endpoint, connect, scheduler_version};
pub use events::{EventRecord, EventRecorder, EventSeverity, InvolvedObject, RecorderOptions};
pub use evict::{Eviction, evict};
pub use newcomers::newcomers;
pub use registered::registered;
pub use status::{StatusConfigMap, StatusWriter};
pub use statuses::{
    delete_provisioning_request, update_capacity_buffer, update_capacity_quota,
    update_provisioning_request,
};
pub use store::{ClusterStore, Freshness, OptionalFeatures, Wake, WakeReasons, WatchOptions};
