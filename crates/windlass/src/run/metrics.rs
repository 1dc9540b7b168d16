//! The metrics of the Go autoscaler, under its names.
//!
//! A registry of our own, because the official Rust client writes `OpenMetrics` only: it appends
//! `_total` to every counter, and upstream has counters without it
//! (`old_unregistered_nodes_removed_count`), and it has no summaries.

mod catalog;
#[cfg(test)]
mod page;
mod process;
mod text;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windlass_core::{Metrics as LoopMetrics, Series};

use catalog::{CATALOG, Definition, Kind};

/// All metrics of the process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    families: Arc<Mutex<BTreeMap<&'static str, Family>>>,
}

#[derive(Debug)]
struct Family {
    definition: &'static Definition,
    series: BTreeMap<Vec<String>, Value>,
}

#[derive(Clone, Debug)]
enum Value {
    Gauge(f64),
    Counter(f64),
    /// Buckets not yet cumulated; the last one has no bound.
    Histogram {
        buckets: Vec<u64>,
        sum: f64,
    },
    Summary {
        count: u64,
        sum: f64,
    },
}

impl Registry {
    /// All that is known at the start: counters whose label values are known begin at 0.
    /// Metrics of single node groups are there only where asked for.
    pub(crate) fn new(per_node_group: bool) -> Self {
        let families = CATALOG
            .iter()
            .filter(|definition| per_node_group || !definition.is_per_node_group())
            .map(|definition| {
                let mut family = Family {
                    definition,
                    series: BTreeMap::new(),
                };
                for values in definition.initial {
                    let labels = values.iter().map(|value| (*value).to_owned()).collect();
                    family.entry(labels);
                }
                (definition.name, family)
            })
            .collect();
        Self {
            families: Arc::new(Mutex::new(families)),
        }
    }

    /// Takes over what a loop measured.
    pub(crate) fn record(&self, metrics: &LoopMetrics) {
        for (series, value) in &metrics.gauges {
            self.set(series.name, &labels(series), *value);
        }
        for (series, amount) in &metrics.counters {
            self.add(series.name, &labels(series), *amount as f64);
        }
        for (series, value) in &metrics.observations {
            self.observe(series.name, &labels(series), *value);
        }
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.change(name, labels, |known| {
            if let Value::Gauge(known) = known {
                *known = value;
            }
        });
    }

    /// Adds to a counter.
    pub(crate) fn add(&self, name: &str, labels: &[(&str, &str)], amount: f64) {
        self.change(name, labels, |known| {
            if let Value::Counter(known) = known {
                *known += amount;
            }
        });
    }

    /// Observes a value in a histogram or summary.
    pub(crate) fn observe(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let Some(bounds) = catalog::find(name).map(|definition| definition.kind.bounds()) else {
            return;
        };
        self.change(name, labels, |known| match known {
            Value::Histogram { buckets, sum } => {
                let place = bounds.partition_point(|bound| *bound < value);
                if let Some(bucket) = buckets.get_mut(place) {
                    *bucket += 1;
                }
                *sum += value;
            }
            Value::Summary { count, sum } => {
                *count += 1;
                *sum += value;
            }
            Value::Gauge(_) | Value::Counter(_) => {}
        });
    }

    /// How long one of the loop's functions took.
    pub(crate) fn took(&self, function: &str, duration: Duration) {
        let labels = [("function", function)];
        let seconds = duration.as_secs_f64();
        self.observe("function_duration_seconds", &labels, seconds);
        self.observe("function_duration_quantile_seconds", &labels, seconds);
    }

    /// The text that Prometheus reads.
    pub(crate) fn encode(&self) -> String {
        let mut text = text::encode(&self.lock());
        process::encode(&mut text);
        text
    }

    fn change(&self, name: &str, labels: &[(&str, &str)], change: impl FnOnce(&mut Value)) {
        let mut families = self.lock();
        let Some(family) = families.get_mut(name) else {
            if catalog::find(name).is_none() {
                tracing::debug!(name, "a metric that is not in the catalog");
            }
            return;
        };
        let values = family
            .definition
            .labels
            .iter()
            .map(|label| {
                let value = labels.iter().find(|(name, _)| name == label);
                value.map_or(String::new(), |(_, value)| (*value).to_owned())
            })
            .collect();
        change(family.entry(values));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn labels(series: &Series) -> Vec<(&str, &str)> {
    series
        .labels
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

impl Family {
    fn entry(&mut self, labels: Vec<String>) -> &mut Value {
        let kind = self.definition.kind;
        self.series.entry(labels).or_insert_with(|| match kind {
            Kind::Gauge => Value::Gauge(0.0),
            Kind::Counter => Value::Counter(0.0),
            Kind::Histogram(_) => Value::Histogram {
                buckets: vec![0; kind.bounds().len() + 1],
                sum: 0.0,
            },
            Kind::Summary => Value::Summary { count: 0, sum: 0.0 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of one metric.
    fn lines(registry: &Registry, name: &str) -> Vec<String> {
        let text = registry.encode();
        let of_it = |line: &&str| line.starts_with(name) || line.contains(&format!(" {name} "));
        text.lines().filter(of_it).map(str::to_owned).collect()
    }

    #[test]
    fn counters_with_known_labels_begin_at_zero() {
        let registry = Registry::new(false);
        assert!(
            lines(&registry, "cluster_autoscaler_errors_total").contains(
                &"cluster_autoscaler_errors_total{type=\"cloudProviderError\"} 0".to_owned()
            )
        );
        assert_eq!(
            lines(&registry, "cluster_autoscaler_failed_scale_ups_total")[2],
            "cluster_autoscaler_failed_scale_ups_total{reason=\"apiCallError\",gpu_resource_name=\"\",gpu_name=\"\",dra_drivers=\"\"} 0"
        );
    }

    #[test]
    fn a_counter_keeps_its_name() {
        let registry = Registry::new(false);
        registry.add("old_unregistered_nodes_removed_count", &[], 2.0);
        let lines = lines(
            &registry,
            "cluster_autoscaler_old_unregistered_nodes_removed_count",
        );
        assert_eq!(
            lines[1..],
            [
                "# TYPE cluster_autoscaler_old_unregistered_nodes_removed_count counter",
                "cluster_autoscaler_old_unregistered_nodes_removed_count 2",
            ]
        );
    }

    #[test]
    fn a_histogram_is_cumulated_and_a_summary_has_no_quantiles() {
        let registry = Registry::new(false);
        registry.took("main", Duration::from_millis(50));
        registry.took("main", Duration::from_secs(4000));
        let text = registry.encode();
        for line in [
            "cluster_autoscaler_function_duration_seconds_bucket{function=\"main\",le=\"0.1\"} 1",
            "cluster_autoscaler_function_duration_seconds_bucket{function=\"main\",le=\"+Inf\"} 2",
            "cluster_autoscaler_function_duration_seconds_count{function=\"main\"} 2",
            "cluster_autoscaler_function_duration_quantile_seconds_sum{function=\"main\"} 4000.05",
            "# TYPE cluster_autoscaler_function_duration_quantile_seconds summary",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}");
        }
    }

    #[test]
    fn labels_come_in_the_order_of_the_definition_and_are_escaped() {
        let registry = Registry::new(true);
        let labels = [("reason", "a\"b\\c\nd"), ("node_group", "g")];
        registry.set("node_group_backoff_status", &labels, 1.0);
        assert_eq!(
            lines(&registry, "cluster_autoscaler_node_group_backoff_status")[2],
            r#"cluster_autoscaler_node_group_backoff_status{node_group="g",reason="a\"b\\c\nd"} 1"#
        );
    }

    #[test]
    fn metrics_of_single_groups_are_there_only_when_asked_for() {
        let registry = Registry::new(false);
        registry.set("node_group_min_count", &[("node_group", "g")], 1.0);
        assert!(lines(&registry, "cluster_autoscaler_node_group_min_count").is_empty());
    }

    #[test]
    fn what_a_loop_measured_is_taken_over() {
        let mut metrics = LoopMetrics::default();
        metrics.set(Series::plain("unneeded_nodes_count"), 3.0);
        metrics.add(Series::plain("scaled_up_nodes_total"), 2);
        let registry = Registry::new(false);
        registry.record(&metrics);
        registry.record(&metrics);
        let text = registry.encode();
        assert!(text.contains("cluster_autoscaler_unneeded_nodes_count 3\n"));
        assert!(text.contains("cluster_autoscaler_scaled_up_nodes_total{gpu_resource_name=\"\",gpu_name=\"\",dra_drivers=\"\"} 4\n"));
    }
}
