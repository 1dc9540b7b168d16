//! AWS as it really behaves: groups without capacity, groups at zero.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use kube::ResourceExt as _;
use windlass_e2e::Run;
use windlass_faults::{Reply, Supply};
use windlass_provision::iam::{Actor, Feature};
use windlass_testbed::proxy::Matcher;
use windlass_testbed::{Boot, Group, Workload, wait_for};

const SOON: Duration = Duration::from_mins(2);
const WORDS: &str = "We currently do not have sufficient capacity in the Availability Zone you \
                     requested (us-east-1a).";

/// Acceptance b of the AWS provider. How long it takes is held against its limit where time is
/// simulated: `windlass-aws`, `three_of_four_groups_without_capacity_cost_less_than_five_seconds`.
#[test]
fn a_pod_gets_its_node_from_the_fourth_group_where_three_have_no_capacity() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let proxy = testbed.faulty_aws()?;
    let faults = proxy.faults().context("the proxy plays AWS")?;
    for (name, instance_type, size) in [
        ("a", "m5.large", 1),
        ("b", "m5a.large", 0),
        ("c", "m6i.large", 0),
        ("d", "m5.xlarge", 0),
    ] {
        let mut group = Group::new(name).sizes(0, 5, size).discovered_by("demo");
        instance_type.clone_into(&mut group.instance_type);
        testbed.aws().create_group(&group)?;
        if name != "d" {
            faults.supply(name, Supply::default().most(size).failing_with(WORDS));
        }
    }
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let before = testbed.aws().group("a")?.instance_ids();
    let windlass = Run::of_cluster("demo")
        .flag("--expander=least-waste")
        .flag("--scale-down-enabled=false")
        .aws_through(&proxy)
        .start(testbed, "windlass")?;
    windlass.wait_for_log("the first view is complete", SOON)?;

    let began = Timestamp::now();
    let workload = Workload::new("web", 2).requests("1500m", "64Mi");
    testbed.cluster().deploy(&workload)?;
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 2, SOON)?;
    let given_up = testbed
        .audit(began)?
        .iter()
        .filter(|record| record.is_unschedulable())
        .map(|record| record.received)
        .min()
        .context("the scheduler gave no pod up")?;
    let asked = proxy
        .requests_matching(&Matcher::action("SetDesiredCapacity"))
        .into_iter()
        .find(|request| request.parameter("AutoScalingGroupName").as_deref() == Some("d"))
        .context("nothing was asked of the fourth group")?;
    let took = asked.received.duration_since(given_up);
    println!("from the scheduler's verdict to the fourth group: {took:#}");

    // What cannot be met is taken back, and nobody dies of it.
    wait_for("the requests to be taken back", SOON, || {
        Ok(windlass.log().matches("took back requests").count() == 3)
    })?;
    ensure!(testbed.aws().group("a")?.instance_ids() == before);
    ensure!(faults.victims().is_empty(), "{:?}", faults.victims());
    let log = windlass.log();
    ensure!(log.contains("do not have sufficient capacity"));
    // What people search their logs for.
    for words in [
        "Regenerating instance to ASG map for ASG names",
        "Refreshed ASG list, next refresh after",
        "Setting asg d size to 1",
        "Instance group a has only 1 instances created while requested count is",
        "Creating placeholder instances.",
        "Instance group a cannot provision any more nodes!",
    ] {
        ensure!(log.contains(words), "no `{words}` in {log}");
    }
    let count = |name: &str| {
        let values = windlass.metric(name)?;
        Ok::<f64, anyhow::Error>(values.iter().map(|(_, value)| value).sum())
    };
    let failures = "windlass_aws_launch_failures_total{code=\"insufficient-capacity\"}";
    ensure!(3.0 <= windlass.sample(failures)?);
    // Counted with every look at AWS.
    wait_for("nothing to be outstanding", SOON, || {
        Ok(count("windlass_aws_outstanding_instances")? == 0.0)
    })?;
    wait_for("the new nodes to be measured", SOON, || {
        Ok(
            1.0 <= count("windlass_aws_request_to_instance_seconds_count")?
                && 1.0 <= count("windlass_aws_instance_to_ready_seconds_count")?,
        )
    })?;
    for endpoint in ["DescribeAutoScalingGroupsPages", "SetDesiredCapacity"] {
        let sample = format!(
            "cluster_autoscaler_aws_request_duration_seconds_count{{endpoint=\"{endpoint}\",\
             status=\"success\"}}"
        );
        ensure!(1.0 <= windlass.sample(&sample)?);
    }
    windlass.check_for_panics()
}

const VOLUME: &str = r#"
apiVersion: v1
kind: PersistentVolume
metadata: {name: data}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef: {namespace: default, name: data}
  csi: {driver: ebs.csi.aws.com, volumeHandle: vol-1}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions:
        - {key: topology.ebs.csi.aws.com/zone, operator: In, values: [us-east-1b]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  volumeName: data
  resources: {requests: {storage: 10Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: training, namespace: default}
spec:
  nodeSelector: {team: ml}
  tolerations:
  - {key: dedicated, operator: Equal, value: gpu, effect: NoSchedule}
  containers:
  - name: main
    image: none
    resources:
      requests: {cpu: "1", memory: 1Gi}
      limits: {nvidia.com/gpu: "1"}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - name: data
    persistentVolumeClaim: {claimName: data}
"#;

/// Acceptance e of the AWS provider.
#[test]
fn a_group_at_zero_gives_a_pod_with_gpu_taint_label_and_volume_its_node() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let template = "k8s.io/cluster-autoscaler/node-template";
    for (name, instance_type, zone, is_special) in [
        ("base", "m5.large", "us-east-1a", false),
        ("cpu-b", "m5.large", "us-east-1b", false),
        ("gpu-a", "g4dn.xlarge", "us-east-1a", true),
        ("gpu-b", "g4dn.xlarge", "us-east-1b", true),
        ("gpu-b-others", "g4dn.xlarge", "us-east-1b", false),
    ] {
        let size = u32::from(name == "base");
        let mut group = Group::new(name).sizes(0, 3, size).discovered_by("demo");
        instance_type.clone_into(&mut group.instance_type);
        zone.clone_into(&mut group.zone);
        let mut boot = Boot::after(Duration::from_secs(1));
        boot.labels
            .insert("topology.ebs.csi.aws.com/zone".to_owned(), zone.to_owned());
        if is_special {
            group = group
                .tag(&format!("{template}/label/team"), "ml")
                .tag(&format!("{template}/taint/dedicated"), "gpu:NoSchedule");
            boot.taints.push((
                "dedicated".to_owned(),
                "gpu".to_owned(),
                "NoSchedule".to_owned(),
            ));
        }
        testbed.joiner().set_boot(name, boot);
        testbed.aws().create_group(&group)?;
    }
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let windlass = Run::of_cluster("demo").start(testbed, "windlass")?;
    windlass.wait_for_log("the first view is complete", SOON)?;
    testbed.cluster().apply(VOLUME)?;
    let node = wait_for("the pod to run", SOON, || {
        let pods = testbed.cluster().pods("default")?;
        let training = pods.into_iter().find(|pod| pod.name_any() == "training");
        Ok(training
            .filter(|pod| windlass_testbed::phase(pod) == "Running")
            .and_then(|pod| pod.spec?.node_name))
    })?;
    let group = testbed.aws().group("gpu-b")?;
    ensure!(group.instances.len() == 1, "{:?}", group.instances);
    for other in ["cpu-b", "gpu-a", "gpu-b-others"] {
        ensure!(testbed.aws().group(other)?.desired == 0, "{other} grew");
    }
    println!("the pod runs on {node} of gpu-b");
    windlass.check_for_panics()
}

/// The price that counts is the operator's, the groups are those of either flag, and EC2 is never
/// asked about instance types.
#[test]
fn by_price_the_cheaper_machine_comes_with_the_flags_of_aws() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let prices = testbed.directory().join("prices");
    // By AWS's list, and by its size, the other one would be the cheaper.
    std::fs::write(&prices, "type m5a.large 1.00\ntype m5.xlarge 0.10\n")?;
    for (name, instance_type, size) in [
        ("base", "m5.large", 1),
        ("cheap", "m5.xlarge", 0),
        ("dear", "m5a.large", 0),
    ] {
        let mut group = Group::new(name).sizes(size, 5, size).tag(name, "it");
        instance_type.clone_into(&mut group.instance_type);
        testbed.aws().create_group(&group)?;
    }
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let windlass = Run::with_flags([
        "--v=4",
        "--nodes=1:1:base",
        "--node-group-auto-discovery=asg:tag=cheap",
        "--node-group-auto-discovery=asg:tag=dear",
        "--node-group-auto-discovery=asg:tag=absent",
        "--aws-discovery-mode=any",
        "--aws-use-static-instance-list",
        "--expander=price",
        "--scale-down-enabled=false",
    ])
    .flag(&format!("--aws-price-file={}", prices.display()))
    .start(testbed, "windlass")?;
    windlass.wait_for_log("the first view is complete", SOON)?;
    windlass.wait_for_log("what one of the discovery flags asks for", SOON)?;
    let workload = Workload::new("web", 2).requests("1500m", "64Mi");
    testbed.cluster().deploy(&workload)?;
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 2, SOON)?;
    ensure!(testbed.aws().group("cheap")?.desired == 1);
    ensure!(testbed.aws().group("dear")?.desired == 0);
    ensure!(!windlass.called().contains("DescribeInstanceTypes"));
    windlass.check_for_panics()
}

/// Groups of every kind but those of EKS, beside a group `web` that is there already.
fn create_odd_groups(testbed: &windlass_testbed::Testbed) -> Result<()> {
    let aws = testbed.aws();
    aws.query(
        "autoscaling",
        "CreateLaunchConfiguration",
        &[
            ("LaunchConfigurationName", "old"),
            ("InstanceType", "c5.large"),
            ("ImageId", "ami-1e749f67"),
        ],
    )?;
    let policy = "MixedInstancesPolicy.LaunchTemplate";
    let template = format!("{policy}.LaunchTemplateSpecification.LaunchTemplateName");
    let requirements = format!("{policy}.Overrides.member.1.InstanceRequirements");
    let (cpus, memory) = (
        format!("{requirements}.VCpuCount.Min"),
        format!("{requirements}.MemoryMiB.Min"),
    );
    for (name, source) in [
        ("old", vec![("LaunchConfigurationName", "old")]),
        (
            "attributes",
            vec![
                (template.as_str(), "web"),
                (cpus.as_str(), "8"),
                (memory.as_str(), "8192"),
            ],
        ),
    ] {
        create_empty_group(testbed, name, &source)?;
    }
    Ok(())
}

/// None of the minimal policy's permissions is spare, and none is missing.
#[test]
fn what_is_called_over_a_growth_and_a_removal_is_what_is_granted() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let web = Group::new("web").sizes(1, 5, 1).discovered_by("demo");
    testbed.aws().create_group(&web)?;
    create_odd_groups(testbed)?;
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let proxy = testbed.faulty_aws()?;
    let faults = proxy.faults().context("the proxy plays AWS")?;
    for group in ["web", "old", "attributes"] {
        // A node that is there before AWS lists its instance would leave nothing to ask activities
        // for.
        let boot = Boot::after(Duration::from_secs(6));
        testbed.joiner().set_boot(group, boot);
        let slow = Supply::default().launching_for(Duration::from_secs(3));
        faults.supply(group, slow);
    }
    faults.answer(
        "GetInstanceTypesFromInstanceRequirements",
        Reply::xml(
            "<R><instanceTypeSet><item><instanceType>m5.4xlarge</instanceType></item>\
             </instanceTypeSet></R>",
        ),
    );
    let windlass = Run::of_cluster("demo")
        .flag("--expander=least-waste")
        .flag("--scale-down-unneeded-time=5s")
        .flag("--scale-down-delay-after-add=5s")
        .aws_through(&proxy)
        .start(testbed, "windlass")?;
    windlass.wait_for_log("the first view is complete", SOON)?;
    let workload = Workload::new("web", 2).requests("1500m", "64Mi");
    testbed.cluster().deploy(&workload)?;
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 2, SOON)?;
    testbed.cluster().delete_deployment("default", "web")?;
    let removal = Matcher::action("TerminateInstanceInAutoScalingGroup");
    wait_for("a removal", SOON, || {
        Ok(!proxy.requests_matching(&removal).is_empty())
    })?;
    let granted = windlass_e2e::granted_for(&[
        Feature::Groups,
        Feature::LaunchTemplates,
        Feature::LaunchConfigurations,
        Feature::InstanceTypes,
        Feature::Attributes,
    ]);
    windlass_e2e::check_exactly(&granted, &windlass.called())?;
    windlass.check_for_panics()
}

const TEAM: &str = "k8s.io/cluster-autoscaler/node-template/label/team";

/// Makes a group at zero with a source of its own, found by the cluster's tags.
fn create_empty_group(
    testbed: &windlass_testbed::Testbed,
    name: &str,
    source: &[(&str, &str)],
) -> Result<()> {
    let mut parameters = vec![
        ("AutoScalingGroupName", name),
        ("MinSize", "0"),
        ("MaxSize", "3"),
        ("AvailabilityZones.member.1", "us-east-1a"),
        ("Tags.member.1.Key", "k8s.io/cluster-autoscaler/enabled"),
        ("Tags.member.1.Value", "true"),
        ("Tags.member.1.PropagateAtLaunch", "false"),
        ("Tags.member.1.ResourceType", "auto-scaling-group"),
        ("Tags.member.1.ResourceId", name),
        ("Tags.member.2.Key", "k8s.io/cluster-autoscaler/demo"),
        ("Tags.member.2.Value", "owned"),
        ("Tags.member.2.PropagateAtLaunch", "false"),
        ("Tags.member.2.ResourceType", "auto-scaling-group"),
        ("Tags.member.2.ResourceId", name),
    ];
    parameters.extend(source);
    let aws = testbed.aws();
    aws.query("autoscaling", "CreateAutoScalingGroup", &parameters)?;
    Ok(())
}

/// Groups that need what is granted for certain kinds of groups, beside a group `web`.
fn create_optional_groups(testbed: &windlass_testbed::Testbed) -> Result<()> {
    let aws = testbed.aws();
    let image = "resolve:ssm:/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-gp2";
    aws.query(
        "ec2",
        "CreateLaunchTemplate",
        &[
            ("LaunchTemplateName", "by-parameter"),
            ("LaunchTemplateData.InstanceType", "m5.large"),
            ("LaunchTemplateData.ImageId", image),
        ],
    )?;
    let template = "LaunchTemplate.LaunchTemplateName";
    create_empty_group(testbed, "by-parameter", &[(template, "by-parameter")])?;
    let policy = "MixedInstancesPolicy";
    let specification = format!("{policy}.LaunchTemplate.LaunchTemplateSpecification");
    create_empty_group(
        testbed,
        "spot",
        &[
            (&format!("{specification}.LaunchTemplateName"), "web"),
            (
                &format!("{policy}.LaunchTemplate.Overrides.member.1.InstanceType"),
                "m5.large",
            ),
            (
                &format!("{policy}.InstancesDistribution.OnDemandPercentageAboveBaseCapacity"),
                "0",
            ),
        ],
    )?;
    let managed = Group::new("managed").sizes(0, 3, 0).discovered_by("demo");
    let managed = managed
        .tag("eks:cluster-name", "demo")
        .tag("eks:nodegroup-name", "managed");
    aws.create_group(&managed)?;
    let pooled = Group::new("pooled").sizes(0, 3, 1).discovered_by("demo");
    aws.create_group(&pooled.tag(TEAM, "pooled"))?;
    aws.query(
        "autoscaling",
        "PutWarmPool",
        &[("AutoScalingGroupName", "pooled"), ("MinSize", "0")],
    )?;
    Ok(())
}

/// With every feature in use every action of the autoscaler's policy is called, and no other.
#[test]
fn with_every_feature_what_is_called_is_what_is_granted() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    for group in ["web", "pooled"] {
        let mut boot = Boot::after(Duration::from_secs(1));
        boot.labels.insert("team".to_owned(), group.to_owned());
        testbed.joiner().set_boot(group, boot);
    }
    let web = Group::new("web").sizes(1, 5, 1).discovered_by("demo");
    testbed.aws().create_group(&web.tag(TEAM, "web"))?;
    create_odd_groups(testbed)?;
    create_optional_groups(testbed)?;
    testbed.cluster().wait_for_ready_nodes(2, SOON)?;
    let proxy = testbed.faulty_aws()?;
    let faults = proxy.faults().context("the proxy plays AWS")?;
    for group in ["web", "pooled"] {
        let slow = Supply::default().launching_for(Duration::from_secs(3));
        faults.supply(group, slow);
        let mut boot = Boot::after(Duration::from_secs(6));
        boot.labels.insert("team".to_owned(), group.to_owned());
        testbed.joiner().set_boot(group, boot);
    }
    let product = r#"{"terms":{"OnDemand":{"A":{"priceDimensions":{"B":
        {"unit":"Hrs","pricePerUnit":{"USD":"0.0960000000"}}}}}}}"#;
    for (action, reply) in [
        (
            "GetInstanceTypesFromInstanceRequirements",
            Reply::xml(
                "<R><instanceTypeSet><item><instanceType>m5.4xlarge</instanceType></item>\
                 </instanceTypeSet></R>",
            ),
        ),
        (
            "GetProducts",
            Reply::json(serde_json::json!({"PriceList": [product]}).to_string()),
        ),
        (
            "DescribeNodegroup",
            Reply::json(r#"{"nodegroup":{"nodegroupName":"managed","status":"ACTIVE"}}"#),
        ),
        (
            "DescribeInstanceRefreshes",
            Reply::xml("<R><DescribeInstanceRefreshesResult/></R>"),
        ),
    ] {
        faults.answer(action, reply);
    }
    faults.warm_pool("pooled", &[("i-0123456789abcdef0", "Warmed:Stopped")]);
    let windlass = Run::of_cluster("demo")
        .flag("--scale-down-unneeded-time=5s")
        .flag("--scale-down-delay-after-add=5s")
        .flag("--aws-ask-prices")
        .flag("--aws-protect-from-scale-in")
        .flag("--aws-launch-api=launch-instances")
        .aws_through(&proxy)
        .start(testbed, "windlass")?;
    windlass.wait_for_log("the first view is complete", SOON)?;
    let granted = windlass_e2e::granted(&[Actor::Autoscaler]);
    let is_called = |action: &str| windlass.called().contains(action);
    // One group grows by either call: of warm pools AWS launches nothing at once.
    for group in ["web", "pooled"] {
        let workload = Workload::new(group, 2)
            .requests("1500m", "64Mi")
            .pod_spec(serde_json::json!({"nodeSelector": {"team": group}}));
        testbed.cluster().deploy(&workload)?;
    }
    for group in ["web", "pooled"] {
        testbed
            .cluster()
            .wait_until_all_run("default", group, 2, SOON)?;
    }
    wait_for("protection from scale-in", SOON, || {
        Ok(is_called("SetInstanceProtection"))
    })?;
    // Somebody ends an instance: is the group being refreshed?
    let victim = testbed
        .aws()
        .group("pooled")?
        .instance_ids()
        .into_iter()
        .next();
    let victim = victim.context("the group has an instance")?;
    testbed.aws().interrupt(&victim)?;
    wait_for("the question about refreshes", SOON, || {
        Ok(is_called("DescribeInstanceRefreshes"))
    })?;
    for group in ["web", "pooled"] {
        testbed.cluster().delete_deployment("default", group)?;
    }
    wait_for("a removal", SOON, || {
        Ok(is_called("TerminateInstanceInAutoScalingGroup"))
    })?;
    windlass_e2e::check_exactly(&granted, &windlass.called())?;
    windlass.check_for_panics()
}
