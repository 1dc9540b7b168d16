//! The resource groups' tagging service: resources of several services by their tags.

use serde::Deserialize;
use serde_json::json;

use crate::call::Client;
use crate::endpoint::Service;
use crate::error::CallError;
use crate::json::{self, Manner};

const TARGET: (Service, &str) = (Service::Tagging, "ResourceGroupsTaggingAPI_20170126");

/// The service's calls.
#[derive(Clone, Copy, Debug)]
pub struct Tagging<'a> {
    client: &'a Client,
}

impl Client {
    /// The tagging service.
    pub fn tagging(&self) -> Tagging<'_> {
        Tagging { client: self }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    resource_tag_mapping_list: Vec<Mapping>,
    #[serde(default)]
    pagination_token: Option<String>,
}

#[derive(Deserialize)]
struct Mapping {
    #[serde(rename = "ResourceARN")]
    arn: String,
}

impl Tagging<'_> {
    /// ARNs of the resources of one kind, such as `kms:key`, that carry all these tags.
    ///
    /// IAM: `tag:GetResources`.
    pub async fn resources(
        &self,
        kind: &str,
        tags: &[(&str, &str)],
    ) -> Result<Vec<String>, CallError> {
        let filters: Vec<serde_json::Value> = tags
            .iter()
            .map(|(key, value)| json!({ "Key": key, "Values": [value] }))
            .collect();
        self.client
            .observed("GetResources", async {
                let mut found = Vec::new();
                let mut token = String::new();
                loop {
                    let page: Page = json::call(
                        self.client,
                        TARGET,
                        "GetResources",
                        kind,
                        Manner::READ,
                        &json!({
                            "ResourceTypeFilters": [kind],
                            "TagFilters": filters,
                            "PaginationToken": token,
                        }),
                    )
                    .await?;
                    let mappings = page.resource_tag_mapping_list.into_iter();
                    found.extend(mappings.map(|mapping| mapping.arn));
                    token = page.pagination_token.unwrap_or_default();
                    if token.is_empty() {
                        return Ok(found);
                    }
                }
            })
            .await
    }
}
