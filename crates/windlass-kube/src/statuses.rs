//! Writing the statuses of the optional features' objects.
//!
//! An object is read and its status written back whole, with its `resourceVersion`: the
//! permissions that upstream's manuals grant have `update` of the statuses. What else stands in
//! an object survives.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_model::{BufferStatus, ConditionStatus, ObjectName, QuotaStatus, StatusCondition};

use crate::api::{Api, ApiError};

/// How long one call may take: upstream's number.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a write is tried against others who write the same object.
const CONFLICT_TRIES: u32 = 5;

/// Writes conditions of a `ProvisioningRequest`; its other conditions stay.
///
/// # Errors
///
/// When it cannot be written, or is not the one with this uid (404).
pub async fn update_provisioning_request(
    api: &Api,
    name: &ObjectName,
    uid: &str,
    conditions: &[StatusCondition],
) -> Result<(), ApiError> {
    change_status(api, &provisioning_request(name), uid, |status| {
        set_conditions(status, conditions);
    })
    .await
}

/// Deletes a `ProvisioningRequest`, if it is the one with this uid. Says whether there was one.
///
/// # Errors
///
/// When it cannot be deleted.
pub async fn delete_provisioning_request(
    api: &Api,
    name: &ObjectName,
    uid: &str,
) -> Result<bool, ApiError> {
    let api = api.with_timeout(CALL_TIMEOUT);
    match api.delete(&provisioning_request(name), Some(uid)).await {
        // The uid differs: the one that was meant is gone.
        Err(error) if error.is_conflict() => Ok(false),
        other => other,
    }
}

/// Writes the status of a `CapacityBuffer`.
///
/// # Errors
///
/// When it cannot be written, or is not the one with this uid (404).
pub async fn update_capacity_buffer(
    api: &Api,
    name: &ObjectName,
    uid: &str,
    status: &BufferStatus,
) -> Result<(), ApiError> {
    let ObjectName { namespace, name } = name;
    let path =
        format!("/apis/autoscaling.x-k8s.io/v1beta1/namespaces/{namespace}/capacitybuffers/{name}");
    change_status(api, &path, uid, |written| write_buffer(written, status)).await
}

/// Writes the status of a `CapacityQuota`.
///
/// # Errors
///
/// When it cannot be written, or is not the one with this uid (404).
pub async fn update_capacity_quota(
    api: &Api,
    name: &str,
    uid: &str,
    status: &QuotaStatus,
) -> Result<(), ApiError> {
    let path = format!("/apis/autoscaling.x-k8s.io/v1beta1/capacityquotas/{name}");
    change_status(api, &path, uid, |written| write_quota(written, status)).await
}

fn provisioning_request(name: &ObjectName) -> String {
    let ObjectName { namespace, name } = name;
    format!("/apis/autoscaling.x-k8s.io/v1/namespaces/{namespace}/provisioningrequests/{name}")
}

async fn change_status(
    api: &Api,
    path: &str,
    uid: &str,
    edit: impl Fn(&mut Value),
) -> Result<(), ApiError> {
    let api = api.with_timeout(CALL_TIMEOUT);
    let mut tries = 1;
    loop {
        let mut object: Value = api.get(path).await?;
        if object.pointer("/metadata/uid").and_then(Value::as_str) != Some(uid) {
            return Err(ApiError::Status {
                code: 404,
                reason: "NotFound".to_owned(),
                message: "the object is gone, another one has its name".to_owned(),
            });
        }
        edit(&mut object["status"]);
        let written = api
            .replace::<serde::de::IgnoredAny>(&format!("{path}/status"), &object)
            .await;
        match written {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() && tries < CONFLICT_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

fn write_buffer(written: &mut Value, status: &BufferStatus) {
    let BufferStatus {
        pod_template,
        pod_template_generation,
        replicas,
        strategy,
        conditions,
    } = status;
    if !written.is_object() {
        *written = json!({});
    }
    let Some(fields) = written.as_object_mut() else {
        return;
    };
    let mut set = |name: &str, value: Option<Value>| {
        match value {
            Some(value) => fields.insert(name.to_owned(), value),
            None => fields.remove(name),
        };
    };
    let reference = pod_template.as_ref();
    set(
        "podTemplateRef",
        reference.map(|name| json!({"name": name.as_str()})),
    );
    set(
        "podTemplateGeneration",
        pod_template_generation.map(Value::from),
    );
    set("replicas", replicas.map(Value::from));
    let strategy = strategy.as_ref();
    set(
        "provisioningStrategy",
        strategy.map(|it| json!(it.as_str())),
    );
    set_conditions(written, conditions);
}

fn write_quota(written: &mut Value, status: &QuotaStatus) {
    let QuotaStatus {
        used,
        observed_generation,
        conditions,
    } = status;
    let resources: serde_json::Map<String, Value> = used
        .iter()
        .map(|(name, amount)| (name.to_string(), json!(amount.to_string())))
        .collect();
    written["used"]["resources"] = Value::Object(resources);
    if let Some(generation) = observed_generation {
        written["observedGeneration"] = json!(generation);
    }
    set_conditions(written, conditions);
}

/// Puts each condition in the place of the one of its type, or behind the others.
fn set_conditions(status: &mut Value, conditions: &[StatusCondition]) {
    let list = &mut status["conditions"];
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else {
        return;
    };
    for condition in conditions {
        let written = condition_of(condition);
        match list
            .iter_mut()
            .find(|known| known["type"] == written["type"])
        {
            Some(known) => *known = written,
            None => list.push(written),
        }
    }
}

fn condition_of(condition: &StatusCondition) -> Value {
    let StatusCondition {
        kind,
        status,
        reason,
        message,
        observed_generation,
        last_transition,
    } = condition;
    let mut written = json!({
        "type": kind.as_str(),
        "status": match status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        },
        "reason": reason.as_str(),
        "message": message.as_str(),
        "lastTransitionTime": last_transition.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string(),
    });
    if let Some(generation) = observed_generation {
        written["observedGeneration"] = json!(generation);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str) -> StatusCondition {
        StatusCondition {
            kind: kind.into(),
            status: ConditionStatus::True,
            reason: "Because".into(),
            message: "it is so".into(),
            observed_generation: Some(2),
            last_transition: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        }
    }

    #[test]
    fn conditions_of_others_and_other_fields_stay() {
        let mut status = json!({
            "provisioningClassDetails": {"a": "b"},
            "conditions": [{"type": "Theirs", "status": "True"}, {"type": "Accepted"}],
        });
        set_conditions(
            &mut status,
            &[condition("Accepted"), condition("Provisioned")],
        );
        let ours = |kind: &str| {
            json!({
                "type": kind, "status": "True", "reason": "Because", "message": "it is so",
                "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        assert_eq!(
            status,
            json!({
                "provisioningClassDetails": {"a": "b"},
                "conditions": [
                    {"type": "Theirs", "status": "True"}, ours("Accepted"), ours("Provisioned"),
                ],
            })
        );
    }

    #[test]
    fn a_buffer_that_is_not_ready_loses_template_and_replicas() {
        let mut written = json!({"podTemplateRef": {"name": "t"}, "replicas": 3, "x": 1});
        let status = BufferStatus {
            strategy: Some("buffer.x-k8s.io/active-capacity".into()),
            ..BufferStatus::default()
        };
        write_buffer(&mut written, &status);
        assert_eq!(
            written,
            json!({
                "x": 1, "provisioningStrategy": "buffer.x-k8s.io/active-capacity",
                "conditions": [],
            })
        );
    }

    #[test]
    fn a_quota_says_what_is_used() {
        let mut written = Value::Null;
        let status = QuotaStatus {
            used: vec![("cpu".into(), 12), ("nodes".into(), 3)],
            observed_generation: Some(4),
            conditions: Vec::new(),
        };
        write_quota(&mut written, &status);
        assert_eq!(
            written,
            json!({
                "used": {"resources": {"cpu": "12", "nodes": "3"}},
                "observedGeneration": 4, "conditions": [],
            })
        );
    }
}
