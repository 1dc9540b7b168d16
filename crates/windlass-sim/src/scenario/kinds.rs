//! The kinds of `windlass.dev`, as they are written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::Value;
use windlass_model::{
    Duration, GroupOptions, MicroDollars, SchedulerVersion, SmolStr, Timestamp, parse_go_duration,
};
use windlass_objects::{Document, FieldError, api};

use super::Object;

pub(super) const API_VERSION: &str = "windlass.dev/v1alpha1";

/// 2026-01-01T00:00:00Z.
pub(super) const DEFAULT_NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// How long a new node takes from request to Ready where its group does not say.
const DEFAULT_PROVISION_TIME: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Deserialize)]
pub(super) struct SimulationDocument {
    #[serde(default)]
    pub(super) spec: SimulationSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SimulationSpec {
    pub(super) now: Option<Timestamp>,
    pub(super) kubernetes_version: Version,
    pub(super) seed: Option<u64>,
    pub(super) flags: Vec<String>,
}

/// `1.36`, `"1.37"`, `v1.37.2`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Version(pub(super) SchedulerVersion);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VersionVisitor;
        impl Visitor<'_> for VersionVisitor {
            type Value = Version;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Kubernetes version, \"1.36\" or \"1.37\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Version, E> {
                let mut parts = text.trim_start_matches('v').split('.');
                match (parts.next(), parts.next()) {
                    (Some("1"), Some("36")) => Ok(Version(SchedulerVersion::V1_36)),
                    (Some("1"), Some("37")) => Ok(Version(SchedulerVersion::V1_37)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Version, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(VersionVisitor)
    }
}

/// A node group on paper.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeGroupDocument {
    pub(crate) metadata: api::Metadata,
    #[serde(default)]
    pub(crate) spec: NodeGroupSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NodeGroupSpec {
    pub(crate) min_size: i64,
    pub(crate) max_size: i64,
    pub(crate) target_size: Option<i64>,
    pub(crate) requested_at: Option<Timestamp>,
    pub(crate) nodes: Option<Vec<SmolStr>>,
    pub(crate) template: Option<api::Node>,
    price_per_hour: Option<f64>,
    pub(crate) zones: Vec<SmolStr>,
    provision_time: Option<GoDuration>,
    options: Options,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    scale_down_unneeded_time: Option<GoDuration>,
    scale_down_unready_time: Option<GoDuration>,
    scale_down_utilization_threshold: Option<f64>,
    scale_down_gpu_utilization_threshold: Option<f64>,
    max_node_provision_time: Option<GoDuration>,
    zero_or_max_node_scaling: Option<bool>,
    #[serde(rename = "ignoreDaemonSetsUtilization")]
    ignore_daemonsets_utilization: Option<bool>,
}

impl NodeGroupDocument {
    pub(super) fn check(&self) -> Result<(), FieldError> {
        let wrong = |path: &str, message: &str| {
            Err(FieldError {
                path: path.to_owned(),
                message: message.to_owned(),
            })
        };
        let spec = &self.spec;
        if self.metadata.name.is_empty() {
            return wrong("metadata.name", "a group needs a name");
        }
        if spec.min_size < 0 {
            return wrong("spec.minSize", "must not be below 0");
        }
        if spec.max_size < spec.min_size {
            return wrong("spec.maxSize", "must not be below minSize");
        }
        if spec.target_size.is_some_and(|size| size < 0) {
            return wrong("spec.targetSize", "must not be below 0");
        }
        if spec.price_per_hour.is_some_and(|price| price < 0.0) {
            return wrong("spec.pricePerHour", "must not be below 0");
        }
        Ok(())
    }

    pub(crate) fn price_per_hour(&self) -> Option<MicroDollars> {
        self.spec.price_per_hour.map(MicroDollars::from_dollars)
    }

    pub(crate) fn provision_time(&self) -> Duration {
        self.spec
            .provision_time
            .map_or(DEFAULT_PROVISION_TIME, |time| time.0)
    }

    pub(crate) fn options(&self) -> GroupOptions {
        let Options {
            scale_down_unneeded_time,
            scale_down_unready_time,
            scale_down_utilization_threshold,
            scale_down_gpu_utilization_threshold,
            max_node_provision_time,
            zero_or_max_node_scaling,
            ignore_daemonsets_utilization,
        } = &self.spec.options;
        GroupOptions {
            scale_down_unneeded_time: scale_down_unneeded_time.map(|time| time.0),
            scale_down_unready_time: scale_down_unready_time.map(|time| time.0),
            scale_down_utilization_threshold: *scale_down_utilization_threshold,
            scale_down_gpu_utilization_threshold: *scale_down_gpu_utilization_threshold,
            max_node_provision_time: max_node_provision_time.map(|time| time.0),
            zero_or_max_node_scaling: *zero_or_max_node_scaling,
            ignore_daemonsets_utilization: *ignore_daemonsets_utilization,
            ..GroupOptions::default()
        }
    }
}

/// A duration as Go writes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct GoDuration(pub(super) Duration);

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SmolStr::deserialize(deserializer)?;
        parse_go_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct TimelineDocument {
    #[serde(default)]
    pub(super) spec: TimelineSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TimelineSpec {
    pub(super) entries: Vec<WrittenEntry>,
}

/// An entry as it is written: one of the ways to say when, one of the ways to say what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenEntry {
    at: Option<GoDuration>,
    every: Option<GoDuration>,
    from: Option<GoDuration>,
    apply: Option<Value>,
    scale: Option<Scale>,
    delete: Option<ObjectReference>,
    fail: Option<WrittenFailure>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    kind: SmolStr,
    name: SmolStr,
    #[serde(default = "default_namespace")]
    namespace: SmolStr,
    replicas: i64,
}

/// An object that an entry names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectReference {
    pub(crate) kind: SmolStr,
    pub(crate) name: SmolStr,
    #[serde(default = "default_namespace")]
    pub(crate) namespace: SmolStr,
}

fn default_namespace() -> SmolStr {
    SmolStr::new_static("default")
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFailure {
    group: SmolStr,
    reason: SmolStr,
    #[serde(rename = "for")]
    lasts: GoDuration,
}

/// Something that happens to the cluster from outside.
#[derive(Clone, Debug)]
pub(crate) struct TimelineEntry {
    /// After the start.
    pub(crate) at: Duration,
    /// And again after each of these.
    pub(crate) every: Option<Duration>,
    pub(crate) change: Change,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Apply(Box<Object>),
    ApplyGroup(Box<NodeGroupDocument>),
    Scale {
        object: ObjectReference,
        replicas: i64,
    },
    Delete(ObjectReference),
    Fail(Failure),
}

/// A group that the cloud gives no instances for a while.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) group: SmolStr,
    pub(crate) reason: SmolStr,
    pub(crate) lasts: Duration,
}

impl WrittenEntry {
    pub(super) fn check(self) -> Result<TimelineEntry, FieldError> {
        let wrong = |path: &str, message: &str| FieldError {
            path: path.to_owned(),
            message: message.to_owned(),
        };
        let (at, every) = match (self.at, self.every, self.from) {
            (Some(at), None, None) => (at.0, None),
            (None, Some(every), from) => {
                (from.map_or(Duration::ZERO, |from| from.0), Some(every.0))
            }
            _ => {
                return Err(wrong(
                    "at",
                    "an entry has `at`, or `every` and, if it likes, `from`",
                ));
            }
        };
        if at.is_negative() {
            return Err(wrong("at", "must not be below 0"));
        }
        if every.is_some_and(|every| every < Duration::from_secs(1)) {
            return Err(wrong("every", "must not be below 1s"));
        }
        let change = match (self.apply, self.scale, self.delete, self.fail) {
            (Some(value), None, None, None) => apply(value)?,
            (None, Some(scale), None, None) => scale_change(scale)?,
            (None, None, Some(object), None) => Change::Delete(object),
            (None, None, None, Some(failure)) => Change::Fail(Failure {
                group: failure.group,
                reason: failure.reason,
                lasts: failure.lasts.0,
            }),
            _ => {
                return Err(wrong(
                    "",
                    "an entry has one of `apply`, `scale`, `delete` and `fail`",
                ));
            }
        };
        Ok(TimelineEntry { at, every, change })
    }
}

fn apply(value: Value) -> Result<Change, FieldError> {
    let document = Document {
        file: SmolStr::default(),
        number: 0,
        value,
    };
    let prefixed = |error: FieldError| FieldError {
        path: format!("apply.{}", error.path),
        message: error.message,
    };
    let identity = document.identity();
    if identity.api_version == API_VERSION && identity.kind == "NodeGroup" {
        let group: NodeGroupDocument =
            windlass_objects::decode(document.value).map_err(prefixed)?;
        group.check().map_err(prefixed)?;
        return Ok(Change::ApplyGroup(Box::new(group)));
    }
    match Object::decode(&identity, document.value).map_err(prefixed)? {
        Some(object) => Ok(Change::Apply(Box::new(object))),
        None => Err(FieldError {
            path: "apply".to_owned(),
            message: format!(
                "{identity} ({}) is not a kind that is read",
                identity.api_version
            ),
        }),
    }
}

fn scale_change(scale: Scale) -> Result<Change, FieldError> {
    if scale.replicas < 0 {
        return Err(FieldError {
            path: "scale.replicas".to_owned(),
            message: "must not be below 0".to_owned(),
        });
    }
    if !matches!(
        scale.kind.as_str(),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "Job"
    ) {
        return Err(FieldError {
            path: "scale.kind".to_owned(),
            message: format!(
                "{} cannot be scaled: a Deployment, ReplicaSet, StatefulSet or Job can",
                scale.kind
            ),
        });
    }
    Ok(Change::Scale {
        object: ObjectReference {
            kind: scale.kind,
            name: scale.name,
            namespace: scale.namespace,
        },
        replicas: scale.replicas,
    })
}
