//! Who needs which permissions of AWS, and the policies that give them.
//!
//! Each [`Feature`] names the actions that it calls and what it calls them for; [`policy`] makes a
//! document of the features that are in use. Nothing that changes anything is granted on `*`:
//! groups are narrowed by the cluster's tag or by name, parameters and keys by name.
//! `docs/iam.md` is made of the same table ([`page`]), and [`evaluate`] says what a document
//! allows.

mod choice;
mod evaluate;
mod feature;
mod grants;
mod legacy;
mod page;
mod place;
mod scope;

use serde_json::{Value, json};

pub use choice::{UnknownFeature, granting};
pub use evaluate::{EvaluateError, Request, Verdict, evaluate};
pub use feature::Feature;
pub use grants::Grant;
pub use legacy::{LEGACY_FAULTS, legacy_2019};
pub use page::page;
pub use place::{Images, Place};
use scope::Limit;
pub use scope::Scope;

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// `windlass run`.
    Autoscaler,
    /// A worker node while it joins.
    Node,
    /// `windlass token rotate`.
    Rotator,
    /// `windlass csr-approver`.
    CsrApprover,
    /// Who runs `windlass ami build`.
    AmiBuilder,
    /// The instance that builds a machine image.
    AmiInstance,
    /// Who runs `windlass provision`.
    Provisioner,
    /// Who runs `windlass doctor`, and `windlass verify` with the cluster's file.
    Doctor,
}

impl Actor {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Autoscaler,
        Self::Node,
        Self::Rotator,
        Self::CsrApprover,
        Self::AmiBuilder,
        Self::AmiInstance,
        Self::Provisioner,
        Self::Doctor,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autoscaler => "autoscaler",
            Self::Node => "node",
            Self::Rotator => "rotator",
            Self::CsrApprover => "csr-approver",
            Self::AmiBuilder => "ami-builder",
            Self::AmiInstance => "ami-instance",
            Self::Provisioner => "provisioner",
            Self::Doctor => "doctor",
        }
    }

    /// What it may do, in a sentence.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Autoscaler => "`windlass run`: looks at the cluster's groups and resizes them",
            Self::Node => "a worker node: reads the join credential and tells how the join went",
            Self::Rotator => "`windlass token rotate`: keeps the join credential fresh",
            Self::CsrApprover => {
                "`windlass csr-approver`: looks up the instances whose nodes ask for certificates"
            }
            Self::AmiBuilder => {
                "`windlass ami build`: launches an instance and makes an image of it"
            }
            Self::AmiInstance => {
                "the instance that builds an image: says how far it is; role `CLUSTER-windlass-ami`"
            }
            Self::Provisioner => {
                "`windlass provision`: makes and changes the cluster's own resources, told by their \
                 names and their tag `windlass.dev/cluster`"
            }
            Self::Doctor => {
                "`windlass doctor`, and `windlass verify` with the cluster's file: looks, and changes \
                 nothing"
            }
        }
    }

    /// Everything that it may need.
    pub fn features(self) -> Vec<Feature> {
        Feature::ALL
            .into_iter()
            .filter(|feature| feature.actor() == self)
            .collect()
    }
}

/// Characters that AWS takes for a managed policy, spaces and line ends aside.
pub const MOST_CHARACTERS: usize = 6144;

/// The policy document that lets an actor use these features. Grants that differ in their actions
/// alone, or in their resources alone, share a statement: a document may have [`MOST_CHARACTERS`].
pub fn policy(features: &[Feature], place: &Place) -> Value {
    let mut statements: Vec<Statement> = Vec::new();
    let grants = Feature::ALL
        .into_iter()
        .filter(|feature| features.contains(feature))
        .flat_map(Feature::grants);
    for found in grants.filter_map(|grant| statement(grant, place)) {
        if !statements.iter_mut().any(|other| other.takes_in(&found)) {
            statements.push(found);
        }
    }
    let statements: Vec<Value> = statements.iter().map(Statement::to_json).collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// Length of a document as AWS counts it.
pub fn characters(document: &Value) -> usize {
    let text = document.to_string();
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// What an actor does with a feature in a place: each action with a request as AWS would judge it,
/// on a thing of the cluster's own.
pub fn needs(feature: Feature, place: &Place) -> Vec<(&'static str, Request)> {
    let mut needs = Vec::new();
    for grant in feature.grants() {
        let Some(limit) = scope::limit(grant.scope, place) else {
            continue;
        };
        let (resource, context) = limit.sample();
        needs.extend(grant.actions.iter().map(|action| {
            let request = Request {
                action: (*action).to_owned(),
                resource: resource.clone(),
                context: context.clone(),
            };
            (*action, request)
        }));
    }
    needs
}

/// What is allowed on what.
struct Statement {
    sid: &'static str,
    actions: Vec<&'static str>,
    limit: Limit,
}

impl Statement {
    /// Makes this one allow what another does too, and nothing besides; false where it cannot.
    fn takes_in(&mut self, other: &Self) -> bool {
        if self.limit == other.limit {
            self.actions.extend(&other.actions);
            self.actions.sort_unstable();
            self.actions.dedup();
            return true;
        }
        self.actions == other.actions && self.limit.takes_in(&other.limit)
    }

    fn to_json(&self) -> Value {
        let mut statement = json!({
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": self.actions,
            "Resource": self.limit.resource(),
        });
        if let Some(condition) = self.limit.condition() {
            statement["Condition"] = condition;
        }
        statement
    }
}

/// None where there is nothing to grant.
fn statement(grant: &Grant, place: &Place) -> Option<Statement> {
    Some(Statement {
        sid: grant.sid,
        actions: grant.actions.to_vec(),
        limit: scope::limit(grant.scope, place)?,
    })
}

#[cfg(test)]
mod tests;
