//! What a policy document allows. Pure: no AWS is asked.

use std::collections::BTreeMap;

use serde_json::Value;

/// Something that somebody wants to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The action, such as `autoscaling:SetDesiredCapacity`.
    pub action: String,
    /// The ARN of what it is done to; `*` where the action knows none.
    pub resource: String,
    /// Condition keys that AWS would have values for.
    pub context: BTreeMap<String, String>,
}

#[cfg(test)]
impl Request {
    pub(super) fn new(action: &str, resource: &str, context: &[(&str, &str)]) -> Self {
        Self {
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: context
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }
}

/// What a document says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it, and none denies it.
    Allowed,
    /// No statement allows it.
    NotAllowed,
    /// A statement denies it.
    Denied,
}

/// A document that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// It has no statements.
    #[error("the document has no list `Statement`")]
    NoStatements,
    /// A statement's effect is neither of the two.
    #[error("statement {number}: `Effect` is neither `Allow` nor `Deny`")]
    Effect {
        /// Number of the statement, from 1.
        number: usize,
    },
    /// A condition that is not understood.
    #[error("statement {number}: the condition operator `{operator}` is not understood")]
    Operator {
        /// Number of the statement, from 1.
        number: usize,
        /// The operator.
        operator: String,
    },
}

/// Judges a request by one document.
pub fn evaluate(document: &Value, request: &Request) -> Result<Verdict, EvaluateError> {
    let statements = match document.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => return Err(EvaluateError::NoStatements),
    };
    let mut verdict = Verdict::NotAllowed;
    for (index, statement) in statements.into_iter().enumerate() {
        let number = index + 1;
        if !concerns(statement, request) || !conditions_hold(statement, request, number)? {
            continue;
        }
        match statement["Effect"].as_str() {
            Some("Deny") => return Ok(Verdict::Denied),
            Some("Allow") => verdict = Verdict::Allowed,
            _ => return Err(EvaluateError::Effect { number }),
        }
    }
    Ok(verdict)
}

fn concerns(statement: &Value, request: &Request) -> bool {
    let action = request.action.to_ascii_lowercase();
    let names_action = |key: &str| {
        texts(&statement[key])
            .iter()
            .any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action))
    };
    let names_resource = |key: &str| {
        texts(&statement[key])
            .iter()
            .any(|pattern| is_like(pattern, &request.resource))
    };
    let has = |key: &str| statement.get(key).is_some();
    let on_action = names_action("Action") || has("NotAction") && !names_action("NotAction");
    let on_resource =
        names_resource("Resource") || has("NotResource") && !names_resource("NotResource");
    on_action && on_resource
}

/// All operators, and all keys of each, must hold; of a key's values one.
fn conditions_hold(
    statement: &Value,
    request: &Request,
    number: usize,
) -> Result<bool, EvaluateError> {
    let Some(operators) = statement.get("Condition").and_then(Value::as_object) else {
        return Ok(true);
    };
    for (operator, keys) in operators {
        for (key, wanted) in keys.as_object().into_iter().flatten() {
            let actual = request
                .context
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|(_, value)| value.as_str());
            let holds =
                holds(operator, actual, &texts(wanted)).ok_or_else(|| EvaluateError::Operator {
                    number,
                    operator: operator.clone(),
                })?;
            if !holds {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// None for an operator that is not known.
fn holds(operator: &str, actual: Option<&str>, wanted: &[String]) -> Option<bool> {
    // Of a key with several values the context has one, which is then the one that is asked for.
    let operator = operator.strip_prefix("ForAnyValue:").unwrap_or(operator);
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let any = |test: &dyn Fn(&str, &str) -> bool| {
        actual.map_or(if_exists, |actual| {
            wanted.iter().any(|wanted| test(wanted, actual))
        })
    };
    // A key that is missing differs from every value.
    let none = |test: &dyn Fn(&str, &str) -> bool| {
        actual.is_none_or(|actual| !wanted.iter().any(|wanted| test(wanted, actual)))
    };
    let equal = |wanted: &str, actual: &str| wanted == actual;
    let alike = |wanted: &str, actual: &str| is_like(wanted, actual);
    let equal_but_for_case = |wanted: &str, actual: &str| wanted.eq_ignore_ascii_case(actual);
    Some(match operator {
        "Null" => wanted.iter().any(|wanted| {
            let is_missing = wanted.eq_ignore_ascii_case("true");
            is_missing == actual.is_none()
        }),
        "StringEquals" => any(&equal),
        "StringNotEquals" => none(&equal),
        "StringEqualsIgnoreCase" | "Bool" => any(&equal_but_for_case),
        "StringLike" | "ArnLike" | "ArnEquals" => any(&alike),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => none(&alike),
        _ => return None,
    })
}

/// A text or a list of them.
fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match value {
        Value::Array(values) => values.iter().filter_map(text).collect(),
        other => text(other).into_iter().collect(),
    }
}

/// Whether a text fits a pattern with `*` (any characters) and `?` (one).
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The last star, and where in the text what it swallows ends.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, swallowed)) = star {
            star = Some((at, swallowed + 1));
            (p, t) = (at + 1, swallowed + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_are_matched_as_iam_does() {
        for (pattern, text, fits) in [
            ("*", "anything", true),
            ("ec2:Describe*", "ec2:DescribeImages", true),
            ("ec2:Describe*", "ec2:RunInstances", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("i-?", "i-1", true),
            ("i-?", "i-12", false),
            ("", "", true),
            ("**", "", true),
        ] {
            assert_eq!(is_like(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_denial_wins_wherever_it_stands() {
        let document = json!({"Statement": [
            {"Effect": "Deny", "Action": "s3:*", "Resource": "*"},
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
        ]});
        let of = |action| evaluate(&document, &Request::new(action, "x", &[])).unwrap();
        assert_eq!(of("s3:GetObject"), Verdict::Denied);
        assert_eq!(of("EC2:describeImages"), Verdict::Allowed);
        let nothing = json!({"Statement": []});
        assert_eq!(
            evaluate(&nothing, &Request::new("a:b", "x", &[])).unwrap(),
            Verdict::NotAllowed
        );
    }

    #[test]
    fn conditions_must_hold() {
        let with = |condition: Value| {
            json!({"Statement": {
                "Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": condition,
            }})
        };
        for (condition, context, verdict) in [
            (
                json!({"Null": {"k": "false"}}),
                vec![("k", "v")],
                Verdict::Allowed,
            ),
            (json!({"Null": {"k": "false"}}), vec![], Verdict::NotAllowed),
            (json!({"Null": {"k": true}}), vec![], Verdict::Allowed),
            (
                json!({"StringEquals": {"k": ["v", "w"]}}),
                vec![("K", "w")],
                Verdict::Allowed,
            ),
            (
                json!({"StringEquals": {"k": "v"}}),
                vec![],
                Verdict::NotAllowed,
            ),
            (
                json!({"StringEqualsIfExists": {"k": "v"}}),
                vec![],
                Verdict::Allowed,
            ),
            (
                json!({"StringNotEquals": {"k": "v"}}),
                vec![("k", "v")],
                Verdict::NotAllowed,
            ),
            (
                json!({"StringLike": {"k": "pro*"}}),
                vec![("k", "prod")],
                Verdict::Allowed,
            ),
            (
                json!({"StringEquals": {"k": "v", "l": "w"}}),
                vec![("k", "v")],
                Verdict::NotAllowed,
            ),
        ] {
            assert_eq!(
                evaluate(
                    &with(condition.clone()),
                    &Request::new("a:b", "x", &context)
                )
                .unwrap(),
                verdict,
                "{condition}"
            );
        }
        assert_eq!(
            evaluate(
                &with(json!({"NumericLess": {"k": 1}})),
                &Request::new("a:b", "x", &[])
            ),
            Err(EvaluateError::Operator {
                number: 1,
                operator: "NumericLess".to_owned()
            })
        );
    }

    #[test]
    fn what_is_no_policy_is_told() {
        assert_eq!(
            evaluate(&json!({}), &Request::new("a:b", "x", &[])),
            Err(EvaluateError::NoStatements)
        );
        let odd = json!({"Statement": {"Effect": "Perhaps", "Action": "*", "Resource": "*"}});
        assert_eq!(
            evaluate(&odd, &Request::new("a:b", "x", &[])),
            Err(EvaluateError::Effect { number: 1 })
        );
    }
}
