//! Who needs which permissions of AWS, and the policies that give them.
//!
//! Each [`Feature`] names the actions that it calls and what it calls them for; [`policy`] makes a
//! document of the features that are in use. Nothing that changes anything is granted on `*`:
//! groups are narrowed by the cluster's tag or by name, parameters and keys by name.
//! `docs/iam.md` is made of the same table ([`page`]), and [`evaluate`] says what a document
//! allows.

mod evaluate;
mod feature;
mod grants;
mod legacy;
mod page;
mod place;
mod scope;

use serde_json::{Value, json};

pub use evaluate::{EvaluateError, Request, Verdict, evaluate};
pub use feature::Feature;
pub use grants::Grant;
pub use legacy::{LEGACY_FAULTS, legacy_2019};
pub use page::page;
pub use place::Place;
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
}

impl Actor {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Autoscaler,
        Self::Node,
        Self::Rotator,
        Self::CsrApprover,
        Self::AmiBuilder,
        Self::AmiInstance,
        Self::Provisioner,
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

/// The policy document that lets an actor use these features.
pub fn policy(features: &[Feature], place: &Place) -> Value {
    let statements: Vec<Value> = Feature::ALL
        .into_iter()
        .filter(|feature| features.contains(feature))
        .flat_map(Feature::grants)
        .filter_map(|grant| statement(grant, place))
        .collect();
    json!({"Version": "2012-10-17", "Statement": statements})
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

/// None where there is nothing to grant.
fn statement(grant: &Grant, place: &Place) -> Option<Value> {
    let limit = scope::limit(grant.scope, place)?;
    let mut statement = json!({
        "Sid": grant.sid,
        "Effect": "Allow",
        "Action": grant.actions,
        "Resource": limit.resource(),
    });
    if let Some(condition) = limit.condition() {
        statement["Condition"] = condition;
    }
    Some(statement)
}

#[cfg(test)]
mod tests;
