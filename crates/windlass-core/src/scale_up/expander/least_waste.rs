//! `least-waste`: the options that leave the least cpu and memory unused.

use super::{ExpansionOption, least_of};
use crate::{decide::Loop, pending::PendingPods};

pub(super) fn best(
    context: &Loop<'_>,
    pending: &PendingPods,
    options: &[ExpansionOption],
    places: &[usize],
) -> Vec<usize> {
    least_of(places, |place| {
        let option = &options[place];
        let template = context.templates[option.group].as_ref()?;
        let amount = |name: &str| template.node.capacity.get(name);
        let cpu = amount("cpu").map_or(0, |cpu| cpu.millis_ceil());
        let memory = amount("memory").map_or(0, |memory| memory.units_ceil());
        let (mut wanted_cpu, mut wanted_memory) = (0_i64, 0_i64);
        for index in &option.pods {
            let requests = &pending.pod(*index).shape.requests;
            wanted_cpu = wanted_cpu.saturating_add(requests.milli_cpu);
            wanted_memory = wanted_memory.saturating_add(requests.memory_bytes);
        }
        Some(
            waste(cpu.saturating_mul(option.nodes), wanted_cpu)
                + waste(memory.saturating_mul(option.nodes), wanted_memory),
        )
    })
}

fn waste(available: i64, wanted: i64) -> f64 {
    available.saturating_sub(wanted) as f64 / available as f64
}
