//! Waiting for a resource to change, for those who look at the whole of it anyway.

use std::time::Duration;

use futures::AsyncBufReadExt as _;

use crate::api::{Api, ApiError};

/// Time after which the server has ended a watch, or is not there any more.
const GRACE: Duration = Duration::from_secs(5);

/// Waits until something of the resource at `path` (from the root, without a query) changes after
/// `version`, which is that of a list, for at most `longest`. What has changed is not told: the
/// caller lists again, also where the version is too old for the server.
///
/// # Errors
///
/// When the watch is refused or cannot begin. One that breaks later is a change.
pub async fn wait_for_change(
    api: &Api,
    path: &str,
    version: &str,
    longest: Duration,
) -> Result<(), ApiError> {
    let seconds = longest.as_secs().max(1);
    let url = format!("{path}?watch=1&timeoutSeconds={seconds}&resourceVersion={version}");
    let mut stream = match api.stream(&url).await {
        Ok(stream) => std::pin::pin!(stream),
        Err(error) if error.code() == Some(410) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut line = Vec::new();
    let first = stream.read_until(b'\n', &mut line);
    // An event, the end, a broken connection, or silence for too long: each is answered alike.
    let _ = tokio::time::timeout(longest + GRACE, first).await;
    Ok(())
}
