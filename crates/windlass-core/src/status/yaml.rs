//! The little YAML that the status needs, laid out as Go's library does: keys sorted, two
//! spaces of indentation, lists not indented.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

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
            value.write_value(indent, key.len(), f)?;
        }
        Ok(())
    }

    /// Writes the value of a key of so many characters that stands `indent` from the left.
    fn write_value(&self, indent: usize, key: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => writeln!(f, " null"),
            Self::Int(number) => writeln!(f, " {number}"),
            Self::Text(text) => {
                let column = indent + key + ": ".len();
                writeln!(f, " {}", scalar(text, column, indent + 2))
            }
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
                        other => other.write_value(indent, 0, f)?,
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
            other => other.write_value(0, 0, f),
        }
    }
}

/// The column behind which Go's library breaks a line at the next blank.
const WIDTH: usize = 80;

/// A text as Go's library writes it behind `column` characters of its line; further lines of it
/// are indented by `indent`.
fn scalar(text: &str, column: usize, indent: usize) -> String {
    if text.contains('\n') {
        return literal(text, indent);
    }
    if text.is_empty() || means_something_else(text) || text.chars().any(char::is_control) {
        return format!("\"{}\"", escaped(text));
    }
    if is_plain(text) {
        return folded(text, column, indent);
    }
    let doubled = text.replace('\'', "''");
    format!("'{}'", folded(&doubled, column + 1, indent))
}

/// Line by line as it is; the mark says whether the last line ends.
fn literal(text: &str, indent: usize) -> String {
    let ends = text.len() - text.trim_end_matches('\n').len();
    let mark = match ends {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let hint = if text.starts_with([' ', '\n']) {
        "2"
    } else {
        ""
    };
    let mut block = format!("|{hint}{mark}");
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        block.push('\n');
        if !line.is_empty() {
            block.push_str(&" ".repeat(indent));
            block.push_str(line);
        }
    }
    block
}

/// With line breaks in place of single blanks behind [`WIDTH`].
fn folded(text: &str, column: usize, indent: usize) -> String {
    let mut column = column;
    let mut lines = String::with_capacity(text.len());
    let letters: Vec<char> = text.chars().collect();
    for (place, letter) in letters.iter().enumerate() {
        let is_blank = |at: Option<usize>| at.and_then(|at| letters.get(at)) == Some(&' ');
        let is_single = *letter == ' '
            && place + 1 < letters.len()
            && !is_blank(place.checked_sub(1))
            && !is_blank(Some(place + 1));
        if is_single && place > 0 && column > WIDTH {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            lines.push(*letter);
            column += 1;
        }
    }
    lines
}

/// Whether no character of it could be taken for YAML's own.
fn is_plain(text: &str) -> bool {
    let mut letters = text.chars();
    let (first, second) = (letters.next(), letters.next());
    let starts_oddly = match first {
        Some(first) if "#,[]{}&*!|>'\"%@`".contains(first) => true,
        Some('?' | ':' | '-') => second.is_none_or(|second| second == ' '),
        _ => false,
    };
    let is_marker = text.starts_with("---") || text.starts_with("...");
    let breaks_off = text.contains(": ") || text.contains(" #") || text.ends_with(':');
    let has_edge = text.starts_with(' ') || text.ends_with(' ');
    !(starts_oddly || is_marker || breaks_off || has_edge)
}

/// Whether a reader would take it for a boolean, a null, a number or a time.
fn means_something_else(text: &str) -> bool {
    let is_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "null" | "~" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "<<"
    );
    let unsigned = text.trim_start_matches(['-', '+']);
    let starts_as_number =
        unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let plain = unsigned.replace('_', "");
    let is_radix = ["0x", "0X", "0o", "0b"].iter().any(|prefix| {
        plain.strip_prefix(prefix).is_some_and(|digits| {
            !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_hexdigit())
        })
    });
    let is_number = starts_as_number && plain.parse::<f64>().is_ok();
    let is_special = matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan");
    let is_sixties = starts_as_number
        && unsigned.contains(':')
        && unsigned
            .chars()
            .all(|letter| letter.is_ascii_digit() || "_:.".contains(letter));
    let is_time = text.parse::<Timestamp>().is_ok();
    is_word || is_radix || is_number || is_special || is_sixties || is_time
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            '\0' => escaped.push_str("\\0"),
            letter if letter.is_control() => {
                let _ = write!(escaped, "\\x{:02X}", u32::from(letter));
            }
            letter => escaped.push(letter),
        }
    }
    escaped
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
        let quoted = |text: &str| scalar(text, 0, 2);
        assert_eq!(quoted("a: b"), "'a: b'");
        assert_eq!(quoted("it's: b"), "'it''s: b'");
        assert_eq!(quoted("12"), "\"12\"");
        assert_eq!(quoted("on"), "\"on\"");
        assert_eq!(quoted(""), "\"\"");
        assert_eq!(quoted("-12-nodes"), "-12-nodes");
        assert_eq!(quoted("a\u{1b}b"), "\"a\\x1Bb\"");
        assert_eq!(
            quoted("2023-11-24 04:28:19 +0000 UTC"),
            "2023-11-24 04:28:19 +0000 UTC"
        );
    }

    #[test]
    fn long_texts_are_folded_and_lines_kept() {
        let words = "word ".repeat(20);
        let words = words.trim_end();
        let folded = scalar(words, 8, 2);
        let (first, second) = folded.split_once('\n').unwrap();
        assert_eq!(first.len() + 8, 82, "the first blank behind column 80");
        assert!(second.starts_with("  word"));
        assert_eq!(folded.replace("\n  ", " "), words);
        assert_eq!(scalar("one\n two", 8, 2), "|-\n  one\n   two");
        assert_eq!(scalar("one\n", 8, 2), "|\n  one");
    }
}
