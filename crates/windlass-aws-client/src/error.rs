//! What can go wrong with a call, and what a caller may do about it.

use std::fmt;
use std::time::Duration;

/// A call that failed: which, on what, and how.
///
/// The message carries AWS's own code and text. The cause of a transport failure is the source,
/// and is not repeated in the message.
#[derive(Debug)]
pub struct CallError {
    /// The action, such as `SetDesiredCapacity`.
    pub action: &'static str,
    /// What the action was about (a group, an instance, a parameter), where it is about one thing.
    pub resource: Option<String>,
    /// AWS's id of the request, which its support asks for.
    pub request_id: Option<String>,
    /// The failure itself.
    pub kind: CallErrorKind,
}

/// How a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallErrorKind {
    /// AWS answered with an error.
    #[error("{code}: {message} (HTTP {status})")]
    Service {
        /// HTTP status.
        status: u16,
        /// AWS's error code, such as `ValidationError`.
        code: String,
        /// AWS's text.
        message: String,
    },
    /// No answer within the time for one attempt or for the whole call.
    #[error("no answer within {} s", .after.as_secs_f64())]
    Timeout {
        /// The time that was given.
        after: Duration,
    },
    /// The connection could not be made, or broke.
    #[error("connection failed")]
    Transport {
        /// The HTTP client's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer that is not what the API promises.
    #[error("cannot understand the answer")]
    Answer {
        /// The decoder's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No credentials could be had, so nothing was sent.
    #[error(
        "no AWS credentials (looked in the environment, the profile, web identity, container and instance metadata)"
    )]
    Credentials {
        /// What the chain of providers reported.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request could not be built or signed.
    #[error("cannot build the request")]
    Request {
        /// The signer's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a failure means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// Too many calls: wait.
    Throttled,
    /// Timeout, broken connection or HTTP 5xx: it may go better next time.
    Transient,
    /// Another activity on the same resource is under way: wait a little.
    Contention,
    /// These credentials may not do this.
    Denied,
    /// The credentials themselves are missing, expired or unknown.
    Credentials,
    /// The thing named does not exist.
    NotFound,
    /// The request is refused for what it says.
    Invalid,
    /// Anything else.
    Other,
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Contention => "contention",
            Self::Denied => "denied",
            Self::Credentials => "credentials",
            Self::NotFound => "not found",
            Self::Invalid => "invalid",
            Self::Other => "other",
        })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.action)?;
        if let Some(resource) = &self.resource {
            write!(formatter, " of `{resource}`")?;
        }
        write!(formatter, ": {}", self.kind)?;
        if let Some(request_id) = &self.request_id {
            write!(formatter, " (request {request_id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The kind itself is in the message already.
        std::error::Error::source(&self.kind)
    }
}

impl CallError {
    /// AWS's error code, if AWS answered.
    pub fn code(&self) -> Option<&str> {
        match &self.kind {
            CallErrorKind::Service { code, .. } => Some(code),
            _ => None,
        }
    }

    /// AWS's text, if AWS answered.
    pub fn message(&self) -> Option<&str> {
        match &self.kind {
            CallErrorKind::Service { message, .. } => Some(message),
            _ => None,
        }
    }

    /// What the failure means to the caller.
    pub fn class(&self) -> ErrorClass {
        self.kind.class()
    }

    /// Whether AWS asks for fewer calls.
    pub fn is_throttling(&self) -> bool {
        self.class() == ErrorClass::Throttled
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.class(),
            ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::Contention
        )
    }

    /// Whether the credentials lack the permission.
    pub fn is_denied(&self) -> bool {
        self.class() == ErrorClass::Denied
    }

    /// Whether AWS may have carried the call out all the same: it was sent, and no answer that
    /// says otherwise came back.
    pub fn may_have_happened(&self) -> bool {
        match &self.kind {
            CallErrorKind::Timeout { .. }
            | CallErrorKind::Transport { .. }
            | CallErrorKind::Answer { .. } => true,
            CallErrorKind::Service { status, .. } => {
                *status >= 500 && self.class() != ErrorClass::Throttled
            }
            CallErrorKind::Credentials { .. } | CallErrorKind::Request { .. } => false,
        }
    }
}

impl CallErrorKind {
    /// See [`CallError::class`].
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Service { status, code, .. } => class_of(*status, code),
            Self::Timeout { .. } | Self::Transport { .. } => ErrorClass::Transient,
            Self::Credentials { .. } => ErrorClass::Credentials,
            Self::Answer { .. } | Self::Request { .. } => ErrorClass::Other,
        }
    }
}

/// Codes that the SDKs retry as throttling, and EC2's and Auto Scaling's own.
fn class_of(status: u16, code: &str) -> ErrorClass {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceededException"
        | "EC2ThrottledException"
        | "LimitExceededException" => ErrorClass::Throttled,
        "ScalingActivityInProgress"
        | "ScalingActivityInProgressFault"
        | "ResourceContention"
        | "ResourceContentionFault"
        | "IdempotentCallInProgress"
        | "ConcurrentModification"
        | "TooManyUpdates" => ErrorClass::Contention,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "UnauthorizedAccess"
        | "NotAuthorized" => ErrorClass::Denied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "AuthFailure"
        | "InvalidIdentityToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "RequestTimeTooSkewed" => ErrorClass::Credentials,
        "RequestTimeout"
        | "RequestTimeoutException"
        | "InternalError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "Unavailable" => ErrorClass::Transient,
        _ if code.contains("NotFound") || code.starts_with("NoSuchEntity") => ErrorClass::NotFound,
        _ if status == 404 => ErrorClass::NotFound,
        _ if status == 429 => ErrorClass::Throttled,
        _ if status >= 500 => ErrorClass::Transient,
        _ if code.starts_with("Validation")
            || code.starts_with("Invalid")
            || code.starts_with("Malformed")
            || code.starts_with("Missing") =>
        {
            ErrorClass::Invalid
        }
        _ if status == 403 => ErrorClass::Denied,
        _ => ErrorClass::Other,
    }
}

/// Whether the credentials at hand are of no more use, so that fresh ones should be asked for.
pub(crate) fn credentials_are_stale(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "InvalidClientTokenId"
    )
}

/// Whether the error says that the clocks differ too much for a signature.
pub(crate) fn clock_is_skewed(code: &str) -> bool {
    matches!(
        code,
        "RequestTimeTooSkewed"
            | "RequestExpired"
            | "SignatureDoesNotMatch"
            | "AuthFailure"
            | "InvalidSignatureException"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service_error(status: u16, code: &str) -> CallError {
        CallError {
            action: "SetDesiredCapacity",
            resource: Some("workers".to_owned()),
            request_id: Some("r-1".to_owned()),
            kind: CallErrorKind::Service {
                status,
                code: code.to_owned(),
                message: "Rate exceeded".to_owned(),
            },
        }
    }

    #[test]
    fn the_message_names_action_resource_code_and_request() {
        assert_eq!(
            service_error(400, "Throttling").to_string(),
            "SetDesiredCapacity of `workers`: Throttling: Rate exceeded (HTTP 400) (request r-1)"
        );
    }

    #[test]
    fn codes_are_told_apart() {
        for (status, code, class) in [
            (400, "Throttling", ErrorClass::Throttled),
            (503, "RequestLimitExceeded", ErrorClass::Throttled),
            (400, "ScalingActivityInProgress", ErrorClass::Contention),
            (403, "AccessDenied", ErrorClass::Denied),
            (403, "UnauthorizedOperation", ErrorClass::Denied),
            (403, "ExpiredToken", ErrorClass::Credentials),
            (400, "ValidationError", ErrorClass::Invalid),
            (400, "InvalidAMIID.NotFound", ErrorClass::NotFound),
            (400, "ParameterNotFound", ErrorClass::NotFound),
            (500, "InternalFailure", ErrorClass::Transient),
            (502, "", ErrorClass::Transient),
            (400, "SomethingNew", ErrorClass::Other),
        ] {
            assert_eq!(
                service_error(status, code).class(),
                class,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn a_refused_call_did_not_happen() {
        assert!(!service_error(400, "ValidationError").may_have_happened());
        assert!(!service_error(503, "RequestLimitExceeded").may_have_happened());
        assert!(service_error(500, "InternalFailure").may_have_happened());
    }
}
