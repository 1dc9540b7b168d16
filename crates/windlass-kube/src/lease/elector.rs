use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Observed, Record, Verdict, released, verdict};
use crate::api::{Api, ApiError};

/// How a candidate takes part.
#[derive(Clone, Debug)]
pub struct ElectorOptions {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// Who this candidate is: the host name.
    pub identity: String,
    /// How long the others wait after the last renewal that they saw.
    pub lease_duration: Duration,
    /// How long the leader tries to renew before it stops acting.
    pub renew_deadline: Duration,
    /// The pause between two attempts.
    pub retry_period: Duration,
}

/// Whether this process may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Another leads, or nobody yet.
    Candidate,
    /// This process leads.
    Leader,
    /// This process led and could not renew: it must not act until it has the lease again.
    Suspended,
}

/// Another took the lease while this process led or was suspended: what this process knows is
/// out of date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another candidate took it.
    #[error("lost the lease to {holder}")]
    Taken {
        /// Who holds it now; empty when nobody does any more.
        holder: String,
    },
    /// A second process goes by the same name. For client-go both would lead.
    #[error(
        "another process renews the lease as {identity} too: two must not run on hosts of one name"
    )]
    Twin {
        /// The name of both.
        identity: String,
    },
}

/// One candidate for a Lease.
pub struct Elector {
    api: Api,
    options: ElectorOptions,
    /// The Lease as last read or written.
    lease: Option<Lease>,
    observed: Option<Observed>,
    /// The time of the last renewal that this process has sent and the server may have taken.
    sent: Option<Timestamp>,
    /// That the server does not answer has been said.
    is_trouble_known: bool,
    leadership: watch::Sender<Leadership>,
}

/// By how much an attempt may come later than its period, so that candidates do not all try at
/// once. client-go lets it come 1.2 periods late; a candidate that looks more often takes over
/// sooner, and by the same rules.
const JITTER: f64 = 0.2;
/// How often the lease is released where it has been written meanwhile: a renewal that was on its way
/// at the end may arrive after the Lease has been read.
const RELEASE_ATTEMPTS: u32 = 3;
/// A lease is tried for this long after it has run out: not before, by any rounding.
const AFTER_EXPIRY: Duration = Duration::from_millis(5);

impl Elector {
    /// A candidate that has not tried yet.
    pub fn new(api: &Api, options: ElectorOptions) -> Self {
        // An attempt that hangs must not use up the whole deadline.
        let api = api.with_timeout(options.renew_deadline.min(Duration::from_secs(5)));
        let (leadership, _) = watch::channel(Leadership::Candidate);
        Self {
            api,
            options,
            lease: None,
            observed: None,
            sent: None,
            is_trouble_known: false,
            leadership,
        }
    }

    /// Tells whoever listens whether this process may act.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Takes part until `cancel`, and then releases the lease if it is held.
    ///
    /// # Errors
    ///
    /// [`Lost`] when another took the lease from this process.
    pub async fn run(mut self, cancel: &CancellationToken) -> Result<(), Lost> {
        let result = cancel
            .run_until_cancelled(self.contend())
            .await
            .unwrap_or(Ok(()));
        self.leadership.send_replace(Leadership::Candidate);
        if result.is_ok() {
            self.release().await;
        }
        result
    }

    async fn contend(&mut self) -> Result<(), Lost> {
        self.acquire().await;
        let led = self.transitions();
        loop {
            self.leadership.send_replace(Leadership::Leader);
            info!(identity = self.options.identity, "leading");
            self.renew().await;
            self.leadership.send_replace(Leadership::Suspended);
            // Where client-go would end the process: whether it must is known only when the
            // Lease can be read again. Until then nothing is done.
            self.still_ours(led)?;
            warn!("cannot renew the lease: nothing is done until it can be read again");
            self.regain(led).await?;
        }
    }

    fn transitions(&self) -> i32 {
        self.observed
            .as_ref()
            .map_or(0, |observed| observed.record.transitions)
    }

    /// Whether nobody else has, or had, the lease since this process took it for the `led`th time.
    fn still_ours(&self, led: i32) -> Result<(), Lost> {
        let Some(observed) = &self.observed else {
            return Ok(());
        };
        let record = &observed.record;
        if record.holder != self.options.identity || record.transitions != led {
            return Err(Lost::Taken {
                holder: record.holder.clone(),
            });
        }
        if self.has_twin() {
            return Err(Lost::Twin {
                identity: record.holder.clone(),
            });
        }
        Ok(())
    }

    /// Whether the Lease, as last seen, was renewed under this process's name and not by it.
    fn has_twin(&self) -> bool {
        let renewed = |observed: &Observed| {
            (observed.record.holder == self.options.identity)
                .then_some(observed.record.renewed_at)
                .flatten()
        };
        let renewed = self.observed.as_ref().and_then(renewed);
        *self.leadership.borrow() != Leadership::Candidate
            && renewed.is_some_and(|at| self.sent.is_none_or(|sent| to_microseconds(sent) < at))
    }

    async fn acquire(&mut self) {
        let mut known_holder = String::new();
        while !self.attempt().await {
            if let Some(observed) = &self.observed
                && observed.record.holder != known_holder
            {
                known_holder.clone_from(&observed.record.holder);
                info!(holder = known_holder, "waiting for the lease");
            }
            tokio::time::sleep(self.until_next_attempt()).await;
        }
    }

    /// A retry period, or less where the lease runs out before.
    fn until_next_attempt(&self) -> Duration {
        let period = jittered(self.options.retry_period, now_as_seed());
        let left = self.observed.as_ref().and_then(|observed| {
            let end = observed.since + observed.record.duration + AFTER_EXPIRY;
            end.checked_duration_since(Instant::now())
        });
        left.map_or(period, |left| left.min(period))
    }

    /// Returns when the lease could not be renewed within the deadline, or is another's.
    async fn renew(&mut self) {
        loop {
            let deadline = Instant::now() + self.options.renew_deadline;
            let renewed = tokio::time::timeout_at(deadline, async {
                while !self.attempt().await {
                    if self.has_twin() {
                        return false;
                    }
                    tokio::time::sleep(self.options.retry_period).await;
                }
                true
            })
            .await;
            if renewed != Ok(true) {
                return;
            }
            tokio::time::sleep(self.options.retry_period).await;
        }
    }

    /// Reads the Lease until it can be told whose it is. Ours still: it is renewed.
    async fn regain(&mut self, led: i32) -> Result<(), Lost> {
        loop {
            tokio::time::sleep(self.options.retry_period).await;
            match self.read().await {
                Ok(()) => {
                    self.still_ours(led)?;
                    if self.observed.is_none() {
                        return Err(Lost::Taken {
                            holder: String::new(),
                        });
                    }
                    if self.attempt().await {
                        return Ok(());
                    }
                }
                Err(error) => debug!(%error, "cannot read the lease"),
            }
        }
    }

    /// client-go's `tryAcquireOrRenew`: whether the lease is ours now.
    async fn attempt(&mut self) -> bool {
        let started = Instant::now();
        if self.is_holder()
            && self
                .observed
                .as_ref()
                .is_some_and(|observed| observed.is_valid(started))
        {
            // Nobody else can have written it: no need to read it first.
            if let Verdict::Renew(record) = self.judge() {
                match self.write(record).await {
                    Ok(()) => {
                        self.is_trouble_known = false;
                        return true;
                    }
                    Err(error) => debug!(%error, "cannot renew the lease as last seen"),
                }
            }
        }
        if let Err(error) = self.read().await {
            self.complain(&error, "cannot read the lease");
            return false;
        }
        if self.has_twin() {
            return false;
        }
        let written = match self.judge() {
            Verdict::Wait => return false,
            Verdict::Create(record) => self.create(record).await,
            Verdict::Acquire(record) | Verdict::Renew(record) => self.write(record).await,
        };
        match written {
            Ok(()) => {
                self.is_trouble_known = false;
                true
            }
            Err(error) if error.is_conflict() => false,
            Err(error) => {
                self.complain(&error, "cannot write the lease");
                false
            }
        }
    }

    /// Says what is wrong, once until it works again: there is a try every other second.
    fn complain(&mut self, error: &ApiError, what: &str) {
        if std::mem::replace(&mut self.is_trouble_known, true) {
            debug!(%error, what, "still trouble with the lease");
        } else {
            warn!(%error, what, "trouble with the lease: trying again");
        }
    }

    fn is_holder(&self) -> bool {
        self.observed
            .as_ref()
            .is_some_and(|observed| observed.record.holder == self.options.identity)
    }

    fn judge(&self) -> Verdict {
        verdict(
            self.observed.as_ref(),
            &self.options.identity,
            self.options.lease_duration,
            Instant::now(),
            Timestamp::now(),
        )
    }

    fn collection(&self) -> String {
        format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
            self.options.namespace
        )
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.options.name)
    }

    async fn read(&mut self) -> Result<(), ApiError> {
        match self.api.get::<Lease>(&self.path()).await {
            Ok(lease) => {
                self.observe(lease, Instant::now());
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.lease = None;
                self.observed = None;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn observe(&mut self, lease: Lease, now: Instant) {
        let record = record_of(&lease);
        self.observed = Some(Observed::update(self.observed.take(), record, now));
        self.lease = Some(lease);
    }

    async fn create(&mut self, record: Record) -> Result<(), ApiError> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.options.name.clone()),
                namespace: Some(self.options.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(spec_of(&record, None)),
        };
        let started = Instant::now();
        self.sent = record.renewed_at;
        let written = self.api.create(&self.collection(), &lease).await?;
        self.observe(written, started);
        Ok(())
    }

    async fn write(&mut self, record: Record) -> Result<(), ApiError> {
        let mut lease = self.lease.clone().unwrap_or_default();
        lease.spec = Some(spec_of(&record, lease.spec.take()));
        // What the server cut (to microseconds) must not look like a change by somebody else,
        // so its answer is what is remembered; the time is that before the call.
        let started = Instant::now();
        let earlier = std::mem::replace(&mut self.sent, record.renewed_at);
        match self.api.replace(&self.path(), &lease).await {
            Ok(written) => {
                self.observe(written, started);
                Ok(())
            }
            Err(error) => {
                // Any other error leaves open whether the server has taken it.
                if error.is_conflict() {
                    self.sent = earlier;
                }
                Err(error)
            }
        }
    }

    async fn release(&mut self) {
        for left in (0..RELEASE_ATTEMPTS).rev() {
            match self.try_release().await {
                Ok(true) => return info!("released the lease"),
                Ok(false) => return,
                Err(error) if error.is_conflict() && 0 < left => {
                    debug!(%error, "the lease has been written meanwhile: reading it again");
                }
                Err(error) => return warn!(%error, "cannot release the lease"),
            }
        }
    }

    /// Whether it was held, and is no more.
    async fn try_release(&mut self) -> Result<bool, ApiError> {
        if !self.is_holder() {
            return Ok(false);
        }
        self.read().await?;
        let Some(observed) = self.observed.as_ref().filter(|_| self.is_holder()) else {
            return Ok(false);
        };
        let record = released(&observed.record, Timestamp::now());
        self.write(record).await?;
        Ok(true)
    }
}

fn record_of(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or(0).max(0);
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(u64::from(seconds.unsigned_abs())),
        acquired_at: spec.acquire_time.map(|time| time.0),
        renewed_at: spec.renew_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}

fn spec_of(record: &Record, earlier: Option<LeaseSpec>) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(record.holder.clone()),
        lease_duration_seconds: i32::try_from(record.duration.as_secs()).ok(),
        acquire_time: record.acquired_at.map(MicroTime),
        renew_time: record.renewed_at.map(MicroTime),
        lease_transitions: Some(record.transitions),
        ..earlier.unwrap_or_default()
    }
}

/// What is left of a time on its way to the server.
fn to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// `period`, longer by up to [`JITTER`] times itself.
fn jittered(period: Duration, seed: u32) -> Duration {
    period.mul_f64(1.0 + JITTER * f64::from(seed) / f64::from(u32::MAX))
}

/// Something that differs between candidates and attempts; nothing secret rests on it.
fn now_as_seed() -> u32 {
    let nanoseconds = Timestamp::now().subsec_nanosecond().unsigned_abs();
    nanoseconds.wrapping_mul(2_654_435_761)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_comes_at_most_a_little_late() {
        let period = Duration::from_secs(2);
        assert_eq!(jittered(period, 0), period);
        assert!(jittered(period, u32::MAX) <= period.mul_f64(1.2));
    }

    #[test]
    fn a_lease_survives_the_way_to_the_server_and_back() {
        let record = Record {
            holder: "a".to_owned(),
            duration: Duration::from_secs(15),
            acquired_at: Timestamp::from_microsecond(1_700_000_000_123_456).ok(),
            renewed_at: Timestamp::from_microsecond(1_700_000_001_123_456).ok(),
            transitions: 4,
        };
        let lease = Lease {
            spec: Some(spec_of(&record, None)),
            ..Lease::default()
        };
        assert_eq!(record_of(&lease), record);
    }
}
