//! AWS resources of a cluster's node groups: what they should be, what they are, and the steps
//! from one to the other.
//!
//! [`desired`] turns a configuration into [`Resource`]s, [`observe`] reads the same from AWS, and
//! [`plan`] compares them: all it does is data. [`execute`] carries a plan out, each step so that
//! doing it again does nothing, and so a run that ended anywhere is finished by the next.
//!
//! There is no state file. A resource is found by its name and is ours by its tag
//! [`OWNER_TAG`]; whatever does not carry it is never changed and never deleted.

pub mod advice;
mod alike;
pub mod builder;
pub mod desired;
mod diff;
pub mod execute;
pub mod export;
pub mod import;
pub mod lock;
pub mod observe;
pub mod plan;
mod policies;
pub mod prune;
pub mod refresh;
mod resource;
pub mod roll;
pub mod security_group;

pub use resource::{
    Grant, Group, Hook, Key, LaunchConfiguration, LaunchTemplate, Mixed, NodeRole, Parameter,
    Profile, Resource, ResourceId, ResourceKind, SecurityGroup, Tags,
};

/// The tag that says which cluster a resource belongs to.
pub const OWNER_TAG: &str = "windlass.dev/cluster";
/// The tag that says what a key is for.
pub const KEY_TAG: &str = "windlass.dev/key";
/// Value of [`KEY_TAG`] for the key of the join credential.
pub const JOIN_KEY: &str = "join";
/// The tag that says which node group a resource belongs to.
pub const GROUP_TAG: &str = "windlass.dev/group";
/// The tag of a group that says which launch configuration it had before its launch template.
pub const FORMER_TAG: &str = "windlass.dev/migrated-from";
