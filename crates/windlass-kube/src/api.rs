use std::sync::Arc;
use std::time::Duration;

use futures::AsyncBufRead;
use http::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limiter::Limiter;

/// How long one call may take unless the caller says otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The API server, by path: every call has a deadline, and an answer other than 2xx is an
/// [`ApiError`] with its code.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    limiter: Arc<Limiter>,
    timeout: Duration,
}

/// Why a call to the API server has no result.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server answered, and not with 2xx.
    #[error("{message}")]
    Status {
        /// The HTTP status code.
        code: u16,
        /// `reason` of the `Status` object, such as `Conflict`.
        reason: String,
        /// `message` of the `Status` object.
        message: String,
    },
    /// No answer in time.
    #[error("no answer from the API server in {}s", .0.as_secs())]
    Timeout(Duration),
    /// The server was not reached, or the connection broke.
    #[error("cannot talk to the API server: {}", root_cause(.0))]
    Transport(#[source] Box<kube::Error>),
    /// The answer is not what it should be.
    #[error("unexpected answer of the API server: {0}")]
    Decode(#[source] serde_json::Error),
}

impl ApiError {
    /// The HTTP status code, when there was an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the object, or the whole resource, is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether somebody else wrote the object in between, or made it first.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Whether the same call may succeed later without anything being changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(code, 429 | 500 | 502 | 503 | 504),
            Self::Timeout(_) | Self::Transport(_) => true,
            Self::Decode(_) => false,
        }
    }
}

/// The innermost message: the outer ones of the HTTP client repeat it or say nothing.
fn root_cause(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Status {
                code: status.code,
                reason: status.reason.clone(),
                message: status.message.clone(),
            },
            kube::Error::SerdeError(source) => Self::Decode(source),
            other => Self::Transport(Box::new(other)),
        }
    }
}

/// What kind of body a PATCH carries.
const STRATEGIC_MERGE: &str = "application/strategic-merge-patch+json";

impl Api {
    pub(crate) fn new(client: kube::Client, limiter: Limiter) -> Self {
        Self {
            client,
            limiter: Arc::new(limiter),
            timeout: CALL_TIMEOUT,
        }
    }

    /// The same server, with another deadline for each call.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// Waits until the rate limit (`--kube-client-qps`, `--kube-client-burst`) lets a call
    /// through that nobody waits for: events, soft taints. Calls that a reaction waits for do
    /// not ask.
    pub async fn wait_for_leave(&self) {
        self.limiter.take().await;
    }

    /// GET.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.call(Request::get(path), Vec::new()).await
    }

    /// POST: makes an object, or a subresource.
    pub async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.send_json(Request::post(path), body).await
    }

    /// PUT: writes a whole object.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.send_json(Request::put(path), body).await
    }

    /// PATCH with a strategic merge.
    pub async fn merge<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(ApiError::Decode)?;
        let request = Request::patch(path).header(http::header::CONTENT_TYPE, STRATEGIC_MERGE);
        self.call(request, body).await
    }

    /// DELETE; with a UID only the object that has it. Says whether there was one.
    pub async fn delete(&self, path: &str, uid: Option<&str>) -> Result<bool, ApiError> {
        let options = match uid {
            Some(uid) => serde_json::json!({ "preconditions": { "uid": uid } }),
            None => serde_json::json!({}),
        };
        let body = serde_json::to_vec(&options).map_err(ApiError::Decode)?;
        let request = Request::delete(path).header(http::header::CONTENT_TYPE, "application/json");
        match self.call::<serde::de::IgnoredAny>(request, body).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The server's clock, to the second, from the `Date` of an answer.
    pub async fn server_time(&self) -> Result<jiff::Timestamp, ApiError> {
        let request = build(Request::get("/version"), Vec::new())?;
        let sent = self.client.send(request.map(kube::client::Body::from));
        let answer = tokio::time::timeout(self.timeout, sent)
            .await
            .map_err(|_| ApiError::Timeout(self.timeout))??;
        answer
            .headers()
            .get(http::header::DATE)
            .and_then(|date| date.to_str().ok())
            .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
            .map(|date| date.timestamp())
            .ok_or_else(|| ApiError::Decode(serde::de::Error::missing_field("Date")))
    }

    /// GET of an answer that never ends: a watch. The deadline is for its beginning only.
    pub(crate) async fn stream(&self, path: &str) -> Result<impl AsyncBufRead + use<>, ApiError> {
        let request = build(Request::get(path), Vec::new())?;
        tokio::time::timeout(self.timeout, self.client.request_stream(request))
            .await
            .map_err(|_| ApiError::Timeout(self.timeout))?
            .map_err(ApiError::from)
    }

    async fn send_json<T: DeserializeOwned>(
        &self,
        request: http::request::Builder,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(ApiError::Decode)?;
        let request = request.header(http::header::CONTENT_TYPE, "application/json");
        self.call(request, body).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<T, ApiError> {
        let request = build(request, body)?;
        let text = tokio::time::timeout(self.timeout, self.client.request_text(request))
            .await
            .map_err(|_| ApiError::Timeout(self.timeout))??;
        serde_json::from_str(&text).map_err(ApiError::Decode)
    }
}

fn build(request: http::request::Builder, body: Vec<u8>) -> Result<Request<Vec<u8>>, ApiError> {
    request
        .body(body)
        .map_err(|error| ApiError::Transport(Box::new(kube::Error::HttpError(error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> ApiError {
        ApiError::Status {
            code,
            reason: String::new(),
            message: String::new(),
        }
    }

    #[test]
    fn what_may_succeed_later_is_transient() {
        assert!(status(503).is_transient() && status(429).is_transient());
        assert!(ApiError::Timeout(CALL_TIMEOUT).is_transient());
        assert!(!status(403).is_transient() && !status(409).is_transient());
        assert!(status(404).is_not_found() && status(409).is_conflict());
    }
}
