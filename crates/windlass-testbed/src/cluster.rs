//! The API server as tests see it: apply, look, wait.

use std::fmt::Debug;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, ServiceAccount};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch,
    PatchParams, Preconditions, PropagationPolicy, ValidationDirective, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::discovery::{self, Scope};
use kube::{Client, Config, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::wait::wait_for;

/// Who applies, in `managedFields`.
const FIELD_MANAGER: &str = "windlass-testbed";

/// Namespaces that belong to the cluster.
const SYSTEM_NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// A client of the API server with the calls that tests repeat.
///
/// All calls block. For what is not here take [`Self::client`] or [`Self::api`] and [`Self::run`].
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    runtime: Handle,
}

impl Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cluster").finish_non_exhaustive()
    }
}

/// A Deployment of equal pods that ask for resources and sleep.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Name of the Deployment and value of its pods' label `app`.
    pub name: String,
    /// The namespace; made if it is not there.
    pub namespace: String,
    /// How many pods.
    pub replicas: u32,
    /// CPU request of each pod, such as `500m`.
    pub cpu: String,
    /// Memory request of each pod, such as `128Mi`.
    pub memory: String,
    /// Merged into the pods' spec, for selectors, affinity, tolerations and the like.
    pub pod_spec: Value,
    /// The pods' annotations.
    pub annotations: Vec<(String, String)>,
}

impl Workload {
    /// Pods of 500m CPU and 128Mi of memory in the namespace `default`.
    pub fn new(name: &str, replicas: u32) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            replicas,
            cpu: "500m".to_owned(),
            memory: "128Mi".to_owned(),
            pod_spec: json!({}),
            annotations: Vec::new(),
        }
    }

    /// Sets what each pod asks for.
    #[must_use]
    pub fn requests(mut self, cpu: &str, memory: &str) -> Self {
        (self.cpu, self.memory) = (cpu.to_owned(), memory.to_owned());
        self
    }

    /// Sets what is merged into the pods' spec.
    #[must_use]
    pub fn pod_spec(mut self, spec: Value) -> Self {
        self.pod_spec = spec;
        self
    }

    fn manifest(&self) -> Value {
        let labels = json!({"app": self.name});
        let mut spec = json!({
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main",
                "image": "registry.invalid/pause",
                "resources": {"requests": {"cpu": self.cpu, "memory": self.memory}},
            }],
        });
        merge(&mut spec, &self.pod_spec);
        let annotations: serde_json::Map<_, _> = self
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.clone())))
            .collect();
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": annotations},
                    "spec": spec,
                },
            },
        })
    }
}

impl Cluster {
    pub(crate) fn connect(kubeconfig: &Path, runtime: Handle) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).context("read the kubeconfig")?;
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            Ok::<_, anyhow::Error>(Client::try_from(config)?)
        })?;
        Ok(Self { client, runtime })
    }

    /// The client itself.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs a future to its end; not to be called from one.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The objects of one kind in one namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), namespace)
    }

    /// Applies every document of `manifests` (YAML or JSON), as `kubectl apply --server-side`.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(manifests).context("read the manifests")?;
        documents
            .iter()
            .try_for_each(|document| self.apply_object(document))
    }

    /// Applies one object.
    pub fn apply_object(&self, object: &Value) -> Result<()> {
        self.apply_with(object, &PatchParams::apply(FIELD_MANAGER).force())
    }

    /// Has the API server judge an object, every field that it does not know being an error, and
    /// keeps nothing.
    pub fn check_object(&self, object: &Value) -> Result<()> {
        let parameters = PatchParams::apply(FIELD_MANAGER)
            .force()
            .dry_run()
            .validation(ValidationDirective::Strict);
        self.apply_with(object, &parameters)
    }

    fn apply_with(&self, object: &Value, parameters: &PatchParams) -> Result<()> {
        self.run(async {
            let api = self.api_of(object).await?;
            let name = object["metadata"]["name"]
                .as_str()
                .context("the object has no name")?;
            api.patch(name, parameters, &Patch::Apply(object))
                .await
                .with_context(|| format!("apply {} {name}", object["kind"]))?;
            Ok(())
        })
    }

    /// Deletes the object of that manifest; it is no error if there is none.
    pub fn delete_object(&self, object: &Value) -> Result<()> {
        self.run(async {
            let api = self.api_of(object).await?;
            let name = object["metadata"]["name"]
                .as_str()
                .context("the object has no name")?;
            absent_is_fine(
                api.delete(name, &DeleteParams::background())
                    .await
                    .map(drop),
            )
            .with_context(|| format!("delete {} {name}", object["kind"]))
        })
    }

    async fn api_of(&self, object: &Value) -> Result<Api<DynamicObject>> {
        let (Some(version), Some(kind)) = (object["apiVersion"].as_str(), object["kind"].as_str())
        else {
            bail!("not a Kubernetes object: {object}");
        };
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        let (resource, capabilities): (ApiResource, _) =
            discovery::pinned_kind(&self.client, &kind)
                .await
                .context("find the kind")?;
        Ok(match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client(), &resource),
            Scope::Namespaced => {
                let namespace = object["metadata"]["namespace"]
                    .as_str()
                    .unwrap_or("default");
                Api::namespaced_with(self.client(), namespace, &resource)
            }
        })
    }

    /// Makes or changes a Deployment, and its namespace if need be.
    pub fn deploy(&self, workload: &Workload) -> Result<()> {
        self.ensure_namespace(&workload.namespace)?;
        self.apply_object(&workload.manifest())
    }

    /// Sets the number of pods of a Deployment.
    pub fn scale(&self, namespace: &str, deployment: &str, replicas: u32) -> Result<()> {
        let patch = json!({"spec": {"replicas": replicas}});
        let api = self.api::<Deployment>(namespace);
        self.run(api.patch(deployment, &PatchParams::default(), &Patch::Merge(&patch)))
            .with_context(|| format!("scale {namespace}/{deployment}"))?;
        Ok(())
    }

    /// Deletes a Deployment and, through the controllers, its pods.
    pub fn delete_deployment(&self, namespace: &str, deployment: &str) -> Result<()> {
        let api = self.api::<Deployment>(namespace);
        absent_is_fine(
            self.run(api.delete(deployment, &DeleteParams::background()))
                .map(drop),
        )
    }

    /// All Nodes.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        Ok(self
            .run(Api::<Node>::all(self.client()).list(&ListParams::default()))?
            .items)
    }

    /// The Nodes whose condition `Ready` is `True`.
    pub fn ready_nodes(&self) -> Result<Vec<Node>> {
        Ok(self.nodes()?.into_iter().filter(is_ready).collect())
    }

    /// The pods of a namespace, or of all with an empty name.
    pub fn pods(&self, namespace: &str) -> Result<Vec<Pod>> {
        Ok(self
            .run(
                self.any_namespace::<Pod>(namespace)
                    .list(&ListParams::default()),
            )?
            .items)
    }

    /// The pods of a Deployment made by [`Self::deploy`] that are not being deleted.
    pub fn pods_of(&self, namespace: &str, deployment: &str) -> Result<Vec<Pod>> {
        let selector = ListParams::default().labels(&format!("app={deployment}"));
        let pods = self.run(self.api::<Pod>(namespace).list(&selector))?;
        Ok(pods
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect())
    }

    /// How many pods of a Deployment run.
    pub fn running_pods(&self, namespace: &str, deployment: &str) -> Result<usize> {
        let pods = self.pods_of(namespace, deployment)?;
        Ok(pods.iter().filter(|pod| phase(pod) == "Running").count())
    }

    /// Waits until exactly `replicas` pods of the Deployment exist and all of them run.
    pub fn wait_until_all_run(
        &self,
        namespace: &str,
        deployment: &str,
        replicas: usize,
        deadline: Duration,
    ) -> Result<()> {
        let what = format!("{replicas} pods of {namespace}/{deployment} to run");
        wait_for(&what, deadline, || {
            let pods = self.pods_of(namespace, deployment)?;
            Ok(pods.len() == replicas && pods.iter().all(|pod| phase(pod) == "Running"))
        })
    }

    /// Waits until exactly `count` Nodes exist and all of them are ready.
    pub fn wait_for_ready_nodes(&self, count: usize, deadline: Duration) -> Result<Vec<Node>> {
        wait_for(&format!("{count} nodes, all ready"), deadline, || {
            let nodes = self.nodes()?;
            Ok((nodes.len() == count && nodes.iter().all(is_ready)).then_some(nodes))
        })
    }

    /// Watches the pods of a namespace from now on.
    pub fn watch_pods(&self, namespace: &str) -> Result<PodWatch> {
        let api = self.api::<Pod>(namespace);
        let events = self.run(async {
            let now = api.list_metadata(&ListParams::default()).await?;
            let version = now.metadata.resource_version.unwrap_or_default();
            api.watch(&WatchParams::default(), &version).await
        })?;
        Ok(PodWatch {
            events: Box::pin(events),
            runtime: self.runtime.clone(),
        })
    }

    /// The events (core/v1) of a namespace, or of all with an empty name.
    pub fn events(&self, namespace: &str) -> Result<Vec<Event>> {
        Ok(self
            .run(
                self.any_namespace::<Event>(namespace)
                    .list(&ListParams::default()),
            )?
            .items)
    }

    /// A `ConfigMap`, when it is there.
    pub fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>> {
        Ok(self.run(self.api::<ConfigMap>(namespace).get_opt(name))?)
    }

    /// A Lease, when it is there.
    pub fn lease(&self, namespace: &str, name: &str) -> Result<Option<Lease>> {
        Ok(self.run(self.api::<Lease>(namespace).get_opt(name))?)
    }

    fn any_namespace<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        if namespace.is_empty() {
            Api::all(self.client())
        } else {
            self.api(namespace)
        }
    }

    fn ensure_namespace(&self, namespace: &str) -> Result<()> {
        if namespace == "default" {
            return Ok(());
        }
        self.apply_object(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace},
        }))?;
        self.wait_for_service_account(namespace, Duration::from_secs(30))
    }

    /// Pods are refused until the controller manager has made their service account.
    fn wait_for_service_account(&self, namespace: &str, deadline: Duration) -> Result<()> {
        let accounts = self.api::<ServiceAccount>(namespace);
        wait_for(
            &format!("service account {namespace}/default"),
            deadline,
            || Ok(self.run(accounts.get_opt("default"))?),
        )?;
        Ok(())
    }

    pub(crate) fn wait_for_default_service_account(&self, deadline: Duration) -> Result<()> {
        self.wait_for_service_account("default", deadline)
    }

    /// See [`crate::Testbed::clear`].
    pub(crate) fn clear(&self) -> Result<()> {
        for kind in [
            "apps/v1 Deployment",
            "apps/v1 StatefulSet",
            "apps/v1 DaemonSet",
            "apps/v1 ReplicaSet",
            "batch/v1 Job",
            "policy/v1 PodDisruptionBudget",
            "v1 Pod",
        ] {
            self.delete_all(kind)?;
        }
        let namespaces = Api::<Namespace>::all(self.client());
        for namespace in self.run(namespaces.list(&ListParams::default()))? {
            let name = namespace.name_any();
            if !SYSTEM_NAMESPACES.contains(&name.as_str()) {
                let parameters = DeleteParams::default();
                absent_is_fine(self.run(namespaces.delete(&name, &parameters)).map(drop))?;
            }
        }
        let leases = self.api::<Lease>("kube-system");
        absent_is_fine(
            self.run(leases.delete("cluster-autoscaler", &DeleteParams::default()))
                .map(drop),
        )?;
        let maps = self.api::<ConfigMap>("kube-system");
        absent_is_fine(
            self.run(maps.delete("cluster-autoscaler-status", &DeleteParams::default()))
                .map(drop),
        )?;
        self.delete_all("v1 Event")?;
        let deadline = Duration::from_mins(1);
        wait_for(
            "pods, nodes and namespaces of earlier tests to go",
            deadline,
            || {
                // The joiner removes the Nodes of vanished instances; whoever else is left was made
                // by hand.
                let pods = self.pods("")?;
                let nodes = self.nodes()?;
                let namespaces = self.run(namespaces.list(&ListParams::default()))?;
                for pod in &pods {
                    self.remove_pod(pod)?;
                }
                for node in &nodes {
                    let api = Api::<Node>::all(self.client());
                    let (name, parameters) = (node.name_any(), DeleteParams::default());
                    absent_is_fine(self.run(api.delete(&name, &parameters)).map(drop))?;
                }
                Ok(pods.is_empty()
                    && nodes.is_empty()
                    && namespaces.items.len() == SYSTEM_NAMESPACES.len())
            },
        )
    }

    /// Removes a pod at once, without waiting for any kubelet.
    pub fn remove_pod(&self, pod: &Pod) -> Result<()> {
        self.run(remove_pod(&self.client, pod))
    }

    fn delete_all(&self, kind: &str) -> Result<()> {
        let (version, kind) = kind.split_once(' ').context("a version and a kind")?;
        let object = json!({"apiVersion": version, "kind": kind});
        self.run(async {
            let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
            let gvk = GroupVersionKind::gvk(group, version, kind);
            let (resource, _) = discovery::pinned_kind(&self.client, &gvk).await?;
            let everywhere = Api::<DynamicObject>::all_with(self.client(), &resource);
            for found in everywhere.list_metadata(&ListParams::default()).await? {
                let namespace = found.namespace().unwrap_or_default();
                let api: Api<DynamicObject> =
                    Api::namespaced_with(self.client(), &namespace, &resource);
                let parameters = DeleteParams {
                    grace_period_seconds: Some(0),
                    propagation_policy: Some(PropagationPolicy::Background),
                    ..DeleteParams::default()
                };
                absent_is_fine(api.delete(&found.name_any(), &parameters).await.map(drop))?;
            }
            Ok::<_, anyhow::Error>(())
        })
        .with_context(|| format!("delete every {}", object["kind"]))
    }
}

/// An open watch of pods.
pub struct PodWatch {
    events: BoxStream<'static, kube::Result<WatchEvent<Pod>>>,
    runtime: Handle,
}

impl PodWatch {
    /// The next pod that was added or changed; `None` when the watch has ended. An error says that
    /// nothing came in time.
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Pod>> {
        self.runtime.block_on(async {
            let next = async {
                while let Some(event) = self.events.next().await {
                    match event {
                        Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => return Some(pod),
                        Ok(_) => {}
                        // The stream says so when its connection breaks.
                        Err(_) => return None,
                    }
                }
                None
            };
            let next = tokio::time::timeout(time, next).await;
            next.with_context(|| format!("no pod was seen in {time:?}"))
        })
    }
}

/// Deletes a pod with a grace period of zero, if it is still the same pod.
pub(crate) async fn remove_pod(client: &Client, pod: &Pod) -> Result<()> {
    let namespace = pod.namespace().unwrap_or_default();
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.uid(),
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    };
    let api = Api::<Pod>::namespaced(client.clone(), &namespace);
    absent_is_fine(api.delete(&pod.name_any(), &parameters).await.map(drop))
}

/// Whether a Node's condition `Ready` is `True`.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

/// A pod's phase, `Pending` if it has none yet.
pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

pub(crate) fn absent_is_fine(result: kube::Result<()>) -> Result<()> {
    match result {
        // A conflict says that another object of the same name has taken its place.
        Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => Ok(()),
        other => Ok(other?),
    }
}

/// Puts `patch` over `base`, object by object; lists and scalars are replaced.
fn merge(base: &mut Value, patch: &Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, patch) => *base = patch.clone(),
    }
}

/// An object as the API server takes it.
pub(crate) fn typed<K: DeserializeOwned + Serialize>(object: Value) -> Result<K> {
    serde_json::from_value(object).context("build an object")
}
