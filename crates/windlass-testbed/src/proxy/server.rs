//! The proxy's wire side.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use windlass_faults::{Call, Faults};

use super::rules::{Act, Hold, form_value, wait_for_verdict};
use super::{Request, State};
use crate::certificates::Certificates;

/// Longest time a client may take for its part of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

type Body = BoxBody<Bytes, hyper::Error>;

pub(super) fn acceptor(certificates: &Certificates) -> Result<TlsAcceptor> {
    let certificate = fs::read(&certificates.server).context("read the server's certificate")?;
    let key = fs::read(&certificates.server_key).context("read the server's key")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("configure TLS")?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&certificate).context("parse the certificate")?],
            PrivateKeyDer::from_pem_slice(&key).context("parse the key")?,
        )
        .context("configure the certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    loop {
        // A connection that failed before it was accepted is its maker's trouble.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // Without it small answers wait for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        let cut = state.connections().clone();
        let tls = tls.clone();
        tokio::spawn(cut.run_until_cancelled_owned(async move {
            match tls {
                None => connection(stream, state).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) =
                        tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await
                    {
                        connection(stream, state).await;
                    }
                }
            }
        }));
    }
}

async fn connection<S>(stream: S, state: Arc<State>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| handle(request, Arc::clone(&state)));
    // An error here is a client that went away, or a connection that a rule has dropped.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Answers one request; an error closes the connection without an answer.
async fn handle(request: hyper::Request<Incoming>, state: Arc<State>) -> Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.context("read the request")?.to_bytes();
    let recorded = Request {
        received: Timestamp::now(),
        method: head.method.to_string(),
        path: head.uri.to_string(),
        action: action(&head.headers, &body),
        body: body.to_vec(),
        answer: None,
    };
    let index = {
        let mut requests = state.requests();
        requests.push(recorded.clone());
        requests.len() - 1
    };
    let act = state.act_on(&recorded);
    let is_in_transit = matches!(
        act,
        Some(Act::Hold {
            at: Hold::InTransit,
            ..
        })
    );
    let answer = answer(head, body, recorded, index, act, state);
    if is_in_transit {
        // A caller that goes away ends what is done in its connection.
        return tokio::spawn(answer).await.context("answer in transit")?;
    }
    answer.await
}

/// Does with a request what the rules say.
async fn answer(
    head: hyper::http::request::Parts,
    body: Bytes,
    recorded: Request,
    index: usize,
    act: Option<Act>,
    state: Arc<State>,
) -> Result<Response<Body>> {
    match &act {
        Some(Act::Answer {
            status,
            content_type,
            body,
        }) => {
            let response = Response::builder()
                .status(StatusCode::from_u16(*status).context("a status")?)
                .header(CONTENT_TYPE, content_type)
                .body(
                    Full::new(Bytes::from(body.clone()))
                        .map_err(|never| match never {})
                        .boxed(),
                )
                .context("build an answer")?;
            note_answer(&state, index, &recorded, *status);
            return Ok(response);
        }
        Some(Act::DropBeforeForwarding) => return Err(dropped()),
        Some(Act::Delay(time)) => tokio::time::sleep(*time).await,
        Some(Act::Hold {
            at: Hold::BeforeForwarding | Hold::InTransit,
            held,
            verdicts,
        }) => {
            wait_for_verdict(&recorded, held, verdicts.clone()).await?;
        }
        Some(Act::DropBeforeAnswering | Act::Hold { .. }) | None => {}
    }

    if let Some(faults) = &state.faults {
        let response = through_faults(faults, &head, &recorded).await?;
        if matches!(act, Some(Act::DropBeforeAnswering)) {
            return Err(dropped());
        }
        note_answer(&state, index, &recorded, response.status().as_u16());
        return Ok(response);
    }

    let uri = format!("{}{}", state.upstream, recorded.path)
        .parse()
        .context("build a URI")?;
    let mut forwarded = hyper::Request::new(Full::new(body));
    *forwarded.method_mut() = head.method;
    *forwarded.uri_mut() = uri;
    *forwarded.headers_mut() = head.headers;
    for hop in [CONNECTION, TRANSFER_ENCODING] {
        forwarded.headers_mut().remove(hop);
    }
    let mut response = state
        .http
        .request(forwarded)
        .await
        .context("pass the request on")?;

    match &act {
        Some(Act::DropBeforeAnswering) => return Err(dropped()),
        Some(Act::Hold {
            at: Hold::BeforeAnswering,
            held,
            verdicts,
        }) => {
            wait_for_verdict(&recorded, held, verdicts.clone()).await?;
        }
        _ => {}
    }
    for hop in [CONNECTION, TRANSFER_ENCODING] {
        response.headers_mut().remove(hop);
    }
    note_answer(&state, index, &recorded, response.status().as_u16());
    Ok(response.map(BodyExt::boxed))
}

/// The answer of AWS as the faults have it.
async fn through_faults(
    faults: &Faults,
    head: &hyper::http::request::Parts,
    recorded: &Request,
) -> Result<Response<Body>> {
    let call = Call {
        method: recorded.method.clone(),
        path: recorded.path.clone(),
        headers: head
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect(),
        body: recorded.body_text(),
    };
    let reply = faults.handle(call).await.map_err(|_| dropped())?;
    Response::builder()
        .status(StatusCode::from_u16(reply.status).context("a status")?)
        .header(CONTENT_TYPE, reply.content_type)
        .body(
            Full::new(Bytes::from(reply.body))
                .map_err(|never| match never {})
                .boxed(),
        )
        .context("build an answer")
}

pub(super) fn dropped() -> anyhow::Error {
    anyhow!("dropped by a rule")
}

fn note_answer(state: &State, index: usize, recorded: &Request, status: u16) {
    let mut requests = state.requests();
    // The requests may have been forgotten in the meantime and others have come.
    if let Some(request) = requests
        .get_mut(index)
        .filter(|r| r.received == recorded.received)
    {
        request.answer = Some((status, Timestamp::now()));
    }
}

fn action(headers: &hyper::HeaderMap, body: &[u8]) -> Option<String> {
    let target = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok());
    match target {
        Some(target) => target.rsplit('.').next().map(str::to_owned),
        None => form_value(body, "Action"),
    }
}
