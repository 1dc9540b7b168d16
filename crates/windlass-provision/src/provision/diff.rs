//! What differs between two values, field by field, and between two texts, line by line.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// A field that is another than it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Its path, such as `content.image_id`.
    pub path: String,
    /// What it is; none if it is not there.
    pub old: Option<Value>,
    /// What it should be; none if it should not be there.
    pub new: Option<Value>,
}

/// The fields in which two values differ, by path.
pub(super) fn fields(old: &Value, new: &Value) -> Vec<FieldChange> {
    let (old, new) = (flat(old), flat(new));
    let mut paths: Vec<&String> = old.keys().chain(new.keys()).collect();
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(|path| FieldChange {
            path: path.clone(),
            old: old.get(path).cloned(),
            new: new.get(path).cloned(),
        })
        .collect()
}

/// Every scalar with its path; what is null is not there.
fn flat(value: &Value) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    descend(value, String::new(), &mut leaves);
    leaves
}

fn descend(value: &Value, path: String, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                let is_word = key
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
                let inner = match (path.is_empty(), is_word) {
                    (true, _) => key.clone(),
                    (false, true) => format!("{path}.{key}"),
                    (false, false) => format!("{path}[{key}]"),
                };
                descend(value, inner, leaves);
            }
        }
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            if !words.is_empty() {
                leaves.insert(path, Value::from(words.join(", ")));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                descend(item, format!("{path}[{index}]"), leaves);
            }
        }
        scalar => {
            leaves.insert(path, scalar.clone());
        }
    }
}

/// Lines that one text has and the other has not, with a line of what is around: `-` and `+`.
pub(super) fn lines(old: &str, new: &str) -> Vec<String> {
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    // Lengths of the longest common subsequences of what is behind each pair of lines: scripts
    // have some hundreds of lines, so the table is small.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut marked: Vec<(char, &str)> = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            marked.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i][j + 1] <= common[i + 1][j] {
            marked.push(('-', old[i]));
            i += 1;
        } else {
            marked.push(('+', new[j]));
            j += 1;
        }
    }
    let is_near = |index: usize| {
        (index.saturating_sub(1)..=index + 1)
            .any(|near| marked.get(near).is_some_and(|(mark, _)| *mark != ' '))
    };
    marked
        .iter()
        .enumerate()
        .filter(|(index, _)| is_near(*index))
        .map(|(_, (mark, line))| format!("{mark} {line}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_compared_by_path() {
        let changes = fields(
            &json!({ "max": 3, "tags": { "a/b": "x" }, "list": ["p", "q"], "none": null }),
            &json!({ "max": 5, "tags": {}, "list": ["p"], "new": [{ "a": true }] }),
        );
        let told: Vec<String> = changes
            .iter()
            .map(|change| format!("{} {:?} {:?}", change.path, change.old, change.new))
            .collect();
        assert_eq!(
            told,
            [
                r#"list Some(String("p, q")) Some(String("p"))"#,
                r"max Some(Number(3)) Some(Number(5))",
                r"new[0].a None Some(Bool(true))",
                r#"tags[a/b] Some(String("x")) None"#,
            ]
        );
    }

    #[test]
    fn texts_are_compared_by_line() {
        assert_eq!(
            lines("a\nb\nc\nd\ne\n", "a\nb\nx\nd\ne\n"),
            ["  b", "- c", "+ x", "  d"]
        );
        assert!(lines("a\n", "a\n").is_empty());
        assert_eq!(lines("", "a\n"), ["+ a"]);
    }
}
