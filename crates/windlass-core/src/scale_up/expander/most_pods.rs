//! `most-pods`: the options that help most pods.

use std::cmp::Reverse;

use super::{ExpansionOption, least_of};

pub(super) fn best(options: &[ExpansionOption], places: &[usize]) -> Vec<usize> {
    least_of(places, |place| Some(Reverse(options[place].pods.len())))
}
