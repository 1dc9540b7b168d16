use std::time::Duration;

/// The times of rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Life of a token.
    pub ttl: Duration,
    /// Age of the parameter from which on it is renewed.
    pub renew_after: Duration,
    /// Pause between two looks.
    pub tick: Duration,
    /// How much a renewal may slip before it is a fault.
    pub lateness: Duration,
    /// Longest time from a node's reading of the token to its own certificate.
    pub boot_budget: Duration,
    /// With coordination by age: the longest random wait before a look, so that rotators do not
    /// look at the same moment.
    pub spread: Duration,
    /// How long to wait for the signature of a new token.
    pub sign_deadline: Duration,
    /// After how long the signer is woken: it does not retry by itself.
    pub wake_signer_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_hours(1),
            renew_after: Duration::from_mins(30),
            tick: Duration::from_mins(1),
            lateness: Duration::from_mins(10),
            boot_budget: Duration::from_mins(15),
            spread: Duration::from_mins(2),
            sign_deadline: Duration::from_mins(1),
            wake_signer_after: Duration::from_secs(10),
        }
    }
}

/// Times that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A node could hold a dead token.
    #[error(
        "--ttl={ttl:?} leaves a booting node with a dead token: it must be at least --renew-after \
         + --lateness + --boot-budget = {least:?}"
    )]
    TooShort {
        /// As given.
        ttl: Duration,
        /// The least that will do.
        least: Duration,
    },
    /// Looking and waiting take longer than a renewal may slip.
    #[error(
        "--tick={tick:?}, --spread={spread:?} and --sign-deadline={sign_deadline:?} are too long: \
         together they must stay within --lateness={lateness:?}"
    )]
    TooSlow {
        /// As given.
        tick: Duration,
        /// As given.
        spread: Duration,
        /// As given.
        sign_deadline: Duration,
        /// As given.
        lateness: Duration,
    },
    /// A token would be given up before it is signed.
    #[error(
        "--sign-deadline={0:?} is too long: {most:?} after it was made a token is given up",
        most = Settings::PUBLISH_DEADLINE
    )]
    SignedTooLate(Duration),
    /// A time of zero.
    #[error("--{0} must be above 0")]
    Zero(&'static str),
}

impl Settings {
    /// Longest time that one write of the parameter may take, retries included. A token is not
    /// swept before a write of it must have ended.
    pub const PUBLISH_DEADLINE: Duration = Duration::from_mins(2);

    /// Checks that a booting node never holds a dead token.
    ///
    /// # Errors
    ///
    /// When it could.
    pub fn validate(self) -> Result<Self, SettingsError> {
        for (name, value) in [
            ("renew-after", self.renew_after),
            ("tick", self.tick),
            ("boot-budget", self.boot_budget),
        ] {
            if value.is_zero() {
                return Err(SettingsError::Zero(name));
            }
        }
        if self.sign_deadline >= Self::PUBLISH_DEADLINE {
            return Err(SettingsError::SignedTooLate(self.sign_deadline));
        }
        let least = self.renew_after + self.lateness + self.boot_budget;
        if self.ttl < least {
            return Err(SettingsError::TooShort {
                ttl: self.ttl,
                least,
            });
        }
        if self.tick.mul_f64(1.2) + self.spread + self.sign_deadline > self.lateness {
            return Err(SettingsError::TooSlow {
                tick: self.tick,
                spread: self.spread,
                sign_deadline: self.sign_deadline,
                lateness: self.lateness,
            });
        }
        Ok(self)
    }

    /// Up to which age a token that was not published is still worth publishing.
    pub(super) fn adoptable(&self) -> Duration {
        self.tick * 3
    }

    /// The pause before the next look: the tick, give or take a fifth. `draw` is from 0 to 1.
    pub fn pause(&self, draw: f64) -> Duration {
        self.tick.mul_f64(0.8 + 0.4 * draw.clamp(0.0, 1.0))
    }

    /// The pause after the `failures`th failure in a row: full jitter up to a limit that doubles
    /// from one second to a minute, or to the tick if that is shorter.
    pub fn backoff(&self, failures: u32, draw: f64) -> Duration {
        let limit = Duration::from_secs(1 << failures.saturating_sub(1).min(6));
        let limit = limit.min(Duration::from_mins(1)).min(self.tick);
        limit.mul_f64(draw.clamp(0.0, 1.0))
    }

    /// The wait before a look with coordination by age. `draw` is from 0 to 1.
    pub fn spread_wait(&self, draw: f64) -> Duration {
        self.spread.mul_f64(draw.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_leave_a_booting_node_its_budget() {
        assert!(Settings::default().validate().is_ok());
    }

    #[test]
    fn the_how_tos_hour_and_hourly_cron_are_refused() {
        let hourly = Settings {
            renew_after: Duration::from_hours(1),
            ..Settings::default()
        };
        let error = hourly.validate().unwrap_err();
        assert!(matches!(error, SettingsError::TooShort { .. }), "{error}");
    }

    #[test]
    fn a_slow_rotator_is_refused() {
        let slow = Settings {
            tick: Duration::from_mins(9),
            ..Settings::default()
        };
        assert!(matches!(
            slow.validate(),
            Err(SettingsError::TooSlow { .. })
        ));
    }

    #[test]
    fn a_token_is_not_given_up_before_it_is_signed() {
        let patient = Settings {
            sign_deadline: Settings::PUBLISH_DEADLINE,
            ..Settings::default()
        };
        let error = patient.validate().unwrap_err();
        assert!(matches!(error, SettingsError::SignedTooLate(_)), "{error}");
    }

    #[test]
    fn pauses_stay_in_their_bounds() {
        let settings = Settings::default();
        assert_eq!(settings.pause(0.0), Duration::from_secs(48));
        assert_eq!(settings.pause(1.0), Duration::from_secs(72));
        assert_eq!(settings.backoff(1, 1.0), Duration::from_secs(1));
        assert_eq!(settings.backoff(40, 1.0), Duration::from_mins(1));
    }
}
