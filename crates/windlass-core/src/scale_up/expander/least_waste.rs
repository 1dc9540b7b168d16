//! `least-waste`: the options that leave the least cpu and memory unused.

use windlass_model::Quantity;

use super::{ExpansionOption, least_of};
use crate::decide::Loop;

pub(super) fn best(
    context: &Loop<'_>,
    options: &[ExpansionOption],
    places: &[usize],
) -> Vec<usize> {
    least_of(places, |place| {
        let option = &options[place];
        let template = context.templates[option.group].as_ref()?;
        let amount = |name: &str| template.node.capacity.get(name);
        let cpu = amount("cpu").map_or(0, Quantity::millis_ceil);
        let memory = amount("memory").map_or(0, Quantity::units_ceil);
        Some(
            waste(cpu.saturating_mul(option.nodes), option.milli_cpu)
                + waste(memory.saturating_mul(option.nodes), option.memory_bytes),
        )
    })
}

fn waste(available: i64, wanted: i64) -> f64 {
    available.saturating_sub(wanted) as f64 / available as f64
}
