use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::api::{Api, ApiError};
use crate::events::InvolvedObject;

/// The annotation with the time of the last write.
const LAST_UPDATED: &str = "cluster-autoscaler.kubernetes.io/last-updated";
/// The key of the text for people.
const STATUS: &str = "status";
/// The key of what outlives a restart.
const MEMORY: &str = "windlass-memory";

/// How often a write is tried against others who write the same object.
const CONFLICT_TRIES: u32 = 5;

/// What is written to the status `ConfigMap` at the end of a loop.
#[derive(Clone, Copy, Debug)]
pub struct StatusConfigMap<'a> {
    /// The key `status`; `None` leaves it.
    pub status: Option<&'a str>,
    /// The annotation of the last update, with [`Self::status`].
    pub last_updated: &'a str,
    /// What outlives a restart, as bytes; `None` leaves it.
    pub memory: Option<&'a [u8]>,
}

/// Reads and writes the status `ConfigMap`. Keys and annotations of others stay as they are.
pub struct StatusWriter {
    api: Api,
    namespace: String,
    name: String,
    /// The object as last read or written: a write needs no read before it.
    known: Option<Value>,
}

impl StatusWriter {
    /// A writer that has not looked yet.
    pub fn new(api: &Api, namespace: &str, name: &str) -> Self {
        Self {
            api: api.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            known: None,
        }
    }

    /// Reads what an earlier process left to be remembered.
    ///
    /// # Errors
    ///
    /// When the `ConfigMap` cannot be read; not when there is none.
    pub async fn load_memory(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        self.read().await?;
        let Some(encoded) = self
            .known
            .as_ref()
            .and_then(|object| object.pointer(&format!("/binaryData/{MEMORY}")))
        else {
            return Ok(None);
        };
        serde_json::from_value::<ByteString>(encoded.clone())
            .map(|bytes| Some(bytes.0))
            .map_err(ApiError::Decode)
    }

    /// Writes, and makes the `ConfigMap` where there is none. One call when nobody else writes.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or others always write in between.
    pub async fn write(&mut self, content: StatusConfigMap<'_>) -> Result<(), ApiError> {
        for _ in 1..CONFLICT_TRIES {
            match self.write_once(content).await {
                Err(error) if error.is_conflict() || error.is_not_found() => self.read().await?,
                other => return other,
            }
        }
        self.write_once(content).await
    }

    /// What events on the status object are about; `None` until it has been written.
    pub fn involved_object(&self) -> Option<InvolvedObject> {
        let uid = self.known.as_ref()?.pointer("/metadata/uid")?.as_str()?;
        Some(InvolvedObject {
            api_version: "v1",
            kind: "ConfigMap",
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: uid.to_owned(),
        })
    }

    fn collection(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    async fn read(&mut self) -> Result<(), ApiError> {
        self.known = match self.api.get(&self.path()).await {
            Ok(object) => Some(object),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        Ok(())
    }

    async fn write_once(&mut self, content: StatusConfigMap<'_>) -> Result<(), ApiError> {
        let written = if let Some(known) = &self.known {
            let object = filled(known.clone(), content);
            self.api.replace(&self.path(), &object).await?
        } else {
            let empty = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"namespace": self.namespace, "name": self.name},
            });
            let object = filled(empty, content);
            self.api.create(&self.collection(), &object).await?
        };
        self.known = Some(written);
        Ok(())
    }
}

fn filled(mut object: Value, content: StatusConfigMap<'_>) -> Value {
    // Who last wrote which field is the server's to say, and would double the size.
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    if let Some(status) = content.status {
        object["data"][STATUS] = json!(status);
        object["metadata"]["annotations"][LAST_UPDATED] = json!(content.last_updated);
    }
    if let Some(memory) = content.memory {
        object["binaryData"][MEMORY] = json!(ByteString(memory.to_vec()));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_annotations_of_others_stay() {
        let object = json!({
            "metadata": {"name": "s", "annotations": {"theirs": "1"}, "managedFields": []},
            "data": {"note": "keep", "status": "old"},
        });
        let content = StatusConfigMap {
            status: Some("new"),
            last_updated: "now",
            memory: Some(b"\x00\x01"),
        };
        assert_eq!(
            filled(object, content),
            json!({
                "metadata": {"name": "s", "annotations": {"theirs": "1", LAST_UPDATED: "now"}},
                "data": {"note": "keep", "status": "new"},
                "binaryData": {"windlass-memory": "AAE="},
            })
        );
    }

    #[test]
    fn an_intent_alone_leaves_the_text() {
        let content = StatusConfigMap {
            status: None,
            last_updated: "",
            memory: Some(b""),
        };
        let object = filled(json!({"metadata": {}, "data": {"status": "old"}}), content);
        assert_eq!(object["data"]["status"], "old");
        assert!(object["metadata"].get("annotations").is_none());
    }
}
