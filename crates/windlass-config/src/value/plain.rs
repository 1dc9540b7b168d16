//! Values that are one of Go's plain flag types.

use std::{convert::Infallible, fmt::Display};

use windlass_model::{Duration, Quantity, format_go_duration, parse_go_duration};

use crate::{
    flag::{BadValue, FlagValue, Kind},
    grammar::{parse_bool, parse_float, parse_int, parse_uint, show_float},
};

/// Reads each occurrence of a scalar that Go checks as it meets it; the last one counts.
pub(crate) fn read_each<T, E: Display>(
    given: &[&str],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, BadValue> {
    let mut last = None;
    for text in given {
        let value = parse(text).map_err(|error| BadValue::new(text, error.to_string()))?;
        last = Some(value);
    }
    last.ok_or_else(|| BadValue::new("", "no value"))
}

/// Reads a scalar that Go keeps as text until the command line is read: only the last
/// occurrence is looked at.
pub(crate) fn read_last<T, E: Display>(
    given: &[&str],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, BadValue> {
    read_each(&given[given.len().saturating_sub(1)..], parse)
}

/// Reads every occurrence of a flag that may be repeated; each is one item.
pub(crate) fn read_items<T, E: Display>(
    given: &[&str],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, BadValue> {
    given
        .iter()
        .map(|text| parse(text).map_err(|error| BadValue::new(text, error.to_string())))
        .collect()
}

/// The items of a list as the values of repeated flags.
pub(crate) fn show_items<T: Display>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

impl FlagValue for bool {
    const KIND: Kind = Kind::Bool;
    const FORM: &'static str = "BOOL";
    const EXPECTED: &'static str = "`true` or `false`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, parse_bool)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FlagValue for i64 {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "INT";
    const EXPECTED: &'static str = "an integer";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, parse_int)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FlagValue for u64 {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "UINT";
    const EXPECTED: &'static str = "an integer that is not negative";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, parse_uint)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FlagValue for f64 {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "FLOAT";
    const EXPECTED: &'static str = "a number";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, parse_float)
    }

    fn show(&self) -> String {
        show_float(*self)
    }
}

impl FlagValue for Duration {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "DURATION";
    const EXPECTED: &'static str = "a duration such as `10s`, `2m30s` or `1h`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, parse_go_duration)
    }

    fn show(&self) -> String {
        format_go_duration(*self)
    }
}

impl FlagValue for Quantity {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "QUANTITY";
    const EXPECTED: &'static str = "a quantity such as `512` or `64Ki`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_each(given, str::parse::<Self>)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FlagValue for String {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "TEXT";
    const EXPECTED: &'static str = "a text";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_last(given, |text| Ok::<_, Infallible>(text.to_owned()))
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// A text that may be left out; empty is absent.
impl FlagValue for Option<String> {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "TEXT";
    const EXPECTED: &'static str = "a text";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        String::read(given).map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    fn show(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

impl FlagValue for Vec<String> {
    const KIND: Kind = Kind::List;
    const FORM: &'static str = "TEXT";
    const EXPECTED: &'static str = "a text";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_items(given, |text| Ok::<_, Infallible>(text.to_owned()))
    }

    fn show(&self) -> String {
        self.show_each().join(" ")
    }

    fn show_each(&self) -> Vec<String> {
        show_items(self)
    }
}
