//! What goes wrong with single calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::call::Call;

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is refused, and has no effect.
    Error {
        /// HTTP status.
        status: u16,
        /// AWS's code.
        code: String,
        /// AWS's text.
        message: String,
    },
    /// It is carried out after a while.
    Slow(Duration),
    /// The connection breaks before AWS hears of it.
    LoseCall,
    /// AWS carries it out, and the connection breaks before the answer.
    LoseReply,
    /// AWS carries it out and answers with an internal error.
    FailAfterwards,
}

impl Trouble {
    /// Too many calls, as Auto Scaling says it.
    pub fn throttling() -> Self {
        Self::error(400, "Throttling", "Rate exceeded")
    }

    /// An internal error without effect.
    pub fn internal() -> Self {
        Self::error(500, "InternalFailure", "An internal error occurred")
    }

    /// An error.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Error {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

type Verdict = dyn Fn(&Call) -> Option<Trouble> + Send + Sync;

/// Says which calls are troubled, and how.
#[derive(Clone)]
pub struct Rule {
    verdict: Arc<Verdict>,
    /// How many more calls it troubles; no end if none is said.
    pub(crate) left: Option<usize>,
}

impl Rule {
    /// Whatever `verdict` says.
    pub fn new(verdict: impl Fn(&Call) -> Option<Trouble> + Send + Sync + 'static) -> Self {
        Self {
            verdict: Arc::new(verdict),
            left: None,
        }
    }

    /// All calls of one action.
    pub fn on(action: &str, trouble: Trouble) -> Self {
        let action = action.to_owned();
        Self::new(move |call| (call.action() == action).then(|| trouble.clone()))
    }

    /// Only the next `count` calls that it concerns.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self {
            left: Some(count),
            ..self
        }
    }

    pub(crate) fn judge(&mut self, call: &Call) -> Option<Trouble> {
        if self.left == Some(0) {
            return None;
        }
        let trouble = (self.verdict)(call)?;
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Some(trouble)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Rule")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
