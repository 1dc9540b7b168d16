//! An operator's leave for an instance to come back, in a `ConfigMap`: instance id and until when.

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass_kube::Api;

const CONFIG_MAP: &str = "/api/v1/namespaces/kube-system/configmaps/windlass-csr-approver";
const CONFIG_MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";
/// How long a leave is good.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(15);

/// Gives leave; says until when.
pub(super) async fn grant(api: &Api, instance: &str) -> anyhow::Result<Timestamp> {
    let is_id = instance.strip_prefix("i-").is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    if !is_id {
        bail!("`{instance}` is no instance id: it should be `i-` and hexadecimal digits");
    }
    let until = api
        .server_time()
        .await
        .context("read the API server's clock")?
        + GOOD_FOR;
    let data = json!({ instance: until.to_string() });
    let patched = api
        .merge::<serde::de::IgnoredAny>(CONFIG_MAP, &json!({ "data": data }))
        .await;
    match patched {
        Err(error) if error.is_not_found() => {
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "windlass-csr-approver", "namespace": "kube-system"},
                "data": data,
            });
            api.create::<serde::de::IgnoredAny>(CONFIG_MAPS, &object)
                .await
                .map(drop)
        }
        other => other.map(drop),
    }
    .context("write ConfigMap kube-system/windlass-csr-approver")?;
    Ok(until)
}

/// Whether there is leave for an instance.
pub(super) async fn is_granted(api: &Api, instance: &str, now: Timestamp) -> anyhow::Result<bool> {
    Ok(read(api)
        .await?
        .is_some_and(|config_map| is_good(&config_map, instance, now)))
}

/// Takes the leave away; says whether it was there. Of two approvers one is told so.
pub(super) async fn use_up(api: &Api, instance: &str) -> anyhow::Result<bool> {
    let Some(mut config_map) = read(api).await? else {
        return Ok(false);
    };
    let data = config_map.get_mut("data").and_then(Value::as_object_mut);
    if data.and_then(|data| data.remove(instance)).is_none() {
        return Ok(false);
    }
    // With its resource version: somebody else's change in between fails this.
    match api
        .replace::<serde::de::IgnoredAny>(CONFIG_MAP, &config_map)
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error).context("use up an operator's leave"),
    }
}

async fn read(api: &Api) -> anyhow::Result<Option<Value>> {
    match api.get::<Value>(CONFIG_MAP).await {
        Ok(config_map) => Ok(Some(config_map)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error).context("read ConfigMap kube-system/windlass-csr-approver"),
    }
}

fn is_good(config_map: &Value, instance: &str, now: Timestamp) -> bool {
    config_map["data"][instance]
        .as_str()
        .and_then(|until| until.parse::<Timestamp>().ok())
        .is_some_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leave_is_for_one_instance_and_ends() {
        let config_map = json!({"data": {"i-1": "2026-01-01T00:15:00Z", "i-2": "soon"}});
        let good = |instance: &str, now: &str| is_good(&config_map, instance, now.parse().unwrap());
        assert!(good("i-1", "2026-01-01T00:14:59Z"));
        assert!(!good("i-1", "2026-01-01T00:15:00Z"));
        assert!(!good("i-2", "2026-01-01T00:00:00Z"));
        assert!(!good("i-3", "2026-01-01T00:00:00Z"));
    }
}
