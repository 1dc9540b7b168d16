//! What a group promises the autoscaler of its nodes, as what a node registers with.

use std::collections::BTreeMap;

use super::TaintConfig;
use crate::labels;

const PREFIX: &str = "k8s.io/cluster-autoscaler/node-template/";

/// What a group's `node-template` tags promise, as far as a kubelet may keep it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<TaintConfig>,
    /// Why others are left out: somebody else sets them, or nobody can. A tag is no reason not to
    /// join, since those of labels that a controller sets are right where they are.
    pub left_out: Vec<String>,
}

/// Reads a group's tags, key and value.
pub fn promises<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Promises {
    let mut found = Promises::default();
    for (key, value) in tags {
        let kind = key.strip_prefix(PREFIX);
        let Some((kind, name)) = kind.and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        match kind {
            "label" => match labels::check_own_label(name, value) {
                Ok(()) => drop(found.labels.insert(name.to_owned(), value.to_owned())),
                Err(error) => found.left_out.push(error.to_string()),
            },
            "taint" => {
                let (value, effect) = value.rsplit_once(':').unwrap_or(("", value));
                match labels::check_taint(name, value, effect) {
                    Ok(()) => found.taints.push(TaintConfig {
                        key: name.to_owned(),
                        value: value.to_owned(),
                        effect: effect.to_owned(),
                    }),
                    Err(error) => found.left_out.push(error.to_string()),
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_taints_are_read_and_what_a_kubelet_may_not_set_is_left_out() {
        let tag = |rest: &str| format!("{PREFIX}{rest}");
        let tags = [
            (tag("label/team"), "web"),
            (tag("label/node-role.kubernetes.io/web"), ""),
            (tag("taint/dedicated"), "web:NoSchedule"),
            (tag("taint/drained"), "NoExecute"),
            (tag("taint/odd"), "web"),
            (tag("resources/gpu"), "1"),
            ("k8s.io/cluster-autoscaler/enabled".to_owned(), "true"),
        ];
        let found = promises(tags.iter().map(|(key, value)| (key.as_str(), *value)));
        assert_eq!(found.labels, [("team".to_owned(), "web".to_owned())].into());
        let taints: Vec<String> = found
            .taints
            .iter()
            .map(|it| format!("{}={}:{}", it.key, it.value, it.effect))
            .collect();
        assert_eq!(taints, ["dedicated=web:NoSchedule", "drained=:NoExecute"]);
        assert_eq!(found.left_out.len(), 2, "{:?}", found.left_out);
        assert!(found.left_out[0].contains("a kubelet may not set it"));
    }
}
