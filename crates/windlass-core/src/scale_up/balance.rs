//! How new nodes are shared between groups that are alike. Source:
//! `pkg/processors/nodegroupset/balancing_processor.go`.

use super::GroupResize;
use crate::decide::Loop;

/// Gives out `nodes` nodes to `groups`, the smallest first, none above its maximum. Groups of
/// equal size are served in the order given.
pub(super) fn split(context: &Loop<'_>, groups: &[usize], nodes: i64) -> Vec<GroupResize> {
    let mut sizes: Vec<Sized> = groups
        .iter()
        .map(|group| Sized {
            group: *group,
            from: context.groups[*group].target_size,
            to: context.groups[*group].target_size,
            max: context.cluster.groups[*group].max_size,
        })
        .filter(|size| size.from != size.max)
        .collect();
    fill(&mut sizes, nodes);
    sizes
        .into_iter()
        .filter(|size| size.to > size.from)
        .map(|size| GroupResize {
            group: size.group,
            from: size.from,
            to: size.to,
        })
        .collect()
}

#[derive(Clone, Debug)]
struct Sized {
    group: usize,
    from: i64,
    to: i64,
    max: i64,
}

fn fill(sizes: &mut [Sized], nodes: i64) {
    let free: i64 = sizes.iter().map(|size| (size.max - size.from).max(0)).sum();
    let mut nodes = nodes.min(free);
    sizes.sort_by_key(|size| size.from);
    let mut first = 0;
    let mut current = 0;
    while nodes > 0 && first < sizes.len() {
        if sizes[current].to < sizes[current].max {
            sizes[current].to += 1;
            nodes -= 1;
        } else {
            sizes.swap(first, current);
            first += 1;
        }
        let has_smaller_next =
            current + 1 < sizes.len() && sizes[current].to > sizes[current + 1].to;
        current = if has_smaller_next { current + 1 } else { first };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill_all(sizes: &[(i64, i64)], nodes: i64) -> Vec<i64> {
        let mut groups: Vec<Sized> = sizes
            .iter()
            .enumerate()
            .map(|(group, (from, max))| Sized {
                group,
                from: *from,
                to: *from,
                max: *max,
            })
            .collect();
        fill(&mut groups, nodes);
        groups.sort_by_key(|size| size.group);
        groups.iter().map(|size| size.to).collect()
    }

    #[test]
    fn the_smallest_groups_grow_to_equal_height_first() {
        assert_eq!(fill_all(&[(3, 10), (1, 10), (1, 10)], 3), [3, 3, 2]);
        assert_eq!(fill_all(&[(3, 10), (1, 10), (1, 10)], 5), [3, 4, 3]);
    }

    #[test]
    fn a_full_group_leaves_the_rest_to_the_others() {
        assert_eq!(fill_all(&[(0, 1), (0, 10)], 5), [1, 4]);
        assert_eq!(fill_all(&[(0, 1), (0, 2)], 9), [1, 2]);
    }
}
