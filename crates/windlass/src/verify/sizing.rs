//! How many pods of which size need exactly the nodes that were asked for. Pure.

/// Room on a node that takes pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// CPU that a new node of its kind would have for pods beside its DaemonSets', in thousandths.
    pub(super) empty_cpu_milli: i64,
    /// CPU that is free now, in thousandths.
    pub(super) free_cpu_milli: i64,
    /// Memory that is free now, in bytes.
    pub(super) free_memory_bytes: i64,
}

/// What the operator has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// New nodes.
    pub(super) nodes: u32,
    /// Pods.
    pub(super) pods: Option<u32>,
    /// CPU of a pod, in thousandths.
    pub(super) cpu_milli: Option<i64>,
    /// Memory of a pod, in bytes.
    pub(super) memory_bytes: i64,
}

/// Equal pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// How many.
    pub(super) pods: u32,
    /// CPU of each, in thousandths.
    pub(super) cpu_milli: i64,
    /// Memory of each, in bytes.
    pub(super) memory_bytes: i64,
}

/// A pod that needs more than half of a node has it to itself; this leaves room for nodes that
/// are somewhat smaller than the one that was looked at.
const SHARE_PERCENT: i64 = 60;

/// The pods that need the asked number of new nodes, which have `new_node` thousandths of a CPU
/// where that is known; none if nothing tells how big a node is.
pub(super) fn load(rooms: &[Room], new_node: Option<i64>, asked: Asked) -> Option<Load> {
    let ready = rooms.iter().map(|room| room.empty_cpu_milli);
    let smallest = ready.chain(new_node).min();
    let cpu_milli = match (asked.cpu_milli, smallest) {
        (Some(cpu), _) => cpu,
        (None, Some(empty)) => (empty * SHARE_PERCENT / 100).max(1),
        (None, None) => return None,
    };
    let memory_bytes = asked.memory_bytes;
    let fitting: i64 = rooms
        .iter()
        .map(|room| {
            let by_cpu = room.free_cpu_milli.max(0) / cpu_milli.max(1);
            by_cpu.min(room.free_memory_bytes.max(0) / memory_bytes.max(1))
        })
        .sum();
    let per_node = match smallest {
        Some(empty) => (empty / cpu_milli.max(1)).max(1),
        None => 1,
    };
    // All that fits now, and one more than the last but one new node can take.
    let wanted = fitting + (i64::from(asked.nodes) - 1) * per_node + 1;
    let pods = asked
        .pods
        .unwrap_or_else(|| u32::try_from(wanted).unwrap_or(u32::MAX));
    Some(Load {
        pods,
        cpu_milli,
        memory_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    fn room(empty: i64, free: i64) -> Room {
        Room {
            empty_cpu_milli: empty,
            free_cpu_milli: free,
            free_memory_bytes: 8 * GIB,
        }
    }

    fn asked(nodes: u32) -> Asked {
        Asked {
            nodes,
            pods: None,
            cpu_milli: None,
            memory_bytes: GIB / 4,
        }
    }

    #[test]
    fn a_pod_has_a_node_to_itself_and_free_ones_are_filled_first() {
        let load = load(&[room(2000, 2000), room(2000, 500)], None, asked(2)).unwrap();
        assert_eq!((load.pods, load.cpu_milli), (3, 1200));
    }

    #[test]
    fn a_full_node_takes_none() {
        assert_eq!(load(&[room(2000, -5)], None, asked(1)).unwrap().pods, 1);
        let mut full = room(2000, 2000);
        full.free_memory_bytes = 0;
        assert_eq!(load(&[full], None, asked(1)).unwrap().pods, 1);
    }

    #[test]
    fn small_pods_of_the_operators_size_fill_all_new_nodes_but_the_last() {
        let small = Asked {
            cpu_milli: Some(500),
            ..asked(3)
        };
        assert_eq!(
            load(&[room(2000, 1000)], None, small).unwrap().pods,
            2 + 8 + 1
        );
    }

    #[test]
    fn without_a_node_the_size_is_the_file_s_or_has_to_be_given() {
        assert_eq!(load(&[], None, asked(1)), None);
        let load_of_two = load(&[], Some(2000), asked(2)).unwrap();
        assert_eq!((load_of_two.pods, load_of_two.cpu_milli), (2, 1200));
        let given = Asked {
            cpu_milli: Some(500),
            ..asked(2)
        };
        assert_eq!(load(&[], None, given).unwrap().pods, 2);
    }
}
