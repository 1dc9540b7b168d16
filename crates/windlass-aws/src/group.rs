//! One Auto Scaling group as a node group. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use windlass_aws_client::autoscaling::{AutoScalingGroup, GroupInstance, ScalingActivity};
use windlass_model::{
    CreationError, Duration, GroupNotices, GroupOptions, Instance, InstanceState, MicroDollars,
    NodeGroup, NodeTemplate, SmolStr,
};

use crate::activity::{LaunchFailure, is_launching};
use crate::condition::{Condition, ConditionKind};
use crate::discovery::Limits;
use crate::lifecycle::Lifecycle;
use crate::provider_id::{PLACEHOLDER_PREFIX, ProviderId};
use crate::schedule::{later, poll_pause};
use crate::shortage::Sources;
use crate::tags::GroupTags;

/// How long an answer of AWS may lag behind what AWS itself has confirmed to us.
const LAG: Duration = Duration::from_secs(10);
/// How long a group whose desired capacity was set is watched for an instance too many, because
/// what it was set by had changed meanwhile: AWS has been seen to take 20 seconds from a lowering
/// to picking a victim.
const WATCH: Duration = Duration::from_secs(30);

/// How long instances may be there without any of the group's ever having been a node here before
/// the group is taken for another cluster's, unless it is told otherwise: the default of
/// `--max-node-provision-time`.
const STRANGE_AFTER: Duration = Duration::from_mins(15);
/// How long after an instance has left that we had not ended it is asked whether the group is being
/// refreshed.
const UNREST: Duration = Duration::from_mins(10);
/// Devices that a node shows only once their driver is there. That of network adapters is mostly not
/// installed, so they are none of these.
const DEVICES: [&str; 4] = [
    "nvidia.com/gpu",
    "amd.com/gpu",
    "habana.ai/gaudi",
    "aws.amazon.com/neuron",
];
/// How long a call that AWS has refused is not counted on.
const REFUSED: Duration = Duration::from_hours(1);

/// A group: AWS's last description of it, and what we have done since.
#[derive(Clone, Debug)]
pub struct Group {
    name: String,
    /// Limits from the command line; they win over the group's own.
    named_limits: Option<Limits>,
    /// None for a named group that AWS does not know.
    description: Option<AutoScalingGroup>,
    tags: GroupTags,
    /// Goes up with every act of ours, so that an answer which was on its way meanwhile is known
    /// to be stale.
    acts: u64,
    request: Option<OpenRequest>,
    /// Instances that AWS has agreed to terminate, and when.
    terminated: BTreeMap<String, Timestamp>,
    outstanding_since: Option<Timestamp>,
    /// Since when the description has shown the same live instances.
    steady_since: Timestamp,
    polled_at: Timestamp,
    /// When AWS was asked for the description.
    described_at: Timestamp,
    watch: Option<Watch>,
    failure: Option<LaunchFailure>,
    /// Whether the activities showed a launch under way after the last failure.
    launching: bool,
    activities_read_at: Option<Timestamp>,
    template: Option<NodeTemplate>,
    price_per_hour: Option<MicroDollars>,
    template_trouble: Option<String>,
    /// What its next instance may come out of.
    sources: Sources,
    /// Whether a node of it was ever seen in this cluster.
    is_proven: bool,
    /// Its instances that are nodes of this cluster.
    registered: BTreeSet<String>,
    /// Since when it has had instances.
    populated_since: Option<Timestamp>,
    /// `--max-node-provision-time`.
    provision_time: Duration,
    /// When an instance was last seen to leave that we had not ended.
    left_at: Option<Timestamp>,
    /// Who replaces its instances.
    replacing: Replacing,
    /// What EKS finds wrong with it.
    eks_issues: Vec<String>,
    /// Settings by tags of its EKS node group, which EKS does not copy to the group.
    eks_options: GroupOptions,
    /// When AWS last refused the call that grows it in a certain zone.
    launch_refused_at: Option<Timestamp>,
    /// The activities that were known of when more was last asked for: they are of earlier requests.
    settled_activities: BTreeSet<String>,
    /// All activities that are known of.
    known_activities: BTreeSet<String>,
}

/// Who replaces a group's instances by others, besides the autoscaler.
#[derive(Clone, Copy, Debug, Default)]
struct Replacing {
    /// An instance refresh does.
    by_refresh: bool,
    /// EKS does, which is updating its node group.
    by_eks: bool,
}

/// A size that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// The size before.
    pub from: u32,
    /// The size asked for.
    pub to: u32,
    /// When, by our clock.
    pub sent_at: Timestamp,
    /// When, by AWS's clock: its activities from here on belong to the request.
    pub server_time: Timestamp,
}

/// A desired capacity that we have set, as long as it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watch {
    written: u32,
    until: Timestamp,
}

/// Why a group is not to be touched in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Why it is not grown.
    pub scale_up: Option<String>,
    /// Why it is not shrunk.
    pub scale_down: Option<String>,
}

impl Group {
    /// A group that has yet to be described.
    pub fn new(name: &str, named_limits: Option<Limits>, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            named_limits,
            description: None,
            tags: GroupTags::default(),
            acts: 0,
            request: None,
            terminated: BTreeMap::new(),
            outstanding_since: None,
            steady_since: now,
            polled_at: now,
            described_at: now,
            watch: None,
            failure: None,
            launching: false,
            activities_read_at: None,
            template: None,
            price_per_hour: None,
            template_trouble: None,
            sources: Sources::default(),
            is_proven: false,
            registered: BTreeSet::new(),
            populated_since: None,
            provision_time: STRANGE_AFTER,
            left_at: None,
            replacing: Replacing::default(),
            eks_issues: Vec::new(),
            eks_options: GroupOptions::default(),
            launch_refused_at: None,
            settled_activities: BTreeSet::new(),
            known_activities: BTreeSet::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// AWS's last description, if there is one.
    pub fn description(&self) -> Option<&AutoScalingGroup> {
        self.description.as_ref()
    }

    /// Its tags, read.
    pub fn tags(&self) -> &GroupTags {
        &self.tags
    }

    /// How many acts of ours it has seen.
    pub fn acts(&self) -> u64 {
        self.acts
    }

    /// When AWS was asked for the description at hand.
    pub fn described_at(&self) -> Timestamp {
        self.described_at
    }

    /// The open request for more instances, if there is one.
    pub fn request(&self) -> Option<OpenRequest> {
        self.request
    }

    /// Why outstanding instances are not coming, if that is known.
    pub fn failure(&self) -> Option<&LaunchFailure> {
        self.failure.as_ref()
    }

    /// Takes in a description that AWS was asked for at `asked_at`, when this group had seen
    /// `acts` acts. One that crossed with an act of ours is dropped: the next will tell.
    pub fn describe(&mut self, description: AutoScalingGroup, acts: u64, asked_at: Timestamp) {
        if acts != self.acts {
            return;
        }
        let created = |group: &AutoScalingGroup| group.created_time;
        if let Some(known) = &self.description
            && created(known).is_some()
            && created(known) != created(&description)
        {
            // A namesake: the old group was deleted and this one made since. What we know is of
            // the old one.
            self.begin_anew(asked_at);
        }
        let live = live_ids(Some(&description));
        if self.live_ids() != live {
            self.steady_since = asked_at;
        }
        if !self.live_ids().is_subset(&live) {
            self.left_at = Some(asked_at);
        }
        self.tags = GroupTags::read(&description.tags);
        self.populated_since = if description.instances.is_empty() {
            None
        } else {
            self.populated_since.or(Some(asked_at))
        };
        self.description = Some(description);
        self.described_at = asked_at;
        self.settle(asked_at);
    }

    /// Takes in that AWS does not know the group.
    pub fn vanish(&mut self, asked_at: Timestamp) {
        self.begin_anew(asked_at);
    }

    /// Forgets all but what the flags say of it.
    fn begin_anew(&mut self, now: Timestamp) {
        let provision_time = self.provision_time;
        *self = Self::new(&self.name, self.named_limits, now);
        self.provision_time = provision_time;
    }

    /// Drops what the description now shows by itself.
    fn settle(&mut self, now: Timestamp) {
        let counting = self.counting_ids();
        self.terminated
            .retain(|id, at| counting.contains(id) && now < later(*at, LAG));
        if let Some(request) = self.request {
            let shown = self
                .description
                .as_ref()
                .is_some_and(|group| request.to <= group.desired_capacity);
            if (shown || later(request.sent_at, LAG) <= now) && self.outstanding() == 0 {
                self.request = None;
            }
        }
        if self.watch.is_some_and(|watch| watch.until <= now) {
            self.watch = None;
        }
        if self.outstanding() == 0 {
            self.outstanding_since = None;
            self.failure = None;
            self.launching = false;
        } else if self.outstanding_since.is_none() {
            self.outstanding_since = Some(now);
        }
    }

    /// Notes that AWS took a request for more.
    pub fn note_increase(&mut self, request: OpenRequest) {
        self.acts += 1;
        self.settled_activities = self.known_activities.clone();
        self.request = Some(request);
        self.failure = None;
        self.watch = Some(Watch {
            written: request.to,
            until: later(request.sent_at, WATCH),
        });
        self.outstanding_since = Some(request.sent_at);
        self.polled_at = request.sent_at;
    }

    /// Notes that AWS agreed to terminate an instance, with one less wanted.
    pub fn note_termination(&mut self, instance: &str, now: Timestamp) {
        self.acts += 1;
        self.terminated.insert(instance.to_owned(), now);
    }

    /// Takes a termination back that AWS refused.
    pub fn undo_termination(&mut self, instance: &str) {
        self.acts += 1;
        self.terminated.remove(instance);
    }

    /// Notes that requests were cancelled.
    pub fn note_shrink(&mut self, to: u32, now: Timestamp) {
        self.acts += 1;
        if let Some(description) = &mut self.description {
            description.desired_capacity = to;
        }
        self.request = None;
        self.watch = Some(Watch {
            written: to,
            until: later(now, WATCH),
        });
        self.polled_at = now;
        self.settle(now);
    }

    /// Notes what the activities, which were read at `now`, say of the outstanding instances.
    pub fn note_activities(
        &mut self,
        failure: Option<LaunchFailure>,
        activities: &[ScalingActivity],
        now: Timestamp,
    ) {
        self.launching = is_launching(
            activities,
            failure.as_ref().map_or(Timestamp::MIN, |f| f.at),
        );
        self.failure = failure;
        self.known_activities.extend(
            activities
                .iter()
                .map(|activity| activity.activity_id.clone()),
        );
        self.activities_read_at = Some(now);
    }

    /// The activities that can say something of the outstanding instances: those that were not
    /// known of before these were asked for.
    pub fn relevant(&self, activities: Vec<ScalingActivity>) -> Vec<ScalingActivity> {
        activities
            .into_iter()
            .filter(|activity| !self.settled_activities.contains(&activity.activity_id))
            .collect()
    }

    /// Takes in which of its instances are nodes of this cluster.
    pub fn note_registered(&mut self, instances: BTreeSet<String>) {
        self.is_proven |= !instances.is_empty();
        self.registered = instances;
    }

    /// Whether a node of it was ever seen in this cluster. Of a group of which none was, nothing is
    /// ended, and no more is taken back than was asked for here.
    pub fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// What tells this very group: its name, and when it was made.
    pub fn identity(&self) -> Option<String> {
        let created = self.description.as_ref()?.created_time?;
        Some(format!("{} {created}", self.name))
    }

    /// Takes in that a node of it was seen in this cluster, by a predecessor.
    pub fn prove(&mut self) {
        self.is_proven = true;
    }

    /// Sets how long an instance may take to become a node, where the group itself does not say.
    pub fn set_provision_time(&mut self, time: Duration) {
        self.provision_time = time;
    }

    /// Whether it looks like another cluster's: it has had instances for long, and none of them
    /// became a node here.
    fn is_strange(&self) -> bool {
        let allowed = self.options().max_node_provision_time;
        let allowed = allowed.unwrap_or(self.provision_time);
        !self.is_proven
            && self
                .populated_since
                .is_some_and(|since| later(since, allowed) <= self.described_at)
    }

    /// Whether an instance refresh may be replacing its instances: one has lately left that we had
    /// not ended, or it is known that they are being replaced.
    pub fn is_restless(&self, now: Timestamp) -> bool {
        self.replacing.by_refresh || self.left_at.is_some_and(|left| now < later(left, UNREST))
    }

    /// Sets whether an instance refresh replaces its instances.
    pub fn set_refreshing(&mut self, is_refreshing: bool) {
        self.replacing.by_refresh = is_refreshing;
    }

    /// Sets whether EKS is updating its node group.
    pub fn set_eks_updating(&mut self, is_updating: bool) {
        self.replacing.by_eks = is_updating;
    }

    /// Who replaces its instances, so that what we took away would be in somebody's way.
    fn replaced_by(&self) -> Option<String> {
        if self.replacing.by_refresh {
            Some("an instance refresh replaces its instances".to_owned())
        } else if self.replacing.by_eks {
            Some("EKS is updating its node group".to_owned())
        } else {
            None
        }
    }

    /// Notes that AWS refused the call that grows it in a certain zone.
    pub fn note_launch_refusal(&mut self, now: Timestamp) {
        self.launch_refused_at = Some(now);
    }

    /// Whether AWS has lately refused that call.
    pub fn refuses_launches(&self, now: Timestamp) -> bool {
        self.launch_refused_at
            .is_some_and(|refused| now < later(refused, REFUSED))
    }

    /// Sets the settings that its EKS node group's tags have; its own come first.
    pub fn set_eks_options(&mut self, options: GroupOptions) {
        self.eks_options = options;
    }

    /// Its own settings.
    fn options(&self) -> GroupOptions {
        self.tags.options.or(&self.eks_options)
    }

    /// Sets what EKS finds wrong with it.
    pub fn set_eks_issues(&mut self, issues: Vec<String>) {
        self.eks_issues = issues;
    }

    /// Sets what its next instance may come out of.
    pub fn set_sources(&mut self, sources: Sources) {
        self.sources = sources;
    }

    /// What its next instance may come out of.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The size below which taking back requests could cost somebody an instance: those that count,
    /// those that are nodes here though AWS's listing lacks them, and in a group that may be
    /// another cluster's all that was not asked for here.
    pub fn least(&self) -> u32 {
        let mut ids = self.live_ids();
        ids.extend(
            self.registered
                .iter()
                .filter(|id| !self.is_on_its_way_out(id))
                .cloned(),
        );
        let present = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        if self.is_proven {
            return present;
        }
        let not_ours = self.request.map_or(self.desired(), |request| request.from);
        present.max(not_ours)
    }

    fn is_on_its_way_out(&self, id: &str) -> bool {
        self.terminated.contains_key(id)
            || self
                .instance(id)
                .is_some_and(|instance| !Lifecycle::of(instance).counts())
    }

    /// When its activities were last read.
    pub fn activities_read_at(&self) -> Option<Timestamp> {
        self.activities_read_at
    }

    /// Whether a launch was under way when the activities were last read.
    pub fn is_launching(&self) -> bool {
        self.launching
    }

    /// Whether AWS could choose none of its instances as a victim.
    pub fn is_protected(&self) -> bool {
        self.description.as_ref().is_some_and(|group| {
            group.new_instances_protected_from_scale_in
                && group
                    .instances
                    .iter()
                    .all(|instance| instance.protected_from_scale_in)
        })
    }

    /// Notes that the group was polled.
    pub fn note_poll(&mut self, now: Timestamp) {
        self.polled_at = now;
    }

    /// Sets what a new node would look like, or why that cannot be told.
    pub fn set_template(
        &mut self,
        template: Result<NodeTemplate, String>,
        price_per_hour: Option<MicroDollars>,
    ) {
        match template {
            Ok(template) => {
                self.template = Some(template);
                self.price_per_hour = price_per_hour;
                self.template_trouble = None;
            }
            // The last good one is better than none.
            Err(trouble) => self.template_trouble = Some(trouble),
        }
    }

    /// When the group is to be looked at again on its own account, ahead of the next listing.
    pub fn poll_due(&self) -> Option<Timestamp> {
        let since = match (self.outstanding_since, self.watch) {
            (Some(since), _) => since,
            (None, Some(watch)) => watch.until.checked_sub(WATCH).unwrap_or(watch.until),
            (None, None) => return None,
        };
        let pause = poll_pause(self.polled_at.duration_since(since));
        Some(later(self.polled_at, pause))
    }

    /// How many instances AWS is asked for, by its description and our acts since.
    pub fn desired(&self) -> u32 {
        let Some(description) = &self.description else {
            return 0;
        };
        let counting = self.counting_ids();
        let going = self
            .terminated
            .keys()
            .filter(|id| counting.contains(*id))
            .count();
        let desired = description
            .desired_capacity
            .saturating_sub(u32::try_from(going).unwrap_or(u32::MAX));
        match self.request {
            Some(request) if self.described_at < later(request.sent_at, LAG) => {
                desired.max(request.to)
            }
            _ => desired,
        }
    }

    /// How many instances count towards it.
    pub fn live(&self) -> u32 {
        u32::try_from(self.live_ids().len()).unwrap_or(u32::MAX)
    }

    /// How many instances are asked for and not there.
    pub fn outstanding(&self) -> u32 {
        self.desired().saturating_sub(self.live())
    }

    /// Whether what we have set the desired capacity to is less than there is, so that AWS is about
    /// to pick a victim: the size to go back to. An instance slipped in between the look and the
    /// write, or the look was at an old listing. What others have set is theirs to answer for.
    pub fn slipped_in(&self) -> Option<u32> {
        let live = self.live();
        let shown = self.description.as_ref()?.desired_capacity;
        self.watch
            .is_some_and(|watch| watch.written == shown && self.desired() < live)
            .then_some(live)
    }

    /// Since when the same instances have been live.
    pub fn steady_since(&self) -> Timestamp {
        self.steady_since
    }

    /// The limits that count.
    pub fn limits(&self) -> Limits {
        match (self.named_limits, &self.description) {
            (_, None) => Limits { min: 0, max: 0 },
            (Some(limits), _) => limits,
            (None, Some(description)) => Limits {
                min: i64::from(description.min_size),
                max: i64::from(description.max_size),
            },
        }
    }

    /// Why it is not to be grown or shrunk.
    pub fn holds(&self) -> Holds {
        let Some(group) = &self.description else {
            let missing = Some("the Auto Scaling group does not exist".to_owned());
            return Holds {
                scale_up: missing.clone(),
                scale_down: missing,
            };
        };
        if let Some(reason) = unsupported_units(group) {
            return Holds {
                scale_up: Some(reason.clone()),
                scale_down: Some(reason),
            };
        }
        if let Some(status) = &group.status {
            return Holds {
                scale_up: Some(format!("the Auto Scaling group's status is {status}")),
                scale_down: Some(format!("the Auto Scaling group's status is {status}")),
            };
        }
        let suspended = |process: &str| {
            is_suspended(group, process)
                .then(|| format!("the Auto Scaling group's process {process} is suspended"))
        };
        let strange = self.is_strange().then(|| {
            "none of its instances ever became a node of this cluster: it is probably another \
             cluster's group; if it is not, find out why they do not join (their user data, their \
             way to the API server), and end them by hand"
                .to_owned()
        });
        Holds {
            scale_up: suspended("Launch").or_else(|| strange.clone()),
            scale_down: suspended("Terminate")
                .or(strange)
                .or_else(|| self.replaced_by()),
        }
    }

    /// What people should know of the group.
    pub fn conditions(&self) -> Vec<Condition> {
        let mut conditions = Vec::new();
        let holds = self.holds();
        if let Some(reason) = &holds.scale_up {
            conditions.push(ConditionKind::NotScaledUp.with(format!("not scaled up: {reason}")));
        }
        if let Some(reason) = &holds.scale_down {
            let text = format!("not scaled down: {reason}");
            conditions.push(ConditionKind::NotScaledDown.with(text));
        }
        if let Some(trouble) = &self.template_trouble {
            let text = format!("a new node's shape is not known: {trouble}");
            conditions.push(ConditionKind::NoTemplate.with(text));
        }
        if let Some(failure) = &self.failure {
            let text = format!("launches fail: {}", failure.message);
            conditions.push(ConditionKind::LaunchesFail.with(text));
        }
        let problems = self.tags.problems.iter();
        conditions.extend(problems.map(|problem| ConditionKind::Tag.with(problem.to_string())));
        let issues = self.eks_issues.iter();
        conditions.extend(issues.map(|issue| ConditionKind::Eks.with(format!("EKS: {issue}"))));
        if let Some(group) = &self.description
            && group.availability_zones.len() > 1
            && !is_suspended(group, "AZRebalance")
        {
            conditions.push(ConditionKind::AzRebalance.with(
                "AZRebalance is active on a group of several zones: AWS may terminate nodes \
                 without draining them; suspend that process",
            ));
        }
        conditions
    }

    /// The instance of this id, unless it is in a warm pool.
    pub fn instance(&self, id: &str) -> Option<&GroupInstance> {
        self.description
            .as_ref()?
            .instances
            .iter()
            .find(|instance| instance.instance_id == id)
    }

    /// Whether an instance is on its way out already.
    pub fn is_going(&self, instance: &GroupInstance) -> bool {
        self.terminated.contains_key(&instance.instance_id)
            || Lifecycle::of(instance) == Lifecycle::Deleting
    }

    /// The group as the core sees it.
    pub fn node_group(&self) -> NodeGroup {
        let desired = i64::from(self.desired());
        let Limits { mut min, mut max } = self.limits();
        let holds = self.holds();
        // The core stops at the limits, so a hold is a limit at the present size.
        if holds.scale_up.is_some() {
            max = max.min(desired);
            min = min.min(max);
        }
        if holds.scale_down.is_some() {
            min = min.max(desired.min(max));
        }
        NodeGroup {
            name: self.name.as_str().into(),
            min_size: min,
            max_size: max,
            target_size: desired,
            requested_at: self.request.map(|request| request.sent_at),
            instances: self.instances(),
            template: self.template.clone(),
            price_per_hour: self.price_per_hour,
            zones: self
                .description
                .iter()
                .flat_map(|group| &group.availability_zones)
                .map(Into::into)
                .collect(),
            provision_time: None,
            options: self.options(),
            notices: GroupNotices {
                shortage: None,
                is_unproven: !self.is_proven,
                proof: self.identity().filter(|_| self.is_proven).map(Into::into),
                can_choose_zone: false,
                devices: self.devices(),
            },
        }
    }

    /// The devices that its next node has for certain, if their driver is to be waited for.
    fn devices(&self) -> Vec<SmolStr> {
        let capacity = self
            .template
            .as_ref()
            .map(|template| &template.node.capacity);
        let has = |device: &&str| {
            let amount = capacity.and_then(|capacity| capacity.get(device));
            amount.is_some_and(|amount| 0 < amount.units_ceil())
        };
        let devices = DEVICES.into_iter().filter(has);
        devices.map(SmolStr::new_static).collect()
    }

    /// The instances, and a placeholder for each that is asked for and not there, under the Go
    /// autoscaler's names.
    fn instances(&self) -> Vec<Instance> {
        let Some(group) = &self.description else {
            return Vec::new();
        };
        let mut seen = BTreeSet::new();
        let mut instances: Vec<Instance> = group
            .instances
            .iter()
            .filter(|instance| seen.insert(&instance.instance_id))
            .filter_map(|instance| {
                Some(Instance {
                    provider_id: ProviderId {
                        zone: instance.availability_zone.clone(),
                        instance: instance.instance_id.clone(),
                    }
                    .to_string()
                    .into(),
                    state: self.state(group, instance)?,
                })
            })
            .collect();
        let zone = group.availability_zones.first().map_or("", String::as_str);
        for index in self.live()..self.desired() {
            instances.push(Instance {
                provider_id: format!("aws:///{zone}/{PLACEHOLDER_PREFIX}{}-{index}", self.name)
                    .into(),
                state: InstanceState::Creating {
                    error: self.failure.as_ref().map(creation_error),
                },
            });
        }
        instances
    }

    /// None for an instance that is none of the autoscaler's business.
    fn state(&self, group: &AutoScalingGroup, instance: &GroupInstance) -> Option<InstanceState> {
        if self.terminated.contains_key(&instance.instance_id) {
            return Some(InstanceState::Deleting);
        }
        match Lifecycle::of(instance) {
            Lifecycle::Creating => Some(InstanceState::Creating { error: None }),
            Lifecycle::Held => Some(InstanceState::Held),
            Lifecycle::Running if will_be_replaced(group, instance) => {
                Some(InstanceState::Deleting)
            }
            Lifecycle::Running => Some(InstanceState::Running),
            Lifecycle::Deleting => Some(InstanceState::Deleting),
            Lifecycle::SetAside | Lifecycle::Warm => None,
        }
    }

    fn live_ids(&self) -> BTreeSet<String> {
        let mut ids = self.counting_ids();
        ids.retain(|id| !self.terminated.contains_key(id));
        ids
    }

    fn counting_ids(&self) -> BTreeSet<String> {
        live_ids(self.description.as_ref())
    }
}

fn live_ids(group: Option<&AutoScalingGroup>) -> BTreeSet<String> {
    group
        .into_iter()
        .flat_map(|group| &group.instances)
        .filter(|instance| Lifecycle::of(instance).counts())
        .map(|instance| instance.instance_id.clone())
        .collect()
}

fn creation_error(failure: &LaunchFailure) -> CreationError {
    CreationError {
        class: failure.cause.class(),
        code: failure.cause.code().into(),
        message: failure.message.as_str().into(),
    }
}

/// AWS replaces an unhealthy instance by itself, unless it was told not to.
fn will_be_replaced(group: &AutoScalingGroup, instance: &GroupInstance) -> bool {
    instance.health_status.eq_ignore_ascii_case("unhealthy")
        && !is_suspended(group, "ReplaceUnhealthy")
        && !is_suspended(group, "Terminate")
}

/// Whether one of a group's processes is switched off.
pub(crate) fn is_suspended(group: &AutoScalingGroup, process: &str) -> bool {
    group
        .suspended_processes
        .iter()
        .any(|suspended| suspended.process_name == process)
}

/// Desired capacity is a number of instances to us. Where it counts something else, every
/// comparison would be wrong, so such a group is left alone and says so.
fn unsupported_units(group: &AutoScalingGroup) -> Option<String> {
    if let Some(units) = group
        .desired_capacity_type
        .as_deref()
        .filter(|units| *units != "units")
    {
        return Some(format!(
            "its capacity is counted in {units}, not in instances"
        ));
    }
    let weights: BTreeSet<&str> = group
        .mixed_instances_policy
        .iter()
        .flat_map(|policy| &policy.overrides)
        .filter_map(|choice| choice.weighted_capacity.as_deref())
        .collect();
    weights
        .iter()
        .any(|weight| *weight != "1")
        .then(|| "its instance types have weights other than 1".to_owned())
}

#[cfg(test)]
mod tests;
