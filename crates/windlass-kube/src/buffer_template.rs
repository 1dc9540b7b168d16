//! The `PodTemplate` that is kept for a `CapacityBuffer`. Source: `pkg/capacitybuffer/fakepods`.

use serde_json::{Map, Value, json};
use windlass_model::{ObjectName, TemplateSource, WorkloadKind};

use crate::api::{Api, ApiError};

/// Volumes of this name's beginning are made for each pod by the API server itself.
const TOKEN_VOLUME: &str = "kube-api-access-";

/// A template that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct BufferTemplate<'a> {
    /// The buffer, which owns the template.
    pub buffer: &'a ObjectName,
    /// The buffer's uid.
    pub buffer_uid: &'a str,
    /// The template's name, in the buffer's namespace.
    pub name: &'a str,
    /// What it is made from.
    pub source: &'a TemplateSource,
    /// An annotation of the template.
    pub annotation: (&'a str, &'a str),
    /// The API server completes the pod by a dry run, except one that exists.
    pub dry_run: bool,
}

/// Makes the template from its source and writes it, if it differs from the one that is there.
///
/// # Errors
///
/// When the source cannot be read, a pod made of it is refused, or the template cannot be
/// written.
pub async fn write_buffer_template(api: &Api, wanted: &BufferTemplate<'_>) -> Result<(), ApiError> {
    let namespace = &wanted.buffer.namespace;
    let source: Value = api.get(&source_path(namespace, wanted.source)).await?;
    let mut template = match wanted.source {
        TemplateSource::PodTemplate(_) => source["template"].clone(),
        TemplateSource::Workload { .. } => source["spec"]["template"].clone(),
        TemplateSource::Pod(_) => template_of_pod(&source),
    };
    let exists = matches!(wanted.source, TemplateSource::Pod(_));
    if !exists && wanted.dry_run {
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        let pod: Value = api.create(&path, &pod_to_try(&template)).await?;
        template = template_of_pod(&pod);
    } else if !exists {
        default_requests(&mut template);
    }
    drop_tokens(&mut template);
    write(api, wanted, template).await
}

async fn write(api: &Api, wanted: &BufferTemplate<'_>, template: Value) -> Result<(), ApiError> {
    let collection = format!(
        "/api/v1/namespaces/{}/podtemplates",
        wanted.buffer.namespace
    );
    let path = format!("{collection}/{}", wanted.name);
    let (key, value) = wanted.annotation;
    match api.get::<Value>(&path).await {
        Ok(mut known) => {
            if known["template"] == template && known["metadata"]["annotations"][key] == value {
                return Ok(());
            }
            known["template"] = template;
            known["metadata"]["annotations"][key] = json!(value);
            known["metadata"]["ownerReferences"] = owners(wanted);
            api.replace::<serde::de::IgnoredAny>(&path, &known).await?;
        }
        Err(error) if error.is_not_found() => {
            let object = json!({
                "apiVersion": "v1",
                "kind": "PodTemplate",
                "metadata": {
                    "namespace": wanted.buffer.namespace.as_str(),
                    "name": wanted.name,
                    "annotations": {key: value},
                    "ownerReferences": owners(wanted),
                },
                "template": template,
            });
            api.create::<serde::de::IgnoredAny>(&collection, &object)
                .await?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn owners(wanted: &BufferTemplate<'_>) -> Value {
    json!([{
        "apiVersion": "autoscaling.x-k8s.io/v1beta1",
        "kind": "CapacityBuffer",
        "name": wanted.buffer.name.as_str(),
        "uid": wanted.buffer_uid,
        "controller": true,
    }])
}

fn source_path(namespace: &str, source: &TemplateSource) -> String {
    match source {
        TemplateSource::PodTemplate(name) => {
            format!("/api/v1/namespaces/{namespace}/podtemplates/{name}")
        }
        TemplateSource::Pod(name) => format!("/api/v1/namespaces/{namespace}/pods/{name}"),
        TemplateSource::Workload { kind, name } => {
            let (api, plural) = match kind {
                WorkloadKind::Deployment => ("apis/apps/v1", "deployments"),
                WorkloadKind::ReplicaSet => ("apis/apps/v1", "replicasets"),
                WorkloadKind::StatefulSet => ("apis/apps/v1", "statefulsets"),
                WorkloadKind::DaemonSet => ("apis/apps/v1", "daemonsets"),
                WorkloadKind::Job => ("apis/batch/v1", "jobs"),
                WorkloadKind::ReplicationController => ("api/v1", "replicationcontrollers"),
            };
            format!("/{api}/namespaces/{namespace}/{plural}/{name}")
        }
    }
}

/// Labels, annotations and specification of a pod, without its place.
fn template_of_pod(pod: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["labels", "annotations"] {
        if pod["metadata"][field].is_object() {
            metadata.insert(field.to_owned(), pod["metadata"][field].clone());
        }
    }
    let mut spec = pod["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("nodeName");
    }
    json!({"metadata": metadata, "spec": spec})
}

fn pod_to_try(template: &Value) -> Value {
    let mut pod = template_of_pod(template);
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["generateName"] = json!("fake-pod-");
    pod
}

/// Containers request what they are limited to, where they do not say.
fn default_requests(template: &mut Value) {
    for list in ["containers", "initContainers"] {
        for container in containers_of(template, list) {
            let Some(limits) = container["resources"]["limits"].as_object().cloned() else {
                continue;
            };
            let requests = &mut container["resources"]["requests"];
            if !requests.is_object() {
                *requests = json!({});
            }
            for (name, limit) in limits {
                if requests[&name].is_null() {
                    requests[&name] = limit;
                }
            }
        }
    }
}

/// Takes out the volumes of a pod's own token, and their mounts.
fn drop_tokens(template: &mut Value) {
    let is_token = |entry: &Value| {
        let name = entry["name"].as_str();
        name.is_some_and(|name| name.starts_with(TOKEN_VOLUME))
    };
    drop_entries(&mut template["spec"], "volumes", is_token);
    for list in ["containers", "initContainers"] {
        for container in containers_of(template, list) {
            drop_entries(container, "volumeMounts", is_token);
        }
    }
}

/// The entries of `containers` or `initContainers`; none where the list is not there. Indexing would
/// put a null in its place.
fn containers_of<'a>(template: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    let spec = template.get_mut("spec");
    spec.and_then(|spec| spec.get_mut(list)?.as_array_mut())
        .into_iter()
        .flatten()
}

/// Takes entries out of a list, and the list itself when it has none left.
fn drop_entries(object: &mut Value, list: &str, is_out: impl Fn(&Value) -> bool) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let Some(entries) = object.get_mut(list).and_then(Value::as_array_mut) else {
        return;
    };
    entries.retain(|entry| !is_out(entry));
    if entries.is_empty() {
        object.remove(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_s_place_and_token_are_left_out() {
        let pod = json!({
            "metadata": {"name": "web-1", "uid": "u", "labels": {"app": "web"}},
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": "c", "volumeMounts": [{"name": "kube-api-access-x"}]}],
                "volumes": [{"name": "kube-api-access-x"}, {"name": "data"}],
            },
            "status": {"phase": "Running"},
        });
        let mut template = template_of_pod(&pod);
        drop_tokens(&mut template);
        assert_eq!(
            template,
            json!({
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c"}], "volumes": [{"name": "data"}]},
            })
        );
    }

    #[test]
    fn without_a_dry_run_requests_come_from_limits() {
        let mut template = json!({"spec": {"containers": [
            {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}},
            {"name": "plain"},
        ]}});
        default_requests(&mut template);
        assert_eq!(
            template["spec"]["containers"][0]["resources"]["requests"],
            json!({"cpu": "500m", "memory": "1Gi"})
        );
        assert_eq!(template["spec"]["containers"][1], json!({"name": "plain"}));
    }

    #[test]
    fn a_pod_is_tried_under_a_name_of_the_server_s() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
        let pod = pod_to_try(&template);
        assert_eq!(pod["metadata"]["generateName"], "fake-pod-");
        assert_eq!(pod["metadata"]["labels"]["a"], "b");
    }
}
