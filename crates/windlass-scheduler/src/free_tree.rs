use fixedbitset::FixedBitSet;

/// Free cpu, memory, ephemeral storage and pod slots.
pub(crate) type Free = [i64; 4];

/// More than nothing has of nothing: no node.
const NONE: Free = [i64::MIN; 4];

/// For each range of nodes the most that one of them has free, amount by amount, so that a search
/// passes over full nodes in logarithmic time.
#[derive(Clone, Debug, Default)]
pub(crate) struct FreeTree {
    /// A power of two; leaf `i` is `maxima[leaves + i]`.
    leaves: usize,
    maxima: Vec<Free>,
    stale: Vec<u32>,
    is_stale: FixedBitSet,
}

impl FreeTree {
    /// Notes that a node has changed.
    pub(crate) fn touch(&mut self, slot: u32) {
        let index = slot as usize;
        self.is_stale.grow(index + 1);
        if !self.is_stale.put(index) {
            self.stale.push(slot);
        }
    }

    /// Takes in the nodes that have changed; `slots` is how many slots there are.
    pub(crate) fn refresh(&mut self, slots: usize, free: impl Fn(u32) -> Option<Free>) {
        if self.leaves < slots {
            self.leaves = slots.next_power_of_two();
            self.maxima = vec![NONE; 2 * self.leaves];
            for slot in 0..slots {
                self.maxima[self.leaves + slot] =
                    free(u32::try_from(slot).unwrap_or(u32::MAX)).unwrap_or(NONE);
            }
            for index in (1..self.leaves).rev() {
                self.maxima[index] = maximum(self.maxima[2 * index], self.maxima[2 * index + 1]);
            }
            self.stale.clear();
            self.is_stale.clear();
            return;
        }
        while let Some(slot) = self.stale.pop() {
            self.is_stale.set(slot as usize, false);
            if slot as usize >= self.leaves {
                continue;
            }
            let mut index = self.leaves + slot as usize;
            self.maxima[index] = free(slot).unwrap_or(NONE);
            while index > 1 {
                index /= 2;
                let most = maximum(self.maxima[2 * index], self.maxima[2 * index + 1]);
                if self.maxima[index] == most {
                    break;
                }
                self.maxima[index] = most;
            }
        }
    }

    /// The first slot, `from` or later, that has `need` free.
    pub(crate) fn next(&self, from: usize, need: &Free) -> Option<usize> {
        if from >= self.leaves {
            return None;
        }
        let mut index = self.leaves + from;
        loop {
            if covers(&self.maxima[index], need) {
                if index >= self.leaves {
                    return Some(index - self.leaves);
                }
                index *= 2;
            } else {
                // To the next subtree: up while this is a right child, then to the sibling.
                while index & 1 == 1 {
                    index >>= 1;
                }
                if index == 0 {
                    return None;
                }
                index += 1;
            }
        }
    }
}

fn maximum(a: Free, b: Free) -> Free {
    std::array::from_fn(|i| a[i].max(b[i]))
}

fn covers(free: &Free, need: &Free) -> bool {
    free.iter().zip(need).all(|(free, need)| free >= need)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_node_with_room_is_found() {
        let free: Vec<Free> = [
            [1, 9, 0, 1],
            [9, 1, 0, 1],
            [5, 5, 0, 0],
            [5, 5, 0, 1],
            [7, 7, 0, 2],
        ]
        .into_iter()
        .collect();
        let mut tree = FreeTree::default();
        tree.refresh(free.len(), |slot| free.get(slot as usize).copied());
        let need = [5, 5, i64::MIN, 1];
        assert_eq!(tree.next(0, &need), Some(3));
        assert_eq!(tree.next(4, &need), Some(4));
        assert_eq!(tree.next(5, &need), None);
        assert_eq!(tree.next(0, &[8, 8, i64::MIN, 1]), None);
        tree.touch(0);
        tree.refresh(free.len(), |_| Some([8, 8, 0, 1]));
        assert_eq!(tree.next(0, &[8, 8, i64::MIN, 1]), Some(0));
    }
}
