//! New nodes by what each has left, and the next of them that has room for a pod.
//!
//! The nodes are the leaves of a tree whose inner places hold, amount by amount, the most that a
//! leaf below has left: a search passes over what cannot hold the pod in one step, so that it
//! costs about the logarithm of the number of nodes, where looking at one node after the other
//! made the cost of pods that all differ grow with its square.

/// Places of the two amounts that a node most often runs out of.
const CPU: usize = 0;
const MEMORY: usize = 1;
/// How finely shares are told apart.
const SHARE_STEPS: f64 = (1_u64 << 40) as f64;
/// What a leaf without a node has left: less than anybody asks for.
const NONE: i64 = i64::MIN;

/// What a pod takes, in the order of a new node's amounts, and a bound that makes searches short.
pub(super) struct Request(Vec<i64>);

/// New nodes in the order in which they were added.
pub(super) struct NewNodes {
    /// What a new node has, amount by amount, and then the lesser of its shares of cpu and memory.
    /// Without the share a search would look into every subtree with one node that has cpu and
    /// another that has memory, which is nearly all of them.
    fresh: Vec<i64>,
    shares_per_unit: [f64; 2],
    /// The tree: the root at 1, the children of `n` at `2n` and `2n + 1`, the leaves at the end;
    /// each as long as `fresh`.
    most_left: Vec<i64>,
    leaves: usize,
    is_used: Vec<bool>,
}

impl NewNodes {
    /// None yet. `fresh` is what each will have: cpu, memory, and further amounts.
    pub(super) fn new(mut fresh: Vec<i64>) -> Self {
        let per_unit = |amount: i64| {
            if amount > 0 {
                SHARE_STEPS / amount as f64
            } else {
                0.0
            }
        };
        let shares_per_unit = [per_unit(fresh[CPU]), per_unit(fresh[MEMORY])];
        fresh.push(lesser_share(&fresh, shares_per_unit));
        Self {
            most_left: vec![NONE; 2 * fresh.len()],
            fresh,
            shares_per_unit,
            leaves: 1,
            is_used: Vec::new(),
        }
    }

    /// `amounts` as a request, in the order of a new node's.
    pub(super) fn request(&self, mut amounts: Vec<i64>) -> Request {
        let asks_for_both = amounts[CPU] > 0 && amounts[MEMORY] > 0;
        amounts.push(if asks_for_both {
            lesser_share(&amounts, self.shares_per_unit)
        } else {
            0
        });
        Request(amounts)
    }

    pub(super) fn len(&self) -> usize {
        self.is_used.len()
    }

    /// How many hold a pod.
    pub(super) fn used(&self) -> usize {
        self.is_used.iter().filter(|is_used| **is_used).count()
    }

    /// Whether a further node could take what the last one could not.
    pub(super) fn is_last_used(&self) -> bool {
        self.is_used.last().copied().unwrap_or(true)
    }

    pub(super) fn add(&mut self) {
        if self.len() == self.leaves {
            self.double();
        }
        let added = self.leaves + self.len();
        let width = self.fresh.len();
        self.most_left[added * width..][..width].copy_from_slice(&self.fresh);
        self.is_used.push(false);
        self.update_above(added);
    }

    /// The first node from `start` on, and then from the first one on, that has room for a pod.
    pub(super) fn next_with_room(&self, start: usize, request: &Request) -> Option<usize> {
        let wraps = || self.first_with_room(0, request);
        self.first_with_room(start, request).or_else(wraps)
    }

    /// How many pods with this request a node takes. An amount that is not asked for does not
    /// matter, however short it is.
    pub(super) fn room(&self, node: usize, request: &Request) -> usize {
        let width = self.fresh.len();
        let left = &self.most_left[(self.leaves + node) * width..][..width - 1];
        let rooms = left
            .iter()
            .zip(&request.0)
            .filter(|(_, wanted)| **wanted > 0)
            .map(|(left, wanted)| left / wanted);
        usize::try_from(rooms.min().unwrap_or(0).max(0)).unwrap_or(usize::MAX)
    }

    /// Puts so many pods on a node.
    pub(super) fn take(&mut self, node: usize, request: &Request, pods: usize) {
        let pods = i64::try_from(pods).unwrap_or(i64::MAX);
        let (leaf, width) = (self.leaves + node, self.fresh.len());
        let left = &mut self.most_left[leaf * width..][..width];
        for (left, wanted) in left.iter_mut().zip(&request.0) {
            *left = left.saturating_sub(wanted.saturating_mul(pods));
        }
        left[width - 1] = lesser_share(left, self.shares_per_unit);
        self.is_used[node] = true;
        self.update_above(leaf);
    }

    fn first_with_room(&self, start: usize, request: &Request) -> Option<usize> {
        if self.len() <= start {
            return None;
        }
        let mut place = self.leaves + start;
        while place != 0 {
            if self.may_have_room(place, request) {
                if self.leaves <= place {
                    return Some(place - self.leaves);
                }
                place *= 2;
                continue;
            }
            // On to what comes after all that is below: right children have nothing beside them.
            place >>= place.trailing_ones();
            place += usize::from(place != 0);
        }
        None
    }

    /// Whether a node at or below this place may have room; of a leaf, whether it has.
    fn may_have_room(&self, place: usize, request: &Request) -> bool {
        let width = self.fresh.len();
        let most_left = &self.most_left[place * width..][..width];
        let mut pairs = most_left.iter().zip(&request.0);
        pairs.all(|(left, wanted)| *wanted <= 0 || wanted <= left)
    }

    fn double(&mut self) {
        let width = self.fresh.len();
        let leaves = self.leaves * 2;
        let mut most_left = vec![NONE; 2 * leaves * width];
        let old = &self.most_left[self.leaves * width..];
        most_left[leaves * width..][..old.len()].copy_from_slice(old);
        self.most_left = most_left;
        self.leaves = leaves;
        for place in (1..leaves).rev() {
            self.update(place);
        }
    }

    fn update_above(&mut self, leaf: usize) {
        let mut place = leaf / 2;
        while place != 0 && self.update(place) {
            place /= 2;
        }
    }

    /// Takes the most of the two children; whether that is a change.
    fn update(&mut self, place: usize) -> bool {
        let width = self.fresh.len();
        let (above, below) = self.most_left.split_at_mut(2 * place * width);
        let (left, right) = below[..2 * width].split_at(width);
        let mut is_changed = false;
        for (most, (left, right)) in above[place * width..]
            .iter_mut()
            .zip(left.iter().zip(right))
        {
            let new = *left.max(right);
            is_changed |= *most != new;
            *most = new;
        }
        is_changed
    }
}

/// The lesser of the shares of a new node's cpu and memory. More of an amount is never a lesser
/// share, so that a node with room for a pod has at least the pod's.
#[expect(
    clippy::cast_possible_truncation,
    reason = "whole steps are meant, and what is out of range becomes the nearest that is in it"
)]
fn lesser_share(amounts: &[i64], shares_per_unit: [f64; 2]) -> i64 {
    let share = |amount: usize| (amounts[amount] as f64 * shares_per_unit[amount]) as i64;
    share(CPU).min(share(MEMORY))
}

#[cfg(test)]
mod tests {
    use rand_chacha::{
        ChaCha8Rng,
        rand_core::{Rng, SeedableRng},
    };

    use super::*;

    #[test]
    fn a_search_finds_what_looking_at_each_finds() {
        for seed in 0..300 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut draw = |below: u64| i64::try_from(random.next_u64() % below).unwrap();
            let fresh = vec![draw(40), draw(40) - 2, draw(3) - 1, 1 + draw(9), draw(4)];
            let mut nodes = NewNodes::new(fresh);
            for _ in 0..60 {
                if draw(3) == 0 {
                    nodes.add();
                }
                let request = nodes.request(vec![draw(9), draw(9), draw(2), 1, draw(5) / 3]);
                let start = usize::try_from(draw(20)).unwrap();
                let count = nodes.len();
                let first = start.min(count);
                let expected = (first..count)
                    .chain(0..first)
                    .find(|node| nodes.room(*node, &request) > 0);
                assert_eq!(
                    nodes.next_with_room(start, &request),
                    expected,
                    "seed {seed}"
                );
                if let Some(node) = expected {
                    nodes.take(node, &request, 1);
                }
            }
        }
    }

    #[test]
    fn what_is_not_asked_for_may_be_short() {
        let mut nodes = NewNodes::new(vec![-5, 10, 0, 1]);
        nodes.add();
        let request = nodes.request(vec![0, 10, 0, 1]);
        assert_eq!(nodes.room(0, &request), 1);
        assert_eq!(nodes.next_with_room(0, &request), Some(0));
    }
}
