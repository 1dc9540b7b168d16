//! The grammar of values against what Go itself made of the same texts: `data/go_values.go`
//! printed `data/go_values.tsv`.

use windlass_config::grammar::{parse_bool, parse_float, parse_int, parse_uint, show_float};
use windlass_model::{format_go_duration, parse_go_duration};

/// Outcomes in the file's notation.
fn outcome<T, E: ToString>(read: Result<T, E>, show: impl Fn(T) -> String) -> String {
    match read {
        Ok(value) => format!("= {}", show(value)),
        Err(error) => format!("! {}", error.to_string()),
    }
}

#[test]
fn values_are_read_and_printed_as_go_does() {
    let table = include_str!("data/go_values.tsv");
    let mut differences = Vec::new();
    for line in table.lines() {
        let [kind, text, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?} has no three columns");
        };
        let ours = match kind {
            "duration" => outcome(parse_go_duration(text), format_go_duration),
            "int" => outcome(parse_int(text), |value| value.to_string()),
            "uint" => outcome(parse_uint(text), |value| value.to_string()),
            "float" => outcome(parse_float(text), show_float),
            "bool" => outcome(parse_bool(text), |value| value.to_string()),
            other => panic!("unknown kind {other}"),
        };
        if ours != expected {
            differences.push(format!("{kind} {text:?}: Go {expected}, ours {ours}"));
        }
    }
    assert!(table.lines().count() > 250, "the table is cut short");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn not_a_number_is_no_setting() {
    assert!(parse_float("NaN").is_err());
}
