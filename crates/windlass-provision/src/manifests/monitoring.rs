//! What Prometheus and Grafana are told: where the metrics are, when to call somebody, what to
//! look at.

use serde_json::{Value, json};

use super::autoscaler::NAME;
use super::yaml::Manifest;
use crate::cluster_config::ClusterConfig;

/// An alert: name, expression, for how long, how urgent, what it means and what to do.
struct Alert {
    name: &'static str,
    expression: &'static str,
    lasts: &'static str,
    severity: &'static str,
    summary: &'static str,
    action: &'static str,
}

const ALERTS: [Alert; 7] = [
    Alert {
        name: "ClusterAutoscalerDown",
        expression: "absent(cluster_autoscaler_last_activity{activity=\"main\"})",
        lasts: "5m",
        severity: "critical",
        summary: "No autoscaler tells its metrics: nodes are neither added nor removed.",
        action: "Look at the pods of the Deployment cluster-autoscaler and their logs.",
    },
    Alert {
        name: "ClusterAutoscalerStuck",
        expression: "time() - max(cluster_autoscaler_last_activity{activity=\"main\"}) > 300",
        lasts: "5m",
        severity: "critical",
        summary: "The autoscaler has not finished a loop for five minutes.",
        action: "Look at its log: AWS or the API server may refuse or delay its calls.",
    },
    Alert {
        name: "ClusterAutoscalerNotSafe",
        expression: "max(cluster_autoscaler_cluster_safe_to_autoscale) == 0",
        lasts: "15m",
        severity: "critical",
        summary: "Too many nodes are unready, so nothing is scaled.",
        action: "Find out why nodes are NotReady; scaling goes on by itself afterwards.",
    },
    Alert {
        name: "ClusterAutoscalerUnschedulablePods",
        expression: "sum(cluster_autoscaler_unschedulable_pods_count{type=\"unschedulable\"}) > 0",
        lasts: "30m",
        severity: "warning",
        summary: "Pods have been unschedulable for half an hour.",
        action: "`windlass explain pod` says which check fails in which group.",
    },
    Alert {
        name: "ClusterAutoscalerFailedScaleUps",
        expression: "sum by (reason) (increase(cluster_autoscaler_failed_scale_ups_total[30m])) > 0",
        lasts: "0m",
        severity: "warning",
        summary: "A group was raised and the nodes did not come.",
        action: "Look at the group's scaling activities: capacity, quota or launch template.",
    },
    Alert {
        name: "ClusterAutoscalerAtMaximum",
        expression: "sum(cluster_autoscaler_nodes_count) >= max(cluster_autoscaler_max_nodes_count)",
        lasts: "30m",
        severity: "warning",
        summary: "The cluster has as many nodes as all groups together may have.",
        action: "Raise `max` of a group in cluster.yaml and run `windlass provision apply`.",
    },
    Alert {
        name: "ClusterAutoscalerErrors",
        expression: "sum by (type) (increase(cluster_autoscaler_errors_total[15m])) > 5",
        lasts: "15m",
        severity: "warning",
        summary: "Loops fail again and again.",
        action: "Look at the log for the error of that type.",
    },
];

/// A panel: title, unit and lines, each an expression and its legend.
struct Panel {
    title: &'static str,
    unit: &'static str,
    lines: &'static [(&'static str, &'static str)],
}

const PANELS: [Panel; 8] = [
    Panel {
        title: "Nodes by state",
        unit: "short",
        lines: &[
            (
                "sum by (state) (cluster_autoscaler_nodes_count)",
                "{{state}}",
            ),
            ("max(cluster_autoscaler_max_nodes_count)", "maximum"),
        ],
    },
    Panel {
        title: "Pods that fit nowhere",
        unit: "short",
        lines: &[(
            "sum by (type) (cluster_autoscaler_unschedulable_pods_count)",
            "{{type}}",
        )],
    },
    Panel {
        title: "Nodes added and removed, by the hour",
        unit: "short",
        lines: &[
            (
                "sum(increase(cluster_autoscaler_scaled_up_nodes_total[1h]))",
                "added",
            ),
            (
                "-sum by (reason) (increase(cluster_autoscaler_scaled_down_nodes_total[1h]))",
                "removed: {{reason}}",
            ),
        ],
    },
    Panel {
        title: "Scale-ups that failed, by the hour",
        unit: "short",
        lines: &[(
            "sum by (reason) (increase(cluster_autoscaler_failed_scale_ups_total[1h]))",
            "{{reason}}",
        )],
    },
    Panel {
        title: "Unneeded nodes, and why others stay",
        unit: "short",
        lines: &[
            ("sum(cluster_autoscaler_unneeded_nodes_count)", "unneeded"),
            (
                "sum by (reason) (cluster_autoscaler_unremovable_nodes_count)",
                "{{reason}}",
            ),
        ],
    },
    Panel {
        title: "Evictions, by the hour",
        unit: "short",
        lines: &[(
            "sum by (eviction_result) (increase(cluster_autoscaler_evicted_pods_total[1h]))",
            "{{eviction_result}}",
        )],
    },
    Panel {
        title: "Time of a loop (99 %)",
        unit: "s",
        lines: &[(
            "histogram_quantile(0.99, sum by (le, function) \
             (rate(cluster_autoscaler_function_duration_seconds_bucket[5m])))",
            "{{function}}",
        )],
    },
    Panel {
        title: "Errors, by the hour",
        unit: "short",
        lines: &[(
            "sum by (type) (increase(cluster_autoscaler_errors_total[1h]))",
            "{{type}}",
        )],
    },
];

/// Every expression that alerts and dashboard use.
#[cfg(test)]
fn expressions() -> impl Iterator<Item = &'static str> {
    let alerts = ALERTS.iter().map(|alert| alert.expression);
    let panels = PANELS
        .iter()
        .flat_map(|panel| panel.lines.iter().map(|(expression, _)| *expression));
    alerts.chain(panels)
}

/// The objects that the file asks for.
pub(super) fn manifests(config: &ClusterConfig) -> Vec<Manifest> {
    let namespace = config.spec.autoscaler.namespace.as_str();
    let monitoring = &config.spec.autoscaler.monitoring;
    let mut manifests = Vec::new();
    if monitoring.service_monitor {
        manifests.push(service_monitor(namespace));
    }
    if monitoring.alerts {
        manifests.push(Manifest::new(json!({
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": metadata(NAME, namespace),
            "spec": { "groups": [{ "name": NAME, "rules": alert_rules() }] },
        })));
    }
    if monitoring.dashboard {
        let mut metadata = metadata("cluster-autoscaler-dashboard", namespace);
        // What Grafana's sidecar looks for.
        metadata["labels"]["grafana_dashboard"] = json!("1");
        manifests.push(Manifest::new(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": { "windlass.json": format!("{:#}\n", dashboard()) },
        })));
    }
    manifests
}

fn metadata(name: &str, namespace: &str) -> Value {
    json!({ "name": name, "namespace": namespace, "labels": super::autoscaler::labels() })
}

fn service_monitor(namespace: &str) -> Manifest {
    Manifest::new(json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata(NAME, namespace),
        "spec": {
            "selector": { "matchLabels": { "app": NAME } },
            "endpoints": [{ "port": "http", "path": "/metrics", "interval": "15s" }],
        },
    }))
}

/// The alerts as rules of Prometheus.
pub fn alert_rules() -> Value {
    let rules = ALERTS.iter().map(|alert| {
        json!({
            "alert": alert.name,
            "expr": alert.expression,
            "for": alert.lasts,
            "labels": { "severity": alert.severity },
            "annotations": { "summary": alert.summary, "description": alert.action },
        })
    });
    rules.collect()
}

/// The Grafana dashboard.
pub fn dashboard() -> Value {
    const WIDTH: usize = 12;
    const HEIGHT: usize = 8;
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let panels: Vec<Value> = PANELS
        .iter()
        .enumerate()
        .map(|(index, panel)| {
            let targets: Vec<Value> = panel
                .lines
                .iter()
                .zip('A'..)
                .map(|((expression, legend), letter)| {
                    json!({
                        "refId": letter.to_string(),
                        "datasource": source,
                        "expr": expression,
                        "legendFormat": legend,
                    })
                })
                .collect();
            json!({
                "id": index + 1,
                "type": "timeseries",
                "title": panel.title,
                "datasource": source,
                "fieldConfig": { "defaults": { "unit": panel.unit }, "overrides": [] },
                "gridPos": {
                    "x": (index % 2) * WIDTH, "y": (index / 2) * HEIGHT, "w": WIDTH, "h": HEIGHT,
                },
                "targets": targets,
            })
        })
        .collect();
    json!({
        "title": "Windlass",
        "uid": "windlass",
        "schemaVersion": 39,
        "tags": ["windlass", "cluster-autoscaler"],
        "time": { "from": "now-6h", "to": "now" },
        "refresh": "30s",
        "templating": {
            "list": [{ "name": "datasource", "type": "datasource", "query": "prometheus" }],
        },
        "panels": panels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of metrics in an expression.
    fn metrics(expression: &str) -> Vec<&str> {
        expression
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("cluster_autoscaler_"))
            .collect()
    }

    #[test]
    fn every_expression_asks_for_a_metric_that_there_is() {
        let catalog = include_str!("../../../windlass/src/run/metrics/catalog.rs");
        let mut count = 0;
        for metric in expressions().flat_map(metrics) {
            let name = metric.trim_start_matches("cluster_autoscaler_");
            let name = name.trim_end_matches("_bucket");
            assert!(catalog.contains(&format!("\"{name}\"")), "{metric}");
            count += 1;
        }
        assert!(count > 15);
    }

    #[test]
    fn parentheses_are_balanced() {
        for expression in expressions() {
            for (open, close) in [('(', ')'), ('[', ']'), ('{', '}')] {
                assert_eq!(
                    expression.matches(open).count(),
                    expression.matches(close).count(),
                    "{expression}"
                );
            }
        }
    }
}
