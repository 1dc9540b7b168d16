use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use windlass_kube::Api;

/// The autoscaler's lease, by the default of `--leader-elect-resource-name`.
const LEASE: &str = "cluster-autoscaler";
/// Programs whose flags are meant.
const PROGRAMS: [&str; 2] = ["windlass", "cluster-autoscaler"];
/// What to do where the flags are not found.
const HINT: &str = "give the autoscaler's flags after `--`, such as `-- --node-group-auto-discovery=asg:tag=k8s.io/cluster-autoscaler/enabled`";

/// The flags of a running autoscaler.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeaderFlags {
    /// `NAMESPACE/NAME` of its pod.
    pub(super) pod: String,
    pub(super) flags: Vec<String>,
}

/// The flags of the pod that holds the autoscaler's lease: its identity is its host name, and a
/// pod's host name is its name.
pub(super) async fn of_the_leader(api: &Api, namespace: &str) -> Result<LeaderFlags> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}");
    let lease: Value = api.get(&path).await.with_context(|| {
        format!("read the lease {namespace}/{LEASE} to find the autoscaler: {HINT}")
    })?;
    let holder = lease.pointer("/spec/holderIdentity");
    let holder = holder.and_then(Value::as_str).unwrap_or_default();
    if holder.is_empty() {
        bail!("nobody holds the lease {namespace}/{LEASE}, so no autoscaler runs: {HINT}");
    }
    // client-go's usual identity has an underscore and a random number after the host name.
    let name = holder.split('_').next().unwrap_or(holder);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let pod: Value = api.get(&path).await.with_context(|| {
        format!("read the pod {namespace}/{name}, which holds the lease {LEASE}: {HINT}")
    })?;
    let flags = of_pod(&pod)
        .ok_or_else(|| anyhow!("the pod {namespace}/{name} runs no autoscaler: {HINT}"))?;
    Ok(LeaderFlags {
        pod: format!("{namespace}/{name}"),
        flags,
    })
}

/// The flags of the container that runs an autoscaler.
fn of_pod(pod: &Value) -> Option<Vec<String>> {
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    containers.iter().find_map(of_container)
}

fn of_container(container: &Value) -> Option<Vec<String>> {
    let words = |field: &str| -> Vec<String> {
        let words = container.get(field).and_then(Value::as_array);
        words
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let command = words("command");
    let is_program = |word: &String| {
        let name = word.rsplit('/').next().unwrap_or(word);
        PROGRAMS.contains(&name)
    };
    let is_ours = command.first().is_some_and(is_program)
        || command.is_empty()
            && (container["image"].as_str())
                .is_some_and(|image| PROGRAMS.iter().any(|program| image.contains(program)));
    let all = [command, words("args")].concat();
    is_ours.then(|| {
        all.into_iter()
            .skip_while(|word| !word.starts_with('-'))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flags(containers: &Value) -> Option<Vec<String>> {
        of_pod(&json!({"spec": {"containers": containers}}))
    }

    #[test]
    fn flags_are_what_follows_the_program() {
        let expected = Some(vec!["--v=4".to_owned(), "--nodes=1:2:a".to_owned()]);
        let howto = json!([
            {"image": "sidecar", "command": ["/proxy", "--port=1"]},
            {"image": "x", "command": ["./cluster-autoscaler", "--v=4", "--nodes=1:2:a"]},
        ]);
        assert_eq!(flags(&howto), expected);
        let split = json!([{
            "image": "x", "command": ["/usr/bin/windlass", "run"], "args": ["--v=4", "--nodes=1:2:a"],
        }]);
        assert_eq!(flags(&split), expected);
        let by_image = json!([{
            "image": "registry.example/windlass:0.1", "args": ["run", "--v=4", "--nodes=1:2:a"],
        }]);
        assert_eq!(flags(&by_image), expected);
        assert_eq!(flags(&json!([{"image": "nginx", "args": ["--v=4"]}])), None);
    }
}
