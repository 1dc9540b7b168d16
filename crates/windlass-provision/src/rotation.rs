//! Keeping the published join credential fresh.
//!
//! [`decide`] is the rule, without clock or network: what is to be done about what was seen.
//! [`turn`] carries one decision out over [`Surroundings`], which are the API server and Parameter
//! Store in the binary, and simulated ones in the tests.
//!
//! Any number of rotators may run at once. Parameter Store has no compare-and-set, so two may
//! publish within the same second: both tokens are valid and signed before either is published,
//! and the loser is deleted later, so that a race costs one spare token and breaks nothing.

mod forms;
mod keep;
mod settings;
mod turn;

#[cfg(test)]
mod simulation;

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::document::JoinDocument;
use crate::pin::CaPin;
use crate::token::{BootstrapToken, TokenId};

pub use forms::Form;
pub use keep::{Coordination, keep};
pub use settings::{Settings, SettingsError};
pub use turn::{Failure, NOT_SIGNED, Outcome, Retry, Surroundings, TurnError, look, turn};

/// What the parameter holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// There is no such parameter.
    Absent,
    /// Its value is no join document.
    Garbage,
    /// A later program wrote it.
    Newer(u64),
    /// The document.
    Document(Box<Publication>),
}

/// A published document and when it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The document.
    pub document: JoinDocument,
    /// When the parameter was written, by AWS's clock.
    pub modified: Timestamp,
}

/// A token Secret that carries the rotator's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedToken {
    /// The token.
    pub token: BootstrapToken,
    /// UID of its Secret, so that no other of the same name is deleted.
    pub uid: String,
    /// When it was made, by the API server's clock.
    pub created: Timestamp,
    /// When it expires, by the API server's clock. One without an expiry is not ours.
    pub expires: Timestamp,
    /// Whether `cluster-info` carries its valid signature.
    pub signed: bool,
}

/// What nodes should be told now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the cluster.
    pub cluster: String,
    /// `host:port` of the API server.
    pub endpoint: String,
    /// Pins of the CA bundle.
    pub pins: Vec<CaPin>,
    /// CA bundle in PEM.
    pub certificate_authority: String,
    /// Version of the API server.
    pub kubernetes: String,
}

/// The plain parameter of the 2019 scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compat {
    /// Not kept.
    Off,
    /// It holds this token, or no token at all.
    Holds(Option<BootstrapToken>),
}

/// Everything a decision rests on.
#[derive(Clone, Debug)]
pub struct Observation {
    /// What is published.
    pub published: Published,
    /// Our tokens.
    pub tokens: Vec<ManagedToken>,
    /// What should be published besides the token.
    pub target: Target,
    /// The plain parameter.
    pub compat: Compat,
    /// Now, by AWS's clock: the one that `modified` is on.
    pub aws_now: Timestamp,
    /// Now, by the API server's clock: the one that `created` and `expires` are on.
    pub api_now: Timestamp,
}

/// What a rotator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The published token is fresh.
    Keep,
    /// The published token is fresh, but the plain parameter holds another: write that one.
    PublishCompat,
    /// A token of ours was made and not published: publish it once it is signed.
    Publish(TokenId, Reason),
    /// Make a token, wait until it is signed, publish it.
    Create(Reason),
    /// A later program publishes here: do nothing and raise the alarm.
    Refuse {
        /// Its version.
        version: u64,
    },
}

/// Why there must be another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is published.
    Absent,
    /// What is published is no document.
    Garbage,
    /// It is old enough.
    Due,
    /// Too little of its life is left, however young the parameter is.
    ShortLived,
    /// Its Secret is gone: somebody has revoked it.
    Revoked,
    /// Endpoint or CA are others now.
    TargetChanged,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Absent => "nothing was published",
            Self::Garbage => "what was published was no join document",
            Self::Due => "the published token was due for renewal",
            Self::ShortLived => "the published token had too little life left",
            Self::Revoked => "the published token's Secret was gone",
            Self::TargetChanged => "endpoint or CA had changed",
        })
    }
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Secrets to delete before that: token and UID.
    pub sweep: Vec<(TokenId, String)>,
}

/// What is to be done about what was seen.
pub fn decide(observation: &Observation, settings: &Settings) -> Decision {
    let action = match reason(observation, settings) {
        Err(refuse) => refuse,
        Ok(None) => match &observation.compat {
            Compat::Holds(held) if held.as_ref() != published_token(observation) => {
                Action::PublishCompat
            }
            Compat::Holds(_) | Compat::Off => Action::Keep,
        },
        Ok(Some(reason)) => match unpublished(observation, settings) {
            Some(token) => Action::Publish(token.token.id().clone(), reason),
            None => Action::Create(reason),
        },
    };
    let sweep = match &action {
        // A later program's tokens are not ours to judge.
        Action::Refuse { .. } => Vec::new(),
        _ => sweep(observation, settings, &action),
    };
    Decision { action, sweep }
}

fn published_token(observation: &Observation) -> Option<&BootstrapToken> {
    match &observation.published {
        Published::Document(publication) => Some(&publication.document.token),
        Published::Absent | Published::Garbage | Published::Newer(_) => None,
    }
}

/// Why there must be another token; none while the published one is fresh.
fn reason(observation: &Observation, settings: &Settings) -> Result<Option<Reason>, Action> {
    let publication = match &observation.published {
        Published::Absent => return Ok(Some(Reason::Absent)),
        Published::Garbage => return Ok(Some(Reason::Garbage)),
        Published::Newer(version) => return Err(Action::Refuse { version: *version }),
        Published::Document(publication) => publication,
    };
    let document = &publication.document;
    let Target {
        cluster,
        endpoint,
        pins,
        certificate_authority: _,
        kubernetes: _,
    } = &observation.target;
    if document.cluster != *cluster || document.endpoint != *endpoint || document.pins != *pins {
        return Ok(Some(Reason::TargetChanged));
    }
    let Some(secret) = observation
        .tokens
        .iter()
        .find(|known| known.token == document.token)
    else {
        return Ok(Some(Reason::Revoked));
    };
    let remaining = secret.expires.duration_since(observation.api_now);
    if remaining < signed(settings.boot_budget + settings.lateness) {
        return Ok(Some(Reason::ShortLived));
    }
    let age = observation.aws_now.duration_since(publication.modified);
    Ok((age >= signed(settings.renew_after)).then_some(Reason::Due))
}

/// A token that a rotator made and has not published: a signed one first, then the youngest, so
/// that the rotators agree on it. One that is not signed yet is waited for like one's own: while
/// something is out of order, each rotator would make another at every try.
fn unpublished<'a>(observation: &'a Observation, settings: &Settings) -> Option<&'a ManagedToken> {
    let published = published_token(observation);
    observation
        .tokens
        .iter()
        .filter(|known| Some(&known.token) != published)
        .filter(|known| {
            let age = observation.api_now.duration_since(known.created);
            age < signed(settings.adoptable())
                && known.expires.duration_since(observation.api_now)
                    >= signed(settings.renew_after + settings.boot_budget)
        })
        .max_by_key(|known| (known.signed, known.created, known.token.id()))
}

/// Tokens that nobody needs any more.
fn sweep(
    observation: &Observation,
    settings: &Settings,
    action: &Action,
) -> Vec<(TokenId, String)> {
    let Published::Document(publication) = &observation.published else {
        return Vec::new();
    };
    let published_for = observation.aws_now.duration_since(publication.modified);
    let published = &publication.document.token;
    let secret = observation
        .tokens
        .iter()
        .find(|known| known.token == *published);
    // Of a revoked one the document alone tells.
    let made = secret.map_or(publication.document.issued, |secret| secret.created);
    observation
        .tokens
        .iter()
        .filter(|known| known.token != *published)
        .filter(|known| !matches!(action, Action::Publish(id, _) if known.token.id() == id))
        .filter(|known| {
            if known.created <= made {
                // A node may have read it just before it was superseded.
                published_for >= signed(settings.boot_budget)
            } else {
                // Made after the published one: another rotator may be about to publish it.
                observation.api_now.duration_since(known.created)
                    >= signed(settings.adoptable() + Settings::PUBLISH_DEADLINE)
            }
        })
        .map(|known| (known.token.id().clone(), known.uid.clone()))
        .collect()
}

/// How long the published token is still good; none when nothing usable is published.
pub fn remaining(observation: &Observation) -> Option<Duration> {
    let published = published_token(observation)?;
    let secret = observation
        .tokens
        .iter()
        .find(|known| known.token == *published)?;
    let remaining = secret.expires.duration_since(observation.api_now);
    Some(Duration::try_from(remaining).unwrap_or_default())
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
