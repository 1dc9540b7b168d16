use super::*;

/// A manifest with the faults of the how-to's: API versions that are gone, a key twice, container
/// fields in a volume, rights that grant nothing, labels and taints of another time.
const OLD: &str = include_str!("old.yaml");

const CLUSTER: &str = "\
apiVersion: windlass.dev/v1alpha1
kind: Cluster
spec:
  cluster: prod
  region: us-west-2
  endpoint: api.example.com:443
  kubernetes: v1.36.3
  securityGroups: [sg-1]
  autoscaler: {image: 'registry.example.com/windlass:v1'}
";

fn config() -> ClusterConfig {
    ClusterConfig::read("cluster.yaml", CLUSTER).unwrap()
}

fn fixed() -> Fixed {
    fix(OLD, &config()).unwrap()
}

fn line_with(text: &str) -> u64 {
    let index = OLD.lines().position(|line| line.contains(text));
    u64::try_from(index.unwrap_or_else(|| panic!("`{text}` is not in the file")) + 1).unwrap()
}

#[track_caller]
fn check(at: &str, part: &str) {
    let line = line_with(at);
    let fixed = fixed();
    let faults = &fixed.faults;
    assert!(
        faults
            .iter()
            .any(|fault| fault.line == line && fault.fault.contains(part)),
        "no fault in line {line} with `{part}`: {faults:#?}"
    );
}

#[test]
fn each_fault_is_named_with_its_line() {
    check("volumes: # first", "again in line");
    check("volumeMounts: # pasted", "a level too deep");
    check("imagePullPolicy: Never # pasted", "a level too deep");
    check("- name: ssl-certs # last", "of the host");
    check("apiVersion: extensions/v1beta1", "served no more");
    check(
        "apiVersion: rbac.authorization.k8s.io/v1beta1",
        "served no more",
    );
    check("- apiGroups: [extensions]", "grants nothing");
    check("resources: [events, endpoints]", "lock of old versions");
    check("resources: [pods/status]", "old versions only");
    check("rules: # cluster", "daemonsets of apps: no list, watch");
    check("rules: # cluster", "jobs of batch: no list, watch");
    check("rules: # cluster", "namespaces of core: no list, watch");
    check(
        "rules: # cluster",
        "csinodes of storage.k8s.io: no list, watch",
    );
    check(
        "rules: # namespace",
        "leases of coordination.k8s.io: no create",
    );
    check(
        "rules: # namespace",
        "configmaps `cluster-autoscaler-status` of core: no list, watch",
    );
    check("image: gcr.io", "that registry is frozen");
    check("imagePullPolicy: Always", "no start without the registry");
    check("cpu: 100m # limit", "throttles");
    check(
        "- name: AWS_REGION",
        "`ap-southeast-1`, and the cluster is in `us-west-2`",
    );
    check("<YOUR CLUSTER NAME>", "placeholder");
    check("nodeSelector:", "stays Pending");
    check("- key: node-role.kubernetes.io/master", "gone since 1.25");
    check("replicas: 1", "nothing scales while it is moved");
    check(
        "- name: cluster-autoscaler # container",
        "no `livenessProbe`",
    );
    check("    spec: # pod", "runs as root");
    check("    spec: # pod", "no `priorityClassName`");
}

#[test]
fn the_users_own_settings_are_kept() {
    let text = fixed().to_yaml();
    assert!(text.contains("--skip-nodes-with-local-storage=false"));
    assert!(text.contains("name: HTTPS_PROXY"));
    assert!(text.contains("team: platform"));
    assert!(
        text.contains("example.com"),
        "rights of the user's own: {text}"
    );
}

#[test]
fn the_mended_manifest_has_no_fault_left() {
    let text = fixed().to_yaml();
    let again = fix(&text, &config()).unwrap();
    assert_eq!(again.faults, [], "{text}");
    assert_eq!(again.to_yaml(), text);
}

#[test]
fn nothing_of_the_old_world_is_left() {
    let text = fixed().to_yaml();
    for gone in [
        "v1beta1",
        "extensions",
        "ssl-certs",
        "pods/status",
        "gcr.io",
        "ap-southeast-1",
    ] {
        assert!(!text.contains(gone), "`{gone}` is left in {text}");
    }
    assert!(text.contains(
        "--node-group-auto-discovery=asg:tag=k8s.io/cluster-autoscaler/enabled,\
         k8s.io/cluster-autoscaler/prod"
    ));
}

#[test]
fn what_cannot_be_mended_is_refused() {
    assert_eq!(
        fix("kind: ConfigMap\n", &config()).unwrap_err(),
        FixError::NoAutoscaler
    );
    assert!(matches!(
        fix("a: [\n", &config()).unwrap_err(),
        FixError::Syntax { line: 1, .. }
    ));
    let wrong = OLD.replace("--v=4", "--vee=4");
    let error = fix(&wrong, &config()).unwrap_err().to_string();
    assert!(
        error.contains("unknown flag `--vee=4`") || error.contains("--vee"),
        "{error}"
    );
}

#[test]
fn an_autoscaler_of_another_cluster_without_credentials_and_rights_is_this_ones() {
    let old = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: cluster-autoscaler, namespace: kube-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cluster-autoscaler, namespace: kube-system}
spec:
  selector: {matchLabels: {app: cluster-autoscaler}}
  template:
    metadata: {labels: {app: cluster-autoscaler}}
    spec:
      serviceAccountName: cluster-autoscaler
      containers:
      - name: cluster-autoscaler
        image: registry.example.com/windlass:v1
        command:
        - ./cluster-autoscaler
        - --node-group-auto-discovery=asg:tag=k8s.io/cluster-autoscaler/enabled,k8s.io/cluster-autoscaler/old
";
    let role = "arn:aws:iam::123456789012:role/autoscaler";
    let text = format!("{CLUSTER}  credentials: {{source: irsa, autoscalerRoleArn: '{role}'}}\n");
    let config = ClusterConfig::read("cluster.yaml", &text).unwrap();
    let fixed = fix(old, &config).unwrap();
    let faults: Vec<String> = fixed.faults.iter().map(ToString::to_string).collect();
    for part in [
        "looks for another cluster's groups",
        "no ClusterRoleBinding",
        "no RoleBinding",
        "stands for no role in AWS",
    ] {
        assert!(
            faults.iter().any(|fault| fault.contains(part)),
            "nothing is said of `{part}`: {faults:#?}"
        );
    }
    let yaml = fixed.to_yaml();
    assert!(yaml.contains("k8s.io/cluster-autoscaler/prod"), "{yaml}");
    assert!(!yaml.contains("cluster-autoscaler/old"), "{yaml}");
    assert!(yaml.contains(role), "{yaml}");
    assert!(yaml.contains("leases"), "{yaml}");
    let again = fix(&yaml, &config).unwrap();
    assert_eq!(again.faults, [], "what is mended has no faults");
}
