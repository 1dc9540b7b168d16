use rustc_hash::FxHashMap;
use windlass_model::{AffinityTerm, LabelSelector, Labels};

use crate::namespaces::{Namespaces, Scope};
use crate::topology::{Counts, NO_VALUE, Topology};

/// A term with its topology key and namespaces resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    pub(crate) key: u32,
    pub(crate) scope: Scope,
    pub(crate) selector: Option<LabelSelector>,
}

impl Term {
    pub(crate) fn matches(&self, namespace: u32, labels: &Labels, namespaces: &Namespaces) -> bool {
        self.scope.contains(namespace, namespaces)
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(labels))
    }
}

/// Pods on nodes that match all of some terms of pods to be placed, counted by each term's key.
#[derive(Clone, Debug)]
pub(crate) struct Company {
    pub(crate) terms: Vec<Term>,
    /// The terms' keys, each once, with the counts.
    counts: Vec<(u32, Counts)>,
    total: u64,
}

impl Company {
    pub(crate) fn new(terms: Vec<Term>) -> Self {
        let mut keys: Vec<u32> = terms.iter().map(|term| term.key).collect();
        keys.sort_unstable();
        keys.dedup();
        Self {
            terms,
            counts: keys
                .into_iter()
                .map(|key| (key, Counts::default()))
                .collect(),
            total: 0,
        }
    }

    pub(crate) fn matches(&self, namespace: u32, labels: &Labels, namespaces: &Namespaces) -> bool {
        self.terms
            .iter()
            .all(|term| term.matches(namespace, labels, namespaces))
    }

    pub(crate) fn add_pod(&mut self, slot: u32, topology: &Topology) {
        for (key, counts) in &mut self.counts {
            let value = topology.value(*key, slot);
            if value != NO_VALUE {
                counts.increment(value);
                self.total += 1;
            }
        }
    }

    pub(crate) fn remove_pod(&mut self, slot: u32, topology: &Topology) {
        for (key, counts) in &mut self.counts {
            let value = topology.value(*key, slot);
            if value != NO_VALUE {
                counts.decrement(value);
                self.total -= 1;
            }
        }
    }

    /// Whether the node has every key, with company there, or with none anywhere and
    /// `may_be_first`.
    pub(crate) fn attracts(&self, slot: u32, may_be_first: bool, topology: &Topology) -> bool {
        let mut has_company = true;
        for (key, counts) in &self.counts {
            let value = topology.value(*key, slot);
            if value == NO_VALUE {
                return false;
            }
            has_company &= counts.get(value) > 0;
        }
        has_company || self.total == 0 && may_be_first
    }

    /// Whether there is such a pod in the node's domain of some key.
    pub(crate) fn repels(&self, slot: u32, topology: &Topology) -> bool {
        self.total > 0
            && self.counts.iter().any(|(key, counts)| {
                let value = topology.value(*key, slot);
                value != NO_VALUE && counts.get(value) > 0
            })
    }
}

/// An anti-affinity term of pods on nodes, with those pods counted by its key.
#[derive(Clone, Debug)]
pub(crate) struct Repeller {
    pub(crate) term: Term,
    holders: Counts,
    total: u32,
}

impl Repeller {
    pub(crate) fn new(term: Term) -> Self {
        Self {
            term,
            holders: Counts::default(),
            total: 0,
        }
    }

    pub(crate) fn add_pod(&mut self, slot: u32, topology: &Topology) {
        let value = topology.value(self.term.key, slot);
        if value != NO_VALUE {
            self.holders.increment(value);
            self.total += 1;
        }
    }

    pub(crate) fn remove_pod(&mut self, slot: u32, topology: &Topology) {
        let value = topology.value(self.term.key, slot);
        if value != NO_VALUE {
            self.holders.decrement(value);
            self.total -= 1;
        }
    }

    pub(crate) fn repels(&self, slot: u32, topology: &Topology) -> bool {
        if self.total == 0 {
            return false;
        }
        let value = topology.value(self.term.key, slot);
        value != NO_VALUE && self.holders.get(value) > 0
    }
}

/// All terms in use, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodAffinity {
    pub(crate) companies: Vec<Company>,
    by_terms: FxHashMap<Vec<Term>, u32>,
    pub(crate) repellers: Vec<Repeller>,
    by_term: FxHashMap<Term, u32>,
}

impl PodAffinity {
    pub(crate) fn find_company(&self, terms: &[Term]) -> Option<u32> {
        self.by_terms.get(terms).copied()
    }

    pub(crate) fn insert_company(&mut self, company: Company) -> u32 {
        let id = u32::try_from(self.companies.len()).unwrap_or(u32::MAX);
        self.by_terms.insert(company.terms.clone(), id);
        self.companies.push(company);
        id
    }

    pub(crate) fn repeller(&mut self, term: Term) -> u32 {
        if let Some(known) = self.by_term.get(&term) {
            return *known;
        }
        let id = u32::try_from(self.repellers.len()).unwrap_or(u32::MAX);
        self.by_term.insert(term.clone(), id);
        self.repellers.push(Repeller::new(term));
        id
    }
}

/// The first of the terms whose selectors Kubernetes could not parse.
pub(crate) fn first_invalid(terms: &[AffinityTerm]) -> Option<&AffinityTerm> {
    let is_invalid = |selector: &Option<LabelSelector>| {
        selector
            .as_ref()
            .is_some_and(|selector| !selector.is_valid())
    };
    terms
        .iter()
        .find(|term| is_invalid(&term.selector) || is_invalid(&term.namespace_selector))
}
