//! A proxy that records requests and, when told, fails, delays, drops or holds them.
//!
//! It stands before moto ([`crate::Testbed::proxy_aws`]) or before the API server
//! ([`crate::Testbed::proxy_api_server`]), where it ends TLS and passes bearer tokens on. Answers
//! stream through, so that watches work.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use windlass_testbed::proxy::{Act, Hold, Matcher};
//! # fn main() -> anyhow::Result<()> {
//! # let testbed = windlass_testbed::shared();
//! let proxy = testbed.proxy_aws()?;
//! // The next three calls are throttled.
//! proxy.on(Matcher::action("SetDesiredCapacity"), Act::aws_error(400, "Throttling")).times(3);
//! // A kill point: the call has come and has not been passed on.
//! let hold = proxy.hold(Matcher::action("SetDesiredCapacity"), Hold::BeforeForwarding);
//! let request = hold.wait(Duration::from_secs(30))?;
//! hold.refuse();
//! println!("{} at {}", request.body_text(), request.received);
//! # Ok(())
//! # }
//! ```

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_faults::Faults;

use crate::certificates::Certificates;
use crate::http::HttpClient;
use crate::ports::free_port;
use crate::wait::wait_for;

mod moto;
mod rules;
mod server;

pub use rules::{Act, Hold, Matcher};
use rules::{Rule, Verdict};

/// A request as it came to the proxy.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it had been read, to the microsecond.
    pub received: Timestamp,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The AWS action: `Action` of the form, or the last part of `X-Amz-Target`.
    pub action: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// Status and time of the answer's head, once there is one; none for a dropped connection.
    pub answer: Option<(u16, Timestamp)>,
}

impl Request {
    /// The body as text.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A parameter of the body's form, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        rules::form_value(&self.body, name)
    }
}

/// A running proxy. Dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    port: u16,
    state: Arc<State>,
    end: CancellationToken,
}

#[derive(Debug)]
struct State {
    upstream: String,
    http: HttpClient,
    requests: Mutex<Vec<Request>>,
    rules: Mutex<Vec<Rule>>,
    /// Cancelled and replaced when all connections are to be cut.
    connections: Mutex<CancellationToken>,
    /// What AWS does and moto does not, if this proxy plays it.
    faults: Option<Faults>,
}

impl State {
    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, CancellationToken> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The first rule that matches decides; without one the request passes.
    fn act_on(&self, request: &Request) -> Option<Act> {
        let mut rules = self.rules();
        let position = rules
            .iter()
            .position(|rule| rule.matcher.matches(request))?;
        let rule = rules.get_mut(position)?;
        let act = rule.act.clone();
        if let Some(left) = &mut rule.times {
            *left = left.saturating_sub(1);
            if *left == 0 {
                rules.remove(position);
            }
        }
        Some(act)
    }
}

/// Listens on a free port. Another process may take one between its being found free and its being
/// listened on.
async fn listen() -> Result<(u16, TcpListener)> {
    loop {
        let port = free_port()?;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Ok((port, listener)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(error).with_context(|| format!("listen on 127.0.0.1:{port}"));
            }
        }
    }
}

impl Proxy {
    pub(crate) fn plain(upstream: &str, http: HttpClient, runtime: &Handle) -> Result<Self> {
        Self::start("http", upstream, http, None, None, runtime)
    }

    /// A proxy before moto that plays what moto does not: see [`Self::faults`].
    pub(crate) fn faulty(upstream: &str, http: HttpClient, runtime: &Handle) -> Result<Self> {
        let faults = moto::faults(upstream, http.clone());
        let proxy = Self::start("http", upstream, http, None, Some(faults.clone()), runtime)?;
        let catching_up = moto::catch_up(faults);
        runtime.spawn(proxy.end.clone().run_until_cancelled_owned(catching_up));
        Ok(proxy)
    }

    /// What goes wrong with AWS beyond single requests: launches that fail or take their time,
    /// limits, lifecycle states, late listings. None of a proxy that only passes on.
    pub fn faults(&self) -> Option<&Faults> {
        self.state.faults.as_ref()
    }

    pub(crate) fn with_tls(
        upstream: &str,
        certificates: &Certificates,
        http: HttpClient,
        runtime: &Handle,
    ) -> Result<Self> {
        let acceptor = server::acceptor(certificates)?;
        Self::start("https", upstream, http, Some(acceptor), None, runtime)
    }

    fn start(
        scheme: &str,
        upstream: &str,
        http: HttpClient,
        tls: Option<tokio_rustls::TlsAcceptor>,
        faults: Option<Faults>,
        runtime: &Handle,
    ) -> Result<Self> {
        let (port, listener) = runtime.block_on(listen())?;
        let end = CancellationToken::new();
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            http,
            requests: Mutex::default(),
            rules: Mutex::default(),
            connections: Mutex::new(end.child_token()),
            faults,
        });
        let serve = server::serve(listener, tls, Arc::clone(&state));
        runtime.spawn(end.clone().run_until_cancelled_owned(serve));
        Ok(Self {
            url: format!("{scheme}://127.0.0.1:{port}"),
            port,
            state,
            end,
        })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port of [`Self::url`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests().clone()
    }

    /// The requests so far that match.
    pub fn requests_matching(&self, matcher: &Matcher) -> Vec<Request> {
        self.state
            .requests()
            .iter()
            .filter(|request| matcher.matches(request))
            .cloned()
            .collect()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.state.requests().clear();
    }

    /// From now on, does `act` for the requests that match; a rule stands before older ones.
    pub fn on(&self, matcher: Matcher, act: Act) -> RuleHandle<'_> {
        let rule = Rule::new(matcher, act);
        let id = Arc::clone(&rule.id);
        self.state.rules().insert(0, rule);
        RuleHandle { proxy: self, id }
    }

    /// Removes all rules. Held requests go on.
    pub fn pass_all(&self) {
        self.state.rules().clear();
    }

    /// Closes all connections, watches included; new ones are welcome.
    pub fn cut_connections(&self) {
        let mut connections = self.state.connections();
        connections.cancel();
        *connections = self.end.child_token();
    }

    /// Holds the next request that matches, before or after it is passed on.
    pub fn hold(&self, matcher: Matcher, at: Hold) -> HeldRequest {
        let (verdict, verdicts) = watch::channel(Verdict::Wait);
        let held = Arc::new(Mutex::new(None));
        let act = Act::Hold {
            at,
            held: Arc::clone(&held),
            verdicts,
        };
        self.on(matcher, act).times(1);
        HeldRequest { held, verdict }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// A rule that was just made.
#[derive(Debug)]
pub struct RuleHandle<'a> {
    proxy: &'a Proxy,
    id: Arc<()>,
}

impl RuleHandle<'_> {
    /// The rule ends after `count` requests.
    pub fn times(self, count: usize) {
        let mut rules = self.proxy.state.rules();
        if count == 0 {
            rules.retain(|rule| !Arc::ptr_eq(&rule.id, &self.id));
        }
        if let Some(rule) = rules
            .iter_mut()
            .find(|rule| Arc::ptr_eq(&rule.id, &self.id))
        {
            rule.times = Some(count);
        }
    }
}

/// A request that is to be held, or is. Dropping it releases the request.
#[derive(Debug)]
pub struct HeldRequest {
    held: Arc<Mutex<Option<Request>>>,
    verdict: watch::Sender<Verdict>,
}

impl HeldRequest {
    /// Waits until the request has come.
    pub fn wait(&self, deadline: Duration) -> Result<Request> {
        wait_for("a request to be held", deadline, || {
            Ok(self
                .held
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone())
        })
    }

    /// Lets the request (or its answer) go on.
    pub fn release(self) {
        self.verdict.send_replace(Verdict::GoOn);
    }

    /// Closes the request's connection without passing it (or its answer) on.
    pub fn refuse(self) {
        self.verdict.send_replace(Verdict::Refuse);
    }
}
