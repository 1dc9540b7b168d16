//! One HTTP client for readiness checks, for the calls to moto and for what proxies forward.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Longest time for one exchange of the test bed's own. moto takes ten seconds for the first
/// call that needs its table of instance types.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A client that trusts the test bed's authority alone.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

pub(crate) fn client(authority: &Path) -> Result<HttpClient> {
    let pem = fs::read(authority).with_context(|| format!("read `{}`", authority.display()))?;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&pem).context("read the authority's certificate")?)
        .context("trust the authority")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("configure TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// Sends one request and reads the whole answer.
pub(crate) async fn exchange(
    client: &HttpClient,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes)> {
    let what = format!("{} {}", request.method(), request.uri());
    let exchanged = async {
        let response = client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, anyhow::Error>((status, body))
    };
    tokio::time::timeout(TIMEOUT, exchanged)
        .await
        .with_context(|| format!("{what}: no answer in {} s", TIMEOUT.as_secs()))?
        .context(what)
}

/// Status and body of a GET.
pub(crate) async fn get(client: &HttpClient, url: &str) -> Result<(u16, String)> {
    let request = Request::get(url)
        .body(Full::default())
        .context("build a request")?;
    let (status, body) = exchange(client, request).await?;
    Ok((status.as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

/// Whether a GET is answered with success.
pub(crate) async fn is_ok(client: &HttpClient, url: &str) -> bool {
    let Ok(request) = Request::get(url).body(Full::default()) else {
        return false;
    };
    exchange(client, request)
        .await
        .is_ok_and(|(status, _)| status.is_success())
}
