//! Launch templates, groups, IAM, SSM and images; user data; manifests.

pub mod ami;
pub mod cluster_config;
pub mod cluster_info;
pub mod csr;
pub mod document;
pub mod iam;
pub mod join;
pub mod labels;
pub mod manifests;
mod patience;
pub mod pin;
pub mod provision;
pub mod rotation;
pub mod token;
pub mod userdata;
