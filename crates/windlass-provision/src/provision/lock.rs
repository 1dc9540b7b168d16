//! One applier at a time: a parameter that can be created only once.

use jiff::{SignedDuration, Timestamp};
use windlass_aws_client::{CallError, Client, Secret};

use super::{OWNER_TAG, Tags};

/// After how long a lock that nobody has released counts as left behind.
const LIFE: SignedDuration = SignedDuration::from_mins(30);

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error(
        "{holder} is changing this cluster since {since}: wait for it, or, if it is surely gone, \
         use --force-unlock"
    )]
    Held {
        /// Who.
        holder: String,
        /// Since when.
        since: String,
    },
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A lock that is ours.
#[derive(Debug)]
pub struct Lock {
    name: String,
}

/// What becomes of a lock that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It stays theirs.
    Respect,
    /// It is taken away from them.
    Break,
}

fn name(cluster: &str) -> String {
    format!("/windlass/{cluster}/lock")
}

/// The value of the parameter: holder and time.
fn value(holder: &str, now: Timestamp) -> String {
    format!("{holder} {now}")
}

/// Holder, and when it took the lock; none for a value that is not a lock's.
fn parse(value: &str) -> Option<(&str, Timestamp)> {
    let (holder, time) = value.rsplit_once(' ')?;
    Some((holder, time.parse().ok()?))
}

/// Whether a lock of this value is still somebody's. A process that was killed leaves its lock
/// behind: the same holder may take it up again at once, others after [`LIFE`].
fn is_live(value: &str, holder: &str, now: Timestamp) -> bool {
    parse(value).is_some_and(|(other, since)| other != holder && now.duration_since(since) < LIFE)
}

impl Lock {
    /// Takes the lock. `holder` says who, and is the same for the same person on the same machine.
    ///
    /// # Errors
    ///
    /// When somebody else holds it, or a call fails.
    pub async fn take(
        client: &Client,
        cluster: &str,
        holder: &str,
        now: Timestamp,
        held: Held,
    ) -> Result<Self, LockError> {
        let name = name(cluster);
        let tags: Tags = [(OWNER_TAG.to_owned(), cluster.to_owned())].into();
        let mine = Secret::new(value(holder, now));
        // Once to find it free, once more after one that was left behind.
        for _ in 0..2 {
            let description = "Held while a cluster is changed";
            let ssm = client.ssm();
            let created = ssm.create_parameter(&name, &mine, description, None, &tags);
            if created.await? {
                return Ok(Self { name });
            }
            if let Some(found) = client.ssm().get_parameter(&name).await? {
                let text = found.value.expose();
                if held == Held::Respect && is_live(text, holder, now) {
                    let (holder, since) = parse(text).map_or_else(
                        || (text.to_owned(), "some time".to_owned()),
                        |(holder, since)| (holder.to_owned(), since.to_string()),
                    );
                    return Err(LockError::Held { holder, since });
                }
                client.ssm().delete_parameter(&name).await?;
            }
        }
        Err(LockError::Held {
            holder: "somebody else".to_owned(),
            since: "this moment".to_owned(),
        })
    }

    /// Gives it back.
    ///
    /// # Errors
    ///
    /// When the call fails; the lock then ends by itself after half an hour.
    pub async fn release(self, client: &Client) -> Result<(), CallError> {
        client.ssm().delete_parameter(&self.name).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_its_holders_until_it_has_been_left_behind() {
        let then: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let lock = value("ana@laptop", then);
        let after = |minutes| then + SignedDuration::from_mins(minutes);
        assert!(is_live(&lock, "bob@desk", after(29)));
        assert!(!is_live(&lock, "bob@desk", after(30)));
        assert!(!is_live(&lock, "ana@laptop", after(1)));
        assert!(!is_live("something else", "bob@desk", then));
    }
}
