//! What the API server's audit log says.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// One request to the API server that changed something (reads are not recorded).
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// When the request arrived, to the microsecond.
    pub received: Timestamp,
    /// When it had been answered.
    pub answered: Timestamp,
    /// `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Who; see [`crate::User::name`].
    pub user: String,
    /// `pods`, `nodes`, …
    pub resource: String,
    /// `status`, `eviction`, `binding` or empty.
    pub subresource: String,
    /// Empty for objects of no namespace.
    pub namespace: String,
    /// Empty for a create whose object names itself.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// The request's body, for pods and nodes.
    pub request: Option<Value>,
}

impl AuditRecord {
    /// Whether this is a verdict of the scheduler that the pod fits nowhere.
    pub fn is_unschedulable(&self) -> bool {
        self.resource == "pods"
            && self.subresource == "status"
            && self
                .request
                .as_ref()
                .and_then(|body| body.pointer("/status/conditions")?.as_array())
                .is_some_and(|conditions| {
                    conditions.iter().any(|condition| {
                        condition["type"] == "PodScheduled" && condition["status"] == "False"
                    })
                })
    }
}

/// Which of its rights an account has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RightsUsed {
    /// What was allowed, each as `verb group/resource`, such as `get /nodes`.
    pub allowed: BTreeSet<String>,
    /// What was forbidden, likewise.
    pub forbidden: BTreeSet<String>,
}

pub(crate) fn read(path: &Path, since: Timestamp) -> Result<Vec<AuditRecord>> {
    let mut records = Vec::new();
    events(path, |event| {
        // Reads, and leases, are recorded of some accounts only.
        if !READS.contains(&event.verb.as_str()) && !event.is_about("leases") {
            records.extend(event.record().filter(|record| since <= record.received));
        }
    })?;
    Ok(records)
}

pub(crate) fn rights(path: &Path, since: Timestamp, user: &str) -> Result<RightsUsed> {
    let mut found = RightsUsed::default();
    events(path, |event| {
        if event.user.username != user || event.request_received_timestamp < since {
            return;
        }
        let (Some(object), Some(status)) = (event.object_ref, event.response_status) else {
            return;
        };
        let subresource = match object.subresource.as_str() {
            "" => String::new(),
            subresource => format!("/{subresource}"),
        };
        let right = format!(
            "{} {}/{}{subresource}",
            event.verb, object.api_group, object.resource
        );
        let rights = match status.code {
            403 => &mut found.forbidden,
            _ => &mut found.allowed,
        };
        rights.insert(right);
    })?;
    Ok(found)
}

/// The verbs that change nothing.
const READS: [&str; 3] = ["get", "list", "watch"];

fn events(path: &Path, mut see: impl FnMut(Event)) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open `{}`", path.display()))?;
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("read `{}`", path.display()))?;
        // The last line may be half written: it is whole at the next look.
        if let Ok(event) = serde_json::from_str::<Event>(&line) {
            see(event);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: Account,
    object_ref: Option<ObjectReference>,
    response_status: Option<ResponseStatus>,
    request_object: Option<Value>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectReference {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl Event {
    fn is_about(&self, resource: &str) -> bool {
        let object = self.object_ref.as_ref();
        object.is_some_and(|object| object.resource == resource)
    }

    fn record(self) -> Option<AuditRecord> {
        let object = self.object_ref?;
        (self.stage == "ResponseComplete").then(|| AuditRecord {
            received: self.request_received_timestamp,
            answered: self.stage_timestamp,
            verb: self.verb,
            user: self.user.username,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: self.response_status.map_or(0, |status| status.code),
            request: self.request_object,
        })
    }
}
