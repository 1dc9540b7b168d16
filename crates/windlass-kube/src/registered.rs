use serde::Deserialize;
use windlass_model::SmolStr;

use crate::api::{Api, ApiError};
use crate::watch::escape;

/// How many nodes are asked for at once.
const PAGE: usize = 500;

/// Those of the instances that are nodes, as the API server has them at this moment: provider id
/// and name of each.
///
/// Watches may lag behind, and a clock that jumps makes a young instance old. Who is about to end
/// instances because they never joined asks this last.
///
/// # Errors
///
/// Any answer but success.
pub async fn registered(
    api: &Api,
    instances: &[SmolStr],
) -> Result<Vec<(String, String)>, ApiError> {
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        // Without a `resourceVersion` the server answers with what is so now, not with what was.
        let path = format!("/api/v1/nodes?limit={PAGE}{next}");
        let list: NodeList = api.get(&path).await?;
        found.extend(list.among(instances));
        match list.metadata.continue_at {
            Some(token) if !token.is_empty() => next = format!("&continue={}", escape(&token)),
            _ => return Ok(found),
        }
    }
}

#[derive(Deserialize)]
struct NodeList {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default)]
    items: Option<Vec<Node>>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(default, rename = "continue")]
    continue_at: Option<String>,
}

#[derive(Deserialize)]
struct Node {
    metadata: NodeMetadata,
    #[serde(default)]
    spec: NodeSpec,
}

#[derive(Deserialize)]
struct NodeMetadata {
    name: String,
}

#[derive(Default, Deserialize)]
struct NodeSpec {
    #[serde(default, rename = "providerID")]
    provider_id: String,
}

impl NodeList {
    fn among<'a>(
        &'a self,
        instances: &'a [SmolStr],
    ) -> impl Iterator<Item = (String, String)> + 'a {
        self.items
            .iter()
            .flatten()
            .filter(|node| instances.iter().any(|id| *id == node.spec.provider_id))
            .map(|node| (node.spec.provider_id.clone(), node.metadata.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instance_is_registered_when_a_node_has_its_provider_id() {
        let list: NodeList = serde_json::from_value(json!({
            "metadata": {"continue": "more"},
            "items": [
                {"metadata": {"name": "n1"}, "spec": {"providerID": "aws:///a/i-1"}},
                {"metadata": {"name": "n2"}, "spec": {"providerID": "aws:///a/i-2"}},
                {"metadata": {"name": "bare"}},
            ],
        }))
        .unwrap();
        let asked = ["aws:///a/i-2".into(), "aws:///a/i-3".into()];
        let found: Vec<_> = list.among(&asked).collect();
        assert_eq!(found, [("aws:///a/i-2".to_owned(), "n2".to_owned())]);
        assert_eq!(list.metadata.continue_at.as_deref(), Some("more"));
    }
}
