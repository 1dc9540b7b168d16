//! What a node may carry: the grammar of labels and taints, and the labels that a kubelet may set.

/// Why a label or a taint cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The kubelet may not set it.
    #[error(
        "label `{0}`: a kubelet may not set it on its own node; a controller must (labels under \
         kubernetes.io and k8s.io are reserved)"
    )]
    Reserved(String),
    /// No label key, value or taint.
    #[error("`{0}` is no valid label or taint")]
    Syntax(String),
}

/// Holds a label that the kubelet is to set against grammar and reservations.
pub(crate) fn check_own_label(key: &str, value: &str) -> Result<(), LabelError> {
    check(key, value)?;
    if may_set(key) {
        Ok(())
    } else {
        Err(LabelError::Reserved(key.to_owned()))
    }
}

/// Holds a taint against its grammar.
pub(crate) fn check_taint(key: &str, value: &str, effect: &str) -> Result<(), LabelError> {
    check(key, value)?;
    if ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        Ok(())
    } else {
        Err(LabelError::Syntax(format!("{key}={value}:{effect}")))
    }
}

/// Holds key and value against the grammar of labels.
pub(crate) fn check(key: &str, value: &str) -> Result<(), LabelError> {
    let word = |text: &str| {
        let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        text.len() <= 63
            && ends(text.bytes().next())
            && ends(text.bytes().last())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let name_is_valid = match key.split_once('/') {
        Some((prefix, name)) => {
            let domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            word(name) && !prefix.is_empty() && prefix.len() <= 253 && prefix.chars().all(domain)
        }
        None => word(key),
    };
    if name_is_valid && (value.is_empty() || word(value)) {
        Ok(())
    } else {
        Err(LabelError::Syntax(format!("{key}={value}")))
    }
}

/// Whether a kubelet may set a label on its own node: it ends at its start over others.
///
/// Source: `k8s.io/kubernetes/staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go`.
pub(crate) fn may_set(key: &str) -> bool {
    const ALLOWED: [&str; 10] = [
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    ];
    let Some((prefix, _)) = key.split_once('/') else {
        return true;
    };
    let within = |domain: &str| {
        prefix == domain
            || prefix
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    ALLOWED.contains(&key)
        || ((within("kubelet.kubernetes.io") || within("node.kubernetes.io"))
            && !within("node-restriction.kubernetes.io"))
}
