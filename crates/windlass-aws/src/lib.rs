//! Auto Scaling groups as node groups; instance types and prices.
//!
//! The shell asks [`Aws`] for the groups and has it act on them. What AWS says is taken apart in
//! modules without I/O, each tested by itself: which groups are the cluster's ([`discovery`]),
//! what a group is ([`group`], [`groups`]), what its tags say ([`tags`]), why launches fail
//! ([`activity`]), when AWS is asked again ([`schedule`]), what people should know ([`condition`]).
//!
//! The crate refuses to know pods, the Kubernetes API and any policy: it says what is, and does
//! what it is told as long as no instance dies that was not named.

pub mod activity;
pub mod arrival;
mod aws;
pub mod cloud_config;
pub mod condition;
pub mod discovery;
pub mod group;
pub mod groups;
pub mod instance_type;
pub mod launch;
pub mod lifecycle;
mod memo;
pub mod price;
pub mod provider_id;
pub mod schedule;
pub mod shortage;
pub mod tags;
pub mod template;
pub mod user_data;

pub use aws::{
    ActionError, ActionSettings, Aws, Cancellation, Deletion, Floor, GroupExplanation, Happened,
    Increase, PostponedBecause, RefreshReport, Settings, TemplateSettings, Termination,
};
pub use discovery::Membership;
pub use groups::Presence;
pub use provider_id::ProviderId;
