use serde::Deserialize;

use windlass_model::{SmolStr, Timestamp};

use super::Strings;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    pub name: SmolStr,
    pub namespace: SmolStr,
    pub uid: SmolStr,
    pub resource_version: SmolStr,
    pub generation: i64,
    pub labels: Strings,
    pub annotations: Strings,
    pub owner_references: Vec<OwnerReference>,
    pub creation_timestamp: Option<Timestamp>,
    pub deletion_timestamp: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OwnerReference {
    pub api_version: SmolStr,
    pub kind: SmolStr,
    pub name: SmolStr,
    pub uid: SmolStr,
    pub controller: bool,
}
