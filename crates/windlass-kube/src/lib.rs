//! The API server: what is read from it and what is written to it.
//!
//! Writing: taints ([`nodes`]), evictions
//! ([`evict`]), events ([`EventRecorder`]), the status `ConfigMap` ([`StatusWriter`]) and the
//! lease ([`lease`]).
//!
//! The crate refuses to know why anything is written: no decision is made here. Objects are
//! turned into the model as they arrive; what no decision reads is never kept.

mod api;
mod connect;
mod events;
mod evict;
pub mod lease;
mod limiter;
pub mod nodes;
mod status;

pub use api::{Api, ApiError};
pub use connect::{ConnectError, ConnectOptions, connect};
pub use events::{EventRecord, EventRecorder, EventSeverity, InvolvedObject, RecorderOptions};
pub use evict::{Eviction, evict};
pub use status::{StatusConfigMap, StatusWriter};
