//! `least-nodes`: the options that need fewest nodes.

use super::{ExpansionOption, least_of};

pub(super) fn best(options: &[ExpansionOption], places: &[usize]) -> Vec<usize> {
    least_of(places, |place| Some(options[place].nodes))
}
