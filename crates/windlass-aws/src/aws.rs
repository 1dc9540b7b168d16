//! The provider: the groups' state, kept fresh, and the acts on it.

mod actions;
mod explain;
mod extras;
mod launching;
mod prices;
mod refresh;
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use windlass_aws_client::{Client, ConnectError, Options};
use windlass_config::AwsLaunchApi;
use windlass_model::{CsiNode, Duration, Node, NodeGroup, SmolStr};

use crate::activity::FailureCause;
use crate::arrival::{OnTheirWay, Step};
use crate::condition::{Condition, ConditionKind};
use crate::discovery::Membership;
use crate::group::Group;
use crate::groups::{Groups, Presence};
use crate::schedule::ListingSchedule;
use crate::shortage::Shortages;

use self::extras::Extras;
use self::templates::Answers;

pub use actions::{
    ActionError, Cancellation, Deletion, Floor, Increase, PostponedBecause, Termination,
};
pub use explain::GroupExplanation;
pub use refresh::RefreshReport;
pub use templates::TemplateSettings;

/// How the provider is made.
#[derive(Debug)]
pub struct Settings {
    /// How AWS is called.
    pub client: Options,
    /// Which groups are the cluster's.
    pub membership: Membership,
    /// How the shape of new nodes is told.
    pub templates: TemplateSettings,
    /// How groups are acted on.
    pub actions: ActionSettings,
}

/// How groups are acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionSettings {
    /// The call that grows a group (`--aws-launch-api`).
    pub launch_api: AwsLaunchApi,
    /// Protect instances from scale-in (`--aws-protect-from-scale-in`).
    pub protect_from_scale_in: bool,
    /// How long an instance may take to become a node (`--max-node-provision-time`).
    pub provision_time: Duration,
}

impl Default for ActionSettings {
    fn default() -> Self {
        Self {
            launch_api: AwsLaunchApi::SetDesiredCapacity,
            protect_from_scale_in: false,
            provision_time: Duration::from_mins(15),
        }
    }
}

/// What is counted and measured of what happens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Happened {
    /// Why launches were found to fail.
    pub launch_failures: Vec<FailureCause>,
    /// How long instances took that arrived, step by step.
    pub steps: Vec<(Step, Duration)>,
}

/// Auto Scaling groups as the cluster's node groups. Cheap to clone; clones share their state.
#[derive(Clone, Debug)]
pub struct Aws {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    /// Never held over an await.
    state: Mutex<State>,
    /// One refresh at a time.
    refreshing: tokio::sync::Mutex<()>,
    /// One cancellation at a time in each group.
    cancelling: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    actions: ActionSettings,
}

#[derive(Debug)]
struct State {
    groups: Groups,
    listing: ListingSchedule,
    /// When scaling activities may be read again, after AWS asked for fewer calls.
    activities: ListingSchedule,
    answers: Answers,
    shortages: Shortages,
    extras: Extras,
    on_their_way: OnTheirWay,
    /// Why launches failed that nobody has taken note of.
    launch_failures: Vec<FailureCause>,
    /// When AWS was last asked for all groups with success.
    listed_at: Option<Timestamp>,
    /// AWS's clock when we began: older activities are none of ours.
    started_at: Timestamp,
}

impl Aws {
    /// Connects by the SDKs' ordinary chain. Nothing is called yet: [`Self::refresh`] does.
    ///
    /// # Errors
    ///
    /// When the configuration makes no sense: no region, no credentials, a malformed variable.
    pub async fn connect(settings: Settings) -> Result<Self, ConnectError> {
        let client = Client::connect(settings.client).await?;
        Ok(Self::with_client(
            client,
            settings.membership,
            settings.templates,
            settings.actions,
        ))
    }

    /// A provider on a client that others use too.
    pub fn with_client(
        client: Client,
        membership: Membership,
        templates: TemplateSettings,
        actions: ActionSettings,
    ) -> Self {
        let now = client.now();
        let started_at = client.server_time();
        Self {
            inner: Arc::new(Inner {
                client,
                state: Mutex::new(State {
                    groups: Groups::new(membership, now)
                        .with_provision_time(actions.provision_time),
                    listing: ListingSchedule::default(),
                    activities: ListingSchedule::default(),
                    answers: Answers::new(templates),
                    shortages: Shortages::default(),
                    extras: Extras::default(),
                    on_their_way: OnTheirWay::default(),
                    launch_failures: Vec::new(),
                    listed_at: None,
                    started_at,
                }),
                refreshing: tokio::sync::Mutex::new(()),
                cancelling: Mutex::default(),
                actions,
            }),
        }
    }

    /// The client, for calls that have nothing to do with groups.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// What is searched for, in one line for the log.
    pub fn summary(&self) -> String {
        self.state().groups.membership().summary()
    }

    /// The groups as the core sees them, sorted by name.
    pub fn node_groups(&self) -> Vec<NodeGroup> {
        let now = self.inner.client.now();
        let state = self.state();
        state
            .groups
            .iter()
            .map(|group| {
                let mut seen = group.node_group();
                seen.notices.shortage = state.shortages.of(group.sources(), now);
                seen.notices.can_choose_zone = self.can_choose_zone(group, now);
                seen
            })
            .collect()
    }

    /// Takes in the cluster's nodes: which instances have become nodes of this cluster, and what
    /// the next node of their instance type will offer, which they tell better than any data sheet.
    pub fn learn<'a>(&self, nodes: impl IntoIterator<Item = &'a Node>) {
        let nodes: Vec<&Node> = nodes.into_iter().collect();
        let mut state = self.state();
        let now = self.inner.client.now();
        let mut is_new = false;
        for node in &nodes {
            is_new |= state.answers.learn(node);
            state.on_their_way.see(node, now);
        }
        // What a new node offers is known at once, and not at the next refresh.
        if is_new {
            self.make_templates(&mut state);
        }
        state.groups.register(nodes);
    }

    /// Takes in of which groups a predecessor has seen nodes in this cluster: the proofs in the
    /// notices of its node groups.
    pub fn recall<'a>(&self, proofs: impl IntoIterator<Item = &'a str>) {
        let proofs = proofs.into_iter().map(ToOwned::to_owned).collect();
        self.state().groups.recall(proofs);
    }

    /// Takes in how many volumes the cluster's nodes can have attached, by what their CSI drivers
    /// say.
    pub fn learn_volume_limits<'a>(
        &self,
        nodes: impl IntoIterator<Item = &'a Node>,
        csi_nodes: &BTreeMap<SmolStr, Arc<CsiNode>>,
    ) {
        let mut state = self.state();
        for node in nodes {
            if let Some(csi_node) = csi_nodes.get(&node.name) {
                state.answers.learn_volume_limit(node, csi_node);
            }
        }
    }

    /// What people should know of the groups: name and condition, sorted by name.
    pub fn conditions(&self) -> Vec<(String, String)> {
        let texts = |(name, condition): (String, Condition)| (name, condition.text);
        self.kinds_of_conditions().into_iter().map(texts).collect()
    }

    /// How many groups have a condition of each kind.
    pub fn groups_by_condition(&self) -> BTreeMap<ConditionKind, usize> {
        let conditions = self.kinds_of_conditions();
        let groups_of = |kind: ConditionKind| {
            let conditions = conditions.iter();
            let groups: BTreeSet<&str> = conditions
                .filter(|(_, condition)| condition.kind == kind)
                .map(|(group, _)| group.as_str())
                .collect();
            (kind, groups.len())
        };
        ConditionKind::ALL.into_iter().map(groups_of).collect()
    }

    fn kinds_of_conditions(&self) -> Vec<(String, Condition)> {
        let state = self.state();
        state
            .groups
            .iter()
            .flat_map(|group| {
                let name = group.name();
                let mut conditions = group.conditions();
                let warm = state.groups.warm(name);
                if 0 < warm {
                    let text = format!("{warm} instances wait in its warm pool");
                    conditions.push(ConditionKind::WarmPool.with(text));
                }
                conditions.extend(state.extras.troubles(name));
                conditions
                    .into_iter()
                    .map(|condition| (name.to_owned(), condition))
            })
            .collect()
    }

    /// How many instances are asked for and not there, in all groups.
    pub fn outstanding(&self) -> u32 {
        self.state().groups.iter().map(Group::outstanding).sum()
    }

    /// What has happened since this was last asked.
    pub fn take_happened(&self) -> Happened {
        let mut state = self.state();
        Happened {
            launch_failures: std::mem::take(&mut state.launch_failures),
            steps: state.on_their_way.take(),
        }
    }

    /// Where the instance of a node is, by its provider id.
    pub fn presence(&self, provider_id: &str) -> Presence {
        self.state().groups.presence(provider_id)
    }

    /// How old the view of all groups is; none before the first that succeeded. On an old view
    /// nothing should be scaled down.
    pub fn age(&self) -> Option<Duration> {
        Some(
            self.inner
                .client
                .now()
                .duration_since(self.state().listed_at?),
        )
    }

    /// When [`Self::refresh`] will have something to do, by the client's clock
    /// ([`Client::now`]).
    pub fn next_refresh(&self) -> Timestamp {
        let now = self.inner.client.now();
        let state = self.state();
        let listing = state.listing.due().unwrap_or(now);
        state
            .groups
            .next_poll()
            .map_or(listing, |poll| poll.min(listing))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
