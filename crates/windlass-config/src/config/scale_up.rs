use windlass_model::Duration;

use super::{minutes, seconds};
use crate::{
    flag::flag_group,
    value::{Estimator, ExpanderChain, SchedulerNames},
};

flag_group! {
    /// Adding nodes.
    struct ScaleUp in scale_up, "Scale-up";

    /// How the nodes that pods need are counted. Only `binpacking` exists.
    "estimator" => estimator: Estimator = Estimator::Binpacking, Acted;

    /// Which of the groups that could grow does: `random`, `most-pods`, `least-waste`,
    /// `least-nodes`, `price`, `priority`, `grpc`.
    ///
    /// Several are asked in the order given; each narrows what the one before has left.
    "expander" => expander: ExpanderChain = ExpanderChain::least_waste(), Acted;

    /// Path of the CA certificate of the server that the expander `grpc` asks; that expander
    /// needs it.
    "grpc-expander-cert" => grpc_expander_cert: Option<String> = None, Acted;

    /// Address of that server, HOST:PORT.
    "grpc-expander-url" => grpc_expander_url: Option<String> = None, Acted;

    /// Most nodes that one group gets in one scale-up.
    "max-nodes-per-scaleup" => max_nodes_per_scaleup: i64 = 1000, Acted;

    /// Longest time for counting the nodes of one group.
    "max-nodegroup-binpacking-duration" => max_nodegroup_binpacking_duration: Duration = seconds(10), Acted;

    /// Longest time for counting the nodes of all groups in one scale-up.
    "max-binpacking-time" => max_binpacking_time: Duration = minutes(5), Acted;

    /// Count the nodes of the kind of pod that needs most of them by filling one and dividing.
    "fastpath-binpacking-enabled" => fastpath_binpacking: bool = false, Acted;

    /// Resize the groups of one scale-up at the same time. Without it they are resized one after
    /// the other, and those behind one that fails are left for the next loop.
    "parallel-scale-up" => parallel_scale_up: bool = false, Acted;

    /// Several scale-ups in one loop.
    "salvo-scale-up" => salvo_scale_up: bool = false, Acted;

    /// Longest time for the scale-ups of one loop.
    "salvo-scale-up-budget" => salvo_scale_up_budget: Duration = minutes(1), Acted;

    /// For pods that stay pending, report only those of the skipped groups that would have
    /// taken them.
    "scaleup-simulation-for-skipped-node-groups-enabled" => simulate_skipped_node_groups: bool = false, Acted;

    /// Pods younger than this cause no scale-up. A pod's annotation can only lengthen it.
    "new-pod-scale-up-delay" => new_pod_scale_up_delay: Duration = Duration::ZERO, Acted;

    /// Pods of a priority below this neither cause a scale-up nor keep a node. Pods without a
    /// priority always count.
    "expendable-pods-priority-cutoff" => expendable_pods_priority_cutoff: i64 = -10, Acted;

    /// Schedulers whose pods count as unschedulable before they have looked at them.
    "bypassed-scheduler-names" => bypassed_scheduler_names: SchedulerNames = SchedulerNames::default(), Acted;

    /// Look at the pods of these schedulers only. Empty: of all.
    "allowed-scheduler-names" => allowed_scheduler_names: SchedulerNames = SchedulerNames::default(), Acted;

    /// Longest time for finding out which pending pods fit on nodes that are there; used with
    /// `--enable-graceful-degradation`.
    "pending-pods-batching-timeout" => pending_pods_batching_timeout: Duration = minutes(4), Acted;

    /// Stop that at `--pending-pods-batching-timeout`, and let scale-up and scale-down take
    /// turns.
    "enable-graceful-degradation" => graceful_degradation: bool = false, Acted;
}

flag_group! {
    /// Splitting a scale-up between similar groups.
    struct Balancing in balancing, "Balancing similar groups";

    /// Split a scale-up between groups whose nodes are alike.
    "balance-similar-node-groups" => similar_node_groups: bool = false, Acted;

    /// Key of a label in which similar groups may differ. May be repeated.
    "balancing-ignore-label" => ignore_labels: Vec<String> = Vec::new(), Acted;

    /// Key of a label in which similar groups must agree; nothing else is compared then. May
    /// be repeated.
    "balancing-label" => labels: Vec<String> = Vec::new(), Acted;

    /// How far the memory of similar groups may differ, as a share of the larger.
    "memory-difference-ratio" => memory_difference_ratio: f64 = 0.015, Acted;

    /// How far the free resources of similar groups may differ, as a share of the larger.
    "max-free-difference-ratio" => max_free_difference_ratio: f64 = 0.05, Acted;

    /// How far the allocatable resources of similar groups may differ, as a share of the
    /// larger.
    "max-allocatable-difference-ratio" => max_allocatable_difference_ratio: f64 = 0.05, Acted;
}
