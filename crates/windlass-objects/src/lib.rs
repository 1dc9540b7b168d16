//! Kubernetes objects to the model: from the live API, from YAML or JSON files, from test vectors.
//!
//! Three steps, each usable alone. [`read_documents`] splits text into [`Document`]s. [`decode`]
//! reads one of them as an [`api`] type, which holds what is ever looked at of a kind, and names
//! the field that is wrong. A [`Converter`] turns `api` types into `windlass_model` values; it
//! cannot fail, and shares what is equal among pods.
//!
//! ```
//! use windlass_objects::{Converter, Origin, api, decode};
//!
//! let pod: api::Pod = decode(serde_json::json!({
//!     "metadata": {"name": "web-0"},
//!     "spec": {"containers": [{"resources": {"limits": {"cpu": "250m"}}}]},
//! }))?;
//! let mut converter = Converter::new(Default::default(), Origin::Scenario);
//! assert_eq!(converter.pod(&pod).shape.requests.milli_cpu, 250);
//! # Ok::<(), windlass_objects::FieldError>(())
//! ```
//!
//! The crate refuses to know the network, the clock and the types of a Kubernetes client.

pub mod api;
mod convert;
mod digest;
mod document;
mod requests;

pub use convert::{Converter, Origin};
pub use document::{Document, DocumentError, FieldError, Identity, decode, read_documents};
