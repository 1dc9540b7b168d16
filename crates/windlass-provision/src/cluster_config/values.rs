//! Values with a grammar of their own.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use windlass_model::{Quantity, format_go_duration, parse_go_duration};

/// Implements serde through `Display` and `FromStr`.
macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(super) use as_text;

/// A length of time as Go writes it: `90s`, `1h30m`. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a duration: expected one such as `30m` or `1h`");
        let duration = parse_go_duration(text).map_err(|_| expected())?;
        Duration::try_from(duration)
            .map(Self)
            .map_err(|_| expected())
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = windlass_model::Duration::try_from(self.0).unwrap_or_default();
        formatter.write_str(&format_go_duration(duration))
    }
}

as_text!(GoDuration);

/// A length of time in whole days, written `90d`: Go has no unit longer than an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Days(pub u32);

impl Days {
    /// As a duration.
    pub fn duration(self) -> Duration {
        const SECONDS: u64 = 24 * 3600;
        Duration::from_secs(u64::from(self.0) * SECONDS)
    }
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_suffix('d')
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|number| number.parse().ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no number of days: expected one such as `90d`"))
    }
}

impl fmt::Display for Days {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}d", self.0)
    }
}

as_text!(Days);

/// A share in percent, written `50%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_suffix('%')
            .and_then(|number| number.parse().ok())
            .filter(|number| *number <= 100)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a share: expected `0%` to `100%`"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}%", self.0)
    }
}

as_text!(Percent);

/// The size of a volume: a quantity of whole GiB, such as `40Gi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeSize {
    /// Size in GiB.
    pub gib: u32,
}

impl FromStr for VolumeSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const GIB: i64 = 1 << 30;
        let expected =
            || format!("`{text}` is not a size of whole GiB: expected one such as `40Gi`");
        let bytes = text
            .parse::<Quantity>()
            .map_err(|_| expected())?
            .units_ceil();
        if bytes % GIB != 0 {
            return Err(expected());
        }
        u32::try_from(bytes / GIB)
            .ok()
            .filter(|gib| 0 < *gib)
            .map(|gib| Self { gib })
            .ok_or_else(expected)
    }
}

impl fmt::Display for VolumeSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}Gi", self.gib)
    }
}

as_text!(VolumeSize);

/// A taint as `kubectl taint` takes it: `key=value:Effect` or `key:Effect`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeTaint {
    /// Its key.
    pub key: String,
    /// Its value, perhaps empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

impl FromStr for NodeTaint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is not a taint: expected `key=value:Effect` with the effect NoSchedule, \
                 PreferNoSchedule or NoExecute"
            )
        };
        let (rest, effect) = text.rsplit_once(':').ok_or_else(expected)?;
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(expected());
        }
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        if !windlass_model::valid_qualified_name(key) || !windlass_model::valid_label_value(value) {
            return Err(expected());
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
        })
    }
}

impl fmt::Display for NodeTaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.key)?;
        if !self.value.is_empty() {
            write!(formatter, "={}", self.value)?;
        }
        write!(formatter, ":{}", self.effect)
    }
}

as_text!(NodeTaint);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_they_are_read() {
        assert_eq!(
            "1h30m0s".parse::<GoDuration>().unwrap().to_string(),
            "1h30m0s"
        );
        assert_eq!("90d".parse::<Days>().unwrap().to_string(), "90d");
        assert_eq!("70%".parse::<Percent>().unwrap().to_string(), "70%");
        assert_eq!("1Ti".parse::<VolumeSize>().unwrap().to_string(), "1024Gi");
        for taint in ["dedicated=web:NoSchedule", "gpu:NoExecute"] {
            assert_eq!(taint.parse::<NodeTaint>().unwrap().to_string(), taint);
        }
    }

    #[test]
    fn what_is_no_value_is_refused_with_what_was_expected() {
        assert!("-1h".parse::<GoDuration>().is_err());
        assert!("101%".parse::<Percent>().is_err());
        assert!("50".parse::<Percent>().is_err());
        for text in ["90", "d", "-1d", "+1d", "2160h", "1.5d", "99999999999d"] {
            assert!(text.parse::<Days>().is_err(), "{text}");
        }
        assert!("40G".parse::<VolumeSize>().is_err());
        assert!("0".parse::<VolumeSize>().is_err());
        assert!("a=b".parse::<NodeTaint>().is_err());
        assert!("a=b:Never".parse::<NodeTaint>().is_err());
    }
}
