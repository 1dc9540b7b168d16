//! Auto Scaling as moto plays it, in the process: every request is met at once and nothing is
//! ever late. A few calls of EC2 besides, so that templates can be told.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::call::{Call, Lost, Reply, Upstream};
use crate::clock::Clock;
use crate::xml::Element;

/// The page that `DescribeAutoScalingGroups` gives where none is asked for.
const PAGE: usize = 50;

/// A group to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeGroup {
    name: String,
    min: u32,
    max: u32,
    desired: u32,
    zones: Vec<String>,
    tags: BTreeMap<String, String>,
    instance_type: String,
    /// Further elements of its description, as XML.
    more: String,
}

impl FakeGroup {
    /// A group of `m5.large` in `us-east-1a`, with all sizes 0.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            min: 0,
            max: 0,
            desired: 0,
            zones: vec!["us-east-1a".to_owned()],
            tags: BTreeMap::new(),
            instance_type: "m5.large".to_owned(),
            more: String::new(),
        }
    }

    /// Sets minimum, maximum and desired size.
    #[must_use]
    pub fn sizes(mut self, min: u32, max: u32, desired: u32) -> Self {
        (self.min, self.max, self.desired) = (min, max, desired);
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds the two tags by which an autoscaler finds the groups of `cluster`.
    #[must_use]
    pub fn discovered_by(self, cluster: &str) -> Self {
        self.tag("k8s.io/cluster-autoscaler/enabled", "true")
            .tag(&format!("k8s.io/cluster-autoscaler/{cluster}"), "owned")
    }

    /// Sets the zones.
    #[must_use]
    pub fn zones(mut self, zones: &[&str]) -> Self {
        self.zones = zones.iter().map(|zone| (*zone).to_owned()).collect();
        self
    }

    /// Sets the instance type.
    #[must_use]
    pub fn of_type(mut self, instance_type: &str) -> Self {
        instance_type.clone_into(&mut self.instance_type);
        self
    }

    /// Adds elements to its description, such as a mixed-instances policy in place of the launch
    /// template.
    #[must_use]
    pub fn described(mut self, xml: &str) -> Self {
        xml.clone_into(&mut self.more);
        self
    }
}

#[derive(Debug)]
struct Group {
    spec: FakeGroup,
    created: Timestamp,
    instances: Vec<(String, String)>,
    suspended: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fake {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clock: Clock,
    groups: BTreeMap<String, Group>,
    launched: u64,
}

impl Fake {
    /// No groups yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the time from there.
    pub fn set_clock(&self, clock: Clock) {
        self.state().clock = clock;
    }

    /// Makes a group; one of the same name is replaced.
    pub fn create(&self, group: FakeGroup) {
        let mut state = self.state();
        let created = state.clock.now();
        let (name, desired) = (group.name.clone(), group.desired);
        let group = Group {
            spec: group,
            created,
            instances: Vec::new(),
            suspended: Vec::new(),
        };
        state.groups.insert(name.clone(), group);
        state.resize(&name, desired);
    }

    /// Removes a group with its instances.
    pub fn delete(&self, name: &str) {
        self.state().groups.remove(name);
    }

    /// What a group was made of, for making it anew.
    pub fn spec(&self, name: &str) -> Option<FakeGroup> {
        Some(self.state().groups.get(name)?.spec.clone())
    }

    /// Sets the desired capacity, as somebody at the console would.
    pub fn set_desired(&self, name: &str, desired: u32) {
        let mut state = self.state();
        let Some(group) = state.groups.get(name) else {
            return;
        };
        let desired = desired.clamp(group.spec.min, group.spec.max);
        state.resize(name, desired);
    }

    /// Changes minimum and maximum, and brings the desired capacity between them.
    pub fn set_limits(&self, name: &str, min: u32, max: u32) {
        let mut state = self.state();
        let Some(group) = state.groups.get_mut(name) else {
            return;
        };
        (group.spec.min, group.spec.max) = (min, max);
        let desired = group.spec.desired.clamp(min, max);
        state.resize(name, desired);
    }

    /// Switches processes of a group off.
    pub fn suspend(&self, name: &str, processes: &[&str]) {
        if let Some(group) = self.state().groups.get_mut(name) {
            group.suspended = processes.iter().map(|name| (*name).to_owned()).collect();
        }
    }

    /// Ends an instance behind its group's back; the group replaces it.
    pub fn interrupt(&self, instance: &str) {
        let mut state = self.state();
        let mut owner = None;
        for (name, group) in &mut state.groups {
            let before = group.instances.len();
            group.instances.retain(|(id, _)| id != instance);
            if group.instances.len() < before {
                owner = Some((name.clone(), group.spec.desired));
            }
        }
        if let Some((name, desired)) = owner {
            state.resize(&name, desired);
        }
    }

    /// Ids and zones of a group's instances.
    pub fn instances(&self, name: &str) -> Vec<(String, String)> {
        self.state()
            .groups
            .get(name)
            .map(|group| group.instances.clone())
            .unwrap_or_default()
    }

    /// The names of all groups.
    pub fn names(&self) -> Vec<String> {
        self.state().groups.keys().cloned().collect()
    }

    fn answer(&self, call: &Call) -> Reply {
        let mut state = self.state();
        let name = call.parameter("AutoScalingGroupName").unwrap_or_default();
        match call.action().as_str() {
            "DescribeAutoScalingGroups" => state.describe(call),
            "SetDesiredCapacity" => {
                let desired = call
                    .parameter("DesiredCapacity")
                    .and_then(|desired| desired.parse().ok());
                state.resize(&name, desired.unwrap_or(0));
                Reply::xml("<SetDesiredCapacityResponse/>")
            }
            "TerminateInstanceInAutoScalingGroup" => {
                let id = call.parameter("InstanceId").unwrap_or_default();
                for group in state.groups.values_mut() {
                    let before = group.instances.len();
                    group.instances.retain(|(instance, _)| *instance != id);
                    if group.instances.len() < before {
                        group.spec.desired = group.spec.desired.saturating_sub(1);
                    }
                }
                Reply::xml("<TerminateInstanceInAutoScalingGroupResponse/>")
            }
            "DescribeLaunchTemplateVersions" => state.launch_template(call),
            "DescribeInstanceTypes" => Reply::xml("<DescribeInstanceTypesResponse/>"),
            "DescribeImages" => Reply::xml(IMAGE),
            "DescribeSpotPriceHistory" => Reply::xml("<DescribeSpotPriceHistoryResponse/>"),
            "SetInstanceProtection" => Reply::xml("<SetInstanceProtectionResponse/>"),
            other => Reply::error(call, 400, "InvalidAction", other),
        }
    }
}

const IMAGE: &str = "<DescribeImagesResponse><imagesSet><item><imageId>ami-1</imageId>\
                     <architecture>x86_64</architecture><rootDeviceName>/dev/xvda</rootDeviceName>\
                     <virtualizationType>hvm</virtualizationType></item></imagesSet>\
                     </DescribeImagesResponse>";

impl State {
    fn resize(&mut self, name: &str, desired: u32) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        group.spec.desired = desired;
        let wanted = usize::try_from(desired).unwrap_or(usize::MAX);
        // The oldest go first.
        let surplus = group.instances.len().saturating_sub(wanted);
        group.instances.drain(..surplus);
        while group.instances.len() < wanted {
            self.launched += 1;
            let zone = &group.spec.zones[group.instances.len() % group.spec.zones.len()];
            group
                .instances
                .push((format!("i-{:017x}", self.launched), zone.clone()));
        }
    }

    fn describe(&self, call: &Call) -> Reply {
        let names = call.list("AutoScalingGroupNames.member.");
        let filters: Vec<(String, String)> = (1..)
            .map_while(|index| {
                let filter = format!("Filters.member.{index}");
                Some((
                    call.parameter(&format!("{filter}.Name"))?,
                    call.parameter(&format!("{filter}.Values.member.1"))?,
                ))
            })
            .collect();
        let after = call.parameter("NextToken").unwrap_or_default();
        let page = call
            .parameter("MaxRecords")
            .and_then(|most| most.parse().ok())
            .unwrap_or(PAGE);
        let mut found = self
            .groups
            .iter()
            .filter(|(name, _)| names.is_empty() || names.contains(name))
            .filter(|(_, group)| filters.iter().all(|filter| group.carries(filter)))
            .filter(|(name, _)| after.is_empty() || **name > after);
        let members: Vec<Element> = found
            .by_ref()
            .take(page)
            .map(|(name, group)| group.describe(name))
            .collect();
        let mut result = Element::new("DescribeAutoScalingGroupsResult");
        if found.next().is_some() {
            let last = members
                .last()
                .map(|member| member.get("AutoScalingGroupName").to_owned());
            result = result.with(Element::leaf("NextToken", last.unwrap_or_default()));
        }
        let result = result.with(Element::new("AutoScalingGroups").with_all(members));
        Reply::xml(
            Element::new("DescribeAutoScalingGroupsResponse")
                .with(result)
                .to_xml(),
        )
    }

    /// Launch templates are named after their groups.
    fn launch_template(&self, call: &Call) -> Reply {
        let name = call.parameter("LaunchTemplateName").unwrap_or_default();
        let Some(group) = self.groups.get(&name) else {
            let code = "InvalidLaunchTemplateName.NotFoundException";
            return Reply::error(call, 400, code, &name);
        };
        let data = Element::new("launchTemplateData")
            .with(Element::leaf("imageId", "ami-1"))
            .with(Element::leaf("instanceType", &group.spec.instance_type));
        let item = Element::new("item")
            .with(Element::leaf("launchTemplateId", format!("lt-{name}")))
            .with(Element::leaf("launchTemplateName", &name))
            .with(Element::leaf("versionNumber", 1))
            .with(Element::leaf("defaultVersion", true))
            .with(data);
        Reply::xml(
            Element::new("DescribeLaunchTemplateVersionsResponse")
                .with(Element::new("launchTemplateVersionSet").with(item))
                .to_xml(),
        )
    }
}

impl Group {
    fn carries(&self, (filter, value): &(String, String)) -> bool {
        match filter.strip_prefix("tag:") {
            Some(key) => self.spec.tags.get(key) == Some(value),
            None => self.spec.tags.contains_key(value),
        }
    }

    fn describe(&self, name: &str) -> Element {
        let list = |name: &str, texts: &[String]| {
            Element::new(name).with_all(texts.iter().map(|text| Element::leaf("member", text)))
        };
        let instances = self.instances.iter().map(|(id, zone)| {
            Element::new("member")
                .with(Element::leaf("InstanceId", id))
                .with(Element::leaf("AvailabilityZone", zone))
                .with(Element::leaf("LifecycleState", "InService"))
                .with(Element::leaf("HealthStatus", "Healthy"))
                .with(Element::leaf("InstanceType", &self.spec.instance_type))
                .with(Element::leaf("ProtectedFromScaleIn", false))
        });
        let tags = self.spec.tags.iter().map(|(key, value)| {
            Element::new("member")
                .with(Element::leaf("Key", key))
                .with(Element::leaf("Value", value))
                .with(Element::leaf("PropagateAtLaunch", false))
        });
        let suspended = self
            .suspended
            .iter()
            .map(|process| Element::new("member").with(Element::leaf("ProcessName", process)));
        let mut member = Element::new("member")
            .with(Element::leaf("AutoScalingGroupName", name))
            .with(Element::leaf("MinSize", self.spec.min))
            .with(Element::leaf("MaxSize", self.spec.max))
            .with(Element::leaf("DesiredCapacity", self.spec.desired))
            .with(list("AvailabilityZones", &self.spec.zones))
            .with(Element::new("Instances").with_all(instances))
            .with(Element::new("SuspendedProcesses").with_all(suspended))
            .with(Element::new("Tags").with_all(tags))
            .with(Element::leaf("CreatedTime", self.created));
        let more = Element::parse(&format!("<x>{}</x>", self.spec.more)).unwrap_or_default();
        let has_source = ["MixedInstancesPolicy", "LaunchTemplate"]
            .iter()
            .any(|source| more.child(source).is_some());
        if !has_source {
            member = member.with(
                Element::new("LaunchTemplate").with(Element::leaf("LaunchTemplateName", name)),
            );
        }
        member.with_all(more.children)
    }
}

impl Upstream for Fake {
    fn send(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Reply, Lost>> + Send + '_>> {
        let reply = self.answer(&call);
        Box::pin(std::future::ready(Ok(reply)))
    }
}
