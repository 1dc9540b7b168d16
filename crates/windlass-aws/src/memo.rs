//! Answers that are good for a while. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use windlass_model::Duration;

use crate::schedule::later;

/// Answers by question. A question that fails keeps its last good answer.
#[derive(Clone, Debug)]
pub(crate) struct Memo<V> {
    entries: BTreeMap<String, Entry<V>>,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    answer: Option<Arc<V>>,
    trouble: Option<String>,
    /// When it is to be asked again.
    next: Timestamp,
}

impl<V> Default for Memo<V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }
}

impl<V> Memo<V> {
    /// The last good answer.
    pub(crate) fn get(&self, question: &str) -> Option<Arc<V>> {
        self.entries.get(question)?.answer.clone()
    }

    /// What went wrong when it was last asked.
    pub(crate) fn trouble(&self, question: &str) -> Option<&str> {
        self.entries.get(question)?.trouble.as_deref()
    }

    /// Which questions are to be asked now: those that never were, and of those whose answers
    /// have gone stale the oldest `renewals`, so that a hundred groups made on one day are not all
    /// asked about in one minute for ever after. Answers to other questions are dropped.
    pub(crate) fn due(
        &mut self,
        questions: impl IntoIterator<Item = String>,
        renewals: usize,
        now: Timestamp,
    ) -> Vec<String> {
        let questions: std::collections::BTreeSet<String> = questions.into_iter().collect();
        self.entries
            .retain(|question, _| questions.contains(question));
        let (mut due, mut stale) = (Vec::new(), Vec::new());
        for question in questions {
            match self.entries.get(&question) {
                None => due.push(question),
                Some(entry) if entry.next <= now => stale.push((entry.next, question)),
                Some(_) => {}
            }
        }
        stale.sort();
        due.extend(
            stale
                .into_iter()
                .take(renewals)
                .map(|(_, question)| question),
        );
        due
    }

    /// Keeps an answer.
    pub(crate) fn answer(
        &mut self,
        question: String,
        answer: V,
        now: Timestamp,
        good_for: Duration,
    ) {
        self.entries.insert(
            question,
            Entry {
                answer: Some(Arc::new(answer)),
                trouble: None,
                next: later(now, good_for),
            },
        );
    }

    /// Notes that a question failed, and is not to be asked again for a while.
    pub(crate) fn fail(
        &mut self,
        question: String,
        trouble: String,
        now: Timestamp,
        pause: Duration,
    ) {
        let answer = self.get(&question);
        self.entries.insert(
            question,
            Entry {
                answer,
                trouble: Some(trouble),
                next: later(now, pause),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn due(memo: &mut Memo<u8>, second: i64) -> Vec<String> {
        memo.due(["a", "b", "c"].map(ToOwned::to_owned), 1, at(second))
    }

    #[test]
    fn new_questions_are_asked_at_once_and_stale_ones_one_by_one() {
        let mut memo = Memo::default();
        assert_eq!(due(&mut memo, 0), ["a", "b", "c"]);
        for (question, good_for) in [("a", 20), ("b", 10)] {
            memo.answer(question.to_owned(), 1, at(0), Duration::from_secs(good_for));
        }
        assert_eq!(due(&mut memo, 5), ["c"]);
        memo.answer("c".to_owned(), 1, at(5), Duration::from_secs(100));
        assert_eq!(due(&mut memo, 50), ["b"]);
    }

    #[test]
    fn a_failure_keeps_the_last_good_answer() {
        let mut memo = Memo::default();
        memo.answer("a".to_owned(), 7, at(0), Duration::from_secs(10));
        memo.fail(
            "a".to_owned(),
            "denied".to_owned(),
            at(10),
            Duration::from_secs(60),
        );
        assert_eq!(memo.get("a").as_deref(), Some(&7));
        assert_eq!(memo.trouble("a"), Some("denied"));
        assert_eq!(due(&mut memo, 60), ["b", "c"]);
    }
}
