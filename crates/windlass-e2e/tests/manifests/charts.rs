//! The chart under helm 3 and the overlays under kustomize, as their users render them: what comes
//! out is what the values of the Go autoscaler's chart promise, and the API server takes it.
//!
//! `tests/charts` holds values files as users of that chart write them, each with the fields that its
//! documentation promises for them: `Kind/name`, then JSON pointers. (`-1` is the last of a list,
//! `null` says that a field must not be there.) The chart itself is not at hand for comparing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use windlass_parts::{Renderers, workspace_root};
use windlass_testbed::Testbed;

/// Kinds whose definitions others bring, which the test bed has not.
const OF_OTHERS: [&str; 2] = ["monitoring.coreos.com/v1", "autoscaling.k8s.io/v1"];

/// The values that the Go autoscaler's chart documents and that mean something on AWS.
const DOCUMENTED: &[&str] = &[
    "additionalLabels",
    "affinity",
    "autoDiscovery.clusterName",
    "autoDiscovery.tags",
    "autoscalingGroups",
    "awsAccessKeyID",
    "awsRegion",
    "awsSecretAccessKey",
    "cloudConfigPath",
    "cloudProvider",
    "containerSecurityContext",
    "customArgs",
    "deployment.annotations",
    "deployment.selector",
    "dnsConfig",
    "dnsPolicy",
    "envFromConfigMap",
    "envFromSecret",
    "expanderPriorities",
    "extraArgs",
    "extraEnv",
    "extraEnvConfigMaps",
    "extraEnvSecrets",
    "extraObjects",
    "extraVolumeMounts",
    "extraVolumeSecrets",
    "extraVolumes",
    "fullnameOverride",
    "hostNetwork",
    "image.pullPolicy",
    "image.pullSecrets",
    "image.repository",
    "image.tag",
    "initContainers",
    "kubeTargetVersionOverride",
    "nameOverride",
    "nodeSelector",
    "podAnnotations",
    "podDisruptionBudget",
    "podLabels",
    "priorityClassName",
    "priorityConfigMapAnnotations",
    "prometheusRule.additionalLabels",
    "prometheusRule.enabled",
    "prometheusRule.interval",
    "prometheusRule.namespace",
    "prometheusRule.rules",
    "rbac.additionalRules",
    "rbac.annotations",
    "rbac.clusterScoped",
    "rbac.create",
    "rbac.pspEnabled",
    "rbac.serviceAccount.annotations",
    "rbac.serviceAccount.automountServiceAccountToken",
    "rbac.serviceAccount.create",
    "rbac.serviceAccount.name",
    "replicaCount",
    "resources",
    "revisionHistoryLimit",
    "secretKeyRefNameOverride",
    "securityContext",
    "service.annotations",
    "service.clusterIP",
    "service.create",
    "service.externalIPs",
    "service.labels",
    "service.loadBalancerIP",
    "service.loadBalancerSourceRanges",
    "service.portName",
    "service.selector",
    "service.servicePort",
    "service.type",
    "serviceMonitor.annotations",
    "serviceMonitor.enabled",
    "serviceMonitor.interval",
    "serviceMonitor.metricRelabelings",
    "serviceMonitor.namespace",
    "serviceMonitor.path",
    "serviceMonitor.relabelings",
    "serviceMonitor.selector",
    "tolerations",
    "topologySpreadConstraints",
    "updateStrategy",
    "vpa.containerPolicy",
    "vpa.enabled",
    "vpa.recommender",
    "vpa.updateMode",
];

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/charts")
}

fn deploy() -> PathBuf {
    workspace_root().join("deploy")
}

fn renderers() -> Result<Renderers> {
    Renderers::ensure(&mut |line| eprintln!("{line}"))
}

/// What a renderer prints, or what it complains of.
fn output_of(program: &Path, arguments: &[&str]) -> Result<Result<String, String>> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("run `{}`", program.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    })
}

fn helm(arguments: &[&str]) -> Result<Result<String, String>> {
    // Without a cluster helm assumes a version of Kubernetes that is long gone.
    let arguments = [arguments, &["--kube-version", "1.36.3"]].concat();
    output_of(&renderers()?.helm, &arguments)
}

/// The chart with values, as release `demo` in `kube-system`.
fn template(more: &[&str]) -> Result<Result<String, String>> {
    let chart = deploy().join("helm/windlass").display().to_string();
    let command = [
        "template",
        "demo",
        chart.as_str(),
        "--namespace",
        "kube-system",
    ];
    helm(&[&command[..], more].concat())
}

fn documents(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("read YAML")?;
    Ok(documents.into_iter().filter(|it| !it.is_null()).collect())
}

fn by_name(objects: &[Value]) -> BTreeMap<String, Value> {
    let name = |object: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!(
            "{}/{}",
            text(&object["kind"]),
            text(&object["metadata"]["name"])
        )
    };
    objects.iter().map(|it| (name(it), it.clone())).collect()
}

/// The part of an object at a JSON pointer, in which `-1` is the last of a list.
fn part<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    let mut words = pointer.split('/').skip(1);
    words.try_fold(object, |part, word| match part {
        Value::Array(items) if word == "-1" => items.last(),
        Value::Array(items) => items.get(word.parse::<usize>().ok()?),
        _ => part.get(word.replace("~1", "/").replace("~0", "~")),
    })
}

fn api_server_takes(testbed: &Testbed, objects: &[Value]) -> Result<usize> {
    let mut taken = 0;
    for object in objects {
        if OF_OTHERS.contains(&object["apiVersion"].as_str().unwrap_or_default()) {
            continue;
        }
        testbed.cluster().check_object(object)?;
        taken += 1;
    }
    Ok(taken)
}

/// Everything that differs from what is expected, in words.
fn differences(name: &str, objects: &BTreeMap<String, Value>) -> Result<Vec<String>> {
    let path = corpus().join(format!("{name}.expect.yaml"));
    let text = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
    let expected: BTreeMap<String, Value> = serde_saphyr::from_str(&text)?;
    let mut found = Vec::new();
    for (key, fields) in &expected {
        if key == "absent" {
            let names = fields.as_array().context("`absent` is a list")?;
            let there = names.iter().filter_map(Value::as_str);
            let there = there.filter(|name| objects.contains_key(*name));
            found.extend(there.map(|it| format!("{name}: {it} is there")));
            continue;
        }
        let Some(object) = objects.get(key) else {
            found.push(format!("{name}: no {key} among {:?}", objects.keys()));
            continue;
        };
        for (pointer, wanted) in fields.as_object().context("fields are a map")? {
            let is = part(object, pointer).unwrap_or(&Value::Null);
            if is != wanted {
                found.push(format!("{name}: {key} {pointer}: {is}, expected {wanted}"));
            }
        }
    }
    Ok(found)
}

/// The paths of values that a file sets.
fn paths(values: &Value) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut rest = vec![(String::new(), values)];
    while let Some((prefix, value)) = rest.pop() {
        for (name, value) in value.as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            rest.push((format!("{path}."), value));
            paths.insert(path);
        }
    }
    paths
}

fn names() -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(corpus())
        .context("read the corpus")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".values.yaml").map(str::to_owned))
        .collect();
    names.sort();
    ensure!(15 <= names.len(), "{} values files", names.len());
    Ok(names)
}

#[test]
fn values_of_the_go_autoscalers_chart_render_what_they_promise() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let mut wrong = Vec::new();
    let mut set = BTreeSet::new();
    let mut taken = 0;
    for name in names()? {
        let file = corpus().join(format!("{name}.values.yaml"));
        let values: Value = serde_saphyr::from_str(&fs::read_to_string(&file)?)?;
        set.extend(paths(&values));
        let rendered = match template(&["--values", &file.display().to_string()])? {
            Ok(rendered) => rendered,
            Err(error) => bail!("{name}: {error}"),
        };
        let objects = documents(&rendered)?;
        wrong.extend(differences(&name, &by_name(&objects))?);
        let checked = api_server_takes(testbed, &objects);
        taken += checked.with_context(|| format!("{name}.values.yaml"))?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missing: Vec<&&str> = DOCUMENTED.iter().filter(|it| !set.contains(**it)).collect();
    ensure!(missing.is_empty(), "no file sets {missing:?}");
    ensure!(100 < taken, "{taken} objects");
    Ok(())
}

#[test]
fn what_the_chart_does_not_take_is_refused_by_name() -> Result<()> {
    for (set, complaint) in [
        ("cloudProvider=gce", "cloudProvider: \"gce\""),
        (
            "azureClientID=x",
            "azureClientID is a value of another cloud",
        ),
        ("civoApiKey=x", "civoApiKey is a value of another cloud"),
        (
            "magnumClusterName=x",
            "magnumClusterName is a value of another cloud",
        ),
        (
            "clusterAPIMode=single-kubeconfig",
            "clusterAPIMode is a value of another cloud",
        ),
        (
            "autoscalingGroupsnamePrefix[0].name=x",
            "autoscalingGroupsnamePrefix is a value",
        ),
        (
            "autoDiscovery.labels[0].color=green",
            "autoDiscovery.labels is a value of another",
        ),
        (
            "autoDiscovery.namespace=x",
            "autoDiscovery.namespace is a value of another cloud",
        ),
        (
            "autoDiscovery.roles[0]=master",
            "autoDiscovery.roles is a value of another cloud",
        ),
        (
            "autoscalingGroups[0].region=FSN1",
            "autoscalingGroups[0].region is a value of another",
        ),
        (
            "autoscalingGroups[0].max=3",
            "autoscalingGroups[0].max is not known",
        ),
        (
            "autoscalingGroups[0].name=a",
            "autoscalingGroups[0].minSize is missing",
        ),
        (
            "rbac.pspEnabled=true",
            "rbac.pspEnabled: Kubernetes has no PodSecurityPolicy",
        ),
        ("replicas=2", "replicas is not known"),
        ("image.repo=x", "image.repo is not known"),
        ("service.port=80", "service.port is not known"),
        (
            "extraEnvSecrets.KEY.name=x",
            "extraEnvSecrets.KEY.key is missing",
        ),
    ] {
        let rendered = template(&["--set", "autoDiscovery.clusterName=demo", "--set", set])?;
        let Err(error) = rendered else {
            bail!("{set} was taken");
        };
        ensure!(error.contains(complaint), "{set}: {error}");
    }
    let Err(error) = template(&[])? else {
        bail!("it was rendered for no groups at all");
    };
    ensure!(error.contains("autoDiscovery.clusterName"), "{error}");
    Ok(())
}

#[test]
fn the_chart_knows_the_names_of_its_own_values_and_passes_the_linter() -> Result<()> {
    let chart = deploy().join("helm/windlass");
    let linted = helm(&["lint", "--strict", &chart.display().to_string()])?;
    ensure!(linted.is_ok(), "{linted:?}");
    let values: Value = serde_saphyr::from_str(&fs::read_to_string(chart.join("values.yaml"))?)?;
    let all = chart.join("values.yaml").display().to_string();
    let with_all = ["--values", &all, "--set", "autoDiscovery.clusterName=demo"];
    let rendered = template(&with_all)?;
    ensure!(rendered.is_ok(), "{rendered:?}");
    let set = paths(&values);
    let missing: Vec<&&str> = DOCUMENTED
        .iter()
        .filter(|it| !set.contains(**it) && **it != "kubeTargetVersionOverride")
        .filter(|it| **it != "rbac.pspEnabled")
        .collect();
    ensure!(
        missing.is_empty(),
        "values.yaml does not tell of {missing:?}"
    );
    Ok(())
}

/// What `windlass manifests --format helm-values` writes is for their chart: it names documented
/// values alone, and ours takes it too.
#[test]
fn values_that_windlass_writes_name_documented_values_alone() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let text = fs::read_to_string(super::EXAMPLE)?;
    ensure!(text.contains("source: irsa"), "the example changed");
    let on_host = text
        .replace("source: irsa", "source: instance-profile")
        .lines()
        .filter(|line| !line.trim_start().starts_with("autoscalerRoleArn"))
        .fold(String::new(), |text, line| text + line + "\n");
    for (name, config) in [("irsa", text), ("on-host", on_host)] {
        let file = testbed.directory().join(format!("{name}.yaml"));
        fs::write(&file, config)?;
        let file = file.display().to_string();
        let written =
            super::windlass(&["manifests", "--config", &file, "--format", "helm-values"])?;
        let values: Value = serde_saphyr::from_str(&written)?;
        for path in paths(&values) {
            let is_documented = DOCUMENTED.iter().any(|known| {
                path == *known
                    || path.starts_with(&format!("{known}."))
                    || known.starts_with(&format!("{path}."))
            });
            ensure!(is_documented, "{name}: {path} is no value of that chart");
        }
        let values = testbed.directory().join(format!("{name}.values.yaml"));
        fs::write(&values, &written)?;
        let rendered = template(&["--values", &values.display().to_string()])?;
        let Ok(rendered) = rendered else {
            bail!("{name}: {rendered:?}");
        };
        api_server_takes(testbed, &documents(&rendered)?)?;
    }
    Ok(())
}

#[test]
fn kustomize_builds_every_overlay_and_the_api_server_takes_it() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let written = testbed.directory().join("kustomize");
    let into = written.display().to_string();
    super::windlass(&[
        "manifests",
        "--config",
        super::EXAMPLE,
        "--format",
        "kustomize",
        "--out",
        &into,
    ])?;
    let kustomize = renderers()?.kustomize;
    for root in [written, deploy().join("kustomize")] {
        for overlay in [
            "base/csr-approver",
            "base/verify",
            "overlays/control-plane",
            "overlays/eks",
            "overlays/compat",
        ] {
            let path = root.join(overlay).display().to_string();
            let built = match output_of(&kustomize, &["build", &path])? {
                Ok(built) => documents(&built)?,
                Err(error) => bail!("{overlay}: {error}"),
            };
            let taken = api_server_takes(testbed, &built).with_context(|| path.clone())?;
            ensure!(0 < taken, "{path} has nothing in it");
            let objects = by_name(&built);
            let pod = |kind: &str| part(&objects[kind], "/spec/template/spec").cloned();
            match overlay {
                "overlays/control-plane" => {
                    let pod = pod("Deployment/cluster-autoscaler").context("its pods")?;
                    ensure!(pod["hostNetwork"] == true, "{pod}");
                    ensure!(pod["containers"][0]["image"].is_string(), "{pod}");
                }
                "overlays/eks" => {
                    let annotations = &objects["ServiceAccount/cluster-autoscaler"]["metadata"];
                    let role = &annotations["annotations"]["eks.amazonaws.com/role-arn"];
                    ensure!(role.is_string(), "{annotations}");
                }
                "overlays/compat" => {
                    let pod = pod("DaemonSet/windlass-token-rotator").context("its pods")?;
                    let arguments = pod["containers"][0]["args"].to_string();
                    ensure!(arguments.contains("--compat=2019"), "{arguments}");
                }
                _ => {}
            }
        }
    }
    Ok(())
}
