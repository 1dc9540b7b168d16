use serde_json::{Value, json};

use crate::api::{Api, ApiError};

/// What became of a request to evict a pod.
#[derive(Debug)]
pub enum Eviction {
    /// Accepted, or the pod is gone already.
    Done,
    /// Not now: a disruption budget, or the server is busy, or another pod has the name.
    Refused(String),
}

/// Asks the API server to evict the pod `name`, if it is the one with this uid.
///
/// # Errors
///
/// Any answer but success, 404 (gone), 429 and 409 (refused).
pub async fn evict(
    api: &Api,
    namespace: &str,
    name: &str,
    uid: &str,
    grace_period_seconds: i64,
) -> Result<Eviction, ApiError> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
    let mut options = json!({"gracePeriodSeconds": grace_period_seconds});
    if !uid.is_empty() {
        options["preconditions"] = json!({"uid": uid});
    }
    let body = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"namespace": namespace, "name": name},
        "deleteOptions": options,
    });
    match api.create::<Value>(&path, &body).await {
        Ok(_) => Ok(Eviction::Done),
        Err(error) if error.is_not_found() => Ok(Eviction::Done),
        // 409 says that the uid differs, and the pod that was meant is gone; or that the disruption
        // budget was being written by others all the time, and nothing was evicted. Which of them
        // it was shows in whether the pod is still there.
        Err(ApiError::Status {
            code: 409 | 429,
            message,
            ..
        }) => Ok(Eviction::Refused(message)),
        Err(error) => Err(error),
    }
}
