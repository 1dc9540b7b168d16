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
    fn parse_item(item: &str) -> Result<(String, Verbosity), String> {
        let (pattern, level) = item
            .split_once('=')
            .filter(|(pattern, level)| !pattern.is_empty() && !level.is_empty())
            .ok_or_else(|| format!("`{item}` does not have the pattern=N format"))?;
        let level = Verbosity::parse(level)
            .map_err(|problem| format!("parsing verbosity in `{item}`: {problem}"))?;
        Ok((pattern.to_owned(), level))
    }
}

impl FlagValue for VModule {
    const KIND: Kind = Kind::CommaList;
    const FORM: &'static str = "PATTERN=LEVEL[,…]";
    const EXPECTED: &'static str = "pairs such as `scale_down=5`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        let mut items = Vec::new();
        for text in given {
            for item in text.split(',').filter(|item| !item.is_empty()) {
                let item =
                    Self::parse_item(item).map_err(|problem| BadValue::new(text, problem))?;
                items.push(item);
            }
        }
        Ok(Self(items))
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

    /// Reads a name in any case, or a number. klog takes any number; those outside 0 to 3 act
    /// as the nearest.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let by_name = Self::ALL
            .into_iter()
            .find(|severity| text.eq_ignore_ascii_case(severity.as_str()));
        if let Some(severity) = by_name {
            return Ok(severity);
        }
        match text.parse::<i32>() {
            Ok(..=0) => Ok(Self::Info),
            Ok(1) => Ok(Self::Warning),
            Ok(2) => Ok(Self::Error),
            Ok(3..) => Ok(Self::Fatal),
            Err(_) => Err("unknown severity"),
        }
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

/// A line of a source file: log lines from there get a stack trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLocation {
    /// Name of the file, with its ending.
    pub file: String,
    /// Number of the line, from 1.
    pub line: u64,
}

impl TraceLocation {
    fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        const SYNTAX: &str = "not `file:line`";
        if text.is_empty() {
            return Ok(None);
        }
        let (file, line) = text
            .split_once(':')
            .filter(|(file, _)| file.contains('.'))
            .ok_or(SYNTAX)?;
        match line.parse() {
            Ok(0) => Err("lines are counted from 1"),
            Ok(line) => Ok(Some(Self {
                file: file.to_owned(),
                line,
            })),
            Err(_) => Err(SYNTAX),
        }
    }
}

impl FlagValue for Option<TraceLocation> {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "FILE:LINE";
    const EXPECTED: &'static str = "a file and a line such as `decide.rs:42`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, TraceLocation::parse)
    }

    fn show(&self) -> String {
        self.as_ref()
            .map(|location| format!("{}:{}", location.file, location.line))
            .unwrap_or_default()
    }
}
