//! What is printed: data to standard output, talk to standard error.

use std::io::{self, ErrorKind, Write};

use clap::ValueEnum;
use serde::Serialize;

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

impl Format {
    /// How a document is encoded; `None` for text, which is no document.
    pub(crate) fn encoding(self) -> Option<Encoding> {
        match self {
            Self::Text => None,
            Self::Json => Some(Encoding::Json),
            Self::Yaml => Some(Encoding::Yaml),
        }
    }
}

/// How a document becomes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Indented by two spaces.
    Json,
    /// Indented by two spaces; what YAML 1.1 would take for something else than a string is quoted.
    Yaml,
}

/// Prints a document.
pub(crate) fn document(encoding: Encoding, document: &impl Serialize) -> anyhow::Result<()> {
    data(&encoded(encoding, document)?)
}

fn encoded(encoding: Encoding, document: &impl Serialize) -> anyhow::Result<String> {
    match encoding {
        Encoding::Json => Ok(serde_json::to_string_pretty(document)? + "\n"),
        Encoding::Yaml => {
            let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
            Ok(serde_saphyr::to_string_with_options(document, options)?)
        }
    }
}

/// Prints data. A reader that has read enough, such as `head`, is no error.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("write to standard output"))
        }
        _ => Ok(()),
    }
}

/// Prints talk. Where nobody listens nothing is lost.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints an error with its causes, a line each, and what to do about it where that is known.
pub(crate) fn error(error: &anyhow::Error) {
    talk(&described(error));
    #[cfg(feature = "cluster")]
    if let Some(hint) = crate::hint::of(error) {
        talk(&format!("  try: {hint}"));
    }
}

/// The chain of causes, without those that the line before them ends with.
fn described(error: &anyhow::Error) -> String {
    let mut last = error.to_string();
    let mut text = format!("error: {last}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !last.ends_with(&cause) {
            text.push_str("\n  cause: ");
            text.push_str(&cause);
            last = cause;
        }
    }
    text
}

/// Columns two spaces apart, as kubectl prints them.
#[cfg(feature = "cluster")]
pub(crate) fn table<const N: usize>(headings: &[String; N], rows: &[[String; N]]) -> String {
    use std::fmt::Write as _;

    let mut widths = [0; N];
    for row in std::iter::once(headings).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for row in std::iter::once(headings).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Asks on the terminal; only `yes` is a yes.
#[cfg(feature = "cluster")]
pub(crate) fn confirmed(question: &str) -> anyhow::Result<bool> {
    talk(&format!("{question} Only `yes` does it (or --yes):"));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|error| anyhow::Error::new(error).context("read the answer"))?;
    Ok(answer.trim() == "yes")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("not there")
            .context("cannot read `f`: not there")
            .context("start");
        assert_eq!(
            described(&error),
            "error: start\n  cause: cannot read `f`: not there"
        );
    }

    #[test]
    fn yaml_says_what_json_says() {
        let document = json!({
            "kind": "Decision",
            "numbers": ["1.36", 1.36, 0, true, null],
            "words": ["yes", "on", "", "a: b", "- c", "#d", "e\nf", "2026-01-01"],
            "empty": [],
            "long": "x ".repeat(100),
            "nested": {"list": [{"a": 1, "b": [2]}]},
        });
        let text = encoded(Encoding::Yaml, &document).unwrap();
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, document, "{text}");
        assert!(text.contains("\"yes\"") || text.contains("'yes'"), "{text}");
        assert!(text.ends_with('\n'));
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn a_table_is_aligned() {
        let cells = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let text = table(
            &cells("ID", "TTL"),
            &[cells("abcdef", "1h"), cells("a", "")],
        );
        assert_eq!(text, "ID      TTL\nabcdef  1h\na\n");
    }
}
