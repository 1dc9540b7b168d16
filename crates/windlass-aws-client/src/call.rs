//! The client: one call from its parts to AWS's answer.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::http::Request;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::debug;

use crate::budget::{Budget, Priority};
use crate::config::{self, ConnectError, Options};
use crate::credentials::CredentialsCache;
use crate::endpoint::{Endpoint, Service};
use crate::error::{self, CallError, CallErrorKind};
use crate::retry::{self, Repeat};

/// A client for all services in one region. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    region: String,
    endpoints: BTreeMap<Service, (Endpoint, String)>,
    credentials: CredentialsCache,
    connector: SharedHttpConnector,
    budget: Budget,
    max_attempts: u32,
    attempt_timeout: Duration,
    total_timeout: Duration,
    user_agent: String,
    observer: Option<Arc<dyn Observer>>,
    clock: Clock,
    /// AWS's clock less ours, in milliseconds.
    clock_offset: AtomicI64,
}

/// The wall clock when the client was made, and what has passed since by the monotonic one: it
/// never jumps, and a test that pauses the runtime's time pauses it too.
#[derive(Clone, Copy, Debug)]
struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    fn now(&self) -> Timestamp {
        let elapsed = jiff::SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        self.wall.checked_add(elapsed).unwrap_or(self.wall)
    }
}

/// What [`config::load`] found out.
pub(crate) struct Settings {
    pub(crate) region: String,
    pub(crate) endpoints: BTreeMap<Service, (Endpoint, String)>,
    pub(crate) credentials: SharedCredentialsProvider,
    pub(crate) max_attempts: u32,
    pub(crate) calls_per_minute: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) total_timeout: Duration,
    pub(crate) user_agent: String,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// Is told of what the client does: metrics, tests of the call budget.
pub trait Observer: Send + Sync {
    /// An operation is over; the pages of a listing are one operation.
    fn operation(&self, operation: &Operation<'_>);

    /// One request was answered, or not.
    fn attempt(&self, attempt: &Attempt<'_>) {
        let _ = attempt;
    }
}

/// One operation, as the Go autoscaler's `cluster_autoscaler_aws_request_duration_seconds` counts.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// Action; with `Pages` behind it for a listing of Auto Scaling groups, as upstream has it.
    pub endpoint: &'static str,
    /// `success`, AWS's error code, or `error`.
    pub status: &'a str,
    /// From the first attempt to the last answer.
    pub duration: Duration,
}

/// One HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Service called.
    pub service: Service,
    /// Action called.
    pub action: &'static str,
    /// `success`, AWS's error code, or `error`.
    pub status: &'a str,
    /// Whether AWS asked for fewer calls.
    pub throttled: bool,
}

/// A request, before it is signed.
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) action: &'static str,
    pub(crate) resource: Option<String>,
    pub(crate) method: &'static str,
    /// Percent-encoded, with a slash in front.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) priority: Priority,
    pub(crate) repeat: Repeat,
}

/// An answer's parts that an error is made of.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) error_header: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// AWS's error, as its wire format has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WireError {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) request_id: Option<String>,
}

impl Client {
    /// A client by the SDKs' ordinary chain. Credentials are asked for with the first call.
    ///
    /// # Errors
    ///
    /// When there is no region, or the environment says something that makes no sense.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let transport = options.transport.clone();
        let settings = config::load(options).await?;
        let connector = transport.unwrap_or_else(|| connector(settings.connect_timeout));
        Ok(Self {
            inner: Arc::new(Inner {
                region: settings.region,
                endpoints: settings.endpoints,
                credentials: CredentialsCache::new(settings.credentials),
                connector,
                budget: Budget::new(settings.calls_per_minute),
                max_attempts: settings.max_attempts,
                attempt_timeout: settings.attempt_timeout,
                total_timeout: settings.total_timeout,
                user_agent: settings.user_agent,
                observer: settings.observer,
                clock: Clock {
                    wall: Timestamp::now(),
                    started: Instant::now(),
                },
                clock_offset: AtomicI64::new(0),
            }),
        })
    }

    /// The region that calls go to.
    pub fn region(&self) -> &str {
        &self.inner.region
    }

    /// The time by our clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The time by AWS's clock, as far as its answers have told it. Times in AWS's records are to
    /// be compared with this one: the local clock may be off.
    pub fn server_time(&self) -> Timestamp {
        let now = self.now();
        let offset = self.inner.clock_offset.load(Ordering::Relaxed);
        now.checked_add(jiff::SignedDuration::from_millis(offset))
            .unwrap_or(now)
    }

    /// Runs an operation of one or more calls, and tells the observer how it went.
    pub(crate) async fn observed<T>(
        &self,
        endpoint: &'static str,
        operation: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let start = Instant::now();
        let result = operation.await;
        if let Some(observer) = &self.inner.observer {
            observer.operation(&Operation {
                endpoint,
                status: match &result {
                    Ok(_) => "success",
                    Err(error) => error.code().unwrap_or("error"),
                },
                duration: start.elapsed(),
            });
        }
        result
    }

    /// Sends a call until it succeeds, is refused for good, or its attempts or time are spent.
    pub(crate) async fn send(
        &self,
        call: Call,
        read_error: fn(&Answer) -> WireError,
    ) -> Result<Vec<u8>, CallError> {
        let total = self.inner.total_timeout;
        match tokio::time::timeout(total, self.attempts(&call, read_error)).await {
            Ok(result) => result,
            Err(_) => Err(fail(&call, None, CallErrorKind::Timeout { after: total })),
        }
    }

    async fn attempts(
        &self,
        call: &Call,
        read_error: fn(&Answer) -> WireError,
    ) -> Result<Vec<u8>, CallError> {
        let mut attempt = 1;
        let mut corrected = false;
        loop {
            self.inner.budget.acquire(call.priority).await;
            let result = self.attempt(call, read_error).await;
            self.tell(call, &result);
            let error = match result {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let code = error.code().unwrap_or_default();
            if error::credentials_are_stale(code) {
                self.inner.credentials.forget().await;
            }
            // The answer has just set the clock: the same request with the right time, or with
            // fresh credentials, is worth one more attempt.
            let correctable = error::credentials_are_stale(code) || error::clock_is_skewed(code);
            let again =
                retry::is_retryable(&error.kind, call.repeat) || (correctable && !corrected);
            corrected |= correctable;
            if !again || attempt >= self.inner.max_attempts {
                return Err(error);
            }
            let pause = retry::pause(attempt, error.class(), rand::random::<f64>());
            debug!(
                action = call.action,
                attempt,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                %error,
                "AWS call failed, trying again"
            );
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        read_error: fn(&Answer) -> WireError,
    ) -> Result<Vec<u8>, CallError> {
        let after = self.inner.attempt_timeout;
        let answer = tokio::time::timeout(after, self.exchange(call))
            .await
            .map_err(|_| CallErrorKind::Timeout { after })
            .flatten()
            .map_err(|kind| fail(call, None, kind))?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        let WireError {
            code,
            message,
            request_id,
        } = read_error(&answer);
        Err(fail(
            call,
            request_id.or(answer.request_id),
            CallErrorKind::Service {
                status: answer.status,
                code,
                message,
            },
        ))
    }

    /// One signed request and its whole answer.
    async fn exchange(&self, call: &Call) -> Result<Answer, CallErrorKind> {
        let request = self.signed(call).await?;
        let mut response = self.inner.connector.call(request).await.map_err(|source| {
            CallErrorKind::Transport {
                source: source.into(),
            }
        })?;
        let header = |name: &str| response.headers().get(name).map(ToOwned::to_owned);
        let error_header = header("x-amzn-errortype");
        let request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));
        if let Some(date) = header("date") {
            self.set_clock(&date);
        }
        let status = response.status().as_u16();
        let body = ByteStream::new(response.take_body())
            .collect()
            .await
            .map_err(|source| CallErrorKind::Transport {
                source: source.into(),
            })?;
        Ok(Answer {
            status,
            error_header,
            request_id,
            body: body.to_vec(),
        })
    }

    async fn signed(&self, call: &Call) -> Result<Request, CallErrorKind> {
        let credentials = self.inner.credentials.current().await.map_err(|source| {
            CallErrorKind::Credentials {
                source: source.into(),
            }
        })?;
        let (endpoint, signing_name) = &self.inner.endpoints[&call.service];
        let uri = format!("{}{}", endpoint.url, call.path);
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&endpoint.signing_region)
            .name(signing_name)
            .time(SystemTime::from(self.server_time()))
            .settings(SigningSettings::default())
            .build()
            .map_err(|source| CallErrorKind::Request {
                source: source.into(),
            })?
            .into();
        let signable = SignableRequest::new(
            call.method,
            uri.as_str(),
            call.headers
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
            SignableBody::Bytes(&call.body),
        );
        let (instructions, _signature) = signable
            .and_then(|signable| sign(signable, &parameters))
            .map_err(|source| CallErrorKind::Request {
                source: source.into(),
            })?
            .into_parts();
        self.request(call, &uri, instructions.headers())
            .map_err(|source| CallErrorKind::Request { source })
    }

    fn request<'a>(
        &self,
        call: &Call,
        uri: &str,
        signature: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Request, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::new(SdkBody::from(call.body.clone()));
        request.set_method(call.method)?;
        request.set_uri(uri.to_owned())?;
        let headers = request.headers_mut();
        headers.try_insert("user-agent", self.inner.user_agent.clone())?;
        for (name, value) in &call.headers {
            headers.try_insert(*name, value.clone())?;
        }
        for (name, value) in signature {
            headers.try_insert(name.to_owned(), value.to_owned())?;
        }
        Ok(request)
    }

    fn tell(&self, call: &Call, result: &Result<Vec<u8>, CallError>) {
        if let Some(observer) = &self.inner.observer {
            observer.attempt(&Attempt {
                service: call.service,
                action: call.action,
                status: match result {
                    Ok(_) => "success",
                    Err(error) => error.code().unwrap_or("error"),
                },
                throttled: result.as_ref().is_err_and(CallError::is_throttling),
            });
        }
    }

    /// Takes AWS's clock from an answer's `Date`, which counts whole seconds.
    fn set_clock(&self, date: &str) {
        let Ok(date) = jiff::fmt::rfc2822::parse(date) else {
            return;
        };
        let offset = date.timestamp().duration_since(self.now()).as_millis();
        // Within the resolution of the header, the local clock is the better one.
        let offset = if offset.abs() <= 1500 { 0 } else { offset };
        self.inner
            .clock_offset
            .store(i64::try_from(offset).unwrap_or(0), Ordering::Relaxed);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("region", &self.inner.region)
            .finish_non_exhaustive()
    }
}

fn connector(connect_timeout: Duration) -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(connect_timeout)
        .build();
    SharedHttpConnector::new(
        Connector::builder()
            .connector_settings(settings)
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
            .build(),
    )
}

fn fail(call: &Call, request_id: Option<String>, kind: CallErrorKind) -> CallError {
    CallError {
        action: call.action,
        resource: call.resource.clone(),
        request_id,
        kind,
    }
}
