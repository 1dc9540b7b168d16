//! What is logged: klog's verbosity and severities.

use std::fmt;

use crate::{
    flag::{BadValue, FlagValue, Kind},
    value::plain::read_each,
};

/// How much is logged: klog's levels, 0 to 10 by custom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Verbosity(pub u32);

impl Verbosity {
    /// Base 10 only and below 2^31, unlike other integers: klog has it so.
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("invalid syntax");
        }
        match text.parse::<i32>() {
            Ok(level) => Ok(Self(level.unsigned_abs())),
            Err(_) => Err("value out of range"),
        }
    }
}

impl fmt::Display for Verbosity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FlagValue for Verbosity {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "LEVEL";
    const EXPECTED: &'static str = "a whole number that is not negative";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, Self::parse)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Verbosity by source file: `pattern=level`, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct VModule(pub Vec<(String, Verbosity)>);

impl VModule {
    fn parse(text: &str) -> Result<Self, String> {
        text.split(',')
            .filter(|item| !item.is_empty())
            .map(|item| {
                let malformed = || format!("`{item}` must be pattern=N");
                let (pattern, level) = item.split_once('=').ok_or_else(malformed)?;
                if pattern.is_empty() {
                    return Err(malformed());
                }
                let level = Verbosity::parse(level)
                    .map_err(|problem| format!("the level of `{item}`: {problem}"))?;
                Ok((pattern.to_owned(), level))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FlagValue for VModule {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "PATTERN=LEVEL[,…]";
    const EXPECTED: &'static str = "pairs such as `scale_down=5`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, Self::parse)
    }

    fn show(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(pattern, level)| format!("{pattern}={level}"))
            .collect();
        pairs.join(",")
    }
}

/// How bad a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// 0: nothing is wrong.
    Info,
    /// 1: needs a person sometime.
    Warning,
    /// 2: needs a person now.
    Error,
    /// 3: the process ends.
    Fatal,
}

impl Severity {
    const ALL: [Self; 4] = [Self::Info, Self::Warning, Self::Error, Self::Fatal];

    /// klog's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        Self::ALL
            .into_iter()
            .zip(["0", "1", "2", "3"])
            .find(|(severity, number)| {
                text.eq_ignore_ascii_case(severity.as_str()) || text == *number
            })
            .map(|(severity, _)| severity)
            .ok_or("unknown severity")
    }
}

impl FlagValue for Severity {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "SEVERITY";
    const EXPECTED: &'static str = "`info`, `warning`, `error`, `fatal` or 0 to 3";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, Self::parse)
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}
