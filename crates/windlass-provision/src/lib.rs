//! Launch templates, groups, IAM, SSM and images; user data; manifests.

pub mod cluster_config;
pub mod cluster_info;
pub mod document;
pub mod manifests;
pub mod pin;
pub mod rotation;
pub mod token;
pub mod userdata;
