//! What the scheduler takes of memory. One test, since the counter of allocations is the
//! process's.

#[expect(dead_code, reason = "not every user of the clusters uses all of them")]
#[path = "../benches/clusters/scenarios.rs"]
mod scenarios;

use scenarios::Scenario;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const MIB: usize = 1 << 20;

#[test]
fn a_large_snapshot_is_small_and_a_plain_fit_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();

    let before = dhat::HeapStats::get().curr_bytes;
    let Scenario { mut snapshot, pods } = scenarios::large();
    let bytes = dhat::HeapStats::get().curr_bytes - before;
    println!(
        "5,000 nodes and 150,000 pods, their objects included: {} MiB",
        bytes / MIB
    );
    assert!(bytes <= 100 * MIB, "{bytes} bytes");

    let nodes: Vec<_> = snapshot.node_ids().collect();
    // What a question makes known is kept: the first one may allocate.
    for pod in &pods {
        assert!(snapshot.fits(pod, nodes[0]));
        assert!(snapshot.first_fit(pod, |_| true).is_some());
    }
    let before = dhat::HeapStats::get().total_blocks;
    for pod in &pods {
        for node in &nodes {
            assert!(snapshot.fits(pod, *node));
        }
        assert!(snapshot.first_fit(pod, |_| true).is_some());
    }
    let allocations = dhat::HeapStats::get().total_blocks - before;
    assert_eq!(allocations, 0);

    let before = dhat::HeapStats::get().total_bytes;
    snapshot.fork();
    let node = snapshot.first_fit(&pods[0], |_| true).unwrap();
    snapshot.add_pod(&pods[0], node);
    snapshot.revert();
    let bytes = dhat::HeapStats::get().total_bytes - before;
    assert!(bytes < 10_000, "a fork with one pod takes {bytes} bytes");
}
