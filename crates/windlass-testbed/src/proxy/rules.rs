//! Which requests, and what is done with them.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use super::Request;
use super::server::dropped;

/// Tells requests apart.
#[derive(Clone)]
pub struct Matcher(Arc<dyn Fn(&Request) -> bool + Send + Sync>);

impl Matcher {
    /// Whatever `matches` says.
    pub fn new(matches: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(matches))
    }

    /// Every request.
    pub fn all() -> Self {
        Self::new(|_| true)
    }

    /// Calls of one AWS action.
    pub fn action(name: &str) -> Self {
        let name = name.to_owned();
        Self::new(move |request| request.action.as_deref() == Some(&name))
    }

    /// Requests of one method whose path (with query) contains `part`.
    pub fn method(method: &str, part: &str) -> Self {
        let (method, part) = (method.to_owned(), part.to_owned());
        Self::new(move |request| request.method == method && request.path.contains(&part))
    }

    /// Requests that change something and whose path contains `part`.
    pub fn write(part: &str) -> Self {
        let part = part.to_owned();
        Self::new(move |request| request.method != "GET" && request.path.contains(&part))
    }

    /// Requests that match both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::new(move |request| self.matches(request) && other.matches(request))
    }

    /// Requests whose body contains `part`.
    #[must_use]
    pub fn body_contains(self, part: &str) -> Self {
        let part = part.to_owned();
        self.and(Self::new(move |request| {
            request.body_text().contains(&part)
        }))
    }

    pub(super) fn matches(&self, request: &Request) -> bool {
        (self.0)(request)
    }
}

impl Debug for Matcher {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("Matcher(…)")
    }
}

/// Where a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It has come and upstream knows nothing of it; nor will it, if the caller goes away.
    BeforeForwarding,
    /// It is on its way, and reaches upstream when it is released, whatever becomes of the caller.
    InTransit,
    /// Upstream has carried it out and the caller does not know.
    BeforeAnswering,
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers in upstream's place.
    Answer {
        /// HTTP status.
        status: u16,
        /// The header `content-type`.
        content_type: String,
        /// The body.
        body: String,
    },
    /// Passes it on after a while.
    Delay(Duration),
    /// Closes the connection; upstream never hears of it.
    DropBeforeForwarding,
    /// Passes it on and closes the connection instead of answering.
    DropBeforeAnswering,
    /// See [`super::Proxy::hold`].
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "made by `Proxy::hold` alone")]
    Hold {
        /// Where.
        at: Hold,
        /// The request, once it has come.
        held: Arc<Mutex<Option<Request>>>,
        /// What becomes of it.
        verdicts: watch::Receiver<Verdict>,
    },
}

impl Act {
    /// An error as Auto Scaling, IAM and STS word it, such as `aws_error(400, "Throttling")`.
    pub fn aws_error(status: u16, code: &str) -> Self {
        let kind = if status < 500 { "Sender" } else { "Receiver" };
        let body = format!(
            "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><Error>\
             <Type>{kind}</Type><Code>{code}</Code><Message>{code} by the test bed</Message>\
             </Error><RequestId>testbed</RequestId></ErrorResponse>"
        );
        Self::Answer {
            status,
            content_type: "text/xml".to_owned(),
            body,
        }
    }

    /// An error as EC2 words it, such as `ec2_error(503, "RequestLimitExceeded")`.
    pub fn ec2_error(status: u16, code: &str) -> Self {
        let body = format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>{code} by the test bed\
             </Message></Error></Errors><RequestID>testbed</RequestID></Response>"
        );
        Self::Answer {
            status,
            content_type: "text/xml".to_owned(),
            body,
        }
    }

    /// An error as the API server words it, such as `kubernetes_error(500, "InternalError")`.
    pub fn kubernetes_error(status: u16, reason: &str) -> Self {
        let body = serde_json::json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "reason": reason, "code": status, "message": format!("{reason} by the test bed"),
        });
        Self::Answer {
            status,
            content_type: "application/json".to_owned(),
            body: body.to_string(),
        }
    }
}

/// What becomes of a held request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    GoOn,
    Refuse,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<()>,
    pub(super) matcher: Matcher,
    pub(super) act: Act,
    pub(super) times: Option<usize>,
}

impl Rule {
    pub(super) fn new(matcher: Matcher, act: Act) -> Self {
        Self {
            id: Arc::new(()),
            matcher,
            act,
            times: None,
        }
    }
}

/// Shows the held request and waits for the verdict; an error is a refusal.
pub(super) async fn wait_for_verdict(
    request: &Request,
    held: &Mutex<Option<Request>>,
    mut verdicts: watch::Receiver<Verdict>,
) -> Result<()> {
    *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.clone());
    match verdicts
        .wait_for(|verdict| *verdict != Verdict::Wait)
        .await
        .as_deref()
    {
        Ok(Verdict::Refuse) => Err(dropped()),
        // An error says that whoever held it has gone.
        Ok(Verdict::GoOn | Verdict::Wait) | Err(_) => Ok(()),
    }
}

/// One value of a form, decoded.
pub(super) fn form_value(body: &[u8], name: &str) -> Option<String> {
    let form = std::str::from_utf8(body).ok()?;
    form.split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| windlass_faults::percent_decode(key) == name)
        .map(|(_, value)| windlass_faults::percent_decode(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded_value_by_value() {
        let form = b"Action=SetDesiredCapacity&Name=a%2Fb+c%20d&Odd=50%&Empty=";
        assert_eq!(
            form_value(form, "Action").as_deref(),
            Some("SetDesiredCapacity")
        );
        assert_eq!(form_value(form, "Name").as_deref(), Some("a/b c d"));
        assert_eq!(form_value(form, "Odd").as_deref(), Some("50%"));
        assert_eq!(form_value(form, "Empty").as_deref(), Some(""));
        assert_eq!(form_value(form, "name"), None);
    }
}
