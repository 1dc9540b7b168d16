use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use windlass_aws::Aws;
use windlass_aws::arrival::Step;
use windlass_aws_client::CallError;

use super::metrics::Registry;
use crate::hint;

/// Longest pause between two looks at the schedule, which an action may have brought forward.
const LOOK: Duration = Duration::from_secs(1);
/// Shortest pause between two refreshes.
const SHORTEST: Duration = Duration::from_millis(100);
/// Longest time for a refresh: AWS's own retries end before.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(90);

/// Keeps the view of the node groups current, and tells when it has changed.
///
/// `are_named` says whether any group is looked for.
pub(crate) async fn keep_current(
    aws: Aws,
    changed: Arc<Notify>,
    registry: Registry,
    are_named: bool,
) {
    let mut is_failing = false;
    let mut is_emptiness_known = !are_named;
    let mut told = BTreeSet::new();
    let mut fruitless = BTreeSet::new();
    loop {
        if aws.next_refresh() <= aws.client().now() {
            let before = aws.node_groups();
            let began = Instant::now();
            let report = tokio::time::timeout(REFRESH_TIMEOUT, aws.refresh()).await;
            registry.took("cloudProviderRefresh", began.elapsed());
            let problem = match &report {
                Ok(report) => report.errors.first().map(problem),
                Err(_) => Some("no answer in time".to_owned()),
            };
            if problem.is_some() {
                registry.add("errors_total", &[("type", "cloudProviderError")], 1.0);
            }
            match problem {
                Some(problem) if is_failing => debug!(problem, "cannot refresh the node groups"),
                Some(problem) => {
                    if aws.age().is_some() {
                        warn!(
                            problem,
                            "cannot refresh the node groups: the last view stays"
                        );
                    } else {
                        warn!(
                            problem,
                            "cannot list the node groups: nothing is decided before"
                        );
                    }
                    is_failing = true;
                }
                None if is_failing => {
                    info!("the view of the node groups is current again");
                    is_failing = false;
                }
                None => {}
            }
            let groups = aws.node_groups();
            if let Ok(report) = report {
                if report.suspiciously_empty {
                    warn!(
                        "AWS lists none, or not half, of the node groups that it had listed: they are kept for now"
                    );
                }
                let is_empty = groups.is_empty() && (report.listed || is_emptiness_known);
                if is_empty && !is_emptiness_known {
                    let searched = aws.summary();
                    warn!(
                        searched,
                        "AWS lists no node group, so there is nothing to scale: has one all the tags, in this region and account?"
                    );
                }
                is_emptiness_known = is_empty;
                if report.listed && !is_empty {
                    tell_fruitless(report.fruitless, &mut fruitless);
                }
            }
            tell_conditions(&aws, &mut told);
            count_groups(&aws, &registry);
            if groups != before {
                changed.notify_one();
            }
        }
        count_happened(&aws, &registry);
        let pause = aws.next_refresh().duration_since(aws.client().now());
        // What is due again at once has failed just now.
        let pause = Duration::try_from(pause).unwrap_or(LOOK);
        tokio::time::sleep(pause.clamp(SHORTEST, LOOK)).await;
    }
}

/// What went wrong, why, and what to do about it where that is known.
fn problem(error: &CallError) -> String {
    let mut text = error.to_string();
    // The causes between are those of the HTTP client, which say nothing.
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    if let Some(cause) = cause {
        text = format!("{text}: {cause}");
    }
    match hint::of_call(error) {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}

/// The gauges of the groups as they are.
fn count_groups(aws: &Aws, registry: &Registry) {
    let outstanding = f64::from(aws.outstanding());
    registry.set("windlass_aws_outstanding_instances", &[], outstanding);
    for (kind, groups) in aws.groups_by_condition() {
        let labels = [("condition", kind.label())];
        registry.set("windlass_aws_groups", &labels, groups as f64);
    }
}

/// What has happened to launches since the last look.
fn count_happened(aws: &Aws, registry: &Registry) {
    let happened = aws.take_happened();
    for cause in happened.launch_failures {
        let labels = [("code", cause.code())];
        registry.add("windlass_aws_launch_failures_total", &labels, 1.0);
    }
    for (step, took) in happened.steps {
        let name = match step {
            Step::RequestToInstance => "windlass_aws_request_to_instance_seconds",
            Step::InstanceToReady => "windlass_aws_instance_to_ready_seconds",
        };
        registry.observe(name, &[], took.as_secs_f64());
    }
}

/// Tells once of each `--node-group-auto-discovery` that finds nothing while others find groups.
fn tell_fruitless(queries: Vec<String>, told: &mut BTreeSet<String>) {
    let queries: BTreeSet<String> = queries.into_iter().collect();
    for tags in queries.difference(told) {
        warn!(
            tags,
            "no Auto Scaling group carries what one of the discovery flags asks for: are its tags spelt as the groups have them?"
        );
    }
    *told = queries;
}

/// Tells once of everything that people should know of a group, and again when it has come back.
fn tell_conditions(aws: &Aws, told: &mut BTreeSet<(String, String)>) {
    let conditions: BTreeSet<(String, String)> = aws.conditions().into_iter().collect();
    for (group, condition) in conditions.difference(told) {
        warn!(group, "{condition}");
    }
    for (group, condition) in told.difference(&conditions) {
        info!(group, "no more: {condition}");
    }
    *told = conditions;
}
