//! moto behind the faults.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use windlass_faults::{Call, Faults, Lost, Reply, Upstream};

use crate::http::{self, HttpClient};

/// How often AWS does by itself what is due: launches that have taken their time.
const CATCH_UP: Duration = Duration::from_millis(200);

pub(super) fn faults(url: &str, http: HttpClient) -> Faults {
    Faults::before(Arc::new(Moto {
        url: url.to_owned(),
        http,
    }))
}

pub(super) async fn catch_up(faults: Faults) {
    loop {
        tokio::time::sleep(CATCH_UP).await;
        faults.catch_up().await;
    }
}

struct Moto {
    url: String,
    http: HttpClient,
}

impl Moto {
    async fn exchange(&self, call: Call) -> Option<Reply> {
        let mut request = Request::builder()
            .method(call.method.as_str())
            .uri(format!("{}{}", self.url, call.path));
        // The connection is another one.
        let own = ["content-length", "connection", "transfer-encoding"];
        for (name, value) in &call.headers {
            if !own.contains(&name.as_str()) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::new(Bytes::from(call.body))).ok()?;
        let (status, body) = http::exchange(&self.http, request).await.ok()?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let mut reply = if body.starts_with('{') {
            Reply::json(body)
        } else {
            Reply::xml(body)
        };
        reply.status = status.as_u16();
        Some(reply)
    }
}

impl Upstream for Moto {
    fn send(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Reply, Lost>> + Send + '_>> {
        Box::pin(async move { self.exchange(call).await.ok_or(Lost) })
    }
}
