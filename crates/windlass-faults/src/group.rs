//! One group as AWS would have it, while the other side has only what AWS would have by now. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::xml::Element;

/// How AWS meets what a group asks for. By default it does so at once and without limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supply {
    most: u32,
    message: String,
    launch_time: Duration,
    retry: Duration,
    pending: Option<(Duration, &'static str)>,
    terminating: Duration,
    victim_delay: Duration,
    listing_delay: Duration,
}

impl Default for Supply {
    fn default() -> Self {
        Self {
            most: u32::MAX,
            message: "Could not launch On-Demand Instances. InsufficientInstanceCapacity - There \
                      is no capacity available that matches your request. Launching EC2 instance \
                      failed."
                .to_owned(),
            launch_time: Duration::ZERO,
            retry: Duration::from_secs(30),
            pending: None,
            terminating: Duration::ZERO,
            victim_delay: Duration::from_secs(20),
            listing_delay: Duration::ZERO,
        }
    }
}

impl Supply {
    /// The group gets no instance beyond this many; further launches fail.
    #[must_use]
    pub fn most(self, most: u32) -> Self {
        Self { most, ..self }
    }

    /// What the activities of failed launches say.
    #[must_use]
    pub fn failing_with(self, message: &str) -> Self {
        Self {
            message: message.to_owned(),
            ..self
        }
    }

    /// A launch is in progress for this long.
    #[must_use]
    pub fn launching_for(self, launch_time: Duration) -> Self {
        Self {
            launch_time,
            ..self
        }
    }

    /// A new instance is `Pending`, or in another state, for this long.
    #[must_use]
    pub fn pending_for(self, time: Duration, state: &'static str) -> Self {
        Self {
            pending: Some((time, state)),
            ..self
        }
    }

    /// An instance that was ended is listed as `Terminating:Wait` for this long.
    #[must_use]
    pub fn terminating_for(self, terminating: Duration) -> Self {
        Self {
            terminating,
            ..self
        }
    }

    /// A new instance is left out of listings for this long.
    #[must_use]
    pub fn listed_after(self, listing_delay: Duration) -> Self {
        Self {
            listing_delay,
            ..self
        }
    }
}

/// What the other side is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// To have more: launches that have worked out.
    Launch(u32),
    /// To have fewer: AWS has waited long enough and picks whom it likes.
    PickVictims(u32),
}

#[derive(Clone, Debug)]
struct Activity {
    id: u64,
    description: String,
    status: &'static str,
    message: String,
    start: Timestamp,
    end: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Launch {
    due: Timestamp,
    activity: u64,
}

/// What a listing shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    desired: u32,
    instances: Vec<Element>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) supply: Supply,
    created: String,
    /// The desired capacity.
    pub(crate) wanted: u32,
    /// What the other side was last told to have.
    pub(crate) given: u32,
    launching: Vec<Launch>,
    next_try: Option<Timestamp>,
    over_since: Option<Timestamp>,
    leaving: BTreeMap<String, (Timestamp, Element)>,
    first_seen: BTreeMap<String, Timestamp>,
    activities: Vec<Activity>,
    history: Vec<(Timestamp, View)>,
    /// The other side's own description, as it was last.
    last: Element,
}

impl Group {
    pub(crate) fn instances(&self) -> BTreeSet<String> {
        self.last
            .members("Instances")
            .iter()
            .map(|instance| instance.get("InstanceId").to_owned())
            .collect()
    }

    pub(crate) fn limits(&self) -> (u32, u32) {
        (self.last.number("MinSize"), self.last.number("MaxSize"))
    }

    fn live(&self) -> u32 {
        u32::try_from(self.last.members("Instances").len()).unwrap_or(u32::MAX)
    }

    fn is_suspended(&self, process: &str) -> bool {
        self.last
            .members("SuspendedProcesses")
            .iter()
            .any(|suspended| suspended.get("ProcessName") == process)
    }

    /// Takes in the other side's description.
    pub(crate) fn observe(&mut self, description: &Element, now: Timestamp) {
        let desired = description.number("DesiredCapacity");
        if self.created != description.get("CreatedTime") {
            // Another group of the same name, or the first time that it is seen.
            *self = Self {
                supply: self.supply.clone(),
                created: description.get("CreatedTime").to_owned(),
                wanted: desired,
                given: desired,
                ..Self::default()
            };
        }
        if self.given != desired {
            // Somebody else has set it, and the other side has done it already.
            (self.wanted, self.given) = (desired, desired);
            self.launching.clear();
        }
        self.last = description.clone();
        let (min, max) = self.limits();
        self.wanted = self.wanted.max(min).min(max.max(min));
        let present = self.instances();
        self.first_seen.retain(|id, _| present.contains(id));
        for id in present {
            self.first_seen.entry(id).or_insert(now);
        }
        self.remember(now);
    }

    /// Whether time alone may change it.
    pub(crate) fn is_restless(&self) -> bool {
        self.wanted != self.live() || !self.launching.is_empty() || !self.leaving.is_empty()
    }

    /// How many instances AWS would have for it now.
    pub(crate) fn stock(&self) -> u32 {
        self.supply.most.saturating_sub(self.live())
    }

    /// What a failed launch says.
    pub(crate) fn failure(&self) -> &str {
        &self.supply.message
    }

    /// Takes in a request for another desired capacity.
    pub(crate) fn want(&mut self, desired: u32, now: Timestamp) {
        self.wanted = desired;
        self.next_try = Some(now);
        self.remember(now);
    }

    /// Takes in that an instance was ended by name.
    pub(crate) fn ended(&mut self, id: &str, now: Timestamp) {
        let listed = self
            .last
            .members("Instances")
            .iter()
            .find(|instance| instance.get("InstanceId") == id);
        if let Some(listed) = listed {
            let mut leaving = listed.clone();
            leaving.set("LifecycleState", "Terminating:Wait");
            let until = after(now, self.supply.terminating);
            self.leaving.insert(id.to_owned(), (until, leaving));
        }
        self.note(
            format!("Terminating EC2 instance: {id}"),
            "Successful",
            "",
            now,
        );
    }

    pub(crate) fn is_leaving(&self, id: &str) -> bool {
        self.leaving.contains_key(id)
    }

    /// Ends the waits of lifecycle hooks.
    pub(crate) fn complete(&mut self, id: &str, now: Timestamp) {
        if let Some(leaving) = self.leaving.get_mut(id) {
            leaving.0 = now;
        }
        if let (Some(seen), Some((time, _))) = (self.first_seen.get_mut(id), self.supply.pending) {
            *seen = now.checked_sub(signed(time)).unwrap_or(now);
        }
    }

    /// What AWS does next, once what it has done before is on the other side.
    pub(crate) fn step(&mut self, now: Timestamp) -> Option<Command> {
        self.leaving.retain(|_, (until, _)| now < *until);
        let live = self.live();
        self.begin_launches(live, now);
        let due: Vec<u64> = self
            .launching
            .iter()
            .filter(|launch| launch.due <= now)
            .map(|launch| launch.activity)
            .collect();
        if !due.is_empty() {
            self.launching.retain(|launch| now < launch.due);
            for activity in &due {
                self.finish(*activity, "Successful", now);
            }
            return Some(Command::Launch(
                live + u32::try_from(due.len()).unwrap_or(u32::MAX),
            ));
        }
        if live <= self.wanted || self.is_suspended("Terminate") {
            self.over_since = None;
            return None;
        }
        let since = *self.over_since.get_or_insert(now);
        if after(since, self.supply.victim_delay) <= now {
            self.over_since = None;
            return Some(Command::PickVictims(self.wanted));
        }
        None
    }

    fn begin_launches(&mut self, live: u32, now: Timestamp) {
        let room = usize::try_from(self.wanted.saturating_sub(live)).unwrap_or(usize::MAX);
        for launch in self.launching.split_off(room.min(self.launching.len())) {
            self.finish(launch.activity, "Cancelled", now);
        }
        let under_way = u32::try_from(self.launching.len()).unwrap_or(u32::MAX);
        let missing = self.wanted.saturating_sub(live + under_way);
        let is_time = self.next_try.is_none_or(|next| next <= now);
        if missing == 0 || !is_time || self.is_suspended("Launch") {
            return;
        }
        let room = self.supply.most.saturating_sub(live + under_way);
        let begun = missing.min(room);
        for _ in 0..begun {
            let activity = self.note(
                "Launching a new EC2 instance".to_owned(),
                "InProgress",
                "",
                now,
            );
            let due = after(now, self.supply.launch_time);
            self.launching.push(Launch { due, activity });
        }
        if begun < missing {
            let message = self.supply.message.clone();
            self.note(
                "Launching a new EC2 instance".to_owned(),
                "Failed",
                &message,
                now,
            );
            self.next_try = Some(after(now, self.supply.retry));
        }
    }

    fn note(
        &mut self,
        description: String,
        status: &'static str,
        message: &str,
        now: Timestamp,
    ) -> u64 {
        let id = self.activities.last().map_or(0, |last| last.id + 1);
        self.activities.push(Activity {
            id,
            description,
            status,
            message: message.to_owned(),
            start: now,
            end: (status != "InProgress").then_some(now),
        });
        id
    }

    /// Adds an activity of the past, or of a kind that nothing here brings about.
    pub(crate) fn add_activity(
        &mut self,
        description: &str,
        status: &'static str,
        message: &str,
        at: Timestamp,
    ) {
        self.note(description.to_owned(), status, message, at);
    }

    fn finish(&mut self, id: u64, status: &'static str, now: Timestamp) {
        if let Some(activity) = self
            .activities
            .iter_mut()
            .find(|activity| activity.id == id)
        {
            (activity.status, activity.end) = (status, Some(now));
        }
    }

    /// The group's description as a listing that lags by `lag` shows it.
    pub(crate) fn shown(
        &self,
        fresh: &Element,
        now: Timestamp,
        lag: Duration,
        twice: bool,
    ) -> Element {
        let as_of = now.checked_sub(signed(lag)).unwrap_or(now);
        let view = self
            .history
            .iter()
            .rev()
            .find(|(at, _)| *at <= as_of)
            .or_else(|| self.history.first())
            .map(|(_, view)| view.clone())
            .unwrap_or_default();
        let mut instances: Vec<Element> = view
            .instances
            .into_iter()
            .filter_map(|instance| self.dressed(instance, now))
            .collect();
        instances.extend(
            self.leaving
                .iter()
                .filter(|(_, (until, _))| now < *until)
                .map(|(_, (_, instance))| instance.clone()),
        );
        if twice {
            let again = instances.clone();
            instances.extend(again);
        }
        let mut shown = fresh.clone();
        shown.set("DesiredCapacity", view.desired);
        shown.children.retain(|child| child.name != "Instances");
        shown
            .children
            .push(Element::new("Instances").with_all(instances));
        shown
    }

    /// An instance in the state that it is in; none while it is not listed.
    fn dressed(&self, mut instance: Element, now: Timestamp) -> Option<Element> {
        let id = instance.get("InstanceId").to_owned();
        if self.leaving.contains_key(&id) {
            return None;
        }
        if let Some(seen) = self.first_seen.get(&id) {
            if now < after(*seen, self.supply.listing_delay) {
                return None;
            }
            if let Some((time, state)) = self.supply.pending
                && now < after(*seen, time)
            {
                instance.set("LifecycleState", state);
            }
        }
        Some(instance)
    }

    fn remember(&mut self, now: Timestamp) {
        let view = View {
            desired: self.wanted,
            instances: self.last.members("Instances").to_vec(),
        };
        if self.history.last().is_none_or(|(_, last)| *last != view) {
            self.history.push((now, view));
        }
        // Nothing lags by more.
        if self.history.len() > 200 {
            self.history.drain(..100);
        }
    }

    /// The activities, newest first, as `DescribeScalingActivities` gives them.
    pub(crate) fn activities_xml(&self, group: &str) -> String {
        let members = self.activities.iter().rev().take(100).map(|activity| {
            let mut member = Element::new("member")
                .with(Element::leaf(
                    "ActivityId",
                    format!("{group}-{}", activity.id),
                ))
                .with(Element::leaf("AutoScalingGroupName", group))
                .with(Element::leaf("Description", &activity.description))
                .with(Element::leaf("Cause", "by the test"))
                .with(Element::leaf("StartTime", activity.start))
                .with(Element::leaf("StatusCode", activity.status))
                .with(Element::leaf("StatusMessage", &activity.message))
                .with(Element::leaf("Details", "{}"));
            if let Some(end) = activity.end {
                member = member.with(Element::leaf("EndTime", end));
            }
            member
        });
        Element::new("DescribeScalingActivitiesResponse")
            .with(
                Element::new("DescribeScalingActivitiesResult")
                    .with(Element::new("Activities").with_all(members)),
            )
            .to_xml()
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn after(time: Timestamp, pause: Duration) -> Timestamp {
    time.checked_add(signed(pause)).unwrap_or(Timestamp::MAX)
}
