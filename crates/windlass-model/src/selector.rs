use crate::{Labels, SmolStr, valid_label_value, valid_qualified_name};

/// How a requirement compares a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequirementOperator {
    /// The label is there and its value listed.
    In,
    /// The label is missing or its value not listed.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
    /// The label is an integer above the value; node selectors only.
    Gt,
    /// The label is an integer below the value; node selectors only.
    Lt,
    /// A word that Kubernetes does not know; it makes the whole selector or term invalid.
    Unknown(SmolStr),
}

impl From<&str> for RequirementOperator {
    fn from(text: &str) -> Self {
        match text {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            other => Self::Unknown(other.into()),
        }
    }
}

/// One expression of a selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's (or field's) key.
    pub key: SmolStr,
    /// The comparison.
    pub operator: RequirementOperator,
    /// The values, in the order given.
    pub values: Vec<SmolStr>,
}

impl Requirement {
    fn is_valid_for_labels(&self) -> bool {
        let counts = match self.operator {
            RequirementOperator::In | RequirementOperator::NotIn => !self.values.is_empty(),
            RequirementOperator::Exists | RequirementOperator::DoesNotExist => {
                self.values.is_empty()
            }
            RequirementOperator::Gt | RequirementOperator::Lt => {
                matches!(&self.values[..], [one] if one.parse::<i64>().is_ok())
            }
            RequirementOperator::Unknown(_) => false,
        };
        counts
            && valid_qualified_name(&self.key)
            && self.values.iter().all(|v| valid_label_value(v))
    }

    /// Whether `labels` meet this requirement, taken as valid. Source: `k8s.io/apimachinery`
    /// `labels.Requirement.Matches`.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            RequirementOperator::In => value.is_some_and(|v| self.values.contains(v)),
            RequirementOperator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            RequirementOperator::Exists => value.is_some(),
            RequirementOperator::DoesNotExist => value.is_none(),
            RequirementOperator::Gt => self.compares(value, |label, bound| label > bound),
            RequirementOperator::Lt => self.compares(value, |label, bound| label < bound),
            RequirementOperator::Unknown(_) => false,
        }
    }

    fn compares(&self, value: Option<&SmolStr>, test: impl Fn(i64, i64) -> bool) -> bool {
        let label = value.and_then(|v| v.parse::<i64>().ok());
        let bound = self.values.first().and_then(|v| v.parse::<i64>().ok());
        matches!((label, bound), (Some(label), Some(bound)) if test(label, bound))
    }
}

/// A `metav1.LabelSelector` that is there; an absent one is an `Option::None` and selects nothing.
/// Without requirements it selects everything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LabelSelector {
    /// `matchLabels` as `In` requirements with one value (by key), then `matchExpressions`.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// A selector of exact labels.
    pub fn from_labels(labels: &Labels) -> Self {
        let requirements = labels
            .iter()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: RequirementOperator::In,
                values: vec![value.clone()],
            })
            .collect();
        Self { requirements }
    }

    /// Whether the API machinery could parse it; an invalid requirement spoils the whole selector.
    pub fn is_valid(&self) -> bool {
        self.requirements.iter().all(|requirement| {
            !matches!(
                requirement.operator,
                RequirementOperator::Gt | RequirementOperator::Lt
            ) && requirement.is_valid_for_labels()
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether all requirements hold, taken as valid.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.matches(labels))
    }
}

/// One term of a node selector: all its requirements hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeSelectorTerm {
    /// On labels.
    pub match_expressions: Vec<Requirement>,
    /// On fields; `metadata.name` is the only one that exists.
    pub match_fields: Vec<Requirement>,
}

impl NodeSelectorTerm {
    /// Whether every requirement could be parsed; an invalid term matches nothing and does not
    /// spoil the others.
    pub fn is_valid(&self) -> bool {
        self.match_expressions
            .iter()
            .all(Requirement::is_valid_for_labels)
            && self.match_fields.iter().all(|field| {
                field.values.len() == 1
                    && matches!(
                        field.operator,
                        RequirementOperator::In | RequirementOperator::NotIn
                    )
            })
    }

    /// Whether a node with these labels and this name matches.
    pub fn matches(&self, labels: &Labels, node_name: &str) -> bool {
        let is_empty = self.match_expressions.is_empty() && self.match_fields.is_empty();
        !is_empty
            && self.is_valid()
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
            && self.match_fields.iter().all(|field| {
                let value = if field.key == "metadata.name" {
                    node_name
                } else {
                    ""
                };
                let listed = field.values.iter().any(|v| v == value);
                listed == (field.operator == RequirementOperator::In)
            })
    }
}

/// A node selector: some term matches. Without terms nothing does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeSelector {
    /// The alternatives.
    pub terms: Vec<NodeSelectorTerm>,
}

impl NodeSelector {
    /// Whether some term matches. Source: `k8s.io/component-helpers` `nodeaffinity`.
    pub fn matches(&self, labels: &Labels, node_name: &str) -> bool {
        self.terms
            .iter()
            .any(|term| term.matches(labels, node_name))
    }
}

/// A required (anti-)affinity term between pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityTerm {
    /// The node label whose equal values mean "together".
    pub topology_key: SmolStr,
    /// Which pods; `None` selects none. `matchLabelKeys` and `mismatchLabelKeys` are merged in
    /// when the object did not come through an API server.
    pub selector: Option<LabelSelector>,
    /// The namespaces listed.
    pub namespaces: Vec<SmolStr>,
    /// Namespaces by their labels; `None` selects none besides the list.
    pub namespace_selector: Option<LabelSelector>,
}
