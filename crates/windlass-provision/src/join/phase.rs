use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A step of a join, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The configuration file is read.
    Config,
    /// One join at a time.
    Lock,
    /// The metadata service says who this is.
    Identity,
    /// Whether the node has its certificate already.
    AlreadyJoined,
    /// What must be there is there.
    Preflight,
    /// The parameter is read.
    Credentials,
    /// The published CA is held against the pins, before anything is sent to it.
    Authority,
    /// The operator's own commands before the join.
    PreJoin,
    /// Files are written.
    Configure,
    /// kubeadm runs.
    Kubeadm,
    /// The node turns ready.
    Ready,
    /// The operator's own commands after the join.
    PostJoin,
    /// The group is told.
    Signal,
    /// The files with the token go.
    Cleanup,
}

/// A word that names no phase that can be left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no phase that can be left out: these are already-joined, preflight, pre-join, kubeadm, \
     ready, post-join, signal and cleanup"
)]
pub struct PhaseError(String);

impl Phase {
    const SKIPPABLE: [Self; 8] = [
        Self::AlreadyJoined,
        Self::Preflight,
        Self::PreJoin,
        Self::Kubeadm,
        Self::Ready,
        Self::PostJoin,
        Self::Signal,
        Self::Cleanup,
    ];

    /// Its name in the log and in `--skip`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Lock => "lock",
            Self::Identity => "identity",
            Self::AlreadyJoined => "already-joined",
            Self::Preflight => "preflight",
            Self::Credentials => "credentials",
            Self::Authority => "authority",
            Self::PreJoin => "pre-join",
            Self::Configure => "configure",
            Self::Kubeadm => "kubeadm",
            Self::Ready => "ready",
            Self::PostJoin => "post-join",
            Self::Signal => "signal",
            Self::Cleanup => "cleanup",
        }
    }

    /// The exit code of a join that ended here for good. The rendered script has the same.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Config => 64,
            Self::Lock => 16,
            Self::Identity | Self::AlreadyJoined => 10,
            Self::Preflight | Self::PreJoin | Self::Configure => 11,
            Self::Credentials => 12,
            Self::Authority => 13,
            Self::Kubeadm => 14,
            Self::Ready | Self::PostJoin | Self::Signal | Self::Cleanup => 15,
        }
    }

    /// The exit code of a join whose time was spent on attempts.
    pub const BUDGET_SPENT: u8 = 16;
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Phase {
    type Err = PhaseError;

    fn from_str(text: &str) -> Result<Self, PhaseError> {
        Self::SKIPPABLE
            .into_iter()
            .find(|phase| phase.name() == text)
            .ok_or_else(|| PhaseError(text.to_owned()))
    }
}

/// The pause after the `attempt`th attempt (counted from 1): full jitter, up to a limit that
/// doubles from two seconds to thirty, so that three hundred instances that boot together do not
/// come back together. `draw` is from 0 to 1.
pub fn backoff(attempt: u32, draw: f64) -> Duration {
    let limit = Duration::from_secs(1 << attempt.clamp(1, 5)).min(Duration::from_secs(30));
    limit.mul_f64(draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_half_a_minute() {
        let longest = |attempt| backoff(attempt, 1.0).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 60].map(longest), [2, 4, 8, 16, 30, 30]);
        assert!(backoff(5, 0.0).is_zero());
    }

    #[test]
    fn only_some_phases_can_be_left_out() {
        assert_eq!("ready".parse(), Ok(Phase::Ready));
        for never in ["authority", "lock", "config", ""] {
            assert!(never.parse::<Phase>().is_err(), "{never}");
        }
    }
}
