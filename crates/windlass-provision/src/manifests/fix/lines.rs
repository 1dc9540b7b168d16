//! A document with the line of each of its parts, and with what strict readers refuse.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

/// A document as readers take it that keep the last of equal keys, which `kubectl` is.
#[derive(Debug)]
pub(super) struct Lined {
    /// The object.
    pub(super) value: Value,
    /// Line of the file, from 1, by JSON pointer.
    pub(super) lines: BTreeMap<String, u64>,
    /// Parts that an equal key further down hides: pointer, line of the hidden and of the last
    /// key, and what is hidden.
    pub(super) hidden: Vec<Hidden>,
}

/// A part that an equal key hides.
#[derive(Debug)]
pub(super) struct Hidden {
    pub(super) pointer: String,
    pub(super) line: u64,
    pub(super) last_line: u64,
    pub(super) value: Value,
    pub(super) lines: BTreeMap<String, u64>,
}

impl Lined {
    /// Line of a part, or of the nearest part around it.
    pub(super) fn line(&self, pointer: &str) -> u64 {
        line_of(&self.lines, pointer)
    }
}

pub(super) fn line_of(lines: &BTreeMap<String, u64>, pointer: &str) -> u64 {
    let mut pointer = pointer;
    loop {
        if let Some(line) = lines.get(pointer) {
            return *line;
        }
        let Some((around, _)) = pointer.rsplit_once('/') else {
            return 1;
        };
        pointer = around;
    }
}

/// Reads every document of a stream; on trouble, the line and what is wrong.
pub(super) fn read(text: &str) -> Result<Vec<Lined>, (u64, String)> {
    let mut documents = Vec::new();
    for (first_line, part) in parts(text) {
        let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
        let content: Spanned<Content> = serde_saphyr::from_str_with_options(&part, options)
            .map_err(|error| {
                let line = error.location().map_or(1, |location| location.line());
                (line + first_line, error.without_snippet().to_string())
            })?;
        let mut lined = Lined {
            value: Value::Null,
            lines: BTreeMap::new(),
            hidden: Vec::new(),
        };
        let mut hidden = Vec::new();
        lined.value = content
            .value
            .into_value("", first_line, &mut lined.lines, &mut hidden);
        lined.hidden = hidden;
        if !lined.value.is_null() {
            documents.push(lined);
        }
    }
    Ok(documents)
}

/// The documents of a stream, each with the number of lines before it.
fn parts(text: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = Vec::new();
    let mut current = (0, String::new());
    for (number, line) in (1..).zip(text.lines()) {
        let is_divider = line == "---" || line.starts_with("--- ");
        if is_divider {
            parts.push(std::mem::replace(&mut current, (number, String::new())));
        } else {
            current.1.push_str(line);
            current.1.push('\n');
        }
    }
    parts.push(current);
    let has_content = |part: &(u64, String)| {
        part.1
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    parts.into_iter().filter(has_content).collect()
}

/// What a document is made of, with the lines of keys and items.
enum Content {
    Scalar(Value),
    List(Vec<Spanned<Content>>),
    Map(Vec<(Spanned<String>, Spanned<Content>)>),
}

impl Content {
    fn into_value(
        self,
        pointer: &str,
        first_line: u64,
        lines: &mut BTreeMap<String, u64>,
        hidden: &mut Vec<Hidden>,
    ) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => {
                let mut list = Vec::new();
                for (index, item) in items.into_iter().enumerate() {
                    let pointer = format!("{pointer}/{index}");
                    lines.insert(pointer.clone(), item.referenced.line() + first_line);
                    list.push(item.value.into_value(&pointer, first_line, lines, hidden));
                }
                Value::Array(list)
            }
            Self::Map(entries) => {
                let mut map = Map::new();
                let mut last_lines = BTreeMap::new();
                for (key, _) in &entries {
                    let line = key.referenced.line() + first_line;
                    last_lines.insert(key.value.clone(), line);
                }
                for (key, content) in entries {
                    let line = key.referenced.line() + first_line;
                    let escaped = key.value.replace('~', "~0").replace('/', "~1");
                    let pointer = format!("{pointer}/{escaped}");
                    let last_line = last_lines.get(&key.value).copied().unwrap_or(line);
                    if line == last_line {
                        lines.insert(pointer.clone(), line);
                        let value = content
                            .value
                            .into_value(&pointer, first_line, lines, hidden);
                        map.insert(key.value, value);
                    } else {
                        let mut own = BTreeMap::new();
                        let value = content
                            .value
                            .into_value(&pointer, first_line, &mut own, hidden);
                        hidden.push(Hidden {
                            pointer,
                            line,
                            last_line,
                            value,
                            lines: own,
                        });
                    }
                }
                Value::Object(map)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key()? {
            map.push((key, entries.next_value()?));
        }
        Ok(Content::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_line_and_hidden_ones_are_told() {
        let text = "---\na: 1\n---\n# c\nb:\n- x: 1\n- y: 2\nb:\n- z: 3\n";
        let documents = read(text).unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].line("/a"), 2);
        let second = &documents[1];
        assert_eq!(second.value, serde_json::json!({ "b": [{ "z": 3 }] }));
        assert_eq!(second.line("/b/0/z"), 9);
        let [hidden] = second.hidden.as_slice() else {
            panic!("{second:?}");
        };
        assert_eq!((hidden.line, hidden.last_line), (5, 8));
        assert_eq!(line_of(&hidden.lines, "/b/1/y"), 7);
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line() {
        assert_eq!(read("a: 1\n---\nb: [\n").unwrap_err().0, 3);
    }
}
