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
    /// Pods of every wave.
    pub(super) pods: Option<u32>,
    /// CPU of a pod, in thousandths.
    pub(super) cpu_milli: Option<i64>,
    /// Memory of a pod, in bytes.
    pub(super) memory_bytes: i64,
}

/// How big a pod is, and how many of them there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizing {
    /// CPU of a pod, in thousandths.
    pub(super) cpu_milli: i64,
    /// Memory of a pod, in bytes.
    pub(super) memory_bytes: i64,
    fitting: i64,
    per_node: i64,
    pods: Option<u32>,
}

/// Equal pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// How many at first.
    pub(super) pods: u32,
    /// How many there may ever be.
    pub(super) most_pods: u32,
    /// CPU of each, in thousandths.
    pub(super) cpu_milli: i64,
    /// Memory of each, in bytes.
    pub(super) memory_bytes: i64,
}

/// A pod that needs more than half of a node has it to itself; this leaves room for nodes that
/// are somewhat smaller than the one that was looked at.
const SHARE_PERCENT: i64 = 60;

/// The size of pods for new nodes that have `new_node` thousandths of a CPU where that is known; none
/// if nothing tells how big a node is.
pub(super) fn sizing(rooms: &[Room], new_node: Option<i64>, asked: Asked) -> Option<Sizing> {
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
    Some(Sizing {
        cpu_milli,
        memory_bytes,
        fitting,
        per_node,
        pods: asked.pods,
    })
}

impl Sizing {
    /// The pods that need so many nodes more than there are.
    pub(super) fn pods(&self, nodes: u32) -> u32 {
        if nodes == 0 {
            return 0;
        }
        // All that fits now, and one more than the last but one new node can take.
        let wanted = self.fitting + (i64::from(nodes) - 1) * self.per_node + 1;
        self.pods
            .unwrap_or_else(|| u32::try_from(wanted).unwrap_or(u32::MAX))
    }

    /// The pods of waves that need so many nodes.
    pub(super) fn load(&self, waves: &[u32]) -> Load {
        Load {
            pods: waves.first().map_or(0, |nodes| self.pods(*nodes)),
            most_pods: waves
                .iter()
                .map(|nodes| self.pods(*nodes))
                .max()
                .unwrap_or(0),
            cpu_milli: self.cpu_milli,
            memory_bytes: self.memory_bytes,
        }
    }
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

    const ASKED: Asked = Asked {
        pods: None,
        cpu_milli: None,
        memory_bytes: GIB / 4,
    };

    fn pods(rooms: &[Room], asked: Asked, nodes: u32) -> u32 {
        sizing(rooms, None, asked).unwrap().pods(nodes)
    }

    #[test]
    fn a_pod_has_a_node_to_itself_and_free_ones_are_filled_first() {
        let sizing = sizing(&[room(2000, 2000), room(2000, 500)], None, ASKED).unwrap();
        assert_eq!((sizing.pods(2), sizing.cpu_milli), (3, 1200));
    }

    #[test]
    fn a_full_node_takes_none() {
        assert_eq!(pods(&[room(2000, -5)], ASKED, 1), 1);
        let mut full = room(2000, 2000);
        full.free_memory_bytes = 0;
        assert_eq!(pods(&[full], ASKED, 1), 1);
    }

    #[test]
    fn small_pods_of_the_operators_size_fill_all_new_nodes_but_the_last() {
        let small = Asked {
            cpu_milli: Some(500),
            ..ASKED
        };
        assert_eq!(pods(&[room(2000, 1000)], small, 3), 2 + 8 + 1);
    }

    #[test]
    fn without_a_node_the_size_is_the_file_s_or_has_to_be_given() {
        assert_eq!(sizing(&[], None, ASKED), None);
        let of_the_file = sizing(&[], Some(2000), ASKED).unwrap();
        assert_eq!((of_the_file.pods(2), of_the_file.cpu_milli), (2, 1200));
        let given = Asked {
            cpu_milli: Some(500),
            ..ASKED
        };
        assert_eq!(pods(&[], given, 2), 2);
    }

    #[test]
    fn waves_have_their_pods_and_the_fence_is_for_the_highest() {
        let sizing = sizing(&[room(2000, 0)], None, ASKED).unwrap();
        let load = sizing.load(&[1, 3, 0]);
        assert_eq!((load.pods, load.most_pods), (1, 3));
        assert_eq!(sizing.pods(0), 0);
    }
}
