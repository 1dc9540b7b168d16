//! Objects as YAML that people read: a stable order of keys, and comments that give reasons.
//!
//! Objects are values, never text with holes in it: what is written here is always well-formed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Keys that come first, in this order; the others follow by name.
const FIRST: [&str; 7] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "apiGroups",
    "resources",
];

/// A Kubernetes object and what is to be said about its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The object.
    pub object: Value,
    /// Comments: JSON pointer of a part (`/rules/0`, or empty for the object) and text.
    pub comments: BTreeMap<String, String>,
}

impl Manifest {
    /// An object without comments.
    pub fn new(object: Value) -> Self {
        Self {
            object,
            comments: BTreeMap::new(),
        }
    }

    /// Says something about a part.
    #[must_use]
    pub fn with_comment(mut self, pointer: impl Into<String>, text: impl Into<String>) -> Self {
        self.comments.insert(pointer.into(), text.into());
        self
    }

    /// `kind`, such as `Deployment`.
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// One YAML document, without the line that divides documents.
    pub fn to_yaml(&self) -> String {
        let mut writer = Writer {
            text: String::new(),
            comments: &self.comments,
        };
        writer.comment("", 0);
        writer.value(&self.object, "", 0, Place::Line);
        writer.text
    }
}

/// Several objects as one stream.
pub fn stream<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> String {
    let documents: Vec<String> = manifests.into_iter().map(Manifest::to_yaml).collect();
    documents.join("---\n")
}

/// A value as YAML, without comments.
pub fn to_yaml(value: &Value) -> String {
    Manifest::new(value.clone()).to_yaml()
}

/// Where a value begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the begin of a line.
    Line,
    /// Behind `key:`.
    Key,
    /// Behind `- `.
    Dash,
}

struct Writer<'a> {
    text: String,
    comments: &'a BTreeMap<String, String>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, pointer: &str, indent: usize, place: Place) {
        match value {
            Value::Object(map) if !map.is_empty() => self.map(map, pointer, indent, place),
            Value::Array(items) if !items.is_empty() => self.list(items, pointer, indent, place),
            Value::String(text) if is_block(text) => self.block(text, indent, place),
            scalar => {
                if place == Place::Key {
                    self.text.push(' ');
                }
                self.text.push_str(&scalar_text(scalar));
                self.text.push('\n');
            }
        }
    }

    fn map(&mut self, map: &Map<String, Value>, pointer: &str, indent: usize, place: Place) {
        if place == Place::Key {
            self.text.push('\n');
        }
        let mut keys: Vec<&String> = map.keys().collect();
        keys.sort_by_key(|key| {
            let rank = FIRST.iter().position(|first| first == key);
            (rank.unwrap_or(FIRST.len()), *key)
        });
        for (index, key) in keys.into_iter().enumerate() {
            let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            if index > 0 || place != Place::Dash {
                self.comment(&pointer, indent);
                self.indent(indent);
            }
            let _ = write!(self.text, "{}:", quoted(key));
            let inner = match &map[key] {
                // Kubernetes' own habit: lists stand under their key without an indent.
                Value::Array(_) => indent,
                _ => indent + 2,
            };
            self.value(&map[key], &pointer, inner, Place::Key);
        }
    }

    fn list(&mut self, items: &[Value], pointer: &str, indent: usize, place: Place) {
        // A list of plain words reads best in one line.
        let is_plain = |item: &Value| match item {
            Value::String(text) => !is_block(text),
            Value::Object(_) | Value::Array(_) => false,
            _ => true,
        };
        let inline: Vec<String> = items.iter().map(scalar_text).collect();
        let inline = inline.join(", ");
        let has_comment =
            (0..items.len()).any(|index| self.comments.contains_key(&format!("{pointer}/{index}")));
        if items.iter().all(is_plain) && !has_comment && indent + inline.len() < 70 {
            let space = if place == Place::Key { " " } else { "" };
            let _ = writeln!(self.text, "{space}[{inline}]");
            return;
        }
        if place == Place::Key {
            self.text.push('\n');
        }
        for (index, item) in items.iter().enumerate() {
            let pointer = format!("{pointer}/{index}");
            if index > 0 || place != Place::Dash {
                self.comment(&pointer, indent);
                self.indent(indent);
            }
            self.text.push_str("- ");
            self.value(item, &pointer, indent + 2, Place::Dash);
        }
    }

    fn block(&mut self, text: &str, indent: usize, place: Place) {
        if place == Place::Key {
            self.text.push(' ');
        }
        self.text
            .push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
        for line in text.lines() {
            if !line.is_empty() {
                self.indent(indent.max(2));
                self.text.push_str(line);
            }
            self.text.push('\n');
        }
    }

    fn comment(&mut self, pointer: &str, indent: usize) {
        let Some(text) = self.comments.get(pointer) else {
            return;
        };
        for line in text.lines() {
            self.indent(indent);
            let _ = writeln!(self.text, "# {line}");
        }
    }

    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }
}

/// Whether a text can stand as a block of lines: no indicator of indent or of its end is needed.
fn is_block(text: &str) -> bool {
    let is_ordinary = |c: char| c == '\n' || !c.is_control();
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && text.chars().all(is_ordinary)
}

fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A text as a YAML scalar: plain where every reader of YAML 1.1 and 1.2 takes it for this text.
fn quoted(text: &str) -> String {
    const WORDS: [&str; 11] = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "~", "",
    ];
    let first_is_plain = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let is_plain = first_is_plain
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./=@:".contains(c))
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    // A flag begins with two dashes, which no reader takes for a list.
    let is_flag = text.starts_with("--")
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./=:,".contains(c))
        && !text.ends_with(':')
        && !text.contains(',');
    if is_plain || is_flag && text != "---" {
        text.to_owned()
    } else {
        // JSON's strings are YAML's double-quoted ones.
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(yaml: &str) -> Value {
        serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
    }

    #[test]
    fn an_object_is_written_as_people_write_it() {
        let manifest = Manifest::new(json!({
            "kind": "Role", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"x/y": "true"}},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
            "empty": {}, "data": {"text": "one\n\ntwo\n", "none": null},
        }))
        .with_comment("/rules/0", "For looking.");
        assert_eq!(
            manifest.to_yaml(),
            "apiVersion: v1\nkind: Role\nmetadata:\n  name: a\n  labels:\n    x/y: \"true\"\n\
             data:\n  none: null\n  text: |\n    one\n\n    two\nempty: {}\nrules:\n\
             # For looking.\n- apiGroups: [\"\"]\n  resources: [pods]\n  verbs: [get]\n"
        );
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = "[ -~\n]{0,12}|true|no|null|0x1|1e3|12:30|--v=4|- a|# b|a: b|\\*";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z./ :#-]{0,8}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_reads_back_as_it_was(value in values()) {
            // At its top an object is always a map.
            let value = json!({ "top": value });
            prop_assert_eq!(read(&to_yaml(&value)), value);
        }
    }
}
