use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::health::Health;
use super::metrics::Registry;
use super::snapshotz::SnapshotRequests;

/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Shown {
    registry: Registry,
    health: Health,
}

/// Listens on `--address`, of which the host may be left out.
pub(crate) async fn listen(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else {
        return TcpListener::bind(address).await;
    };
    let port: u16 = port
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a port number"))?;
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        // A machine without IPv6.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Serves `/metrics`, `/health-check` and, where it is wanted, `/snapshotz` until dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    registry: Registry,
    health: Health,
    snapshots: Option<SnapshotRequests>,
) -> io::Result<()> {
    let mut router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health-check", get(health_check));
    if let Some(requests) = snapshots {
        router = router.route("/snapshotz", get(move || requests.serve()));
    }
    let router = router.with_state(Shown { registry, health });
    axum::serve(listener, router).await
}

async fn metrics(State(shown): State<Shown>) -> Response {
    (
        [(header::CONTENT_TYPE, METRICS_TYPE)],
        shown.registry.encode(),
    )
        .into_response()
}

async fn health_check(State(shown): State<Shown>) -> Response {
    match shown.health.verdict(Instant::now()) {
        Ok(()) => "OK".into_response(),
        Err(text) => (StatusCode::INTERNAL_SERVER_ERROR, text).into_response(),
    }
}
