use serde::{Deserialize, Serialize};

use crate::{ConditionStatus, SmolStr, Timestamp};

/// One of the conditions by which a controller reports on an object (`metav1.Condition`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCondition {
    /// `type`.
    pub kind: SmolStr,
    /// `status`.
    pub status: ConditionStatus,
    /// `reason`: one word.
    pub reason: SmolStr,
    /// `message`: a sentence.
    pub message: SmolStr,
    /// `observedGeneration`, where the writer says it.
    pub observed_generation: Option<i64>,
    /// `lastTransitionTime`.
    pub last_transition: Option<Timestamp>,
}

/// The condition of this type.
pub fn find_condition<'a>(
    conditions: &'a [StatusCondition],
    kind: &str,
) -> Option<&'a StatusCondition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// Whether the condition of this type is there and true.
pub fn is_condition_true(conditions: &[StatusCondition], kind: &str) -> bool {
    find_condition(conditions, kind)
        .is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// Puts a condition in the place of the one of its type, or behind the others.
pub fn set_condition(conditions: &mut Vec<StatusCondition>, condition: StatusCondition) {
    match conditions
        .iter_mut()
        .find(|known| known.kind == condition.kind)
    {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: ConditionStatus) -> StatusCondition {
        StatusCondition {
            kind: kind.into(),
            status,
            reason: "Because".into(),
            message: SmolStr::default(),
            observed_generation: None,
            last_transition: None,
        }
    }

    #[test]
    fn a_condition_is_put_in_the_place_of_its_like() {
        let mut conditions = vec![
            condition("Accepted", ConditionStatus::True),
            condition("Provisioned", ConditionStatus::False),
        ];
        assert!(!is_condition_true(&conditions, "Provisioned"));
        set_condition(
            &mut conditions,
            condition("Provisioned", ConditionStatus::True),
        );
        set_condition(&mut conditions, condition("Failed", ConditionStatus::False));
        assert!(is_condition_true(&conditions, "Provisioned"));
        assert!(!is_condition_true(&conditions, "Failed"));
        let kinds: Vec<&str> = conditions.iter().map(|it| it.kind.as_str()).collect();
        assert_eq!(kinds, ["Accepted", "Provisioned", "Failed"]);
    }
}
