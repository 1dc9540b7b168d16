//! Parameters that carry tags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Encryption, Ssm, TARGET};
use crate::error::{CallError, ErrorClass};
use crate::json::{self, Manner};
use crate::secret::Secret;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tags {
    #[serde(default)]
    tag_list: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreateInput<'a> {
    name: &'a str,
    value: &'a str,
    description: &'a str,
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    overwrite: bool,
    tags: Vec<Tag>,
}

impl Ssm<'_> {
    /// Creates a parameter with tags; says whether there was none of that name before.
    ///
    /// IAM: `ssm:PutParameter`, `ssm:AddTagsToResource`, and `kms:Encrypt` for an own key.
    pub async fn create_parameter(
        &self,
        name: &str,
        value: &Secret,
        description: &str,
        encryption: Option<Encryption<'_>>,
        tags: &BTreeMap<String, String>,
    ) -> Result<bool, CallError> {
        let input = CreateInput {
            name,
            value: value.expose(),
            description,
            kind: encryption.map_or("String", |_| "SecureString"),
            key_id: match encryption {
                Some(Encryption::Key(key)) => Some(key),
                Some(Encryption::AccountKey) | None => None,
            },
            overwrite: false,
            tags: tags
                .iter()
                .map(|(key, value)| Tag {
                    key: key.clone(),
                    value: value.clone(),
                })
                .collect(),
        };
        let created = self
            .client
            .observed("PutParameter", async {
                json::call::<serde_json::Value>(
                    self.client,
                    TARGET,
                    "PutParameter",
                    name,
                    Manner::WRITE,
                    &input,
                )
                .await
            })
            .await;
        match created {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ParameterAlreadyExists") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The tags of a parameter; none if there is none of that name.
    ///
    /// IAM: `ssm:ListTagsForResource`.
    pub async fn parameter_tags(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, CallError> {
        let tags = self
            .client
            .observed("ListTagsForResource", async {
                json::call::<Tags>(
                    self.client,
                    TARGET,
                    "ListTagsForResource",
                    name,
                    Manner::READ,
                    &serde_json::json!({ "ResourceType": "Parameter", "ResourceId": name }),
                )
                .await
            })
            .await;
        match tags {
            Ok(tags) => Ok(Some(
                tags.tag_list
                    .into_iter()
                    .map(|tag| (tag.key, tag.value))
                    .collect(),
            )),
            Err(error)
                if error.class() == ErrorClass::NotFound
                    || error.code() == Some("InvalidResourceId") =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sets tags of a parameter.
    ///
    /// IAM: `ssm:AddTagsToResource`.
    pub async fn tag_parameter(
        &self,
        name: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        let tags: Vec<Tag> = tags
            .iter()
            .map(|(key, value)| Tag {
                key: key.clone(),
                value: value.clone(),
            })
            .collect();
        self.client
            .observed("AddTagsToResource", async {
                let _: serde_json::Value = json::call(
                    self.client,
                    TARGET,
                    "AddTagsToResource",
                    name,
                    Manner::WRITE,
                    &serde_json::json!({
                        "ResourceType": "Parameter", "ResourceId": name, "Tags": tags,
                    }),
                )
                .await?;
                Ok(())
            })
            .await
    }
}
