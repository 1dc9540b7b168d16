//! AWS's JSON protocols: `X-Amz-Target` (SSM) and REST (EKS).

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::budget::Priority;
use crate::call::{Answer, Call, Client, WireError};
use crate::endpoint::Service;
use crate::error::{CallError, CallErrorKind};
use crate::query::percent_encode;
use crate::retry::Repeat;

/// Whether a call looks or acts.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) priority: Priority,
    pub(crate) repeat: Repeat,
}

impl Manner {
    pub(crate) const READ: Self = Self {
        priority: Priority::Read,
        repeat: Repeat::Safe,
    };
    pub(crate) const WRITE: Self = Self {
        priority: Priority::Write,
        repeat: Repeat::Safe,
    };
    /// What would be done twice if it were asked for twice.
    pub(crate) const WRITE_ONCE: Self = Self {
        priority: Priority::Write,
        repeat: Repeat::OnlyIfRefused,
    };
}

/// Calls an action of a service with AWS JSON 1.1, whose targets begin with `prefix`.
pub(crate) async fn call<T: DeserializeOwned>(
    client: &Client,
    target: (Service, &str),
    action: &'static str,
    resource: &str,
    manner: Manner,
    input: &impl Serialize,
) -> Result<T, CallError> {
    exchange(client, request(target, action, resource, manner, input)?).await
}

/// The same for an action that answers with nothing, or with nothing of use.
pub(crate) async fn call_without_answer(
    client: &Client,
    target: (Service, &str),
    action: &'static str,
    resource: &str,
    manner: Manner,
    input: &impl Serialize,
) -> Result<(), CallError> {
    let request = request(target, action, resource, manner, input)?;
    client.send(request, read_error).await.map(drop)
}

fn request(
    (service, prefix): (Service, &str),
    action: &'static str,
    resource: &str,
    manner: Manner,
    input: &impl Serialize,
) -> Result<Call, CallError> {
    let body = serde_json::to_vec(input).map_err(|source| CallError {
        action,
        resource: Some(resource.to_owned()),
        request_id: None,
        kind: CallErrorKind::Request {
            source: source.into(),
        },
    })?;
    Ok(Call {
        service,
        action,
        resource: Some(resource.to_owned()),
        method: "POST",
        path: "/".to_owned(),
        headers: vec![
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("{prefix}.{action}")),
        ],
        body,
        priority: manner.priority,
        repeat: manner.repeat,
    })
}

/// Gets a resource of a REST service; `segments` are its path, not yet encoded.
pub(crate) async fn get<T: DeserializeOwned>(
    client: &Client,
    service: Service,
    action: &'static str,
    resource: &str,
    segments: &[&str],
) -> Result<T, CallError> {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        percent_encode(segment, &mut path);
    }
    let request = Call {
        service,
        action,
        resource: Some(resource.to_owned()),
        method: "GET",
        path,
        headers: Vec::new(),
        body: Vec::new(),
        priority: Priority::Read,
        repeat: Repeat::Safe,
    };
    exchange(client, request).await
}

async fn exchange<T: DeserializeOwned>(client: &Client, request: Call) -> Result<T, CallError> {
    let (action, resource) = (request.action, request.resource.clone());
    let body = client.send(request, read_error).await?;
    serde_json::from_slice(&body).map_err(|source| CallError {
        action,
        resource,
        request_id: None,
        kind: CallErrorKind::Answer {
            source: source.into(),
        },
    })
}

/// The code stands in a header or in `__type`, with a namespace before or a URL behind it.
fn read_error(answer: &Answer) -> WireError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| body.get(name)?.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let code = answer
        .error_header
        .clone()
        .unwrap_or_else(|| text(&["__type", "code"]));
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    WireError {
        code: code.to_owned(),
        message: text(&["message", "Message"]),
        request_id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_header_or_body() {
        for (header, body) in [
            (
                None,
                r#"{"__type":"com.amazonaws.ssm#ParameterNotFound","message":"no"}"#,
            ),
            (None, r#"{"__type":"ParameterNotFound","Message":"no"}"#),
            (
                Some("ParameterNotFound:http://internal.amazon.com/coral/"),
                r#"{"message":"no"}"#,
            ),
        ] {
            let error = read_error(&Answer {
                status: 400,
                error_header: header.map(ToOwned::to_owned),
                request_id: None,
                body: body.as_bytes().to_vec(),
            });
            assert_eq!(error.code, "ParameterNotFound");
            assert_eq!(error.message, "no");
        }
    }
}
