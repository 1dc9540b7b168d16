//! The table as text: `--help`, and the reference page of the guide.

use crate::flag::{Flag, Kind, Status, headings};

/// Column at which the help text of a flag begins.
const INDENT: &str = "          ";

/// Column after which lines of help are broken.
const WIDTH: usize = 96;

/// What `windlass run --help` prints below its usage line: every flag by heading, those of
/// other clouds left out.
pub fn help() -> String {
    let mut lines = Vec::new();
    for (heading, flags) in headings() {
        let mut flags = flags.iter().filter(|flag| !is_refused(flag)).peekable();
        if flags.peek().is_some() {
            lines.extend([format!("{heading}:"), String::new()]);
        }
        for flag in flags {
            let short = if is_short(flag) {
                format!("-{}, ", flag.name)
            } else {
                "    ".to_owned()
            };
            let form = match flag.kind {
                Kind::Bool => "[=BOOL]".to_owned(),
                Kind::Scalar | Kind::List | Kind::CommaList => format!(" {}", flag.form),
            };
            lines.push(format!("  {short}--{}{form}", flag.name));
            lines.extend(described(flag).iter().flat_map(|text| wrapped(text)));
            lines.push(String::new());
        }
    }
    lines.join("\n")
}

/// The reference page of the guide, `docs/flags.md`.
pub fn reference() -> String {
    let mut lines = vec![PREAMBLE.to_owned()];
    for (heading, flags) in headings() {
        lines.push(format!("## {heading}\n"));
        lines.push("| Flag | Value | Default | What it does |\n|---|---|---|---|".to_owned());
        lines.extend(flags.iter().map(|flag| {
            let mut cell_paragraphs = paragraphs(flag);
            cell_paragraphs.extend(notes(flag).iter().map(|note| format!("*{note}*")));
            format!(
                "| `--{}` | `{}` | {} | {} |",
                flag.name,
                cell(flag.form),
                default_cell(flag),
                cell(&cell_paragraphs.join("<br>")),
            )
        }));
        lines.push(String::new());
    }
    lines.join("\n")
}

const PREAMBLE: &str = "\
# Flags of `windlass run`

The flags of the Go cluster-autoscaler, with its spelling, defaults and units, and a few of
Windlass's own (marked *addition*). They are also what a scenario's `flags` takes. This page is
generated from the table that reads them: `cargo run -p windlass-config --example flags_reference`.

- `--flag=value` and `--flag value` are the same, except for booleans: a boolean flag alone is
  `true`, and another value needs the `=`. `_` in a name counts as `-`. `-v=4`, `-v 4` and `-v4`
  are `--v=4`.
- A flag given twice has its last value; one that may be repeated keeps them all.
- A duration is a number with a unit, or several: `10s`, `2m30s`, `1.5h`. `0` needs none.
- An integer may be written `0x10`, `0o17`, `0b11` or `1_000`; a leading `0` means octal.
- An unknown flag, or a value that a flag does not take, stops the start, and all such mistakes
  are told at once. An argument that is no flag is ignored with a warning.
- *Not acted on yet*: the flag is read and checked, and Windlass says at the start that it does
  not follow it.
";

/// Text in a cell of a table: its bars must not end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn default_cell(flag: &Flag) -> String {
    let default = flag.default_text();
    if default.is_empty() {
        "none".to_owned()
    } else {
        format!("`{}`", cell(&default))
    }
}

fn is_refused(flag: &Flag) -> bool {
    matches!(flag.status, Status::OtherCloud { .. })
}

fn is_short(flag: &Flag) -> bool {
    flag.name.len() == 1
}

/// The paragraphs of a flag's help, what there is to note about it, and its default.
fn described(flag: &Flag) -> Vec<String> {
    let mut paragraphs = paragraphs(flag);
    paragraphs.extend(notes(flag));
    let default = flag.default_text();
    if !default.is_empty() {
        paragraphs.push(format!("[default: {default}]"));
    }
    paragraphs
}

/// The paragraphs of a flag's help.
fn paragraphs(flag: &Flag) -> Vec<String> {
    flag.help().split("\n\n").map(str::to_owned).collect()
}

/// Whether the flag is one of ours, and what comes of giving it.
fn notes(flag: &Flag) -> Vec<String> {
    let addition = flag
        .is_addition()
        .then(|| "Addition: the Go autoscaler has no such flag.".to_owned());
    let status = match flag.status {
        Status::Acted | Status::Locked { .. } => None,
        Status::NotYet => Some("Not acted on yet.".to_owned()),
        Status::NoEffect { why } => Some(format!("Does nothing: {why}.")),
        Status::Deprecated { instead } => Some(format!("Deprecated: {instead}.")),
        Status::OtherCloud { cloud, instead } => {
            Some(format!("Refused, since it is for {cloud}: {instead}."))
        }
    };
    addition.into_iter().chain(status).collect()
}

/// A paragraph of help as lines, indented and broken between words.
fn wrapped(paragraph: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_flag_that_is_not_refused_and_keeps_its_width() {
        let help = help();
        for flag in crate::flags() {
            let line = format!("--{}", flag.name);
            let is_there = help
                .lines()
                .filter_map(|shown| shown.split_once(&line))
                .any(|(before, after)| {
                    before.len() == 6
                        && !after.starts_with(|c: char| c.is_alphanumeric() || c == '-')
                });
            assert_eq!(is_there, !is_refused(flag), "{}", flag.name);
        }
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH), "{longest:?}");
    }
}
