//! The expander `grpc` against a server of the protocol, with TLS.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests are tests to clippy only inside a test function"
)]

mod expander;

use std::time::Duration;

use prost::Message as _;
use tonic::Status;
use windlass_core::{
    Decision, ExpanderAnswer, Input, Memory, NoTimeLimits, Progress, decide_asking, prepare,
};
use windlass_grpc_expander::{GrpcExpander, Node, Pod, SetUpError};
use windlass_sim::{Scenario, ScenarioReader};

const AT_ONCE: Duration = Duration::ZERO;

/// Two empty groups of four and of eight cores, and six pods of a core.
fn scenario(expander: &str) -> Scenario {
    let group = |name: &str, cpu: u32| {
        format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: NodeGroup\nmetadata: {{name: {name}}}\nspec:\n  \
             minSize: 0\n  maxSize: 10\n  template:\n    metadata: {{labels: {{tier: {name}}}}}\n    \
             spec: {{taints: [{{key: note, effect: PreferNoSchedule}}]}}\n    status:\n      \
             capacity: {{cpu: '{cpu}', memory: 16Gi, pods: '20'}}\n---\n"
        )
    };
    let pod = |number: u32| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web-{number}\n  labels: {{app: web}}\n  \
             creationTimestamp: '2025-12-31T00:00:00Z'\nspec:\n  containers:\n  - name: web\n    \
             resources: {{requests: {{cpu: '1', memory: 1Gi}}}}\nstatus:\n  conditions:\n  - \
             {{type: PodScheduled, status: 'False', reason: Unschedulable}}\n---\n"
        )
    };
    let pods = (0..6).map(pod).collect::<Vec<_>>().concat();
    let text = format!(
        "{}{}{pods}apiVersion: windlass.dev/v1alpha1\nkind: Simulation\nmetadata: {{name: any}}\nspec:\n  \
         flags: ['--expander={expander}', '--grpc-expander-cert=ca.pem']\n",
        group("large", 8),
        group("small", 4)
    );
    let mut reader = ScenarioReader::new();
    reader.read("scenario", &text).unwrap();
    reader.finish().unwrap()
}

/// Decides with the server's help, as the shell does.
async fn decide(scenario: &Scenario, client: &GrpcExpander) -> Decision {
    let cluster = scenario.cluster();
    let memory = Memory::default();
    let input = Input {
        cluster: &cluster,
        memory: &memory,
        outcomes: &[],
        config: &scenario.config,
        now: scenario.now,
        budget: &NoTimeLimits,
    };
    let mut answers = Vec::new();
    loop {
        let snapshot = prepare(&cluster, &scenario.config);
        match decide_asking(&input, snapshot, &answers) {
            Progress::Decided(decision) => return *decision,
            Progress::Asks(question) => answers.push(client.ask(&question).await),
        }
    }
}

fn growth(decision: &Decision) -> Vec<(&str, i64)> {
    let resizes = decision.plan.scale_up.resizes.iter();
    resizes
        .map(|resize| (resize.group.as_str(), resize.to))
        .collect()
}

fn client(server: &expander::Running) -> GrpcExpander {
    GrpcExpander::new(&server.name(), server.authority.as_bytes()).unwrap()
}

#[tokio::test]
async fn the_group_that_the_server_names_grows() {
    let server = expander::start(AT_ONCE, |_| Ok(vec!["small".to_owned()]));
    let decision = decide(&scenario("grpc"), &client(&server)).await;
    assert_eq!(growth(&decision), [("small", 2)]);
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    let offers: Vec<(&str, i32, usize)> = asked[0]
        .options
        .iter()
        .map(|option| {
            (
                option.node_group_id.as_str(),
                option.node_count,
                option.pod_bytes.len(),
            )
        })
        .collect();
    assert_eq!(offers, [("large", 1, 6), ("small", 2, 6)]);
}

#[tokio::test]
async fn pods_and_nodes_reach_the_server_as_kubernetes_messages() {
    let server = expander::start(AT_ONCE, |_| Ok(vec!["small".to_owned()]));
    decide(&scenario("grpc"), &client(&server)).await;
    let asked = &server.asked()[0];
    let pod = Pod::decode(asked.options[0].pod_bytes[0].as_slice()).unwrap();
    let metadata = pod.metadata.unwrap();
    assert_eq!(metadata.name.as_deref(), Some("web-0"));
    assert_eq!(metadata.namespace.as_deref(), Some("default"));
    assert_eq!(metadata.labels["app"], "web");
    let container = &pod.spec.unwrap().containers[0];
    let requests = &container.resources.as_ref().unwrap().requests;
    assert_eq!(requests["cpu"].string.as_deref(), Some("1"));
    assert_eq!(requests["memory"].string.as_deref(), Some("1Gi"));
    let node = Node::decode(asked.node_bytes_map["small"].as_slice()).unwrap();
    assert_eq!(node.metadata.unwrap().labels["tier"], "small");
    let status = node.status.unwrap();
    assert_eq!(status.allocatable["cpu"].string.as_deref(), Some("4"));
    let taint = &node.spec.unwrap().taints[0];
    assert_eq!(taint.key.as_deref(), Some("note"));
    assert_eq!(asked.node_bytes_map.len(), 2);
}

#[tokio::test]
async fn an_answer_of_none_lets_no_group_grow() {
    let server = expander::start(AT_ONCE, |_| Ok(Vec::new()));
    let decision = decide(&scenario("grpc"), &client(&server)).await;
    assert_eq!(growth(&decision), []);
    let (_, reasons) = &decision.plan.pods.unschedulable[0];
    assert_eq!(
        reasons["small"],
        ["expansion options filtered out and no longer considered"]
    );
}

#[tokio::test]
async fn unknown_groups_are_passed_over() {
    let server = expander::start(AT_ONCE, |_| {
        Ok(vec!["elsewhere".to_owned(), "large".to_owned()])
    });
    let decision = decide(&scenario("grpc"), &client(&server)).await;
    assert_eq!(growth(&decision), [("large", 1)]);
}

#[tokio::test]
async fn an_answer_of_unknown_groups_alone_keeps_all_options() {
    let server = expander::start(AT_ONCE, |_| Ok(vec!["elsewhere".to_owned()]));
    let decision = decide(&scenario("grpc,least-nodes"), &client(&server)).await;
    assert_eq!(growth(&decision), [("large", 1)]);
}

#[tokio::test]
async fn what_the_server_keeps_goes_to_the_next_in_the_chain() {
    let keep_all = |request: &windlass_grpc_expander::BestOptionsRequest| {
        let options = request.options.iter();
        Ok(options.map(|option| option.node_group_id.clone()).collect())
    };
    let server = expander::start(AT_ONCE, keep_all);
    let decision = decide(&scenario("grpc,least-nodes"), &client(&server)).await;
    assert_eq!(growth(&decision), [("large", 1)]);
    let server = expander::start(AT_ONCE, keep_all);
    decide(&scenario("least-nodes,grpc"), &client(&server)).await;
    assert!(server.asked().is_empty(), "least-nodes has left one");
}

#[tokio::test]
async fn a_server_that_fails_keeps_all_options() {
    let server = expander::start(AT_ONCE, |_| Err(Status::internal("no idea")));
    let decision = decide(&scenario("grpc,least-nodes"), &client(&server)).await;
    assert_eq!(growth(&decision), [("large", 1)]);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_late_keeps_all_options() {
    let server = expander::start(Duration::from_mins(10), |_| Ok(vec!["small".to_owned()]));
    let client = client(&server).with_timeout(Duration::from_millis(200));
    let decision = decide(&scenario("grpc,least-nodes"), &client).await;
    assert_eq!(growth(&decision), [("large", 1)]);
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_asked() {
    let server = expander::start(AT_ONCE, |_| Ok(vec!["small".to_owned()]));
    let other = expander::start(AT_ONCE, |_| Ok(Vec::new()));
    let client = GrpcExpander::new(&server.name(), other.authority.as_bytes()).unwrap();
    let decision = decide(&scenario("grpc,least-nodes"), &client).await;
    assert_eq!(growth(&decision), [("large", 1)]);
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_server_that_is_away_keeps_all_options() {
    let server = expander::start(AT_ONCE, |_| Ok(Vec::new()));
    // Nothing listens on the port of a socket that was closed.
    let port = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let address = format!("localhost:{port}");
    let client = GrpcExpander::new(&address, server.authority.as_bytes()).unwrap();
    let question = windlass_core::ExpanderQuestion {
        options: Vec::new(),
        templates: std::collections::BTreeMap::new(),
    };
    assert_eq!(client.ask(&question).await, ExpanderAnswer::Unavailable);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_at_the_start() {
    let no_certificate = GrpcExpander::new("localhost:7000", b"not a certificate");
    assert!(matches!(no_certificate, Err(SetUpError::NoCertificate)));
    let server = expander::start(AT_ONCE, |_| Ok(Vec::new()));
    let no_address = GrpcExpander::new("a server", server.authority.as_bytes());
    assert!(matches!(no_address, Err(SetUpError::Address { .. })));
}
