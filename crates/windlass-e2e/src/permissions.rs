//! What is called of AWS, against what is granted.
//!
//! Suites are processes of their own and run side by side, so no place sees the calls of all of them.
//! Instead every run of an actor, in whatever suite, is held to its policies at its end: it may call
//! nothing that they do not grant ([`check_granted`]). That nothing is granted in vain is asserted
//! where an actor does all that it ever does ([`check_exactly`]): the autoscaler in `aws`, the worker
//! node in `join_faults`, the rotator in `token`, the approver in `csr_approver`, the provisioner and
//! who only looks in `provision`, the builder of images in `ami_faults`.
//!
//! That is by the actions' names. `from_zero` judges each of its calls by the documents that the binary
//! renders for its file ([`Policies`]), as far as a call says what it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use windlass_provision::cluster_config::ClusterConfig;
use windlass_provision::iam::{self, Actor, Feature, Place, Verdict};
use windlass_testbed::Proxy;
use windlass_testbed::proxy::Request;

/// The account of the test bed.
const ACCOUNT: &str = "123456789012";

/// Statements for actions that nobody calls: AWS itself looks at their permission when another one is
/// called.
const IMPLIED: [&str; 14] = [
    "DecryptJoinCredential",
    "DecryptPublishedCredential",
    "EncryptJoinCredential",
    "EncryptJoinParameter",
    "EncryptJoinParameterWithKey",
    "LaunchByTemplates",
    "LaunchFleets",
    "PassBuilderRole",
    "PassNodeRole",
    "PassRoleOfBuilder",
    "TagNewKey",
    "TagWhatIsMade",
    "UseKeysOfImages",
    "UseKeysOfImagesByAlias",
];
/// Actions that everybody may call.
const FREE: [&str; 1] = ["GetCallerIdentity"];

/// The actions that these features grant, as far as they are called by name.
pub fn granted_for(features: &[Feature]) -> BTreeSet<String> {
    features
        .iter()
        .flat_map(|feature| feature.grants())
        .filter(|grant| !IMPLIED.contains(&grant.sid))
        .flat_map(|grant| grant.actions)
        .filter_map(|action| action.split(':').nth(1))
        .map(ToOwned::to_owned)
        .collect()
}

/// The actions that the actors' policies grant, as far as they are called by name.
pub fn granted(actors: &[Actor]) -> BTreeSet<String> {
    let features: Vec<Feature> = actors.iter().flat_map(|actor| actor.features()).collect();
    granted_for(&features)
}

/// The actions of AWS that were called through a proxy, by their names in policies.
pub fn called(proxy: &Proxy) -> BTreeSet<String> {
    let requests = proxy.requests().into_iter();
    requests
        .map(|request| match request.action {
            Some(action) => action,
            // EKS has paths instead.
            None if request.path.contains("/node-groups/") => "DescribeNodegroup".to_owned(),
            None => format!("{} {}", request.method, request.path),
        })
        .filter(|action| !FREE.contains(&action.as_str()))
        .collect()
}

/// Fails if anything was called that the actors' policies do not grant.
pub fn check_granted(actors: &[Actor], called: &BTreeSet<String>) -> Result<()> {
    let granted = granted(actors);
    let strange: Vec<&String> = called.difference(&granted).collect();
    ensure!(
        strange.is_empty(),
        "called and not granted to {actors:?}: {strange:?}"
    );
    Ok(())
}

/// Fails unless what was called is what is granted, no more and no less.
pub fn check_exactly(granted: &BTreeSet<String>, called: &BTreeSet<String>) -> Result<()> {
    eprintln!("called: {called:?}");
    ensure!(
        called == granted,
        "granted and never called: {:?}; called and not granted: {:?}",
        granted.difference(called).collect::<Vec<_>>(),
        called.difference(granted).collect::<Vec<_>>()
    );
    Ok(())
}

/// The policies that `windlass iam render` prints for a cluster's file.
#[derive(Debug)]
pub struct Policies {
    place: Place,
    /// With the features that follow from the file.
    documents: BTreeMap<Actor, (Value, Vec<Feature>)>,
}

impl Policies {
    /// Has them rendered for these actors.
    pub fn render(file: &Path, actors: &[Actor]) -> Result<Self> {
        let text = std::fs::read_to_string(file)?;
        let config = ClusterConfig::read("cluster.yaml", &text)?;
        let render = |actor: Actor| -> Result<(Actor, (Value, Vec<Feature>))> {
            let output = Command::new(crate::binary()?)
                .args([
                    "iam",
                    "render",
                    "--actor",
                    actor.name(),
                    "--account",
                    ACCOUNT,
                ])
                .arg("--config")
                .arg(file)
                .output()
                .context("run windlass iam render")?;
            crate::expect(&output, 0, "features of the")?;
            let document = serde_json::from_slice(&output.stdout)?;
            Ok((actor, (document, actor.chosen(&[], Some(&config))?)))
        };
        Ok(Self {
            place: config.place(ACCOUNT),
            documents: actors.iter().copied().map(render).collect::<Result<_>>()?,
        })
    }

    /// Fails if a call was made that the policies of none of these actors allow, each on what it is
    /// about: a parameter and its key, a role, an instance profile; of other calls the action counts,
    /// on a thing of the cluster's own.
    pub fn check_allowed(&self, actors: &[Actor], proxy: &Proxy) -> Result<()> {
        for request in proxy.requests() {
            let Some(name) = request.action.as_deref() else {
                anyhow::bail!(
                    "an action without a name: {} {}",
                    request.method,
                    request.path
                );
            };
            if FREE.contains(&name) {
                continue;
            }
            for (action, resource) in self.wanted(name, &request)? {
                let mut is_allowed = false;
                for actor in actors {
                    is_allowed |= self.allows(*actor, action, resource.as_deref())?;
                }
                let about = resource.unwrap_or_default();
                ensure!(is_allowed, "{action} {about} is not allowed to {actors:?}");
            }
        }
        Ok(())
    }

    /// What AWS would ask the policies for a call: actions, and what they are about where the call
    /// says it.
    fn wanted(&self, name: &str, request: &Request) -> Result<Vec<(&'static str, Option<String>)>> {
        let mut actions = Feature::ALL
            .into_iter()
            .flat_map(Feature::grants)
            .flat_map(|grant| grant.actions);
        let action = actions.find(|action| action.split(':').nth(1) == Some(name));
        let action = *action.with_context(|| format!("{name} is granted to nobody"))?;
        let place = &self.place;
        if action.starts_with("ssm:") {
            let body: Value = serde_json::from_slice(&request.body)?;
            let named = body["Name"].as_str().or(body["ResourceId"].as_str());
            let named = named.with_context(|| format!("{name} without a name: {body}"))?;
            let mut wanted = vec![(action, Some(parameter_arn(place, named)))];
            if named == place.parameter && place.key.is_some() {
                match name {
                    "GetParameter" => wanted.push(("kms:Decrypt", None)),
                    "PutParameter" => wanted.push(("kms:Encrypt", None)),
                    _ => {}
                }
            }
            return Ok(wanted);
        }
        // What is done to a profile with a role is about the profile.
        let kinds = [
            ("InstanceProfileName", "instance-profile"),
            ("RoleName", "role"),
        ];
        let mut named = kinds.iter().filter_map(|(field, kind)| {
            let named = request.parameter(field)?;
            let Place {
                partition, account, ..
            } = place;
            Some(format!("arn:{partition}:iam::{account}:{kind}/{named}"))
        });
        let resource = action.starts_with("iam:").then(|| named.next()).flatten();
        Ok(vec![(action, resource)])
    }

    /// Whether an actor's policy allows an action on a resource; where none is said, on a thing of the
    /// cluster's own, as the features that follow from the file have it.
    fn allows(&self, actor: Actor, action: &str, resource: Option<&str>) -> Result<bool> {
        let (document, features) = self
            .documents
            .get(&actor)
            .with_context(|| format!("{actor:?} has no policy here"))?;
        let needs = features
            .iter()
            .flat_map(|feature| iam::needs(*feature, &self.place))
            .filter(|(needed, _)| *needed == action)
            .map(|(_, request)| request);
        let requests: Vec<iam::Request> = match resource {
            None => needs.collect(),
            Some(resource) => vec![iam::Request {
                action: action.to_owned(),
                resource: resource.to_owned(),
                context: BTreeMap::new(),
            }],
        };
        for request in requests {
            if iam::evaluate(document, &request)? == Verdict::Allowed {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// AWS's public parameters belong to no account.
fn parameter_arn(place: &Place, name: &str) -> String {
    let Place {
        partition,
        region,
        account,
        ..
    } = place;
    let is_public = name.starts_with("/aws/service/");
    let account = if is_public { "" } else { account };
    let bare = name.trim_start_matches('/');
    format!("arn:{partition}:ssm:{region}:{account}:parameter/{bare}")
}
