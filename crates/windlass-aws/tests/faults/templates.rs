//! Points of the acceptance checklist about which groups there are and what their nodes would be.

use std::time::Duration;

use windlass_aws::{
    ActionError, ActionSettings, Aws, Floor, Membership, Presence, TemplateSettings,
};
use windlass_config::{DiscoveryMode, NodeGroupSpec};
use windlass_faults::{FakeGroup, Reply, Rule, Trouble};
use windlass_model::Node;

use crate::cloud::{CLUSTER, Cloud, all_join, discovered, group, ids, pass, spec};

fn node(aws: &Aws, name: &str) -> std::sync::Arc<Node> {
    group(aws, name).template.expect("a template").node
}

fn cpus(aws: &Aws, name: &str) -> Option<i64> {
    let template = group(aws, name).template?;
    Some(template.node.capacity.get("cpu")?.units_ceil())
}

#[tokio::test(start_paused = true)]
async fn checklist_05_named_twice_and_discovered_it_is_one_group_with_the_first_flag_s_limits() {
    let cloud = Cloud::new().await;
    let made = FakeGroup::new("web").sizes(1, 10, 3);
    cloud.fake.create(made.discovered_by(CLUSTER));
    let named = [(2, 4), (0, 9)].map(|(min_size, max_size)| NodeGroupSpec {
        min_size,
        max_size,
        name: "web".to_owned(),
    });
    let tags = spec(&["k8s.io/cluster-autoscaler/enabled".to_owned()]);
    let membership = Membership::new(&named, &[tags], DiscoveryMode::All);
    let aws = cloud.aws_with(membership, ActionSettings::default());
    aws.refresh().await;
    let groups = aws.node_groups();
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].min_size, groups[0].max_size), (2, 4));
    assert_eq!(groups[0].target_size, 3);
    assert_eq!(aws.explain("web").unwrap().found_by, "--nodes");
}

fn policy(overrides: &str) -> String {
    format!(
        "<MixedInstancesPolicy><LaunchTemplate><LaunchTemplateSpecification>\
         <LaunchTemplateName>plain</LaunchTemplateName></LaunchTemplateSpecification>\
         <Overrides>{overrides}</Overrides></LaunchTemplate></MixedInstancesPolicy>"
    )
}

const ATTRIBUTES: &str = "<member><InstanceRequirements><VCpuCount><Min>4</Min></VCpuCount>\
                          <MemoryMiB><Min>4096</Min></MemoryMiB></InstanceRequirements></member>";
const TYPE: &str = "<member><InstanceType>c5.large</InstanceType></member>";

#[tokio::test(start_paused = true)]
async fn checklist_11_attributes_are_asked_for_and_both_kinds_fail_that_group_alone() {
    let cloud = Cloud::new().await;
    for (name, xml) in [
        ("plain", String::new()),
        ("attributes", policy(ATTRIBUTES)),
        ("both", policy(&format!("{TYPE}{ATTRIBUTES}"))),
        ("types", policy(TYPE)),
    ] {
        let made = FakeGroup::new(name).sizes(0, 5, 0).described(&xml);
        cloud.fake.create(made.discovered_by(CLUSTER));
    }
    cloud.faults.answer(
        "GetInstanceTypesFromInstanceRequirements",
        Reply::xml(
            "<R><instanceTypeSet><item><instanceType>m5.xlarge</instanceType></item>\
             <item><instanceType>c5.2xlarge</instanceType></item></instanceTypeSet></R>",
        ),
    );
    let aws = cloud.aws();
    let report = aws.refresh().await;
    assert!(report.listed);
    assert_eq!(cpus(&aws, "plain"), Some(2));
    // The least of what may come.
    assert_eq!(cpus(&aws, "attributes"), Some(4));
    assert_eq!(cpus(&aws, "types"), Some(2));
    assert_eq!(cpus(&aws, "both"), None);
    let told: Vec<(String, String)> = aws.conditions();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "both");
    assert!(
        told[0]
            .1
            .contains("both instance type and instance requirements")
    );
}

fn eks(name: &str) -> FakeGroup {
    FakeGroup::new(name)
        .sizes(0, 5, 0)
        .discovered_by(CLUSTER)
        .tag("eks:cluster-name", "prod")
        .tag("eks:nodegroup-name", name)
        .tag("k8s.io/cluster-autoscaler/node-template/label/team", "tag")
}

#[tokio::test(start_paused = true)]
async fn checklist_12_eks_wins_over_tags_and_a_taint_may_lack_its_value() {
    let cloud = Cloud::new().await;
    let own = "k8s.io/cluster-autoscaler/node-template/autoscaling-options/scaledownunreadytime";
    cloud.fake.create(eks("web").tag(own, "5m"));
    cloud.faults.answer(
        "DescribeNodegroup",
        Reply::json(
            r#"{"nodegroup":{"nodegroupName":"web","capacityType":"SPOT","diskSize":20,
                "labels":{"team":"eks"},
                "taints":[{"key":"dedicated","effect":"NO_SCHEDULE"}],
                "tags":{"k8s.io/cluster-autoscaler/node-template/resources/ephemeral-storage":"9Gi",
                "k8s.io/cluster-autoscaler/node-template/autoscaling-options/scaledownunneededtime":"3m",
                "k8s.io/cluster-autoscaler/node-template/autoscaling-options/scaledownunreadytime":"4m"}}}"#,
        ),
    );
    let aws = cloud.aws();
    aws.refresh().await;
    let node = node(&aws, "web");
    assert_eq!(node.labels.get("team").unwrap(), "eks");
    assert_eq!(
        node.labels.get("eks.amazonaws.com/capacityType").unwrap(),
        "SPOT"
    );
    for phantom in ["nodegroup-name", "cluster-name", "diskSize"] {
        assert!(!node.labels.contains_key(phantom), "{phantom}");
    }
    assert_eq!(node.taints.len(), 1);
    assert_eq!(node.taints[0].value, "");
    let storage = node.allocatable.get("ephemeral-storage").unwrap();
    assert_eq!(storage.units_ceil(), 9 << 30);
    // Settings, too; there the group's own tags come first.
    let options = group(&aws, "web").options;
    let minutes = |count| Some(windlass_model::Duration::from_mins(count));
    assert_eq!(
        (
            options.scale_down_unneeded_time,
            options.scale_down_unready_time
        ),
        (minutes(3), minutes(5))
    );
}

#[tokio::test(start_paused = true)]
async fn checklist_12_a_failing_eks_call_is_not_made_again_for_an_hour() {
    for (status, code) in [
        (404, "ResourceNotFoundException"),
        (403, "AccessDeniedException"),
    ] {
        let cloud = Cloud::new().await;
        cloud.fake.create(eks("web"));
        let refused = Trouble::error(status, code, "no");
        cloud.faults.add(Rule::on("DescribeNodegroup", refused));
        let aws = cloud.aws();
        aws.refresh().await;
        assert_eq!(node(&aws, "web").labels.get("team").unwrap(), "tag");
        pass(&aws, Duration::from_mins(58)).await;
        let asked = cloud
            .called()
            .iter()
            .filter(|action| *action == "DescribeNodegroup")
            .count();
        assert_eq!(asked, 1, "{code}");
    }
}

fn min_size(aws: &Aws, name: &str) -> i64 {
    group(aws, name).min_size
}

fn told(aws: &Aws) -> Vec<String> {
    let conditions = aws.conditions().into_iter();
    conditions.map(|(_, condition)| condition).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_group_that_eks_updates_is_not_shrunk_and_its_issues_are_told() {
    let cloud = Cloud::new().await;
    cloud.fake.create(eks("web").sizes(0, 5, 3));
    let status = |status: &str| {
        Reply::json(format!(
            r#"{{"nodegroup":{{"nodegroupName":"web","status":"{status}","health":{{"issues":[
                {{"code":"Ec2LaunchTemplateNotFound","message":"lt-1 is gone"}}]}}}}}}"#
        ))
    };
    cloud.faults.answer("DescribeNodegroup", status("UPDATING"));
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    assert_eq!(min_size(&aws, "web"), 3);
    let told_now = told(&aws);
    assert!(
        told_now.contains(&"not scaled down: EKS is updating its node group".to_owned())
            && told_now.contains(&"EKS: Ec2LaunchTemplateNotFound: lt-1 is gone".to_owned()),
        "{told_now:?}"
    );
    // It is looked at with every listing until it is over.
    cloud.faults.answer("DescribeNodegroup", status("ACTIVE"));
    pass(&aws, Duration::from_mins(2)).await;
    assert_eq!(min_size(&aws, "web"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_not_shrunk_while_an_instance_refresh_replaces_its_instances() {
    let cloud = Cloud::new().await;
    let made = FakeGroup::new("web").sizes(0, 5, 3);
    cloud.fake.create(made.discovered_by(CLUSTER));
    let refreshes = |status: &str| {
        Reply::xml(format!(
            "<R><DescribeInstanceRefreshesResult><InstanceRefreshes><member>\
             <InstanceRefreshId>1</InstanceRefreshId><Status>{status}</Status></member>\
             </InstanceRefreshes></DescribeInstanceRefreshesResult></R>"
        ))
    };
    let action = "DescribeInstanceRefreshes";
    cloud.faults.answer(action, refreshes("InProgress"));
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    pass(&aws, Duration::from_mins(10)).await;
    let asked = || cloud.called().iter().filter(|it| *it == action).count();
    assert_eq!(asked(), 0, "at rest nobody is asked");
    let (first, _) = cloud.fake.instances("web").remove(0);
    cloud.fake.interrupt(&first);
    pass(&aws, Duration::from_mins(2)).await;
    assert!(0 < asked());
    assert_eq!(min_size(&aws, "web"), 3);
    let hold = "not scaled down: an instance refresh replaces its instances".to_owned();
    assert!(told(&aws).contains(&hold));
    let victim = ids(&aws, "web").remove(0);
    let refused = aws.terminate("web", &victim, Floor::GroupMinimum).await;
    assert!(
        matches!(refused, Err(ActionError::Held { .. })),
        "{refused:?}"
    );
    // It may take hours.
    pass(&aws, Duration::from_mins(90)).await;
    assert_eq!(min_size(&aws, "web"), 3);
    cloud.faults.answer(action, refreshes("Successful"));
    pass(&aws, Duration::from_mins(2)).await;
    assert_eq!(min_size(&aws, "web"), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_look_at_refreshes_goes_on_without() {
    let cloud = Cloud::new().await;
    let made = FakeGroup::new("web").sizes(0, 5, 3);
    cloud.fake.create(made.discovered_by(CLUSTER));
    let denied = Trouble::error(403, "AccessDenied", "not authorized");
    cloud
        .faults
        .add(Rule::on("DescribeInstanceRefreshes", denied));
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    let (first, _) = cloud.fake.instances("web").remove(0);
    cloud.fake.interrupt(&first);
    pass(&aws, Duration::from_mins(8)).await;
    assert_eq!(min_size(&aws, "web"), 0);
    let asked = cloud.called();
    let asked = asked.iter().filter(|it| *it == "DescribeInstanceRefreshes");
    assert_eq!(asked.count(), 1);
    let told = told(&aws);
    assert!(
        told.iter()
            .any(|told| told.contains("whether its instances are being refreshed is not known")),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn checklist_13_a_type_that_is_new_to_aws_itself_appears_without_a_restart() {
    let cloud = Cloud::new().await;
    for (name, instance_type) in [("new", "x99.large"), ("old", "m5.large")] {
        let made = FakeGroup::new(name).sizes(0, 5, 0).of_type(instance_type);
        cloud.fake.create(made.discovered_by(CLUSTER));
    }
    let aws = cloud.aws();
    aws.refresh().await;
    assert_eq!((cpus(&aws, "new"), cpus(&aws, "old")), (None, Some(2)));
    cloud.faults.answer(
        "DescribeInstanceTypes",
        Reply::xml(
            "<R><instanceTypeSet><item><instanceType>x99.large</instanceType>\
             <vCpuInfo><defaultVCpus>6</defaultVCpus></vCpuInfo>\
             <memoryInfo><sizeInMiB>8192</sizeInMiB></memoryInfo></item></instanceTypeSet></R>",
        ),
    );
    pass(&aws, Duration::from_mins(12)).await;
    assert_eq!((cpus(&aws, "new"), cpus(&aws, "old")), (Some(6), Some(2)));
}

#[tokio::test(start_paused = true)]
async fn checklist_16_nodes_of_others_are_not_ours_and_no_error() {
    let cloud = Cloud::new().await;
    let made = FakeGroup::new("web").sizes(0, 5, 2);
    cloud.fake.create(made.discovered_by(CLUSTER));
    let aws = cloud.aws();
    aws.refresh().await;
    let (first, _) = cloud.fake.instances("web").remove(0);
    let present = Presence::Present {
        group: "web".to_owned(),
    };
    assert_eq!(aws.presence(&format!("aws:///us-east-1a/{first}")), present);
    // The Go autoscaler asks nothing about a node that carries its annotation, so as not to warn of
    // it in every loop. Here nobody is warned, and the annotation says nothing of the instance.
    let mut annotated = Node {
        provider_id: format!("aws:///us-east-1a/{first}").into(),
        ..Node::default()
    };
    annotated
        .annotations
        .insert("k8s.io/cluster-autoscaler-enabled", "false");
    aws.learn([&annotated]);
    assert_eq!(aws.presence(&annotated.provider_id), present);
    cloud.fake.interrupt(&first);
    aws.force_refresh();
    aws.refresh().await;
    assert_eq!(
        aws.presence(&format!("aws:///us-east-1a/{first}")),
        Presence::Gone
    );
    for other in [
        "aws:///us-west-2b/5fa0-1c/fargate-ip-10-0-1-2.us-west-2.compute.internal",
        "aws:///us-east-1a/i-0karpenter",
        "eks-hybrid:///us-west-2/prod/node-1",
        "gce://project/zone/node",
        "",
    ] {
        assert_eq!(aws.presence(other), Presence::NotOurs, "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn prices_come_from_file_list_and_market_in_that_order() {
    let cloud = Cloud::new().await;
    let spot = "<MixedInstancesPolicy><LaunchTemplate><LaunchTemplateSpecification>\
                <LaunchTemplateName>spot</LaunchTemplateName></LaunchTemplateSpecification>\
                <Overrides><member><InstanceType>m5.large</InstanceType></member></Overrides>\
                </LaunchTemplate><InstancesDistribution>\
                <OnDemandPercentageAboveBaseCapacity>PERCENT</OnDemandPercentageAboveBaseCapacity>\
                </InstancesDistribution></MixedInstancesPolicy>";
    for (name, xml) in [
        ("on-demand", String::new()),
        ("spot", spot.replace("PERCENT", "0")),
        ("half", spot.replace("PERCENT", "50")),
    ] {
        let made = FakeGroup::new(name).sizes(0, 5, 0).described(&xml);
        cloud.fake.create(made.discovered_by(CLUSTER));
    }
    let aws_with = |prices: &str, ask_prices| {
        let templates = TemplateSettings {
            prices: windlass_aws::price::Prices::read(prices).unwrap(),
            ask_prices,
            ..TemplateSettings::default()
        };
        let membership = discovered(&[CLUSTER]);
        let client = cloud.client.clone();
        Aws::with_client(client, membership, templates, ActionSettings::default())
    };
    let prices = |aws: &Aws| {
        ["on-demand", "spot", "half"].map(|name| group(aws, name).price_per_hour.map(|p| p.0))
    };
    // Built in; a spot price that is not known counts as the price on demand.
    let aws = aws_with("", false);
    aws.refresh().await;
    assert_eq!(prices(&aws), [Some(96_000); 3]);
    // Asked.
    let product = r#"{"terms":{"OnDemand":{"A":{"priceDimensions":{"B":
        {"unit":"Hrs","pricePerUnit":{"USD":"0.1000000000"}}}}}}}"#;
    let list = serde_json::json!({"PriceList": [product]}).to_string();
    cloud.faults.answer("GetProducts", Reply::json(list));
    cloud.faults.answer(
        "DescribeSpotPriceHistory",
        Reply::xml(
            "<R><spotPriceHistorySet><item><instanceType>m5.large</instanceType>\
             <availabilityZone>us-east-1a</availabilityZone><spotPrice>0.040000</spotPrice>\
             <timestamp>2026-01-02T03:04:05.000Z</timestamp></item></spotPriceHistorySet></R>",
        ),
    );
    let aws = aws_with("", true);
    aws.refresh().await;
    assert_eq!(prices(&aws), [Some(100_000), Some(40_000), Some(70_000)]);
    // The file comes first.
    let aws = aws_with("type m5.large 0.08\nspot m5.large us-east-1a 0.02\n", true);
    aws.refresh().await;
    assert_eq!(prices(&aws), [Some(80_000), Some(20_000), Some(50_000)]);
    // Without the permission the built-in ones remain.
    let denied = Trouble::error(400, "AccessDeniedException", "not authorized");
    cloud.faults.add(Rule::new(move |call| {
        let action = call.action();
        matches!(action.as_str(), "GetProducts" | "DescribeSpotPriceHistory")
            .then(|| denied.clone())
    }));
    let aws = aws_with("", true);
    assert!(aws.refresh().await.listed);
    assert_eq!(prices(&aws), [Some(96_000); 3]);
}
