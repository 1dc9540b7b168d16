//! What is read of each Kubernetes kind, in the shape of the API's JSON. Fields that no decision
//! and no simulated controller reads are not here; decoding skips them.
//!
//! Field names and meanings are those of the Kubernetes API, so the fields carry no comments of
//! their own.
#![expect(
    missing_docs,
    reason = "every field has the name and meaning of the Kubernetes API's"
)]

mod devices;
mod extras;
mod meta;
mod node;
mod pod;
mod selector;
mod storage;
mod values;
mod workload;

pub use devices::*;
pub use extras::*;
pub use meta::*;
pub use node::*;
pub use pod::*;
pub use selector::*;
pub use storage::*;
pub use values::*;
pub use workload::*;
