//! The resources that a run looks at: listed once, and again only when something of them changes.

use std::time::Duration;

use serde_json::Value;
use windlass_kube::{Api, ApiError, wait_for_change};

use crate::json::text;

/// Pause after a failure, and after a change: more of them come at once.
const PAUSE: Duration = Duration::from_millis(200);

/// The run's pods, the events about them, and all nodes.
pub(super) struct Watches {
    api: Api,
    resources: [Resource; 3],
}

struct Resource {
    path: String,
    list: Value,
    is_stale: bool,
}

impl Resource {
    fn new(path: String) -> Self {
        Self {
            path,
            list: Value::Null,
            is_stale: true,
        }
    }

    async fn change(&self, api: &Api, longest: Duration) -> Result<(), ApiError> {
        let version = text(&self.list, "/metadata/resourceVersion");
        wait_for_change(api, &self.path, version, longest).await
    }
}

impl Watches {
    pub(super) fn new(api: Api, namespace: &str) -> Self {
        let own = format!("/api/v1/namespaces/{namespace}");
        let paths = [
            format!("{own}/pods"),
            format!("{own}/events"),
            "/api/v1/nodes".to_owned(),
        ];
        Self {
            api,
            resources: paths.map(Resource::new),
        }
    }

    /// Lists anew what has changed.
    pub(super) async fn refresh(&mut self) -> Result<(), ApiError> {
        for resource in &mut self.resources {
            if resource.is_stale {
                resource.list = self.api.get(&resource.path).await?;
                resource.is_stale = false;
            }
        }
        Ok(())
    }

    /// Pods, events and nodes, as of the last refresh.
    pub(super) fn lists(&self) -> [&Value; 3] {
        self.resources.each_ref().map(|resource| &resource.list)
    }

    /// Waits until something changes, for at most `longest`; then everything is listed anew, so that
    /// a watch that is slow or dead costs no more than that.
    pub(super) async fn changed(&mut self, longest: Duration) {
        if self.resources.iter().any(|resource| resource.is_stale) {
            tokio::time::sleep(PAUSE).await;
            return;
        }
        let [pods, events, nodes] = &self.resources;
        let changed = tokio::select! {
            result = pods.change(&self.api, longest) => Some((0, result)),
            result = events.change(&self.api, longest) => Some((1, result)),
            result = nodes.change(&self.api, longest) => Some((2, result)),
            () = tokio::time::sleep(longest) => None,
        };
        match changed {
            Some((index, result)) => {
                self.resources[index].is_stale = true;
                // A watch that cannot begin is tried again, and not without end.
                if result.is_err() {
                    self.resources.iter_mut().for_each(|it| it.is_stale = true);
                }
                tokio::time::sleep(PAUSE).await;
            }
            None => self.resources.iter_mut().for_each(|it| it.is_stale = true),
        }
    }
}
