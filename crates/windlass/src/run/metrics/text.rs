use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Family, Value};

/// The prefix of upstream's names.
const PREFIX: &str = "cluster_autoscaler_";
/// What begins so is our own and has no other prefix.
const OWN: &str = "windlass_";

/// The name of a metric, with its prefix.
pub(super) fn full_name(name: &str) -> String {
    let prefix = if name.starts_with(OWN) { "" } else { PREFIX };
    format!("{prefix}{name}")
}

/// Prometheus' text format, version 0.0.4.
pub(super) fn encode(families: &BTreeMap<&'static str, Family>) -> String {
    let mut text = String::new();
    for family in families.values().filter(|family| !family.series.is_empty()) {
        let definition = family.definition;
        let name = full_name(definition.name);
        line(&mut text, format_args!("# HELP {name} {}", definition.help));
        line(
            &mut text,
            format_args!("# TYPE {name} {}", definition.kind.as_str()),
        );
        for (values, value) in &family.series {
            let labels: Vec<String> = definition
                .labels
                .iter()
                .zip(values)
                .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
                .collect();
            sample(&mut text, &name, &labels, definition.kind.bounds(), value);
        }
    }
    text
}

fn sample(text: &mut String, name: &str, labels: &[String], bounds: &[f64], value: &Value) {
    let plain = braces(labels);
    match value {
        Value::Gauge(value) | Value::Counter(value) => {
            line(text, format_args!("{name}{plain} {value}"));
        }
        Value::Histogram { buckets, sum } => {
            let ends = bounds.iter().map(ToString::to_string);
            let mut cumulated = 0;
            for (end, count) in ends.chain(["+Inf".to_owned()]).zip(buckets) {
                cumulated += count;
                let mut labels = labels.to_vec();
                labels.push(format!("le=\"{end}\""));
                line(
                    text,
                    format_args!("{name}_bucket{} {cumulated}", braces(&labels)),
                );
            }
            line(text, format_args!("{name}_sum{plain} {sum}"));
            line(text, format_args!("{name}_count{plain} {cumulated}"));
        }
        Value::Summary { count, sum } => {
            line(text, format_args!("{name}_sum{plain} {sum}"));
            line(text, format_args!("{name}_count{plain} {count}"));
        }
    }
}

fn braces(labels: &[String]) -> String {
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", labels.join(","))
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

pub(super) fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}
