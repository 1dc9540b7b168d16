//! How long the scheduler takes over clusters of real sizes: `cargo bench -p windlass-scheduler`.

#[expect(dead_code, reason = "not every user of the clusters uses all of them")]
mod scenarios;

use scenarios::Scenario;

fn main() {
    divan::main();
}

fn place_all(bencher: divan::Bencher<'_, '_>, scenario: impl Fn() -> Scenario + Sync) {
    bencher
        .with_inputs(scenario)
        .bench_refs(Scenario::place_all);
}

#[divan::bench(sample_count = 10)]
fn pending_pods_against_full_nodes(bencher: divan::Bencher<'_, '_>) {
    place_all(bencher, scenarios::full_nodes);
}

#[divan::bench(sample_count = 5, args = [false, true])]
fn plain_pods_all_different(bencher: divan::Bencher<'_, '_>, all_different: bool) {
    place_all(bencher, || scenarios::plain(all_different));
}

#[divan::bench(sample_count = 5)]
fn hostname_anti_affinity(bencher: divan::Bencher<'_, '_>) {
    place_all(bencher, scenarios::hostname_anti_affinity);
}

#[divan::bench(sample_count = 10)]
fn only_the_last_node_fits(bencher: divan::Bencher<'_, '_>) {
    place_all(bencher, scenarios::only_the_last_fits);
}

#[divan::bench(sample_count = 5)]
fn zone_spread(bencher: divan::Bencher<'_, '_>) {
    place_all(bencher, scenarios::zone_spread);
}

#[divan::bench]
fn plain_fit(bencher: divan::Bencher<'_, '_>) {
    let Scenario { mut snapshot, pods } = scenarios::plain(false);
    let nodes: Vec<_> = snapshot.node_ids().collect();
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % nodes.len();
        snapshot.fits(&pods[0], nodes[turn])
    });
}
