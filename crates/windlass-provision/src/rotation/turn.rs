//! One look at the credential, and what follows from it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rand::CryptoRng;
use tokio::time::Instant;

use super::{
    Action, Decision, Observation, Publication, Published, Reason, Settings, decide, remaining,
};
use crate::document::JoinDocument;
use crate::token::{BootstrapToken, TokenId};

/// How often the signature is looked for.
const SIGNATURE_POLL: Duration = Duration::from_millis(500);

/// The operation of a [`TurnError`] about a token that the signer did not sign.
pub const NOT_SIGNED: &str = "the new token was not signed in time";

/// Whether an operation that failed is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may go better next time.
    Later,
    /// Somebody must change something first.
    Never,
}

/// An operation of [`Surroundings`] that failed.
#[derive(Debug)]
pub struct Failure {
    /// Whether to try again.
    pub retry: Retry,
    /// What somebody can do about it; empty if nothing is known.
    pub hint: String,
    /// What went wrong.
    pub source: Box<dyn Error + Send + Sync>,
}

/// What a rotator acts on: the cluster and Parameter Store.
pub trait Surroundings {
    /// Reads the parameters and our token Secrets.
    fn observe(&self) -> impl Future<Output = Result<Observation, Failure>>;
    /// The API server's clock.
    fn api_now(&self) -> impl Future<Output = Result<Timestamp, Failure>>;
    /// Makes the Secret of a token. It always has an expiry.
    fn create(
        &self,
        token: &BootstrapToken,
        expires: Timestamp,
    ) -> impl Future<Output = Result<(), Failure>>;
    /// Whether `cluster-info` has a valid signature by the token.
    fn is_signed(&self, token: &BootstrapToken) -> impl Future<Output = Result<bool, Failure>>;
    /// Changes something of no meaning on the Secret, so that the signer looks at it again.
    fn wake_signer(&self, id: &TokenId) -> impl Future<Output = Result<(), Failure>>;
    /// Logs in with the token.
    fn logs_in(&self, token: &BootstrapToken) -> impl Future<Output = Result<bool, Failure>>;
    /// What the parameter holds now.
    fn published(&self) -> impl Future<Output = Result<Published, Failure>>;
    /// Writes the parameter.
    fn publish(&self, document: &JoinDocument) -> impl Future<Output = Result<(), Failure>>;
    /// Writes the plain parameter.
    fn publish_compat(&self, token: &BootstrapToken) -> impl Future<Output = Result<(), Failure>>;
    /// Deletes a Secret, if it still has this UID; without one, whichever has the name.
    fn delete(&self, id: &TokenId, uid: Option<&str>) -> impl Future<Output = Result<(), Failure>>;
    /// Who publishes: for the document.
    fn identity(&self) -> String;
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The published token is fresh.
    Fresh {
        /// How long it is still good.
        remaining: Duration,
    },
    /// A token was published.
    Renewed {
        /// Which.
        id: TokenId,
        /// Why.
        reason: Reason,
        /// How long it is good.
        remaining: Duration,
    },
    /// Another rotator published in between; its token stays.
    Yielded {
        /// Whether ours was overwritten rather than held back.
        overwritten: bool,
    },
    /// The plain parameter was mended.
    CompatMended,
}

/// Why a turn did not do what was to be done.
#[derive(Debug)]
pub struct TurnError {
    /// What was being done.
    pub operation: &'static str,
    /// How long the published token is still good, where that is known.
    pub remaining: Option<Duration>,
    /// Whether to try again soon.
    pub retry: Retry,
    /// What somebody can do about it; empty if nothing is known.
    pub hint: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl fmt::Display for TurnError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.operation)
    }
}

impl Error for TurnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// Names the operation that failed.
trait While<T> {
    fn while_in(self, operation: &'static str, remaining: Option<Duration>)
    -> Result<T, TurnError>;
}

impl<T> While<T> for Result<T, Failure> {
    fn while_in(
        self,
        operation: &'static str,
        remaining: Option<Duration>,
    ) -> Result<T, TurnError> {
        self.map_err(|failure| TurnError {
            operation,
            remaining,
            retry: failure.retry,
            hint: failure.hint,
            source: Some(failure.source),
        })
    }
}

/// Looks once, and says what is to be done: nothing is changed.
///
/// # Errors
///
/// When something could not be read.
pub async fn look(
    surroundings: &impl Surroundings,
    settings: &Settings,
) -> Result<(Observation, Decision), TurnError> {
    let observation = surroundings
        .observe()
        .await
        .while_in("cannot read the credential's state", None)?;
    let decision = decide(&observation, settings);
    Ok((observation, decision))
}

/// Looks once, and does what is to be done.
///
/// # Errors
///
/// When an operation failed. Whatever was published stays published.
pub async fn turn(
    surroundings: &impl Surroundings,
    settings: &Settings,
    random: &mut impl CryptoRng,
) -> Result<Outcome, TurnError> {
    // From before the look on, so that a token is never published after another rotator, by its age,
    // has taken it for given up.
    let since = Instant::now();
    let (observation, Decision { action, sweep }) = look(surroundings, settings).await?;
    let left = remaining(&observation);
    // Before another token is made: while something is out of order, they would pile up.
    let mut swept = Ok(());
    for (id, uid) in sweep {
        let deleted = surroundings.delete(&id, Some(&uid)).await;
        swept = swept.and(deleted.while_in("cannot delete a superseded token Secret", left));
    }
    // A token that stays too long is no reason not to renew.
    let outcome = act(surroundings, settings, random, &observation, action, since).await?;
    swept.map(|()| outcome)
}

async fn act(
    surroundings: &impl Surroundings,
    settings: &Settings,
    random: &mut impl CryptoRng,
    observation: &Observation,
    action: Action,
    since: Instant,
) -> Result<Outcome, TurnError> {
    let left = remaining(observation);
    match action {
        Action::Keep => Ok(Outcome::Fresh {
            remaining: left.unwrap_or_default(),
        }),
        Action::PublishCompat => {
            if let Published::Document(publication) = &observation.published {
                surroundings
                    .publish_compat(&publication.document.token)
                    .await
                    .while_in("cannot write the plain parameter", left)?;
            }
            Ok(Outcome::CompatMended)
        }
        Action::Refuse { version } => Err(TurnError {
            operation: "the parameter holds a document of a later version; it is left alone",
            remaining: left,
            retry: Retry::Never,
            hint: format!("version {version} was written by a later Windlass: update this rotator"),
            source: None,
        }),
        Action::Publish(id, reason) => {
            let Some(known) = observation
                .tokens
                .iter()
                .find(|known| *known.token.id() == id)
            else {
                return Ok(Outcome::Yielded { overwritten: false });
            };
            let made = Made {
                token: &known.token,
                created: known.created,
                expires: known.expires,
                since,
                origin: Origin::Adopted,
            };
            publish(surroundings, settings, observation, &made, reason).await
        }
        Action::Create(reason) => {
            let token = BootstrapToken::generate(random);
            let created = surroundings
                .api_now()
                .await
                .while_in("cannot read the API server's clock", left)?;
            let expires = created + settings.ttl;
            surroundings
                .create(&token, expires)
                .await
                .while_in("cannot create a token Secret", left)?;
            let made = Made {
                token: &token,
                created,
                expires,
                since,
                origin: Origin::Made,
            };
            publish(surroundings, settings, observation, &made, reason).await
        }
    }
}

struct Made<'a> {
    token: &'a BootstrapToken,
    created: Timestamp,
    expires: Timestamp,
    /// When this turn began, by a clock that never jumps.
    since: Instant,
    origin: Origin,
}

/// Whose a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// This turn has made it.
    Made,
    /// Another turn or rotator has, and may be about to publish it.
    Adopted,
}

async fn publish(
    surroundings: &impl Surroundings,
    settings: &Settings,
    observation: &Observation,
    made: &Made<'_>,
    reason: Reason,
) -> Result<Outcome, TurnError> {
    let left = remaining(observation);
    wait_until_signed(surroundings, settings, made, left).await?;
    let logs_in = surroundings
        .logs_in(made.token)
        .await
        .while_in("cannot try the new token", left)?;
    if !logs_in {
        return Err(TurnError {
            operation: "the API server does not accept the new token",
            remaining: left,
            retry: Retry::Later,
            hint: "start the API server with --enable-bootstrap-token-auth=true".to_owned(),
            source: None,
        });
    }
    // Signing takes seconds, in which another rotator may have been quicker.
    let now = surroundings
        .published()
        .await
        .while_in("cannot read the parameter again", left)?;
    if changed(&observation.published, &now) {
        // Ours is left to a later sweep: a third rotator may have taken it for a crashed one's,
        // and be about to publish it, or have done so.
        return Ok(Outcome::Yielded { overwritten: false });
    }
    let target = &observation.target;
    let document = JoinDocument {
        cluster: target.cluster.clone(),
        endpoint: target.endpoint.clone(),
        token: made.token.clone(),
        pins: target.pins.clone(),
        certificate_authority: Some(target.certificate_authority.clone()),
        issued: made.created,
        expires: made.expires,
        kubernetes: target.kubernetes.clone(),
        by: surroundings.identity(),
    };
    write(surroundings, settings, &document, made, left).await?;
    let read_back = surroundings
        .published()
        .await
        .while_in("cannot read the parameter back", left)?;
    if !holds(&read_back, made.token) {
        return Ok(Outcome::Yielded { overwritten: true });
    }
    if observation.compat != super::Compat::Off {
        surroundings
            .publish_compat(made.token)
            .await
            .while_in("cannot write the plain parameter", left)?;
    }
    let good_for = made.expires.duration_since(made.created);
    Ok(Outcome::Renewed {
        id: made.token.id().clone(),
        reason,
        remaining: Duration::try_from(good_for)
            .unwrap_or_default()
            .saturating_sub(made.since.elapsed()),
    })
}

/// Writes the parameter, with retries, until [`Settings::PUBLISH_DEADLINE`] has passed since the
/// token was taken up: after that another rotator may delete it.
async fn write(
    surroundings: &impl Surroundings,
    settings: &Settings,
    document: &JoinDocument,
    made: &Made<'_>,
    left: Option<Duration>,
) -> Result<(), TurnError> {
    let mut failures = 0;
    loop {
        let rest = Settings::PUBLISH_DEADLINE.saturating_sub(made.since.elapsed());
        let written = tokio::time::timeout(rest, surroundings.publish(document)).await;
        let failure = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failure,
            Err(late) => Failure {
                retry: Retry::Later,
                hint: String::new(),
                source: late.into(),
            },
        };
        failures += 1;
        let pause = settings.backoff(failures, 1.0);
        let time_is_up = made.since.elapsed() + pause >= Settings::PUBLISH_DEADLINE;
        if failure.retry == Retry::Never || time_is_up {
            return Err(failure).while_in("cannot write the parameter", left);
        }
        tokio::time::sleep(pause).await;
    }
}

async fn wait_until_signed(
    surroundings: &impl Surroundings,
    settings: &Settings,
    made: &Made<'_>,
    left: Option<Duration>,
) -> Result<(), TurnError> {
    let token = made.token;
    let begun = Instant::now();
    let mut woken = false;
    loop {
        match surroundings.is_signed(token).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // One look of many: giving up would leave a token behind.
            Err(failure)
                if failure.retry == Retry::Later && begun.elapsed() < settings.sign_deadline => {}
            Err(failure) => return Err(failure).while_in("cannot read cluster-info", left),
        }
        if begun.elapsed() >= settings.sign_deadline {
            // Of another's nobody here knows how far that one has come; it is swept by its age.
            if made.origin == Origin::Made {
                surroundings
                    .delete(token.id(), None)
                    .await
                    .while_in("cannot delete a token Secret that was not signed", left)?;
            }
            return Err(TurnError {
                operation: NOT_SIGNED,
                remaining: left,
                retry: Retry::Later,
                hint: "start the controller manager with \
                       --controllers=*,bootstrapsigner,tokencleaner, and see that ConfigMap \
                       kube-public/cluster-info is there"
                    .to_owned(),
                source: None,
            });
        }
        if !woken && begun.elapsed() >= settings.wake_signer_after {
            woken = true;
            surroundings
                .wake_signer(token.id())
                .await
                .while_in("cannot annotate the token Secret", left)?;
        }
        tokio::time::sleep(SIGNATURE_POLL).await;
    }
}

fn changed(before: &Published, now: &Published) -> bool {
    match (before, now) {
        (Published::Document(before), Published::Document(now)) => {
            let token = |publication: &Publication| publication.document.token.clone();
            token(before) != token(now)
        }
        (before, now) => before != now,
    }
}

fn holds(published: &Published, token: &BootstrapToken) -> bool {
    matches!(published, Published::Document(publication) if publication.document.token == *token)
}
