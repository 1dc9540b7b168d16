//! A call and its answer, apart from what carries them.

use std::future::Future;
use std::pin::Pin;

/// A request to AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// `POST`, `GET`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, names in lower case. The signature is among them; nobody verifies it.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The header `content-type`.
    pub content_type: String,
    /// The body.
    pub body: String,
}

/// The connection broke before an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// Who plays Auto Scaling behind the faults.
pub trait Upstream: Send + Sync {
    /// Answers one call.
    fn send(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Reply, Lost>> + Send + '_>>;
}

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

impl Call {
    /// A call of the Query protocol.
    pub fn form(action: &str, parameters: &[(&str, &str)]) -> Self {
        let mut body = format!("Action={action}&Version=2011-01-01");
        for (name, value) in parameters {
            body.push('&');
            percent_encode(name, &mut body);
            body.push('=');
            percent_encode(value, &mut body);
        }
        Self {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![("content-type".to_owned(), FORM.to_owned())],
            body,
        }
    }

    /// The action: `Action` of the form, the last part of `X-Amz-Target`, or for EKS, which has
    /// neither, what method and path stand for.
    pub fn action(&self) -> String {
        if let Some(target) = self.header("x-amz-target") {
            return target.rsplit('.').next().unwrap_or_default().to_owned();
        }
        if self.path.starts_with("/clusters/") && self.path.contains("/node-groups/") {
            return "DescribeNodegroup".to_owned();
        }
        self.parameter("Action").unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// A parameter of the form, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters()
            .into_iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// All parameters of the form, decoded.
    pub fn parameters(&self) -> Vec<(String, String)> {
        self.body
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (percent_decode(name), percent_decode(value)))
            .collect()
    }

    /// The values of a list: those whose names begin with `prefix`.
    pub(crate) fn list(&self, prefix: &str) -> Vec<String> {
        self.parameters()
            .into_iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(_, value)| value)
            .collect()
    }

    /// Another call by the same caller: moto tells account and service by the signature's scope.
    pub(crate) fn by_the_same(&self, action: &str, parameters: &[(&str, &str)]) -> Self {
        let mut call = Self::form(action, parameters);
        let own = ["content-type", "content-length"];
        call.headers.extend(
            self.headers
                .iter()
                .filter(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str()))
                .cloned(),
        );
        call
    }
}

impl Reply {
    /// XML with status 200.
    pub fn xml(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            content_type: "text/xml".to_owned(),
            body: body.into(),
        }
    }

    /// JSON with status 200.
    pub fn json(body: impl Into<String>) -> Self {
        Self {
            content_type: "application/x-amz-json-1.1".to_owned(),
            ..Self::xml(body)
        }
    }

    /// An error as the service of `call` words it.
    pub fn error(call: &Call, status: u16, code: &str, message: &str) -> Self {
        let is_json = call.header("x-amz-target").is_some() || call.path.starts_with("/clusters/");
        if is_json {
            let body = serde_json::json!({"__type": code, "message": message}).to_string();
            return Self {
                status,
                ..Self::json(body)
            };
        }
        let message = quick_xml::escape::escape(message);
        let is_ec2 = call.parameter("Version").as_deref() == Some("2016-11-15");
        let body = if is_ec2 {
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
                 </Errors><RequestID>faults</RequestID></Response>"
            )
        } else {
            let kind = if status < 500 { "Sender" } else { "Receiver" };
            format!(
                "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><Error>\
                 <Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 <RequestId>faults</RequestId></ErrorResponse>"
            )
        };
        Self {
            status,
            ..Self::xml(body)
        }
    }

    /// Whether it is no error.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

fn percent_encode(text: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// A key or value of a form, decoded: `%2F` is a slash, `+` a blank. What is no escape stays as it is.
pub fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(*byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_action_is_found_in_form_target_and_path() {
        let form = Call::form("SetDesiredCapacity", &[("AutoScalingGroupName", "a b&c")]);
        assert_eq!(form.action(), "SetDesiredCapacity");
        assert_eq!(
            form.parameter("AutoScalingGroupName").as_deref(),
            Some("a b&c")
        );
        let target = Call {
            headers: vec![(
                "X-Amz-Target".to_owned(),
                "AmazonSSM.GetParameter".to_owned(),
            )],
            ..Call::default()
        };
        assert_eq!(target.action(), "GetParameter");
        let path = Call {
            path: "/clusters/prod/node-groups/workers".to_owned(),
            ..Call::default()
        };
        assert_eq!(path.action(), "DescribeNodegroup");
    }

    #[test]
    fn errors_take_the_shape_of_their_service() {
        let autoscaling = Call::form("SetDesiredCapacity", &[]);
        let reply = Reply::error(&autoscaling, 400, "Throttling", "Rate exceeded");
        assert!(reply.body.starts_with("<ErrorResponse"));
        let mut ec2 = Call::form("DescribeImages", &[]);
        ec2.body = ec2.body.replace("2011-01-01", "2016-11-15");
        let reply = Reply::error(&ec2, 503, "RequestLimitExceeded", "a < b");
        assert!(reply.body.contains("<Message>a &lt; b</Message>"));
        assert!(reply.body.starts_with("<Response>"));
    }
}
