//! The little YAML that the status needs, laid out as Go's library does: keys sorted, two
//! spaces of indentation, lists not indented.

use std::collections::BTreeMap;
use std::fmt;

use windlass_model::Timestamp;

pub(super) enum Yaml {
    Null,
    Int(i64),
    /// Quoted where it must be.
    Text(String),
    /// Always quoted.
    Time(Timestamp),
    List(Vec<Yaml>),
    Map(BTreeMap<&'static str, Yaml>),
}

pub(super) fn map(fields: impl IntoIterator<Item = (&'static str, Yaml)>) -> Yaml {
    Yaml::Map(fields.into_iter().collect())
}

impl Yaml {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn time(time: Option<Timestamp>) -> Self {
        time.map_or(Self::Null, Self::Time)
    }

    fn write_fields(
        fields: &BTreeMap<&'static str, Self>,
        indent: usize,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        for (place, (key, value)) in fields.iter().enumerate() {
            if place > 0 {
                write!(f, "{:indent$}", "")?;
            }
            write!(f, "{key}:")?;
            value.write_value(indent, f)?;
        }
        Ok(())
    }

    fn write_value(&self, indent: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => writeln!(f, " null"),
            Self::Int(number) => writeln!(f, " {number}"),
            Self::Text(text) => writeln!(f, " {}", quoted(text)),
            Self::Time(time) => writeln!(f, " \"{}\"", time.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Self::Map(fields) if fields.is_empty() => writeln!(f, " {{}}"),
            Self::Map(fields) => {
                let indent = indent + 2;
                write!(f, "\n{:indent$}", "")?;
                Self::write_fields(fields, indent, f)
            }
            Self::List(items) => {
                writeln!(f)?;
                for item in items {
                    write!(f, "{:indent$}- ", "")?;
                    match item {
                        Self::Map(fields) => Self::write_fields(fields, indent + 2, f)?,
                        other => other.write_value(indent, f)?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Yaml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(fields) => Self::write_fields(fields, 0, f),
            other => other.write_value(0, f),
        }
    }
}

fn quoted(text: &str) -> String {
    if text.chars().any(char::is_control) {
        return format!("{text:?}");
    }
    let starts_oddly = text
        .chars()
        .next()
        .is_none_or(|first| "-?:,[]{}#&*!|>'\"%@` ".contains(first));
    let means_something_else = matches!(
        text.to_ascii_lowercase().as_str(),
        "null" | "~" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    ) || text.parse::<f64>().is_ok();
    let breaks_off =
        text.contains(": ") || text.contains(" #") || text.ends_with(':') || text.ends_with(' ');
    if starts_oddly || means_something_else || breaks_off {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_not_indented_and_keys_are_sorted() {
        let document = map([
            (
                "b",
                Yaml::List(vec![map([("y", Yaml::Int(1)), ("x", map([]))])]),
            ),
            ("a", map([("c", Yaml::Null)])),
        ]);
        assert_eq!(document.to_string(), "a:\n  c: null\nb:\n- x: {}\n  y: 1\n");
    }

    #[test]
    fn text_is_quoted_where_yaml_would_read_something_else() {
        assert_eq!(quoted("a: b"), "'a: b'");
        assert_eq!(quoted("it's: b"), "'it''s: b'");
        assert_eq!(quoted("12"), "'12'");
        assert_eq!(
            quoted("2023-11-24 04:28:19 +0000 UTC"),
            "2023-11-24 04:28:19 +0000 UTC"
        );
    }
}
