//! The loop's gauges and counters, as plain data that the shell copies to its registry.

use std::collections::BTreeMap;

use windlass_model::SmolStr;

/// What a loop measured. Names are those of `pkg/metrics/metrics.go` without the prefix
/// `cluster_autoscaler_`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Gauges to be set.
    pub gauges: BTreeMap<Series, f64>,
    /// Counters, with what is to be added.
    pub counters: BTreeMap<Series, u64>,
    /// Observations of histograms, in order.
    pub observations: Vec<(Series, f64)>,
}

/// One time series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The metric, without the prefix.
    pub name: &'static str,
    /// Labels, in the order of the metric's definition.
    pub labels: Vec<(&'static str, SmolStr)>,
}

impl Series {
    /// A series without labels.
    pub fn plain(name: &'static str) -> Self {
        Self {
            name,
            labels: Vec::new(),
        }
    }

    /// The same with one more label.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<SmolStr>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

impl Metrics {
    /// Sets a gauge.
    pub fn set(&mut self, series: Series, value: f64) {
        self.gauges.insert(series, value);
    }

    /// Adds to a counter.
    pub fn add(&mut self, series: Series, amount: u64) {
        *self.counters.entry(series).or_default() += amount;
    }

    /// Observes a value in a histogram.
    pub fn observe(&mut self, series: Series, value: f64) {
        self.observations.push((series, value));
    }
}
