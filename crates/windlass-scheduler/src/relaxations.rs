/// Nodes on which a pod that did not fit may fit now, in the order in which that came about.
///
/// Whoever remembers that a pod did not fit forgets it again for the nodes logged since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relaxations {
    log: Vec<u32>,
    /// How many entries were dropped from the log's front.
    dropped: u64,
}

/// What was relaxed since a moment.
pub(crate) enum Since<'a> {
    /// These nodes.
    Nodes(&'a [u32]),
    /// Too many to tell.
    Anything,
}

/// Beyond this many entries forgetting everything is cheaper than reading the log.
const MOST: usize = 4096;

impl Relaxations {
    pub(crate) fn log(&mut self, slot: u32) {
        if self.log.len() == MOST {
            self.dropped += MOST as u64;
            self.log.clear();
        }
        self.log.push(slot);
    }

    /// The present moment.
    pub(crate) fn now(&self) -> u64 {
        self.dropped + self.log.len() as u64
    }

    pub(crate) fn since(&self, moment: u64) -> Since<'_> {
        moment
            .checked_sub(self.dropped)
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.log.get(index..))
            .map_or(Since::Anything, Since::Nodes)
    }
}
