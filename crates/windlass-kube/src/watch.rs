use std::collections::BTreeSet;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::{debug, info};
use windlass_objects::api::Metadata;

use crate::api::{Api, ApiError};
use crate::store::{ClusterStore, Watched};

/// A watch that says nothing for so long is dead: the server should have ended it before.
const SILENCE: Duration = Duration::from_secs(70);
/// How long one watch lasts before the server is to end it, in seconds. Where nothing happens the
/// server says nothing, not even a bookmark: a watch that begins anew is the only sign of life.
const WATCH_SECONDS: u32 = 55;
/// A server that ignores the request for initial events never says where they end.
const INITIAL_SILENCE: Duration = Duration::from_secs(20);
/// Objects on one page, where the server does not stream lists.
const PAGE: u32 = 250;
/// How long to wait before asking again for an API that the server does not serve, or does not
/// let us see.
const ABSENT_PAUSE: Duration = Duration::from_mins(1);
/// The pause after a first failure; it doubles with each further one …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … up to this, so that a server that comes back is noticed soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A line buffer that one huge object has stretched is given back.
const LINE_CAPACITY: usize = 64 * 1024;
/// Marks the bookmark after the last initial event. Source: KEP-3157.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// How a watch, or one step of it, ended.
#[derive(Debug)]
enum End {
    /// In order: go on from the version last seen.
    Closed,
    /// The version last seen is too old for the server: list anew.
    Expired,
    /// The server does not stream lists.
    NoStreaming,
    /// It failed.
    Failed(ApiError),
    /// No word in time.
    Silent,
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        match error.code() {
            Some(410) => Self::Expired,
            _ => Self::Failed(error),
        }
    }
}

/// Keeps the objects of one resource in the store, for ever.
pub(crate) async fn watch<T: Watched>(api: Api, store: ClusterStore, resource: ResourcePath) {
    let mut watch = Watch::<T> {
        api,
        store,
        resource,
        version: None,
        has_followed: false,
        lists: Lists::Streamed,
        line: Vec::new(),
        object: std::marker::PhantomData,
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let end = watch.step().await;
        if began.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        match end {
            End::Closed if began.elapsed() > LONGEST_PAUSE || !watch.has_followed => continue,
            // A server that ends each watch at once is not to be asked without end.
            End::Closed => tokio::time::sleep(pause).await,
            End::Expired => {
                watch.version = None;
                tokio::time::sleep(FIRST_PAUSE).await;
            }
            End::NoStreaming => {
                info!(resource = T::NAME, "the API server does not stream lists");
                watch.lists = Lists::Paged;
                watch.version = None;
                continue;
            }
            End::Failed(error) if error.is_not_found() => {
                watch.store.absent::<T>(&error);
                watch.version = None;
                tokio::time::sleep(ABSENT_PAUSE).await;
            }
            End::Failed(error) if error.code() == Some(403) => {
                watch.store.forbidden::<T>(&error);
                watch.version = None;
                tokio::time::sleep(ABSENT_PAUSE).await;
            }
            End::Failed(error) => {
                watch.store.interrupted::<T>(&error.to_string());
                tokio::time::sleep(pause).await;
            }
            End::Silent => {
                watch.store.interrupted::<T>("no word in time");
                tokio::time::sleep(pause).await;
            }
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Where a resource is, and which of its objects.
#[derive(Clone, Debug)]
pub(crate) struct ResourcePath {
    /// From the root: `/api/v1/pods`.
    pub(crate) path: String,
    /// A field selector, or empty; already escaped.
    pub(crate) fields: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    Streamed,
    Paged,
}

struct Watch<T> {
    api: Api,
    store: ClusterStore,
    resource: ResourcePath,
    /// Where to go on; `None` to list first.
    version: Option<String>,
    /// The last step was a watch, not a list.
    has_followed: bool,
    lists: Lists,
    line: Vec<u8>,
    object: std::marker::PhantomData<T>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    metadata: ListMetadata,
    #[serde(default)]
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_token: Option<String>,
}

impl<T: Watched> Watch<T> {
    async fn step(&mut self) -> End {
        self.has_followed = self.version.is_some() || self.lists == Lists::Streamed;
        match (&self.version, self.lists) {
            (Some(version), _) => {
                let query = format!("resourceVersion={version}");
                self.follow(&query, Phase::Watching).await
            }
            (None, Lists::Streamed) => {
                // Without a version the server answers with its present state, not an earlier one.
                let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
                self.follow(query, Phase::Initial).await
            }
            (None, Lists::Paged) => match self.list().await {
                Ok(version) => {
                    self.version = Some(version);
                    End::Closed
                }
                Err(error) => End::from(error),
            },
        }
    }

    async fn list(&mut self) -> Result<String, ApiError> {
        let mut seen = BTreeSet::new();
        let mut next = String::new();
        loop {
            let url = format!(
                "{}?limit={PAGE}{}{}",
                self.resource.path,
                selector(&self.resource.fields),
                next
            );
            let list: List = self.api.get(&url).await?;
            for object in list.items.into_iter().flatten() {
                self.store
                    .apply::<T>(object.get().as_bytes(), Some(&mut seen));
            }
            match list.metadata.continue_token {
                Some(token) if !token.is_empty() => next = format!("&continue={}", escape(&token)),
                _ => {
                    self.store.finish::<T>(&seen);
                    return Ok(list.metadata.resource_version);
                }
            }
        }
    }

    async fn follow(&mut self, query: &str, mut phase: Phase) -> End {
        let url = format!(
            "{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}{}&{query}",
            self.resource.path,
            selector(&self.resource.fields),
        );
        let mut stream = match self.api.stream(&url).await {
            Ok(stream) => std::pin::pin!(stream),
            Err(error) => {
                let refused = matches!(error.code(), Some(400 | 422)) && phase == Phase::Initial;
                return if refused {
                    End::NoStreaming
                } else {
                    End::from(error)
                };
            }
        };
        let mut seen = BTreeSet::new();
        if phase == Phase::Watching {
            self.store.heard::<T>();
        }
        loop {
            let silence = match phase {
                Phase::Initial => INITIAL_SILENCE,
                Phase::Watching => SILENCE,
            };
            match self.read_line(&mut stream, silence).await {
                Ok(true) => {}
                Ok(false) => {
                    return match phase {
                        Phase::Initial => End::Failed(closed_early()),
                        Phase::Watching => End::Closed,
                    };
                }
                Err(End::Silent) if phase == Phase::Initial => return End::NoStreaming,
                Err(end) => return end,
            }
            let Ok(line) = serde_json::from_slice::<Line<'_>>(&self.line) else {
                debug!(resource = T::NAME, "a watch ended within a line");
                return End::Closed;
            };
            let bytes = line.object.get().as_bytes();
            match line.kind {
                "ADDED" | "MODIFIED" => {
                    let seen = (phase == Phase::Initial).then_some(&mut seen);
                    self.advance(self.store.apply::<T>(bytes, seen), phase);
                }
                "DELETED" => self.advance(self.store.delete::<T>(bytes), phase),
                "BOOKMARK" => {
                    if let Ok(Bookmark { metadata }) = serde_json::from_slice(bytes) {
                        if phase == Phase::Initial
                            && metadata.annotations.0.contains_key(INITIAL_EVENTS_END)
                        {
                            self.store.finish::<T>(&seen);
                            seen.clear();
                            phase = Phase::Watching;
                        }
                        self.advance(Some(metadata.resource_version.to_string()), phase);
                    }
                }
                "ERROR" => return error_line(bytes),
                other => debug!(resource = T::NAME, kind = other, "an unknown watch event"),
            }
            if phase == Phase::Watching {
                self.store.heard::<T>();
            }
        }
    }

    fn advance(&mut self, version: Option<String>, phase: Phase) {
        if phase == Phase::Watching
            && let Some(version) = version.filter(|version| !version.is_empty())
        {
            self.version = Some(version);
        }
    }

    /// Whether there was a line; it is in `self.line`.
    async fn read_line(
        &mut self,
        stream: &mut (impl AsyncBufRead + Unpin),
        silence: Duration,
    ) -> Result<bool, End> {
        self.line.clear();
        self.line.shrink_to(LINE_CAPACITY);
        match tokio::time::timeout(silence, stream.read_until(b'\n', &mut self.line)).await {
            Err(_) => Err(End::Silent),
            Ok(Ok(count)) => Ok(count > 0),
            // A connection that breaks is how a server that is stopped ends a watch.
            Ok(Err(error)) => Err(End::Failed(ApiError::Transport(Box::new(
                kube::Error::ReadEvents(error),
            )))),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Initial,
    Watching,
}

fn closed_early() -> ApiError {
    ApiError::Transport(Box::new(kube::Error::ReadEvents(
        std::io::ErrorKind::UnexpectedEof.into(),
    )))
}

fn error_line(bytes: &[u8]) -> End {
    match serde_json::from_slice::<Status>(bytes) {
        Ok(Status {
            code,
            reason,
            message,
        }) => End::from(ApiError::Status {
            code,
            reason,
            message,
        }),
        Err(error) => End::Failed(ApiError::Decode(error)),
    }
}

fn selector(fields: &str) -> String {
    if fields.is_empty() {
        String::new()
    } else {
        format!("&fieldSelector={fields}")
    }
}

/// Escapes all but letters, digits and `-._~` for a query.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_escaped() {
        assert_eq!(
            escape("status.phase!=Failed,a=b"),
            "status.phase%21%3DFailed%2Ca%3Db"
        );
    }

    #[test]
    fn an_expired_version_means_to_list_anew() {
        let line = br#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#;
        assert!(matches!(error_line(line), End::Expired));
        let line = br#"{"kind":"Status","code":500,"message":"etcd"}"#;
        assert!(matches!(error_line(line), End::Failed(error) if error.is_transient()));
    }
}
