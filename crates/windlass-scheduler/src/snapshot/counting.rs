//! Keeps the counts that topology spread and pod affinity ask for.

use std::sync::Arc;

use windlass_model::{AffinityTerm, Node, PodShape, SmolStr, SpreadConstraint};

use super::Snapshot;
use super::node_state::{Alike, NodeState, alike};
use crate::namespaces::Side;
use crate::pod_affinity::{Company, Term, first_invalid};
use crate::shapes::{Counted, Incoming, Placements, Shape, Traits};
use crate::spread::{Rule, Spread, SpreadKey, effective_selector, is_hard};
use crate::statics::{AFFINITY, TAINT};
use crate::topology::NO_VALUE;

impl Snapshot {
    /// The class of pods of this shape.
    pub(super) fn shape_id(&mut self, shape: &Arc<PodShape>) -> u32 {
        if let Some(known) = self.shapes.find(shape) {
            return known;
        }
        let devices = &self.devices;
        let request = self
            .dimensions
            .request(&shape.requests, &self.profile, |name| devices.maps(name));
        let requests_devices = shape
            .requests
            .scalars
            .iter()
            .any(|(name, amount)| *amount != 0 && self.devices.maps(name));
        let has_default_spread = !self.profile.default_constraints().is_empty();
        let id = self.shapes.insert(Shape {
            constraints: self.statics.class_of(&shape.constraints),
            namespace: self.namespaces.id(&shape.namespace),
            request,
            traits: Traits::of(shape, has_default_spread, requests_devices),
            placements: Placements::default(),
            terminating: Placements::default(),
            counted: Vec::new(),
            companies_seen: 0,
            spreads_seen: 0,
            holds: None,
            repelled_by: Vec::new(),
            repellers_seen: 0,
            incoming: None,
            shape: Arc::clone(shape),
        });
        self.memos.push(super::searching::Memo::default());
        id
    }

    /// Counts pods of a shape on a node.
    pub(super) fn count(&mut self, pods: Alike, slot: u32) {
        self.know_what_counts(pods.shape);
        self.know_what_it_holds(pods.shape);
        let shape = &mut self.shapes.all[pods.shape as usize];
        let is_terminating = pods.are_terminating;
        if is_terminating {
            shape.terminating.add(slot, pods.count);
        } else {
            shape.placements.add(slot, pods.count);
        }
        for counted in &shape.counted {
            match *counted {
                Counted::Company(company) => {
                    let company = &mut self.affinity.companies[company as usize];
                    (0..pods.count).for_each(|_| company.add_pod(slot, &self.topology));
                }
                Counted::Spread(spread, rule) if !is_terminating => {
                    let rules = &mut self.spreads.all[spread as usize].rules;
                    let rule = &mut rules[rule as usize];
                    (0..pods.count).for_each(|_| rule.add_pod(slot, &self.topology));
                }
                Counted::Spread(..) => {}
            }
        }
        for repeller in shape.holds.iter().flatten() {
            let repeller = &mut self.affinity.repellers[*repeller as usize];
            (0..pods.count).for_each(|_| repeller.add_pod(slot, &self.topology));
        }
    }

    /// Undoes [`Self::count`].
    pub(super) fn uncount(&mut self, pods: Alike, slot: u32) {
        let shape = &mut self.shapes.all[pods.shape as usize];
        let is_terminating = pods.are_terminating;
        if is_terminating {
            shape.terminating.remove(slot, pods.count);
        } else {
            shape.placements.remove(slot, pods.count);
        }
        for counted in &shape.counted {
            match *counted {
                Counted::Company(company) => {
                    let company = &mut self.affinity.companies[company as usize];
                    (0..pods.count).for_each(|_| company.remove_pod(slot, &self.topology));
                }
                Counted::Spread(spread, rule) if !is_terminating => {
                    let rules = &mut self.spreads.all[spread as usize].rules;
                    let rule = &mut rules[rule as usize];
                    (0..pods.count).for_each(|_| rule.remove_pod(slot, &self.topology));
                }
                Counted::Spread(..) => {}
            }
        }
        for repeller in shape.holds.iter().flatten() {
            let repeller = &mut self.affinity.repellers[*repeller as usize];
            (0..pods.count).for_each(|_| repeller.remove_pod(slot, &self.topology));
        }
    }

    /// Makes a node's labels known to the counts, before its pods are counted.
    pub(super) fn enter_node(&mut self, slot: u32, node: &Node, class: u32) {
        self.topology.set_node(slot, node);
        for spread in 0..self.spreads.all.len() {
            self.include_node(spread, slot, node, class);
        }
    }

    /// Undoes [`Self::enter_node`], after its pods are counted no more.
    pub(super) fn leave_node(&mut self, slot: u32) {
        for spread in &mut self.spreads.all {
            for rule in &mut spread.rules {
                rule.exclude_node(slot, &self.topology);
            }
        }
        self.topology.clear_node(slot);
    }

    pub(super) fn count_pods_of(&mut self, state: &NodeState, slot: u32) {
        for pods in alike(&state.pods) {
            self.count(pods, slot);
        }
    }

    pub(super) fn uncount_pods_of(&mut self, state: &NodeState, slot: u32) {
        for pods in alike(&state.pods) {
            self.uncount(pods, slot);
        }
    }

    /// Brings what pods of the shape are counted in up to date.
    fn know_what_counts(&mut self, id: u32) {
        let shape = &mut self.shapes.all[id as usize];
        let companies = self.affinity.companies.iter().enumerate();
        for (index, company) in companies.skip(shape.companies_seen as usize) {
            if company.matches(shape.namespace, &shape.shape.labels, &self.namespaces) {
                shape.counted.push(Counted::Company(number(index)));
            }
        }
        shape.companies_seen = number(self.affinity.companies.len());
        let spreads = self.spreads.all.iter().enumerate();
        for (index, spread) in spreads.skip(shape.spreads_seen as usize) {
            if spread.namespace != shape.namespace {
                continue;
            }
            for (rule_index, rule) in spread.rules.iter().enumerate() {
                if rule.counts(&shape.shape.labels) {
                    let counted = Counted::Spread(number(index), number(rule_index));
                    shape.counted.push(counted);
                }
            }
        }
        shape.spreads_seen = number(self.spreads.all.len());
    }

    /// Finds the anti-affinity terms that pods of the shape on nodes hold against others. A list
    /// with an invalid selector counts for nothing.
    fn know_what_it_holds(&mut self, id: u32) {
        let shape = self.shapes.get(id);
        if shape.holds.is_some() || shape.shape.constraints.anti_affinity.is_empty() {
            return;
        }
        let namespace = shape.namespace;
        let constraints = Arc::clone(&shape.shape.constraints);
        let mut holds = Vec::new();
        if first_invalid(&constraints.anti_affinity).is_none() {
            for term in &constraints.anti_affinity {
                let term = self.term(term, namespace, Side::Existing);
                holds.push(self.affinity.repeller(term));
            }
        }
        self.shapes.all[id as usize].holds = Some(holds);
    }

    /// Brings what repels pods of the shape up to date.
    pub(super) fn know_what_repels(&mut self, id: u32) {
        let shape = &mut self.shapes.all[id as usize];
        let repellers = self.affinity.repellers.iter().enumerate();
        for (index, repeller) in repellers.skip(shape.repellers_seen as usize) {
            let labels = &shape.shape.labels;
            if repeller
                .term
                .matches(shape.namespace, labels, &self.namespaces)
            {
                shape.repelled_by.push(number(index));
            }
        }
        shape.repellers_seen = number(self.affinity.repellers.len());
    }

    /// Works out what pods of the shape ask of other pods, and starts to count those.
    pub(super) fn know_what_it_asks(&mut self, id: u32) {
        let shape = self.shapes.get(id);
        if shape.incoming.is_some() {
            return;
        }
        let namespace = shape.namespace;
        let shape = Arc::clone(&shape.shape);
        let mut incoming = Incoming::default();
        match self.spread_of(id, &shape, namespace) {
            Ok(spread) => incoming.spread = spread,
            Err(text) => incoming.spread_failure = Some(text),
        }
        let constraints = &shape.constraints;
        let lists = [
            ("requiredAffinityTerms", &constraints.affinity),
            ("requiredAntiAffinityTerms", &constraints.anti_affinity),
            ("preferredAffinityTerms", &constraints.preferred_affinity),
            (
                "preferredAntiAffinityTerms",
                &constraints.preferred_anti_affinity,
            ),
        ];
        incoming.affinity_failure = lists
            .into_iter()
            .find(|(_, terms)| first_invalid(terms).is_some())
            .map(|(list, _)| format!("parsing pod: {list}: invalid label selector"));
        if incoming.affinity_failure.is_none() {
            if !constraints.affinity.is_empty() {
                let company = self.company(&constraints.affinity, namespace);
                let is_member = self.affinity.companies[company as usize].matches(
                    namespace,
                    &shape.labels,
                    &self.namespaces,
                );
                incoming.affinity = Some((company, is_member));
            }
            for term in &constraints.anti_affinity {
                let company = self.company(std::slice::from_ref(term), namespace);
                incoming.anti_affinity.push(company);
            }
        }
        self.shapes.all[id as usize].incoming = Some(Box::new(incoming));
    }

    fn term(&mut self, term: &AffinityTerm, namespace: u32, side: Side) -> Term {
        let version = self.profile.version();
        Term {
            key: self.topology_key(&term.topology_key),
            scope: self.namespaces.scope(term, namespace, side, version),
            selector: term.selector.clone(),
        }
    }

    fn topology_key(&mut self, name: &SmolStr) -> u32 {
        let nodes = self.nodes.iter().enumerate().filter_map(|(slot, state)| {
            let state = state.as_ref()?;
            Some((number(slot), state.node.as_ref()))
        });
        self.topology.key(name, nodes)
    }

    fn company(&mut self, terms: &[AffinityTerm], namespace: u32) -> u32 {
        let terms: Vec<Term> = terms
            .iter()
            .map(|term| self.term(term, namespace, Side::Incoming))
            .collect();
        if let Some(known) = self.affinity.find_company(&terms) {
            return known;
        }
        let id = self.affinity.insert_company(Company::new(terms));
        let company = &mut self.affinity.companies[id as usize];
        for shape in self.shapes.all.iter_mut().filter(|shape| is_placed(shape)) {
            shape.companies_seen = id + 1;
            if company.matches(shape.namespace, &shape.shape.labels, &self.namespaces) {
                shape.counted.push(Counted::Company(id));
                for (slot, pods) in shape.placements.iter().chain(shape.terminating.iter()) {
                    for _ in 0..pods {
                        company.add_pod(slot, &self.topology);
                    }
                }
            }
        }
        id
    }

    fn spread_of(
        &mut self,
        id: u32,
        shape: &PodShape,
        namespace: u32,
    ) -> Result<Option<(u32, Vec<bool>)>, String> {
        let own = &shape.constraints.spread;
        let mut constraints: Vec<SpreadConstraint> = own
            .iter()
            .filter(|constraint| is_hard(constraint))
            .cloned()
            .collect();
        for constraint in &mut constraints {
            if constraint.selector.as_ref().is_some_and(|s| !s.is_valid()) {
                return Err(
                    "get constraints from pod: obtaining pod's hard topology spread \
                            constraints: invalid label selector"
                        .to_owned(),
                );
            }
            constraint.selector = effective_selector(constraint, &shape.labels);
        }
        if own.is_empty() && !self.profile.default_constraints().is_empty() {
            let selector = self.default_selectors.selector(shape);
            if !selector.is_empty() {
                constraints = self.profile.default_constraints().to_vec();
                for constraint in &mut constraints {
                    constraint.selector = Some(selector.clone());
                }
            }
        }
        if constraints.is_empty() {
            return Ok(None);
        }
        let spread = self.spread(&constraints, self.shapes.get(id).constraints, namespace);
        let counts_incoming = self.spreads.all[spread as usize]
            .rules
            .iter()
            .map(|rule| rule.counts_incoming(&shape.labels))
            .collect();
        Ok(Some((spread, counts_incoming)))
    }

    fn spread(&mut self, rules: &[SpreadConstraint], constraints: u32, namespace: u32) -> u32 {
        let key = SpreadKey {
            constraints,
            namespace,
            rules: rules
                .iter()
                .map(|rule| (rule.topology_key.clone(), rule.selector.clone()))
                .collect(),
        };
        if let Some(known) = self.spreads.find(&key) {
            return known;
        }
        let rules = rules
            .iter()
            .map(|rule| {
                let key = self.topology_key(&rule.topology_key);
                Rule::new(rule, rule.selector.clone(), key)
            })
            .collect();
        let id = self.spreads.insert(
            key,
            Spread {
                constraints,
                namespace,
                rules,
            },
        );
        for slot in 0..self.nodes.len() {
            if let Some(state) = &self.nodes[slot] {
                let (node, class) = (Arc::clone(&state.node), state.class);
                self.include_node(id as usize, number(slot), &node, class);
            }
        }
        let rules = &mut self.spreads.all[id as usize].rules;
        for shape in self.shapes.all.iter_mut().filter(|shape| is_placed(shape)) {
            shape.spreads_seen = id + 1;
            if shape.namespace != namespace {
                continue;
            }
            for (index, rule) in rules.iter_mut().enumerate() {
                if rule.counts(&shape.shape.labels) {
                    shape.counted.push(Counted::Spread(id, number(index)));
                    for (slot, pods) in shape.placements.iter() {
                        for _ in 0..pods {
                            rule.add_pod(slot, &self.topology);
                        }
                    }
                }
            }
        }
        id
    }

    /// Makes the node count in the rules of a spread that it belongs in: it must have the keys of
    /// all of them.
    fn include_node(&mut self, spread: usize, slot: u32, node: &Node, class: u32) {
        let spread = &mut self.spreads.all[spread];
        let topology = &self.topology;
        let lacks_key = |rule: &Rule| topology.value(rule.key, slot) == NO_VALUE;
        if spread.rules.iter().any(lacks_key) {
            return;
        }
        let flags = self.statics.flags(spread.constraints, class, node);
        for rule in &mut spread.rules {
            let is_out = rule.honors_affinity && flags & AFFINITY != 0
                || rule.honors_taints && flags & TAINT != 0;
            if !is_out {
                rule.include_node(slot, topology);
            }
        }
    }
}

fn is_placed(shape: &Shape) -> bool {
    !shape.placements.is_empty() || !shape.terminating.is_empty()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
