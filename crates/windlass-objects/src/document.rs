use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use windlass_model::SmolStr;

/// One object of a file, not yet read as its kind.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file's name, for messages.
    pub file: SmolStr,
    /// Its number in the file, from 1; the items of a `List` share their list's.
    pub number: usize,
    /// The object, without fields that are null.
    pub value: Value,
}

/// What says which object a document is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Identity {
    /// `apiVersion`.
    pub api_version: SmolStr,
    /// `kind`.
    pub kind: SmolStr,
    /// `metadata.namespace`, or empty.
    pub namespace: SmolStr,
    /// `metadata.name`, or empty.
    pub name: SmolStr,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind.is_empty() {
            "object without a kind"
        } else {
            &self.kind
        };
        f.write_str(kind)?;
        if !self.name.is_empty() {
            f.write_str(" ")?;
        }
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// A field that is not what its kind wants there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FieldError {
    /// The field, such as `spec.containers[0].resources.requests.cpu`; `.` is the whole object.
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A document is neither YAML nor JSON.
    #[error("{file}: document {number} is not valid YAML: {message}")]
    Syntax {
        /// The file.
        file: SmolStr,
        /// The document, from 1.
        number: usize,
        /// What the parser says, with line and column of the file.
        message: String,
    },
    /// A document is not an object.
    #[error("{file}: document {number} is not an object with apiVersion and kind")]
    NotAnObject {
        /// The file.
        file: SmolStr,
        /// The document, from 1.
        number: usize,
    },
    /// A field is not what it should be.
    #[error("{file}: document {number} ({object}): {source}")]
    Field {
        /// The file.
        file: SmolStr,
        /// The document, from 1.
        number: usize,
        /// The object.
        object: Box<Identity>,
        /// The field. (Part of the message, as it is the message's last word.)
        source: FieldError,
    },
}

impl Document {
    /// Which object it is, as far as it says so.
    pub fn identity(&self) -> Identity {
        let text = |value: Option<&Value>| {
            value
                .and_then(Value::as_str)
                .map(SmolStr::new)
                .unwrap_or_default()
        };
        let metadata = self.value.get("metadata");
        Identity {
            api_version: text(self.value.get("apiVersion")),
            kind: text(self.value.get("kind")),
            namespace: text(metadata.and_then(|m| m.get("namespace"))),
            name: text(metadata.and_then(|m| m.get("name"))),
        }
    }

    /// Reads it as one kind.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, DocumentError> {
        read_value(&self.value).map_err(|source| self.field_error(source))
    }

    /// The error that names this document.
    pub fn field_error(&self, source: FieldError) -> DocumentError {
        DocumentError::Field {
            file: self.file.clone(),
            number: self.number,
            object: Box::new(self.identity()),
            source,
        }
    }
}

/// Reads a JSON value as one kind; fields that are null count as absent, as they do to Kubernetes.
pub fn decode<T: DeserializeOwned>(mut value: Value) -> Result<T, FieldError> {
    strip_nulls(&mut value);
    read_value(&value)
}

fn read_value<T: DeserializeOwned>(value: &Value) -> Result<T, FieldError> {
    // Following the path costs time, so it is done only once something is wrong.
    if let Ok(read) = T::deserialize(value) {
        return Ok(read);
    }
    serde_path_to_error::deserialize(value).map_err(|error| FieldError {
        path: error.path().to_string(),
        message: error.inner().to_string(),
    })
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, field| !field.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Splits a file into its objects: YAML with any number of documents, or JSON values one after
/// another. A `List` gives its items; empty documents give nothing.
pub fn read_documents(file: &str, text: &str) -> Result<Vec<Document>, DocumentError> {
    let file = SmolStr::new(file);
    let mut documents = Vec::new();
    let starts_like_json = text.trim_start().starts_with(['{', '[']);
    if starts_like_json && let Some(values) = json_values(text) {
        for (index, value) in values.into_iter().enumerate() {
            unpack(&file, index + 1, value, &mut documents)?;
        }
        return Ok(documents);
    }
    let parts: Vec<YamlPart<'_>> = yaml_parts(text)
        .into_iter()
        .filter(|part| !part.is_blank())
        .collect();
    for (index, value) in parse_all(&parts).into_iter().enumerate() {
        let number = index + 1;
        let value = value.map_err(|message| DocumentError::Syntax {
            file: file.clone(),
            number,
            message,
        })?;
        unpack(&file, number, value, &mut documents)?;
    }
    Ok(documents)
}

/// Every part's value, in order. Parsing is most of the work of reading a big file, and a part
/// knows nothing of the others, so the machine's cores share them.
fn parse_all(parts: &[YamlPart<'_>]) -> Vec<Result<Value, String>> {
    /// Below this a thread costs more than it gives.
    const LEAST_PARTS: usize = 256;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = parts.len().div_ceil(cores).max(LEAST_PARTS);
    let parse = |share: &[YamlPart<'_>]| -> Vec<_> { share.iter().map(YamlPart::parse).collect() };
    let mut shares = parts.chunks(share);
    let first = shares.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| (share, scope.spawn(move || parse(share))))
            .collect();
        let mut values = parse(first);
        for (share, thread) in others {
            // A parser that panics does so again here, where the caller sees it.
            values.extend(thread.join().unwrap_or_else(|_| parse(share)));
        }
        values
    })
}

/// All values of a stream of JSON; `None` when it is not that, for YAML may begin like JSON.
fn json_values(text: &str) -> Option<Vec<Value>> {
    serde_json::Deserializer::from_str(text)
        .into_iter::<Value>()
        .collect::<Result<_, _>>()
        .ok()
}

fn unpack(
    file: &SmolStr,
    number: usize,
    mut value: Value,
    documents: &mut Vec<Document>,
) -> Result<(), DocumentError> {
    strip_nulls(&mut value);
    match value {
        Value::Null => Ok(()),
        Value::Array(items) => items
            .into_iter()
            .try_for_each(|item| unpack(file, number, item, documents)),
        Value::Object(mut map) => {
            let is_list = map
                .get("kind")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.ends_with("List"));
            if is_list && let Some(Value::Array(items)) = map.remove("items") {
                return items
                    .into_iter()
                    .try_for_each(|item| unpack(file, number, item, documents));
            }
            documents.push(Document {
                file: file.clone(),
                number,
                value: Value::Object(map),
            });
            Ok(())
        }
        _ => Err(DocumentError::NotAnObject {
            file: file.clone(),
            number,
        }),
    }
}

/// The text of one YAML document, and where it stands.
struct YamlPart<'a> {
    text: &'a str,
    first_line: u64,
}

impl YamlPart<'_> {
    fn is_blank(&self) -> bool {
        self.text.lines().all(|line| {
            let line = line.trim();
            line.is_empty() || line.starts_with(['#', '%']) || line == "---" || line == "..."
        })
    }

    fn parse(&self) -> Result<Value, String> {
        // A file of the user's own may be as big as the cluster it describes.
        let options = serde_saphyr::options! { budget: None };
        serde_saphyr::from_str_with_options(self.text, options).map_err(|error| {
            let place = error.location().map(|location| {
                let line = location.line() + self.first_line;
                format!("line {line}, column {}: ", location.column())
            });
            let message = error.without_snippet().to_string();
            format!("{}{message}", place.unwrap_or_default())
        })
    }
}

/// Cuts a YAML stream at its `---` lines. No other text of YAML can begin a line with `---` and a
/// blank, not even inside a block scalar, so no parser is needed for it.
fn yaml_parts(text: &str) -> Vec<YamlPart<'_>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut first_line = 0;
    let mut offset = 0;
    for (line_number, line) in (0..).zip(text.split_inclusive('\n')) {
        let after = line.strip_prefix("---");
        if after.is_some_and(|after| after.is_empty() || after.starts_with([' ', '\t', '\r', '\n']))
        {
            parts.push(YamlPart {
                text: &text[start..offset],
                first_line,
            });
            start = offset;
            first_line = line_number;
        }
        offset += line.len();
    }
    parts.push(YamlPart {
        text: &text[start..],
        first_line,
    });
    parts
}
