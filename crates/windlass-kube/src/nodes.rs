//! Writing taints to nodes.
//!
//! A node is read, changed and written back whole, with its `resourceVersion`: the permissions
//! of the Go autoscaler have `update` and no `patch`. The object stays JSON on the way, so
//! that fields of a newer API server survive. Source: `pkg/utils/taints/taints.go`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_model::Taint;

use crate::api::{Api, ApiError};

/// After a conflict the node is read and written again after this pause …
const CONFLICT_PAUSE: Duration = Duration::from_millis(750);
/// … until this long after the first attempt.
const CONFLICT_DEADLINE: Duration = Duration::from_secs(5);

/// Whether the node's `spec.unschedulable` is changed along with the taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cordon {
    /// It is set with the taint and cleared with it.
    Change,
    /// It stays as it is.
    Leave,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The node was changed.
    Changed,
    /// It was already so: nothing was written, nothing cordoned or uncordoned.
    Already,
}

/// Adds `taint`; an existing taint of the same key keeps its value.
///
/// # Errors
///
/// Anything but a conflict at once; a conflict after 5 s.
pub async fn add_taint(
    api: &Api,
    node: &str,
    taint: &Taint,
    cordon: Cordon,
) -> Result<Written, ApiError> {
    change(api, node, |object| with_taint(object, taint, cordon)).await
}

/// Removes the taints of this key.
///
/// # Errors
///
/// As of [`add_taint`].
pub async fn remove_taint(
    api: &Api,
    node: &str,
    key: &str,
    cordon: Cordon,
) -> Result<Written, ApiError> {
    change(api, node, |object| without_taint(object, key, cordon)).await
}

async fn change(
    api: &Api,
    node: &str,
    edit: impl Fn(&mut Value) -> Written,
) -> Result<Written, ApiError> {
    let path = format!("/api/v1/nodes/{node}");
    let deadline = Instant::now() + CONFLICT_DEADLINE;
    loop {
        let mut object: Value = api.get(&path).await?;
        if edit(&mut object) == Written::Already {
            return Ok(Written::Already);
        }
        match api.replace::<serde::de::IgnoredAny>(&path, &object).await {
            Ok(_) => return Ok(Written::Changed),
            Err(error) if error.is_conflict() && Instant::now() < deadline => {
                tokio::time::sleep(CONFLICT_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn with_taint(node: &mut Value, taint: &Taint, cordon: Cordon) -> Written {
    let key = taint.key.as_str();
    let spec = spec_of(node);
    let taints = &mut spec["taints"];
    if !taints.is_array() {
        *taints = json!([]);
    }
    let Some(taints) = taints.as_array_mut() else {
        return Written::Already;
    };
    if taints.iter().any(|known| known["key"] == key) {
        return Written::Already;
    }
    let mut added = json!({"key": key, "effect": taint.effect.as_str()});
    if !taint.value.is_empty() {
        added["value"] = json!(taint.value.as_str());
    }
    taints.push(added);
    if cordon == Cordon::Change {
        spec["unschedulable"] = json!(true);
    }
    Written::Changed
}

fn without_taint(node: &mut Value, key: &str, cordon: Cordon) -> Written {
    let spec = spec_of(node);
    let Some(taints) = spec["taints"].as_array_mut() else {
        return Written::Already;
    };
    let before = taints.len();
    taints.retain(|taint| taint["key"] != key);
    if taints.len() == before {
        return Written::Already;
    }
    if cordon == Cordon::Change
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("unschedulable");
    }
    Written::Changed
}

fn spec_of(node: &mut Value) -> &mut Value {
    let spec = &mut node["spec"];
    if !spec.is_object() {
        *spec = json!({});
    }
    spec
}

#[cfg(test)]
mod tests {
    use windlass_model::Effect;

    use super::*;

    const KEY: &str = "ToBeDeletedByClusterAutoscaler";

    fn taint() -> Taint {
        Taint {
            key: KEY.into(),
            value: "1700000000".into(),
            effect: Effect::NoSchedule,
            time_added: None,
        }
    }

    fn node() -> Value {
        json!({
            "metadata": {"name": "n1", "resourceVersion": "7"},
            "spec": {"providerID": "aws:///a/i-1", "fieldOfTomorrow": {"x": 1}, "taints": [
                {"key": "dedicated", "value": "gpu", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"},
            ]},
        })
    }

    #[test]
    fn a_taint_comes_and_goes_and_all_else_stays() {
        let mut changed = node();
        assert_eq!(
            with_taint(&mut changed, &taint(), Cordon::Change),
            Written::Changed
        );
        assert_eq!(changed["spec"]["taints"].as_array().unwrap().len(), 2);
        assert_eq!(changed["spec"]["taints"][1]["value"], "1700000000");
        assert_eq!(changed["spec"]["unschedulable"], true);
        assert_eq!(
            without_taint(&mut changed, KEY, Cordon::Change),
            Written::Changed
        );
        assert_eq!(changed, node());
    }

    #[test]
    fn an_existing_taint_keeps_its_value_and_nothing_is_cordoned() {
        let mut tainted = node();
        with_taint(&mut tainted, &taint(), Cordon::Leave);
        let later = Taint {
            value: "1700009999".into(),
            ..taint()
        };
        assert_eq!(
            with_taint(&mut tainted, &later, Cordon::Change),
            Written::Already
        );
        assert_eq!(tainted["spec"]["taints"][1]["value"], "1700000000");
        assert!(tainted["spec"].get("unschedulable").is_none());
    }

    #[test]
    fn a_taint_that_is_not_there_uncordons_nothing() {
        let mut cordoned = node();
        cordoned["spec"]["unschedulable"] = json!(true);
        assert_eq!(
            without_taint(&mut cordoned, KEY, Cordon::Change),
            Written::Already
        );
        assert_eq!(cordoned["spec"]["unschedulable"], true);
    }

    #[test]
    fn a_node_without_taints_gets_its_first() {
        let mut bare = json!({"metadata": {"name": "n1"}});
        assert_eq!(
            with_taint(&mut bare, &taint(), Cordon::Leave),
            Written::Changed
        );
        assert_eq!(bare["spec"]["taints"][0]["key"], KEY);
    }
}
