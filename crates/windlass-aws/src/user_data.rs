//! What a launch template's user data says of the nodes that it makes. Pure.
//!
//! Labels and taints mostly reach the kubelet through user data, and are nowhere else to be read
//! before the first node is there. Three ways of writing them are understood: kubelet flags
//! (`--node-labels=`, `--register-with-taints=`, `--max-pods=`), wherever they stand in a script,
//! cloud-config or nodeadm document; and Bottlerocket's TOML.

use windlass_model::{Effect, Labels, Taint};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserData {
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Most pods.
    pub max_pods: Option<u32>,
}

impl UserData {
    /// Reads user data in base64. What cannot be decoded (or is compressed) says nothing.
    pub fn from_base64(encoded: &str) -> Self {
        decode_base64(encoded)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(|text| Self::from_text(&text))
            .unwrap_or_default()
    }

    /// Reads user data.
    pub fn from_text(text: &str) -> Self {
        let mut found = Self::default();
        for value in flag_values(text, "--node-labels") {
            for (key, value) in value.split(',').filter_map(|item| item.split_once('=')) {
                found.label(key, value);
            }
        }
        for value in flag_values(text, "--register-with-taints") {
            found.taints.extend(value.split(',').filter_map(read_taint));
        }
        for value in flag_values(text, "--max-pods") {
            found.max_pods = value.parse().ok().or(found.max_pods);
        }
        found.read_bottlerocket(text);
        found.taints.sort();
        found.taints.dedup();
        found
    }

    fn label(&mut self, key: &str, value: &str) {
        // What still holds a variable of a script's is not known here.
        if !key.is_empty() && !value.contains('$') && !key.contains('$') {
            self.labels.insert(key, value);
        }
    }

    /// `[settings.kubernetes.node-labels]` and `[settings.kubernetes.node-taints]` with their
    /// lines `"key" = "value"` (or `["value"]`), and `max-pods` of `[settings.kubernetes]`.
    fn read_bottlerocket(&mut self, text: &str) {
        let mut section = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                section = name;
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let key = key.trim().trim_matches('"');
            let value = value
                .trim()
                .trim_matches(|c| matches!(c, '[' | ']' | '"' | ' '));
            match section {
                "settings.kubernetes.node-labels" => self.label(key, value),
                "settings.kubernetes.node-taints" => {
                    self.taints.extend(read_taint(&format!("{key}={value}")));
                }
                "settings.kubernetes" if key == "max-pods" => {
                    self.max_pods = value.parse().ok().or(self.max_pods);
                }
                _ => {}
            }
        }
    }
}

/// What stands behind `flag=` or `flag `, up to a blank or a quote.
fn flag_values<'a>(text: &'a str, flag: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(flag).skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix(['=', ' '])?;
        let rest = rest.trim_start_matches(['"', '\'']);
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\'))
            .unwrap_or(rest.len());
        Some(&rest[..end]).filter(|value| !value.is_empty())
    })
}

/// `key=value:Effect` or `key:Effect`.
fn read_taint(text: &str) -> Option<Taint> {
    let (rest, effect) = text.rsplit_once(':')?;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    let effect = Effect::from(effect);
    if key.is_empty() || text.contains('$') || matches!(effect, Effect::Other(_)) {
        return None;
    }
    Some(Taint {
        key: key.into(),
        value: value.into(),
        effect,
        time_added: None,
    })
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(found: &UserData) -> String {
        let labels: Vec<String> = found
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let taints: Vec<String> = found
            .taints
            .iter()
            .map(|taint| format!("{}={}:{}", taint.key, taint.value, taint.effect.as_str()))
            .collect();
        format!(
            "{} | {} | {:?}",
            labels.join(" "),
            taints.join(" "),
            found.max_pods
        )
    }

    #[test]
    fn kubelet_flags_of_a_bootstrap_script() {
        let text = "#!/bin/bash\n/etc/eks/bootstrap.sh prod --kubelet-extra-args '--node-labels=team=a,\
                    tier=gpu,zone=$ZONE --register-with-taints=gpu=true:NoSchedule,spot:NoExecute --max-pods=58'\n";
        assert_eq!(
            show(&UserData::from_text(text)),
            "team=a tier=gpu | gpu=true:NoSchedule spot=:NoExecute | Some(58)"
        );
    }

    #[test]
    fn kubelet_flags_of_a_nodeadm_document() {
        let text = "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  kubelet:\n    flags:\n\
                    \x20     - --node-labels=team=a\n      - \"--register-with-taints=a=b:NoSchedule\"\n";
        assert_eq!(
            show(&UserData::from_text(text)),
            "team=a | a=b:NoSchedule | None"
        );
    }

    #[test]
    fn bottlerocket_settings() {
        let text = "[settings.kubernetes]\nmax-pods = 30\n[settings.kubernetes.node-labels]\n\"team\" = \"a\"\n\
                    [settings.kubernetes.node-taints]\n\"gpu\" = [\"true:NoSchedule\"]\n[settings.host]\n\"x\" = \"y\"\n";
        assert_eq!(
            show(&UserData::from_text(text)),
            "team=a | gpu=true:NoSchedule | Some(30)"
        );
    }

    #[test]
    fn base64_is_decoded_and_nonsense_says_nothing() {
        // printf -- '--node-labels=a=b' | base64
        let encoded = "LS1ub2RlLWxhYmVscz1hPWI=";
        assert_eq!(show(&UserData::from_base64(encoded)), "a=b |  | None");
        assert_eq!(UserData::from_base64("%%%"), UserData::default());
        assert_eq!(UserData::from_base64("H4sIAAAAAAAA"), UserData::default());
    }
}
