//! Explanations: the verdict, the numbers, and a change that does help.

use windlass_core::Memory;
use windlass_model::ObjectName;
use windlass_sim::{Explanation, Scenario, ScenarioReader, Subject, decide_once, explain};

fn scenario(group: &str, pod: &str) -> Scenario {
    let text = format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: NodeGroup\nmetadata: {{name: workers}}\n\
         spec: {group}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: web, creationTimestamp: '2025-12-31T00:00:00Z'}}\n\
         spec: {pod}\n\
         status: {{conditions: [{{type: PodScheduled, status: 'False', reason: Unschedulable}}]}}\n"
    );
    let mut reader = ScenarioReader::new();
    reader
        .read("scenario.yaml", &text)
        .expect("the test's scenario is well-formed");
    reader.finish().expect("the test's scenario is consistent")
}

fn ask(scenario: &Scenario, subject: &Subject) -> Explanation {
    explain(
        &scenario.cluster(),
        &scenario.config,
        &scenario.profiles,
        &Memory::default(),
        scenario.now,
        subject,
    )
    .expect("the test's subject is there")
}

fn about_pod(group: &str, pod: &str) -> Explanation {
    let subject = Subject::Pod(ObjectName::new("default", "web"));
    ask(&scenario(group, pod), &subject)
}

const TEMPLATE: &str = "{status: {capacity: {cpu: 4, memory: 8Gi, pods: 29}}}";

fn group(max_size: i64) -> String {
    format!("{{maxSize: {max_size}, template: {TEMPLATE}}}")
}

fn containers(requests: &str) -> String {
    format!("{{containers: [{{name: c, resources: {{requests: {requests}}}}}]}}")
}

#[test]
fn a_request_that_is_too_big_is_told_with_what_there_is() {
    let explanation = about_pod(&group(3), &containers("{cpu: 5, memory: 1Gi}"));
    assert_eq!(explanation.verdict, "Unschedulable");
    assert_eq!(
        explanation.summary,
        "no group helps: workers has too little cpu (needs 5, a new node has 4 allocatable)"
    );
    let link = &explanation.chain[0];
    assert_eq!(
        (
            link.check.as_str(),
            link.have.as_str(),
            link.need.as_str(),
            link.unit.as_str()
        ),
        ("NodeResourcesFit", "4", "5", "cpu")
    );
    assert_eq!(
        (
            explanation.change[0].from.as_str(),
            explanation.change[0].to.as_str()
        ),
        ("5", "4")
    );
}

#[test]
fn the_change_that_is_named_helps() {
    assert!(
        about_pod(&group(3), &containers("{cpu: 4, memory: 1Gi}"))
            .chain
            .is_empty()
    );
    let full = about_pod(&group(0), &containers("{cpu: 1}"));
    let change = &full.change[0];
    assert_eq!(change.what, "NodeGroup/workers.spec.maxSize");
    let once = decide_once(&scenario(&group(1), &containers("{cpu: 1}")));
    assert!(once.decision.to_text().contains("workers: 0 -> 1"));
    assert_eq!((change.from.as_str(), change.to.as_str()), ("0", "1"));
}

#[test]
fn a_taint_asks_for_a_toleration() {
    let tainted = format!(
        "{{maxSize: 3, template: {{spec: {{taints: [{{key: dedicated, value: gpu, effect: \
         NoSchedule}}]}}, {}",
        &TEMPLATE[1..]
    ) + "}";
    let explanation = about_pod(&tainted, &containers("{cpu: 1}"));
    assert_eq!(explanation.chain[0].check, "TaintToleration");
    assert_eq!(explanation.chain[0].need, "dedicated=gpu:NoSchedule");
    assert_eq!(
        explanation.change[0].what,
        "Pod/default/web.spec.tolerations"
    );
}

#[test]
fn a_pod_that_waits_for_no_node_is_told_apart() {
    let bound = about_pod(&group(3), "{nodeName: n1}");
    assert_eq!(
        (bound.verdict, bound.summary.as_str()),
        ("Bound", "it is on node n1")
    );
    let gated = about_pod(&group(3), "{schedulingGates: [{name: quota}]}");
    assert_eq!(gated.verdict, "Gated");
    let cheap = about_pod(&group(3), "{priority: -100}");
    assert_eq!(cheap.verdict, "Expendable");
}

#[test]
fn a_group_that_grows_or_is_full_says_so() {
    let subject = Subject::Group("workers".into());
    let pod = containers("{cpu: 1}");
    assert_eq!(ask(&scenario(&group(3), &pod), &subject).verdict, "Grows");
    let full = ask(&scenario(&group(0), &pod), &subject);
    assert_eq!(full.verdict, "AtMaximumSize");
    assert_eq!(full.change[0].to, "1");
    let unfit = ask(&scenario(&group(3), &containers("{cpu: 9}")), &subject);
    assert_eq!(unfit.verdict, "NoPodFits");
}

#[test]
fn a_group_s_next_node_is_told_with_where_each_value_is_from() {
    let subject = Subject::Group("workers".into());
    let told = ask(&scenario(&group(3), &containers("{cpu: 1}")), &subject);
    let cpu = told
        .template
        .iter()
        .find(|part| part.part == "allocatable cpu")
        .unwrap();
    assert_eq!(cpu.source, windlass_sim::DESCRIPTION);
    let text = told.to_text();
    let line = text.lines().find(|line| line.contains("allocatable cpu"));
    assert!(line.unwrap().ends_with(windlass_sim::DESCRIPTION), "{text}");
    assert!(!text.contains("kubernetes.io/hostname"), "{text}");
}

#[test]
fn a_subject_that_is_not_there_is_an_error() {
    let scenario = scenario(&group(3), "{}");
    let result = explain(
        &scenario.cluster(),
        &scenario.config,
        &scenario.profiles,
        &Memory::default(),
        scenario.now,
        &Subject::Node("n9".into()),
    );
    assert_eq!(result.unwrap_err().to_string(), "there is no node n9");
}
