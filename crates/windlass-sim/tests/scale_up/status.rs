//! The status ConfigMap, byte by byte.

use crate::world::{Loops, flags};

const AFTER_A_FAILURE: &str = r#"autoscalerStatus: Running
clusterWide:
  health:
    lastProbeTime: "2026-01-01T00:00:10Z"
    lastTransitionTime: "2026-01-01T00:00:00Z"
    nodeCounts:
      longUnregistered: 0
      registered:
        notStarted: 0
        ready: 1
        suspended: 0
        total: 1
        unready:
          resourceUnready: 0
          total: 0
      unregistered: 0
    status: Healthy
  scaleDown:
    lastProbeTime: "2026-01-01T00:00:10Z"
    lastTransitionTime: "2026-01-01T00:00:00Z"
    status: NoCandidates
  scaleUp:
    lastProbeTime: "2026-01-01T00:00:10Z"
    lastTransitionTime: "2026-01-01T00:00:00Z"
    status: NoActivity
nodeGroups:
- health:
    cloudProviderTarget: 1
    lastProbeTime: "2026-01-01T00:00:10Z"
    lastTransitionTime: "2026-01-01T00:00:00Z"
    maxSize: 10
    minSize: 0
    nodeCounts:
      longUnregistered: 0
      registered:
        notStarted: 0
        ready: 1
        suspended: 0
        total: 1
        unready:
          resourceUnready: 0
          total: 0
      unregistered: 0
    status: Healthy
  name: a
  scaleDown:
    lastProbeTime: "2026-01-01T00:00:10Z"
    lastTransitionTime: "2026-01-01T00:00:00Z"
    status: NoCandidates
  scaleUp:
    backoffInfo:
      errorCode: cloudProviderError
      errorMessage: 'failed to increase node group size: no capacity'
    lastProbeTime: "2026-01-01T00:00:10Z"
    lastTransitionTime: "2026-01-01T00:00:10Z"
    status: Backoff
time: 2026-01-01 00:00:10 +0000 UTC
"#;

#[test]
fn the_status_is_laid_out_as_the_go_autoscaler_lays_it_out() {
    let documents = flags(&[])
        .node("n1", "a", "", "")
        .group("a", 4, "")
        .pods("web", 12, "1", "");
    let mut loops = Loops::new(&documents);
    let decision = loops.decide();
    loops.fail_growth(&decision);
    loops.pass("10s");
    assert_eq!(loops.decide().plan.status.unwrap(), AFTER_A_FAILURE);
}

#[test]
fn a_scale_up_on_its_way_is_shown() {
    let mut loops = Loops::new(&flags(&[]).group("a", 4, "").pods("web", 12, "1", ""));
    let decision = loops.decide();
    loops.carry_out(&decision);
    loops.pass("10s");
    let status = loops.decide().plan.status.unwrap();
    assert_eq!(status.matches("status: InProgress").count(), 2);
    assert!(status.contains("    cloudProviderTarget: 3\n    lastProbeTime: null\n"));
    assert!(status.contains("    backoffInfo: {}\n"));
}
