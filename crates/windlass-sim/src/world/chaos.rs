//! What goes wrong: calls fail, their answers get lost or come late, views are old, the clock
//! jumps, the process is killed. A seed decides what and when, so that every run can be had again.

use std::collections::{BTreeMap, VecDeque};

use windlass_core::{Action, Memory, Outcome, OutcomeResult};
use windlass_model::{Cluster, Duration, SmolStr, Timestamp};

use super::World;
use super::autoscaler::Refusal;
use super::queue::Event;

/// How old a view may be that passes for the present one: less than the pause between a node's
/// taint and the look at its pods.
const LONGEST_LAG: Duration = Duration::from_secs(3);
/// The longest time for which nothing is heard of the cluster.
const LONGEST_OUTAGE_SECONDS: u64 = 300;
/// The longest time that an answer is on its way: longer than anybody waits for one.
const LATEST_ANSWER_SECONDS: u64 = 150;
/// The longest time that a request is on its way.
const LATEST_EFFECT_SECONDS: u64 = 20;
/// The farthest jump of the clock, to either side.
const FARTHEST_JUMP_SECONDS: u64 = 600;

/// What goes wrong in a simulated world, besides what its timeline says.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Decides what goes wrong when.
    pub seed: u64,
    /// After so long nothing goes wrong any more.
    pub until: Duration,
    /// Who keeps disruption budgets.
    pub budgets: BudgetKeeper,
}

/// Who keeps disruption budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetKeeper {
    /// The API server refuses evictions beyond them, as a real one does.
    ApiServer,
    /// The API server lets every eviction pass, so that the autoscaler alone keeps them. Views are
    /// never old then, and requests never late: what one cannot know one cannot keep.
    Autoscaler,
}

/// The state of what goes wrong.
pub(super) struct Chaos {
    dice: Dice,
    until: Timestamp,
    pub(super) budgets: BudgetKeeper,
    /// What the autoscaler's clock is ahead.
    skew: Duration,
    /// Earlier views, the youngest last.
    views: VecDeque<(Timestamp, Cluster)>,
    /// The view that is all there is to see, until then.
    outage: Option<(Timestamp, Timestamp, Cluster)>,
    late: BTreeMap<u64, Late>,
    next_late: u64,
    /// How often the process has been killed: nobody hears an answer to a predecessor.
    generation: u64,
    pub(super) counts: BTreeMap<&'static str, usize>,
}

/// A request, or its answer, that is on its way.
struct Late {
    action: Action,
    /// `None` while it has not been carried out.
    result: Option<OutcomeResult>,
    generation: u64,
}

/// What becomes of one action.
enum Fate {
    /// It is done.
    Done,
    /// It fails, and nothing happens.
    Fails,
    /// It is done, and an error comes back.
    AnswerLost,
    /// It is refused for now.
    Refused,
    /// It is done, and the answer takes so long.
    AnswerLate(Duration),
    /// It is done after so long.
    EffectLate(Duration),
}

/// When a process is killed in a loop, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It goes on.
    None,
    /// What was decided could not be written down.
    NotWritten,
    /// Killed before anything was written down.
    KilledBefore,
    /// Killed with so many thousandths of its actions done.
    KilledAmid(usize),
}

impl Chaos {
    pub(super) fn new(faults: &Faults, start: Timestamp) -> Self {
        Self {
            dice: Dice { state: faults.seed },
            until: start + faults.until,
            budgets: faults.budgets,
            skew: Duration::ZERO,
            views: VecDeque::new(),
            outage: None,
            late: BTreeMap::new(),
            next_late: 0,
            generation: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Whether something that happens once in so many times happens now.
    fn strikes(&mut self, what: &'static str, once_in: u64, now: Timestamp) -> bool {
        let strikes = now < self.until && self.dice.below(once_in) == 0;
        if strikes {
            *self.counts.entry(what).or_default() += 1;
        }
        strikes
    }

    fn seconds(&mut self, longest: u64) -> Duration {
        let seconds = self.dice.below(longest) + 1;
        Duration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    fn fate(&mut self, action: &Action, now: Timestamp) -> Fate {
        let is_eviction = matches!(action, Action::Evict { .. });
        if is_eviction && self.strikes("evictions refused with 429", 6, now) {
            return Fate::Refused;
        }
        if self.strikes("calls failed", 12, now) {
            return Fate::Fails;
        }
        if self.strikes("answers lost", 16, now) {
            return Fate::AnswerLost;
        }
        if self.strikes("answers late", 20, now) {
            return Fate::AnswerLate(self.seconds(LATEST_ANSWER_SECONDS));
        }
        let may_be_late = self.budgets == BudgetKeeper::ApiServer;
        if may_be_late && self.strikes("requests late", 24, now) {
            return Fate::EffectLate(self.seconds(LATEST_EFFECT_SECONDS));
        }
        Fate::Done
    }

    /// What becomes of a loop that wants so many things done.
    pub(super) fn end(&mut self, actions: usize, now: Timestamp) -> End {
        if actions > 0 && self.strikes("plans not written down", 30, now) {
            End::NotWritten
        } else if self.strikes("kills before the writing", 400, now) {
            End::KilledBefore
        } else if actions > 0 && self.strikes("kills amid the actions", 20, now) {
            End::KilledAmid(usize::try_from(self.dice.below(1001)).unwrap_or(0))
        } else {
            End::None
        }
    }

    /// What is left of a process that is killed: what it wrote down.
    pub(super) fn kill(&mut self, written: &Memory) -> Memory {
        self.generation += 1;
        serde_json::to_string(written)
            .and_then(|text| serde_json::from_str(&text))
            .expect("a memory reads back as it was written")
    }

    /// What the autoscaler's clock shows at `now`, which may have jumped.
    pub(super) fn clock(&mut self, now: Timestamp) -> Timestamp {
        if self.strikes("clock jumps", 150, now) {
            let jump = self.seconds(FARTHEST_JUMP_SECONDS);
            if self.dice.below(2) == 0 {
                self.skew += jump;
            } else {
                self.skew -= jump;
            }
        }
        now + self.skew
    }

    /// What the autoscaler sees of `cluster`: all of it, or what it was a moment ago in parts, or
    /// what it was when it was last heard of.
    pub(super) fn view(&mut self, cluster: &Cluster, now: Timestamp) -> Cluster {
        let mut view = cluster.clone();
        view.current_at = Some(now + self.skew);
        if self.budgets == BudgetKeeper::Autoscaler {
            return view;
        }
        if let Some((ends, taken_at, seen)) = &self.outage {
            if now < *ends {
                let mut seen = seen.clone();
                seen.current_at = Some(*taken_at + self.skew);
                return seen;
            }
            self.outage = None;
        }
        if self.strikes("outages of all watches", 120, now) {
            let ends = now + self.seconds(LONGEST_OUTAGE_SECONDS);
            self.outage = Some((ends, now, cluster.clone()));
        }
        if self.strikes("pods seen late", 8, now)
            && let Some(old) = self.lagging(now)
        {
            view.pods.clone_from(&old.pods);
        }
        if self.strikes("nodes seen late", 8, now)
            && let Some(old) = self.lagging(now)
        {
            view.nodes.clone_from(&old.nodes);
        }
        if self.strikes("budgets seen late", 8, now)
            && let Some(old) = self.lagging(now)
        {
            view.disruption_budgets.clone_from(&old.disruption_budgets);
        }
        if self.strikes("groups seen late", 8, now)
            && let Some(old) = self.lagging(now)
        {
            view.groups.clone_from(&old.groups);
        }
        self.views.push_back((now, cluster.clone()));
        while let Some((at, _)) = self.views.front()
            && *at + LONGEST_LAG < now
        {
            self.views.pop_front();
        }
        view
    }

    /// The oldest view that may pass for the present one.
    fn lagging(&self, now: Timestamp) -> Option<&Cluster> {
        let mut views = self.views.iter();
        let (_, cluster) = views.find(|(at, _)| now <= *at + LONGEST_LAG)?;
        Some(cluster)
    }
}

impl World {
    /// Carries out an action as far as nothing goes wrong; its outcome, if that is known already.
    pub(super) fn attempt(&mut self, action: &Action) -> Option<OutcomeResult> {
        let now = self.now;
        let fate = self
            .chaos
            .as_mut()
            .map_or(Fate::Done, |chaos| chaos.fate(action, now));
        match fate {
            Fate::Done => Some(self.result_of(action)),
            Fate::Fails => Some(broken()),
            Fate::AnswerLost => {
                self.result_of(action);
                Some(broken())
            }
            Fate::Refused => Some(OutcomeResult::Refused {
                message: "too many requests".to_owned(),
            }),
            Fate::AnswerLate(after) => {
                let result = self.result_of(action);
                self.send_late(action, Some(result), after);
                None
            }
            Fate::EffectLate(after) => {
                self.send_late(action, None, after);
                None
            }
        }
    }

    fn result_of(&mut self, action: &Action) -> OutcomeResult {
        match self.act(action) {
            Ok(()) => OutcomeResult::Done,
            Err(Refusal::NotNow(message)) => OutcomeResult::Refused { message },
            Err(Refusal::Failed(message)) => OutcomeResult::Failed {
                code: SmolStr::new_static("cloudProviderError"),
                message,
            },
        }
    }

    fn send_late(&mut self, action: &Action, result: Option<OutcomeResult>, after: Duration) {
        let Some(chaos) = &mut self.chaos else { return };
        chaos.next_late += 1;
        let late = Late {
            action: action.clone(),
            result,
            generation: chaos.generation,
        };
        chaos.late.insert(chaos.next_late, late);
        self.queue
            .push(self.now + after, Event::Late(chaos.next_late));
    }

    /// A request, or an answer, arrives at last.
    pub(super) fn arrive_late(&mut self, id: u64) {
        let Some(late) = self.chaos.as_mut().and_then(|it| it.late.remove(&id)) else {
            return;
        };
        let result = match late.result {
            Some(result) => result,
            None => self.result_of(&late.action),
        };
        let is_awaited = self
            .chaos
            .as_ref()
            .is_some_and(|chaos| chaos.generation == late.generation);
        if is_awaited {
            self.outcomes.push(Outcome {
                action: late.action,
                result,
            });
            self.wake();
        }
        self.touch();
    }
}

fn broken() -> OutcomeResult {
    OutcomeResult::Failed {
        code: SmolStr::new_static("apiCallError"),
        message: "connection reset by peer".to_owned(),
    }
}

/// `SplitMix64`: every seed gives a full period.
struct Dice {
    state: u64,
}

impl Dice {
    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
