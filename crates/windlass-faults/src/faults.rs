//! The layer itself: every call goes through it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::call::{Call, Lost, Reply, Upstream};
use crate::clock::Clock;
use crate::group::{Command, Group, Supply};
use crate::trouble::{Rule, Trouble};
use crate::xml::Element;

/// Most instances in one `LaunchInstances`.
const MOST_AT_ONCE: u32 = 100;

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it came.
    pub at: Timestamp,
    /// The action.
    pub action: String,
    /// The group or instance that it is about, where it is about one.
    pub about: Option<String>,
    /// The desired capacity that it asks for, if it does.
    pub desired: Option<u32>,
    /// The status of the answer; none if it was lost.
    pub status: Option<u16>,
}

/// An instance that AWS chose to end, because it was told to have fewer than there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its group.
    pub group: String,
    /// Its id.
    pub instance: String,
    /// When it was chosen.
    pub at: Timestamp,
}

/// What a group really is, whatever listings show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Fewest instances.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// The desired capacity.
    pub desired: u32,
    /// The instances.
    pub instances: BTreeSet<String>,
}

/// AWS, as far as it goes wrong. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Faults {
    inner: Arc<Inner>,
}

struct Inner {
    upstream: Arc<dyn Upstream>,
    script: Mutex<Script>,
    groups: tokio::sync::Mutex<Groups>,
}

#[derive(Debug, Default)]
struct Script {
    clock: Clock,
    rules: Vec<Rule>,
    lag: Duration,
    lists_twice: bool,
    answers: BTreeMap<String, Reply>,
    supplies: BTreeMap<String, Supply>,
    warm_pools: BTreeMap<String, Vec<(String, String)>>,
    log: Vec<Entry>,
    victims: Vec<Victim>,
}

#[derive(Debug, Default)]
struct Groups {
    by_name: BTreeMap<String, Group>,
    /// Whose signature our own calls to the other side take.
    caller: Call,
}

impl Faults {
    /// AWS, played by `upstream`.
    pub fn before(upstream: Arc<dyn Upstream>) -> Self {
        Self {
            inner: Arc::new(Inner {
                upstream,
                script: Mutex::default(),
                groups: tokio::sync::Mutex::default(),
            }),
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.inner
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the time from there.
    pub fn set_clock(&self, clock: Clock) {
        self.script().clock = clock;
    }

    /// From now on AWS meets the requests of a group like this.
    pub fn supply(&self, group: &str, supply: Supply) {
        self.script().supplies.insert(group.to_owned(), supply);
    }

    /// Troubles calls; the newest rule that concerns a call decides.
    pub fn add(&self, rule: Rule) {
        self.script().rules.insert(0, rule);
    }

    /// Takes all rules back.
    pub fn clear_rules(&self) {
        self.script().rules.clear();
    }

    /// Listings show what was this long ago.
    pub fn lag(&self, lag: Duration) {
        self.script().lag = lag;
    }

    /// Listings show each instance twice.
    pub fn list_twice(&self, twice: bool) {
        self.script().lists_twice = twice;
    }

    /// All calls of an action are answered with this, whatever they ask: for services that
    /// nobody plays.
    pub fn answer(&self, action: &str, reply: Reply) {
        self.script().answers.insert(action.to_owned(), reply);
    }

    /// The instances of a group's warm pool, with their lifecycle states.
    pub fn warm_pool(&self, group: &str, instances: &[(&str, &str)]) {
        let instances = instances
            .iter()
            .map(|(id, state)| ((*id).to_owned(), (*state).to_owned()))
            .collect();
        self.script().warm_pools.insert(group.to_owned(), instances);
    }

    /// Adds an activity to a group's record.
    pub async fn add_activity(
        &self,
        group: &str,
        description: &str,
        status: &'static str,
        message: &str,
        at: Timestamp,
    ) {
        let mut groups = self.inner.groups.lock().await;
        // It is only kept for a group that is known.
        let _ = self.bring_up_to_date(&mut groups, group).await;
        if let Some(group) = groups.by_name.get_mut(group) {
            group.add_activity(description, status, message, at);
        }
    }

    /// The calls so far.
    pub fn log(&self) -> Vec<Entry> {
        self.script().log.clone()
    }

    /// Forgets the calls so far.
    pub fn forget_log(&self) {
        self.script().log.clear();
    }

    /// The instances that AWS chose to end so far.
    pub fn victims(&self) -> Vec<Victim> {
        self.script().victims.clone()
    }

    /// What a group is, by now.
    pub async fn truth(&self, group: &str) -> Option<Truth> {
        let mut groups = self.inner.groups.lock().await;
        self.bring_up_to_date(&mut groups, group).await.ok()?;
        let group = groups.by_name.get(group)?;
        let (min, max) = group.limits();
        Some(Truth {
            min,
            max,
            desired: group.wanted,
            instances: group.instances(),
        })
    }

    /// Has AWS do what is due in all groups: launches that take their time, victims. Every call
    /// does so for its own groups; a test bed calls this now and then besides.
    pub async fn catch_up(&self) {
        let mut groups = self.inner.groups.lock().await;
        let names: Vec<String> = groups.by_name.keys().cloned().collect();
        for name in names {
            // A group that cannot be looked at now will be at the next call.
            let _ = self.bring_up_to_date(&mut groups, &name).await;
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    ///
    /// [`Lost`] where the caller is to see a broken connection.
    pub async fn handle(&self, call: Call) -> Result<Reply, Lost> {
        let (index, trouble) = self.enter(&call);
        let reply = match trouble {
            None => self.carry_out(&call).await,
            Some(Trouble::Error {
                status,
                code,
                message,
            }) => Ok(Reply::error(&call, status, &code, &message)),
            Some(Trouble::Slow(time)) => {
                tokio::time::sleep(time).await;
                self.carry_out(&call).await
            }
            Some(Trouble::LoseCall) => Err(Lost),
            Some(Trouble::LoseReply) => {
                self.carry_out(&call).await?;
                Err(Lost)
            }
            Some(Trouble::FailAfterwards) => {
                self.carry_out(&call).await?;
                Ok(Reply::error(
                    &call,
                    500,
                    "InternalFailure",
                    "An internal error occurred",
                ))
            }
        };
        if let (Ok(reply), Some(entry)) = (&reply, self.script().log.get_mut(index)) {
            entry.status = Some(reply.status);
        }
        reply
    }

    fn enter(&self, call: &Call) -> (usize, Option<Trouble>) {
        let mut script = self.script();
        let about = call
            .parameter("AutoScalingGroupName")
            .or_else(|| call.parameter("InstanceId"));
        let entry = Entry {
            at: script.clock.now(),
            action: call.action(),
            about,
            desired: call
                .parameter("DesiredCapacity")
                .and_then(|desired| desired.parse().ok()),
            status: None,
        };
        script.log.push(entry);
        let trouble = script.rules.iter_mut().find_map(|rule| rule.judge(call));
        (script.log.len() - 1, trouble)
    }

    async fn carry_out(&self, call: &Call) -> Result<Reply, Lost> {
        let action = call.action();
        if let Some(reply) = self.script().answers.get(&action) {
            return Ok(reply.clone());
        }
        let group = call.parameter("AutoScalingGroupName").unwrap_or_default();
        let is_ours = matches!(
            action.as_str(),
            "SetDesiredCapacity"
                | "TerminateInstanceInAutoScalingGroup"
                | "DescribeAutoScalingGroups"
                | "DescribeScalingActivities"
                | "LaunchInstances"
                | "CompleteLifecycleAction"
        );
        if action == "DescribeWarmPool" && self.script().warm_pools.contains_key(&group) {
            return Ok(self.describe_warm_pool(&group));
        }
        if !is_ours {
            return self.inner.upstream.send(call.clone()).await;
        }
        let mut groups = self.inner.groups.lock().await;
        groups.caller = call.clone();
        match action.as_str() {
            "SetDesiredCapacity" => self.set_desired(&mut groups, call, &group).await,
            "TerminateInstanceInAutoScalingGroup" => self.terminate(&mut groups, call).await,
            "DescribeAutoScalingGroups" => self.describe(&mut groups, call).await,
            "LaunchInstances" => self.launch(&mut groups, call, &group).await,
            "CompleteLifecycleAction" => {
                let id = call.parameter("InstanceId").unwrap_or_default();
                let now = self.now();
                if let Some(group) = groups.by_name.get_mut(&group) {
                    group.complete(&id, now);
                }
                Ok(Reply::xml("<CompleteLifecycleActionResponse/>"))
            }
            _ => {
                self.bring_up_to_date(&mut groups, &group).await?;
                let Some(known) = groups.by_name.get(&group) else {
                    return Ok(unknown_group(call, &group));
                };
                Ok(Reply::xml(known.activities_xml(&group)))
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.script().clock.now()
    }

    async fn set_desired(
        &self,
        groups: &mut Groups,
        call: &Call,
        name: &str,
    ) -> Result<Reply, Lost> {
        self.bring_up_to_date(groups, name).await?;
        let Some(group) = groups.by_name.get_mut(name) else {
            return Ok(unknown_group(call, name));
        };
        let desired: u32 = call
            .parameter("DesiredCapacity")
            .and_then(|desired| desired.parse().ok())
            .unwrap_or(0);
        let (min, max) = group.limits();
        if desired > max {
            let message = format!(
                "New SetDesiredCapacity value {desired} is above max value {max} for the \
                 AutoScalingGroup."
            );
            return Ok(Reply::error(call, 400, "ValidationError", &message));
        }
        if desired < min {
            let message = format!(
                "New SetDesiredCapacity value {desired} is below min value {min} for the \
                 AutoScalingGroup."
            );
            return Ok(Reply::error(call, 400, "ValidationError", &message));
        }
        group.want(desired, self.now());
        self.bring_up_to_date(groups, name).await?;
        Ok(Reply::xml("<SetDesiredCapacityResponse/>"))
    }

    async fn terminate(&self, groups: &mut Groups, call: &Call) -> Result<Reply, Lost> {
        let id = call.parameter("InstanceId").unwrap_or_default();
        let decrements =
            call.parameter("ShouldDecrementDesiredCapacity").as_deref() == Some("true");
        let names: Vec<String> = groups.by_name.keys().cloned().collect();
        for name in names {
            self.bring_up_to_date(groups, &name).await?;
        }
        let now = self.now();
        let owner = groups
            .by_name
            .iter_mut()
            .find(|(_, group)| group.instances().contains(&id) || group.is_leaving(&id));
        let Some((name, group)) = owner else {
            let message =
                format!("Instance Id not found - No managed instance found for instance ID: {id}");
            return Ok(Reply::error(call, 400, "ValidationError", &message));
        };
        let (min, _) = group.limits();
        if decrements && group.wanted <= min {
            let message = format!(
                "Currently, desiredSize equals minSize ({min}). Terminating instance without \
                 replacement will violate group's min size constraint. Either set \
                 shouldDecrementDesiredCapacity flag to false or lower group's min size."
            );
            return Ok(Reply::error(call, 400, "ValidationError", &message));
        }
        if decrements {
            // Also of an instance that is going already: who calls twice lowers twice.
            let wanted = group.wanted - 1;
            group.want(wanted, now);
        }
        if group.instances().contains(&id) {
            group.ended(&id, now);
            group.given = group.given.saturating_sub(1);
            let name = name.clone();
            let ending = groups.caller.by_the_same(
                "TerminateInstanceInAutoScalingGroup",
                &[
                    ("InstanceId", &id),
                    ("ShouldDecrementDesiredCapacity", "true"),
                ],
            );
            self.inner.upstream.send(ending).await?;
            self.bring_up_to_date(groups, &name).await?;
        }
        Ok(Reply::xml("<TerminateInstanceInAutoScalingGroupResponse/>"))
    }

    async fn describe(&self, groups: &mut Groups, call: &Call) -> Result<Reply, Lost> {
        let names: Vec<String> = groups.by_name.keys().cloned().collect();
        for name in names {
            if groups.by_name[&name].is_restless() {
                self.bring_up_to_date(groups, &name).await?;
            }
        }
        let reply = self.inner.upstream.send(call.clone()).await?;
        let Some(mut root) = Element::parse(&reply.body).filter(|_| reply.is_success()) else {
            return Ok(reply);
        };
        let (now, lag, twice) = {
            let script = self.script();
            (script.clock.now(), script.lag, script.lists_twice)
        };
        let listed = root
            .child_mut("DescribeAutoScalingGroupsResult")
            .and_then(|result| result.child_mut("AutoScalingGroups"));
        for member in listed.into_iter().flat_map(|list| &mut list.children) {
            let name = member.get("AutoScalingGroupName").to_owned();
            let group = groups.by_name.entry(name.clone()).or_default();
            if let Some(supply) = self.script().supplies.get(&name) {
                group.supply = supply.clone();
            }
            group.observe(member, now);
            *member = group.shown(member, now, lag, twice);
        }
        Ok(Reply::xml(root.to_xml()))
    }

    async fn launch(&self, groups: &mut Groups, call: &Call, name: &str) -> Result<Reply, Lost> {
        self.bring_up_to_date(groups, name).await?;
        let now = self.now();
        let Some(group) = groups.by_name.get_mut(name) else {
            return Ok(unknown_group(call, name));
        };
        let requested: u32 = call
            .parameter("RequestedCapacity")
            .and_then(|requested| requested.parse().ok())
            .unwrap_or(0);
        let (_, max) = group.limits();
        if !(1..=MOST_AT_ONCE).contains(&requested) || group.wanted + requested > max {
            let message = "RequestedCapacity must be from 1 to 100 and within the group's maximum";
            return Ok(Reply::error(call, 400, "ValidationError", message));
        }
        let before = group.instances();
        let granted = group.stock().min(requested);
        let wanted = group.wanted + granted;
        group.want(wanted, now);
        let message = group.failure().to_owned();
        self.bring_up_to_date(groups, name).await?;
        let new: Vec<Element> = groups.by_name[name]
            .instances()
            .difference(&before)
            .map(|id| Element::leaf("member", id))
            .collect();
        let zone = call
            .parameter("AvailabilityZones.member.1")
            .unwrap_or_default();
        let mut result = Element::new("LaunchInstancesResult");
        if !new.is_empty() {
            result = result.with(
                Element::new("Instances").with(
                    Element::new("member")
                        .with(Element::leaf("AvailabilityZone", &zone))
                        .with(Element::new("InstanceIds").with_all(new)),
                ),
            );
        }
        if granted < requested {
            result = result.with(
                Element::new("Errors").with(
                    Element::new("member")
                        .with(Element::leaf("AvailabilityZone", &zone))
                        .with(Element::leaf("ErrorCode", "InsufficientInstanceCapacity"))
                        .with(Element::leaf("ErrorMessage", message)),
                ),
            );
        }
        Ok(Reply::xml(
            Element::new("LaunchInstancesResponse")
                .with(result)
                .to_xml(),
        ))
    }

    fn describe_warm_pool(&self, group: &str) -> Reply {
        let instances = self.script().warm_pools[group].clone();
        let members = instances.into_iter().map(|(id, state)| {
            Element::new("member")
                .with(Element::leaf("InstanceId", id))
                .with(Element::leaf("AvailabilityZone", "us-east-1a"))
                .with(Element::leaf("LifecycleState", state))
                .with(Element::leaf("HealthStatus", "Healthy"))
        });
        Reply::xml(
            Element::new("DescribeWarmPoolResponse")
                .with(
                    Element::new("DescribeWarmPoolResult")
                        .with(Element::new("Instances").with_all(members)),
                )
                .to_xml(),
        )
    }

    /// Looks at a group on the other side, and has it do what AWS would have done by now.
    async fn bring_up_to_date(&self, groups: &mut Groups, name: &str) -> Result<(), Lost> {
        loop {
            let call = groups.caller.by_the_same(
                "DescribeAutoScalingGroups",
                &[("AutoScalingGroupNames.member.1", name)],
            );
            let reply = self.inner.upstream.send(call).await?;
            let root = Element::parse(&reply.body).unwrap_or_default();
            let found = root
                .child("DescribeAutoScalingGroupsResult")
                .and_then(|result| result.members("AutoScalingGroups").first());
            let Some(description) = found else {
                groups.by_name.remove(name);
                return Ok(());
            };
            let now = self.now();
            let supply = self.script().supplies.get(name).cloned();
            let group = groups.by_name.entry(name.to_owned()).or_default();
            group.supply = supply.unwrap_or_default();
            let before = group.instances();
            group.observe(description, now);
            let Some(command) = group.step(now) else {
                return Ok(());
            };
            let (Command::Launch(size) | Command::PickVictims(size)) = command;
            group.given = size;
            let resize = groups.caller.by_the_same(
                "SetDesiredCapacity",
                &[
                    ("AutoScalingGroupName", name),
                    ("DesiredCapacity", &size.to_string()),
                ],
            );
            self.inner.upstream.send(resize).await?;
            if matches!(command, Command::PickVictims(_)) {
                self.note_victims(groups, name, &before, now).await?;
            }
        }
    }

    async fn note_victims(
        &self,
        groups: &Groups,
        name: &str,
        before: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<(), Lost> {
        let call = groups.caller.by_the_same(
            "DescribeAutoScalingGroups",
            &[("AutoScalingGroupNames.member.1", name)],
        );
        let reply = self.inner.upstream.send(call).await?;
        let mut script = self.script();
        for instance in before {
            if !reply.body.contains(instance.as_str()) {
                script.victims.push(Victim {
                    group: name.to_owned(),
                    instance: instance.clone(),
                    at: now,
                });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Faults")
            .field("script", &self.script())
            .finish_non_exhaustive()
    }
}

fn unknown_group(call: &Call, name: &str) -> Reply {
    let message = format!("Group {name} not found");
    Reply::error(call, 400, "ValidationError", &message)
}

#[cfg(test)]
mod tests;
