use windlass_aws_client::autoscaling::Tag;
use windlass_aws_client::eks::NodegroupTaint;
use windlass_model::CsiNode;

use super::*;
use crate::instance_type::Catalogue;

struct Case {
    group: AutoScalingGroup,
    tags: GroupTags,
    types: Vec<Arc<InstanceType>>,
    user_data: UserData,
    eks: Option<Nodegroup>,
    learned: Learned,
    max_pods: AwsMaxPods,
    mixed: AwsMixedTemplate,
}

fn case(types: &[&str]) -> Case {
    let catalogue = Catalogue::default();
    Case {
        group: AutoScalingGroup {
            name: "workers".to_owned(),
            availability_zones: vec!["us-west-2-lax-1a".to_owned(), "us-west-2b".to_owned()],
            ..AutoScalingGroup::default()
        },
        tags: GroupTags::default(),
        types: types
            .iter()
            .map(|name| catalogue.get(name).unwrap())
            .collect(),
        user_data: UserData::default(),
        eks: None,
        learned: Learned::default(),
        max_pods: AwsMaxPods::Auto,
        mixed: AwsMixedTemplate::Min,
    }
}

impl Case {
    fn build(&self) -> Result<Template, TemplateError> {
        build(&Known {
            group: &self.group,
            tags: &self.tags,
            region: "us-west-2",
            types: &self.types,
            user_data: &self.user_data,
            root_volume_gib: Some(20),
            image: Some("ami-1"),
            is_windows: false,
            eks: self.eks.as_ref(),
            learned: &self.learned,
            max_pods: self.max_pods,
            mixed: self.mixed,
            with_volume_limits: true,
        })
    }

    fn node(&self) -> Node {
        (*self.build().unwrap().node.node).clone()
    }

    fn tag(&mut self, key: &str, value: &str) {
        self.tags = GroupTags::read(&[Tag {
            key: format!("k8s.io/cluster-autoscaler/node-template/{key}"),
            value: value.to_owned(),
            propagate_at_launch: false,
        }]);
    }
}

fn amount(list: &ResourceList, name: &str) -> String {
    list.get(name)
        .map_or("none".to_owned(), |amount| amount.to_string())
}

#[test]
fn a_plain_machine_is_less_than_its_data_sheet() {
    let node = case(&["m5.large"]).node();
    assert_eq!(amount(&node.capacity, "cpu"), "2");
    assert_eq!(amount(&node.allocatable, "cpu"), "1930m");
    assert_eq!(amount(&node.capacity, "pods"), "110");
    let bytes = |list: &ResourceList| list.get("memory").unwrap().units_ceil() >> 20;
    assert_eq!(bytes(&node.capacity), 7577);
    assert_eq!(bytes(&node.allocatable), 7577 - 255 - 11 * 110 - 100);
    assert_eq!(amount(&node.capacity, "ephemeral-storage"), "20Gi");
    assert_eq!(amount(&node.allocatable, "ephemeral-storage"), "17Gi");
}

#[test]
fn labels_name_zone_region_and_machine() {
    let node = case(&["m6g.large"]).node();
    for (key, value) in [
        ("kubernetes.io/arch", "arm64"),
        ("kubernetes.io/os", "linux"),
        ("node.kubernetes.io/instance-type", "m6g.large"),
        ("topology.kubernetes.io/region", "us-west-2"),
        ("topology.kubernetes.io/zone", "us-west-2-lax-1a"),
        ("topology.ebs.csi.aws.com/zone", "us-west-2-lax-1a"),
        ("kubernetes.io/hostname", "workers-asg-template"),
    ] {
        assert_eq!(node.labels.get(key).unwrap(), value, "{key}");
    }
}

#[test]
fn accelerators_carry_the_names_of_their_device_plugins() {
    let node = case(&["g4dn.12xlarge"]).node();
    assert_eq!(amount(&node.allocatable, "nvidia.com/gpu"), "4");
    let node = case(&["inf2.48xlarge"]).node();
    assert_eq!(amount(&node.allocatable, "aws.amazon.com/neuron"), "12");
    assert_eq!(amount(&node.allocatable, "nvidia.com/gpu"), "none");
}

#[test]
fn a_group_of_several_types_promises_what_all_of_them_have() {
    let mut case = case(&["m5.xlarge", "c5.large", "g4dn.xlarge"]);
    assert_eq!(amount(&case.node().capacity, "cpu"), "2");
    assert_eq!(amount(&case.node().capacity, "nvidia.com/gpu"), "none");
    case.mixed = AwsMixedTemplate::First;
    assert_eq!(amount(&case.node().capacity, "cpu"), "4");
    case.mixed = AwsMixedTemplate::Max;
    assert_eq!(amount(&case.node().capacity, "nvidia.com/gpu"), "1");
}

#[test]
fn tags_win_over_what_was_computed() {
    let mut case = case(&["m5.large"]);
    case.tag("resources/ephemeral-storage", "100Gi");
    assert_eq!(
        amount(&case.node().allocatable, "ephemeral-storage"),
        "100Gi"
    );
    case.tag("label/kubernetes.io/arch", "arm64");
    assert_eq!(
        case.node().labels.get("kubernetes.io/arch").unwrap(),
        "arm64"
    );
}

/// Point 12 of the acceptance checklist, as far as EKS is concerned.
#[test]
fn checklist_12_eks_wins_and_its_taints_may_lack_a_value() {
    let mut case = case(&["m5.large"]);
    case.tag("label/team", "from-tag");
    case.eks = Some(Nodegroup {
        nodegroup_name: "ng-1".to_owned(),
        capacity_type: Some("SPOT".to_owned()),
        disk_size: Some(20),
        version: Some("1.36".to_owned()),
        labels: Some([("team".to_owned(), "from-eks".to_owned())].into()),
        taints: Some(vec![NodegroupTaint {
            key: Some("gpu".to_owned()),
            value: None,
            effect: Some("NO_SCHEDULE".to_owned()),
        }]),
        ..Nodegroup::default()
    });
    let node = case.node();
    assert_eq!(node.labels.get("team").unwrap(), "from-eks");
    assert_eq!(
        node.labels.get("eks.amazonaws.com/nodegroup").unwrap(),
        "ng-1"
    );
    assert!(!node.labels.contains_key("k8sVersion"));
    assert!(!node.labels.contains_key("diskSize"));
    assert_eq!(node.taints.len(), 1);
    assert_eq!(node.taints[0].effect, Effect::NoSchedule);
    assert_eq!(node.taints[0].value, "");
}

#[test]
fn user_data_labels_the_node_unless_a_tag_says_otherwise() {
    let mut case = case(&["m5.large"]);
    case.user_data = UserData::from_text("--node-labels=team=a,tier=web --max-pods=58");
    case.tag("label/tier", "db");
    let node = case.node();
    assert_eq!(node.labels.get("team").unwrap(), "a");
    assert_eq!(node.labels.get("tier").unwrap(), "db");
    assert_eq!(amount(&node.capacity, "pods"), "58");
}

#[test]
fn pods_are_counted_as_the_cluster_s_nodes_count_them() {
    let mut one = case(&["m5.large"]);
    one.max_pods = AwsMaxPods::Eni;
    assert_eq!(amount(&one.node().capacity, "pods"), "29");
    // A node of another type has shown that addresses are what counts.
    let mut seen = case(&["t3.medium"]);
    seen.max_pods = AwsMaxPods::Eni;
    let mut node = seen.node();
    node.provider_id = "aws:///us-west-2b/i-1".into();
    one.max_pods = AwsMaxPods::Auto;
    one.learned.see(&node, Some("ami-2"));
    assert_eq!(amount(&one.node().capacity, "pods"), "29");
}

#[test]
fn a_node_seen_is_the_best_prediction_of_the_next() {
    let mut case = case(&["m5.large"]);
    let mut node = case.node();
    node.provider_id = "aws:///us-west-2b/i-1".into();
    node.allocatable.insert("memory", "7Gi".parse().unwrap());
    case.learned.see(&node, Some("ami-1"));
    assert_eq!(amount(&case.node().allocatable, "memory"), "7Gi");
    let source = source_of(&case, "allocatable memory");
    assert_eq!(source, "nodes of the same instance type and image");
}

fn source_of(case: &Case, part: &str) -> &'static str {
    let origins = case.build().unwrap().origins;
    let origin = origins.iter().find(|origin| origin.part == part);
    origin.unwrap().source
}

#[test]
fn a_node_of_another_image_tells_of_the_machine_and_not_of_what_is_reserved() {
    let mut case = case(&["m5.large"]);
    let computed = case.node();
    let reserved = |node: &Node| {
        let memory = |list: &ResourceList| list.get("memory").unwrap().units_ceil();
        memory(&node.capacity) - memory(&node.allocatable)
    };
    let mut seen = computed.clone();
    seen.provider_id = "aws:///us-west-2b/i-1".into();
    seen.capacity.insert("memory", "7800Mi".parse().unwrap());
    seen.allocatable.insert("memory", "3Gi".parse().unwrap());
    seen.allocatable.insert("cpu", "1".parse().unwrap());
    case.learned.see(&seen, Some(ANOTHER_IMAGE));
    let node = case.node();
    assert_eq!(amount(&node.capacity, "memory"), "7800Mi");
    assert_eq!(reserved(&node), reserved(&computed));
    assert_eq!(node.allocatable.get("cpu"), computed.allocatable.get("cpu"));
    let sources = ["capacity memory", "allocatable memory"].map(|part| source_of(&case, part));
    assert_eq!(
        sources,
        ["nodes of the same instance type", "instance type"]
    );
}

#[test]
fn a_group_without_zones_is_an_error_and_no_crash() {
    let mut case = case(&["m5.large"]);
    case.group.availability_zones.clear();
    assert_eq!(case.build(), Err(TemplateError::NoZone));
}

fn csi_node(driver: &str, limit: Option<i64>) -> CsiNode {
    CsiNode {
        drivers: vec![(driver.into(), limit)],
        ..CsiNode::default()
    }
}

fn of_type(name: &str) -> Node {
    let mut node = Node::default();
    node.labels.insert("node.kubernetes.io/instance-type", name);
    node
}

#[test]
fn volumes_are_limited_as_the_driver_has_shown_or_by_the_instance_type() {
    let mut case = case(&["m5.large", "m7i.large"]);
    let volumes = |case: &Case| {
        let template = case.build().unwrap();
        let limit = template.node.csi_node.map(|node| node.drivers[0].1);
        let source = template
            .origins
            .iter()
            .find(|origin| origin.part == "volumes of ebs.csi.aws.com")
            .map(|origin| origin.source);
        (limit, source)
    };
    // Nobody has the driver, so a new node need not have it.
    let other = csi_node("efs.csi.aws.com", None);
    case.learned.see_volume_limit(&of_type("m5.large"), &other);
    assert_eq!(volumes(&case), (None, None));
    // One of another type has.
    let shown = |limit| csi_node("ebs.csi.aws.com", limit);
    case.learned
        .see_volume_limit(&of_type("c5.large"), &shown(Some(20)));
    assert_eq!(volumes(&case), (Some(Some(25)), Some("instance type")));
    // One of the same type has, and of several types the least counts.
    case.learned
        .see_volume_limit(&of_type("m5.large"), &shown(Some(26)));
    assert_eq!(
        volumes(&case),
        (Some(Some(26)), Some("nodes of the same instance type"))
    );
    case.learned
        .see_volume_limit(&of_type("m5.large"), &shown(None));
    assert_eq!(volumes(&case), (Some(Some(31)), Some("instance type")));
}
