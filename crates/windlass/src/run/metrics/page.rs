//! `docs/metrics.md`, made of the catalog.

use std::fmt::Write as _;

use super::catalog::{CATALOG, Definition};
use super::text::full_name;

const HEAD: &str = "\
<!-- Made by `cargo xtask gen` from crates/windlass/src/run/metrics/catalog.rs. -->

# Metrics

What `windlass run` serves at `/metrics`. The names that begin with `cluster_autoscaler_` are the Go
autoscaler's, with its labels and buckets, so that its dashboards and alarms go on working; those that
begin with `windlass_` are additions. Those with the label `node_group` are there with
`--emit-per-nodegroup-metrics`. Besides, there are `process_*` as every Prometheus client has them.

What to look at first: `windlass_view_age_seconds` (on an old view nothing is removed),
`cluster_autoscaler_errors_total`, `windlass_aws_launch_failures_total` and
`windlass_aws_throttled_calls_total`.

| metric | type | labels | is |
|---|---|---|---|
";

fn page() -> String {
    let mut definitions: Vec<(String, &Definition)> = CATALOG
        .iter()
        .map(|definition| (full_name(definition.name), definition))
        .collect();
    definitions.sort_by(|one, other| one.0.cmp(&other.0));
    let mut page = HEAD.to_owned();
    for (name, definition) in definitions {
        let labels: Vec<String> = definition
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        // Writing into a String cannot fail.
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} | {} |",
            definition.kind.as_str(),
            labels.join(", "),
            definition.help
        );
    }
    page
}

#[test]
fn generated_metrics_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        page(),
        "docs/metrics.md is stale: cargo xtask gen"
    );
}
