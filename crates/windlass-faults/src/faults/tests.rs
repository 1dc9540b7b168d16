use super::*;
use crate::fake::{Fake, FakeGroup};

struct World {
    cloud: Arc<Fake>,
    faults: Faults,
}

fn world(group: FakeGroup) -> World {
    let cloud = Arc::new(Fake::new());
    cloud.create(group);
    let faults = Faults::before(cloud.clone());
    World { cloud, faults }
}

impl World {
    async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Reply {
        self.faults
            .handle(Call::form(action, parameters))
            .await
            .unwrap()
    }

    async fn set_desired(&self, desired: u32) -> Reply {
        let desired = desired.to_string();
        let parameters = [
            ("AutoScalingGroupName", "web"),
            ("DesiredCapacity", desired.as_str()),
        ];
        self.call("SetDesiredCapacity", &parameters).await
    }

    /// Desired capacity and the instances' states, as a listing shows them.
    async fn listed(&self) -> (u32, Vec<String>) {
        let reply = self.call("DescribeAutoScalingGroups", &[]).await;
        let root = Element::parse(&reply.body).unwrap();
        let group = &root
            .child("DescribeAutoScalingGroupsResult")
            .unwrap()
            .members("AutoScalingGroups")[0];
        let states = group
            .members("Instances")
            .iter()
            .map(|instance| instance.get("LifecycleState").to_owned())
            .collect();
        (group.number("DesiredCapacity"), states)
    }

    async fn activities(&self) -> Vec<String> {
        let parameters = [("AutoScalingGroupName", "web")];
        let reply = self.call("DescribeScalingActivities", &parameters).await;
        Element::parse(&reply.body)
            .unwrap()
            .child("DescribeScalingActivitiesResult")
            .unwrap()
            .members("Activities")
            .iter()
            .map(|activity| activity.get("StatusCode").to_owned())
            .collect()
    }

    fn first_instance(&self) -> String {
        self.cloud.instances("web")[0].0.clone()
    }
}

fn web(min: u32, max: u32, desired: u32) -> FakeGroup {
    FakeGroup::new("web").sizes(min, max, desired)
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_launch_without_capacity_fails_and_stays_wanted() {
    let world = world(web(0, 9, 1));
    world.faults.supply("web", Supply::default().most(2));
    assert_eq!(world.set_desired(4).await.status, 200);
    assert_eq!(world.listed().await, (4, vec!["InService".to_owned(); 2]));
    assert_eq!(world.activities().await, ["Failed", "Successful"]);
    // AWS tries again by itself, and gets what has become free.
    world.faults.supply("web", Supply::default());
    pass(31).await;
    assert_eq!(world.listed().await.1.len(), 4);
    assert!(world.faults.victims().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_launch_takes_its_time() {
    let world = world(web(0, 9, 0));
    let slow = Supply::default().launching_for(Duration::from_mins(1));
    world.faults.supply("web", slow);
    world.set_desired(1).await;
    assert_eq!(world.listed().await, (1, vec![]));
    assert_eq!(world.activities().await, ["InProgress"]);
    pass(60).await;
    assert_eq!(world.listed().await.1.len(), 1);
    assert_eq!(world.activities().await, ["Successful"]);
}

#[tokio::test(start_paused = true)]
async fn limits_are_enforced_as_aws_words_it() {
    let world = world(web(1, 3, 1));
    let above = world.set_desired(4).await;
    assert_eq!(above.status, 400);
    assert!(
        above.body.contains("is above max value 3"),
        "{}",
        above.body
    );
    assert!(
        world
            .set_desired(0)
            .await
            .body
            .contains("is below min value 1")
    );
    let instance = world.first_instance();
    let parameters = [
        ("InstanceId", instance.as_str()),
        ("ShouldDecrementDesiredCapacity", "true"),
    ];
    let ended = world
        .call("TerminateInstanceInAutoScalingGroup", &parameters)
        .await;
    assert!(ended.body.contains("desiredSize equals minSize (1)"));
    let unknown = [("InstanceId", "i-9")];
    let ended = world
        .call("TerminateInstanceInAutoScalingGroup", &unknown)
        .await;
    assert!(ended.body.contains("Instance Id not found"));
}

#[tokio::test(start_paused = true)]
async fn lowering_makes_aws_pick_a_victim_after_a_while() {
    let world = world(web(0, 9, 3));
    world.set_desired(2).await;
    pass(19).await;
    assert_eq!(world.listed().await.1.len(), 3);
    // Who raises it in time saves them all.
    world.set_desired(3).await;
    pass(30).await;
    assert_eq!(world.listed().await.1.len(), 3);
    world.set_desired(2).await;
    world.listed().await;
    pass(20).await;
    assert_eq!(world.listed().await.1.len(), 2);
    assert_eq!(world.faults.victims().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn instances_pass_through_their_lifecycle() {
    let world = world(web(0, 9, 0));
    let supply = Supply::default()
        .pending_for(Duration::from_secs(30), "Pending:Wait")
        .terminating_for(Duration::from_mins(1));
    world.faults.supply("web", supply);
    world.set_desired(1).await;
    assert_eq!(world.listed().await.1, ["Pending:Wait"]);
    pass(30).await;
    assert_eq!(world.listed().await.1, ["InService"]);
    let instance = world.first_instance();
    let ending = [
        ("InstanceId", instance.as_str()),
        ("ShouldDecrementDesiredCapacity", "true"),
    ];
    world
        .call("TerminateInstanceInAutoScalingGroup", &ending)
        .await;
    assert_eq!(
        world.listed().await,
        (0, vec!["Terminating:Wait".to_owned()])
    );
    world
        .call(
            "CompleteLifecycleAction",
            &[
                ("AutoScalingGroupName", "web"),
                ("InstanceId", instance.as_str()),
            ],
        )
        .await;
    assert_eq!(world.listed().await.1.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_termination_of_the_same_instance_lowers_again() {
    let world = world(web(0, 9, 3));
    let slow = Supply::default().terminating_for(Duration::from_mins(1));
    world.faults.supply("web", slow);
    world.listed().await;
    let instance = world.first_instance();
    let ending = [
        ("InstanceId", instance.as_str()),
        ("ShouldDecrementDesiredCapacity", "true"),
    ];
    for desired in [2, 1] {
        world
            .call("TerminateInstanceInAutoScalingGroup", &ending)
            .await;
        assert_eq!(world.faults.truth("web").await.unwrap().desired, desired);
    }
}

#[tokio::test(start_paused = true)]
async fn listings_lag_and_repeat_themselves() {
    let world = world(web(0, 9, 1));
    world.listed().await;
    world.faults.lag(Duration::from_secs(5));
    pass(5).await;
    world.set_desired(2).await;
    assert_eq!(world.listed().await, (1, vec!["InService".to_owned()]));
    pass(5).await;
    assert_eq!(world.listed().await.0, 2);
    world.faults.list_twice(true);
    assert_eq!(world.listed().await.1.len(), 4);
    world.faults.list_twice(false);
    let late = Supply::default().listed_after(Duration::from_secs(20));
    world.faults.supply("web", late);
    world.set_desired(3).await;
    pass(10).await;
    // The second is too young yet, too.
    assert_eq!(world.listed().await, (3, vec!["InService".to_owned()]));
    pass(20).await;
    assert_eq!(world.listed().await.1.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_others_do_counts() {
    let world = world(web(0, 9, 1));
    world.faults.supply("web", Supply::default().most(1));
    world.set_desired(3).await;
    world.cloud.set_desired("web", 2);
    assert_eq!(world.listed().await.0, 2);
    world.cloud.delete("web");
    world.cloud.create(web(0, 9, 4));
    assert_eq!(world.listed().await.0, 4);
    assert!(world.faults.victims().is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_are_troubled_and_logged() {
    let world = world(web(0, 9, 1));
    let faults = &world.faults;
    faults.add(Rule::on("SetDesiredCapacity", Trouble::throttling()).times(1));
    assert!(
        world
            .set_desired(2)
            .await
            .body
            .contains("<Code>Throttling</Code>")
    );
    assert_eq!(faults.truth("web").await.unwrap().desired, 1);
    faults.add(Rule::on("SetDesiredCapacity", Trouble::LoseReply).times(1));
    let call = Call::form(
        "SetDesiredCapacity",
        &[("AutoScalingGroupName", "web"), ("DesiredCapacity", "2")],
    );
    assert_eq!(faults.handle(call).await, Err(Lost));
    assert_eq!(faults.truth("web").await.unwrap().desired, 2);
    let log: Vec<(String, Option<u32>, Option<u16>)> = faults
        .log()
        .into_iter()
        .map(|entry| (entry.action, entry.desired, entry.status))
        .collect();
    let action = "SetDesiredCapacity".to_owned();
    assert_eq!(
        log,
        [
            (action.clone(), Some(2), Some(400)),
            (action, Some(2), None)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_synchronous_launch_says_what_it_got() {
    let world = world(web(0, 9, 1));
    world.faults.supply("web", Supply::default().most(3));
    let parameters = [
        ("AutoScalingGroupName", "web"),
        ("RequestedCapacity", "4"),
        ("AvailabilityZones.member.1", "us-east-1a"),
    ];
    let reply = world.call("LaunchInstances", &parameters).await;
    assert_eq!(reply.body.matches("i-").count(), 2, "{}", reply.body);
    assert!(reply.body.contains("InsufficientInstanceCapacity"));
    // What failed is not wanted any more.
    assert_eq!(world.faults.truth("web").await.unwrap().desired, 3);
}
