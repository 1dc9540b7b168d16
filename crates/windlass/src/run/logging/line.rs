use std::fmt::{self, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};
use windlass_config::{LogFormat, Logging, Severity};

use super::verbosity::of_level;

/// How lines are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    format: LogFormat,
    has_header: bool,
    has_directory: bool,
}

/// klog knows no finer grades of what is not wrong.
pub(super) fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        _ => Severity::Info,
    }
}

impl Lines {
    pub(super) fn new(logging: &Logging) -> Self {
        Self {
            format: logging.format,
            has_header: !logging.skip_headers,
            has_directory: logging.add_dir_header,
        }
    }

    /// The line of an event, with its end.
    pub(super) fn of(self, event: &Event<'_>) -> String {
        let metadata = event.metadata();
        match self.format {
            LogFormat::Json => json(metadata, event),
            LogFormat::Text => self.text(metadata, event),
        }
    }

    /// `I0102 15:04:05.678901    4321 shell.rs:42] message key=value`. Source: klog's
    /// `formatHeader`; the thread's id is the process's there too.
    fn text(self, metadata: &Metadata<'_>, event: &Event<'_>) -> String {
        let mut line = String::with_capacity(160);
        if self.has_header {
            let letter = match severity(*metadata.level()) {
                Severity::Info => 'I',
                Severity::Warning => 'W',
                Severity::Error => 'E',
                Severity::Fatal => 'F',
            };
            let now = jiff::Zoned::now().strftime("%m%d %H:%M:%S%.6f");
            let source = source(metadata, if self.has_directory { 2 } else { 1 });
            let process = std::process::id();
            // Writing to a string cannot fail.
            let _ = write!(line, "{letter}{now} {process:7} {source}] ");
        }
        let mut text = Text(line);
        event.record(&mut text);
        let Text(mut line) = text;
        line.push('\n');
        line
    }
}

/// The last parts of the source's path, with the line.
fn source(metadata: &Metadata<'_>, parts: usize) -> String {
    let file = metadata.file().unwrap_or("???");
    let start = file
        .rmatch_indices('/')
        .nth(parts - 1)
        .map_or(0, |(place, _)| place + 1);
    format!("{}:{}", &file[start..], metadata.line().unwrap_or(0))
}

/// Fields as `key=value` after the message.
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.0.push_str(&one_line(value));
            return;
        }
        self.key(field);
        // A value with a blank would not end where it ends.
        let is_plain = !value.is_empty() && !value.contains([' ', '"', '=', '\n', '\t']);
        if is_plain {
            self.0.push_str(value);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = one_line(&format!("{value:?}"));
        if field.name() != MESSAGE {
            self.key(field);
        }
        self.0.push_str(&value);
    }
}

impl Text {
    fn key(&mut self, field: &Field) {
        self.0.push(' ');
        self.0.push_str(field.name());
        self.0.push('=');
    }
}

/// An event is a line, whatever is in it.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

const MESSAGE: &str = "message";

/// component-base's fields: `ts` in milliseconds, `caller`, `msg`, `v` of what is not an error.
/// `level` is ours: there a warning looks like an information.
fn json(metadata: &Metadata<'_>, event: &Event<'_>) -> String {
    let mut fields = Fields(Map::new());
    let now = jiff::Timestamp::now();
    let level = *metadata.level();
    fields.put("ts", now.as_microsecond() as f64 / 1e3);
    fields.put("caller", source(metadata, 2));
    event.record(&mut fields);
    match severity(level) {
        Severity::Error | Severity::Fatal => fields.put("level", "error"),
        Severity::Warning => fields.put("level", "warning"),
        Severity::Info => {
            fields.put("level", "info");
            fields.put("v", of_level(level));
        }
    }
    Value::Object(fields.0).to_string() + "\n"
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let name = if name == MESSAGE { "msg" } else { name };
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    struct Keep(Lines, Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Keep {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.1.lock().unwrap().push(self.0.of(event));
        }
    }

    fn lines(flags: &[&str], log: impl FnOnce()) -> Vec<String> {
        let (config, _) = windlass_config::Config::parse(flags).unwrap();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = Keep(Lines::new(&config.logging), Arc::clone(&kept));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(keep), log);
        kept.lock().unwrap().clone()
    }

    fn scale_up() {
        tracing::warn!(group = "a b", from = 1, to = 3_u64, problem = %"x\ny", "scale up");
    }

    #[test]
    fn a_line_of_text_has_klogs_header() {
        let with_header = lines(&[], scale_up).remove(0);
        let (header, message) = with_header.split_once("] ").unwrap();
        let words: Vec<&str> = header.split_whitespace().collect();
        let [day, time, process, source] = words[..] else {
            panic!("{header}");
        };
        assert!(day.starts_with('W') && day.len() == 5, "{header}");
        assert!(time.len() == "15:04:05.678901".len(), "{header}");
        assert_eq!(process, std::process::id().to_string());
        assert!(source.starts_with("line.rs:"), "{header}");
        let expected = "scale up group=\"a b\" from=1 to=3 problem=x\\ny\n";
        assert_eq!(message, expected);
        assert_eq!(lines(&["--skip-headers"], scale_up), [expected]);
        let with_directory = lines(&["--add-dir-header"], scale_up).remove(0);
        assert!(
            with_directory.contains(" logging/line.rs:"),
            "{with_directory}"
        );
    }

    #[test]
    fn a_line_of_json_has_component_bases_fields() {
        let line = lines(&["--logging-format=json"], scale_up).remove(0);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["msg"], "scale up");
        assert_eq!(value["to"], 3);
        assert_eq!(value["problem"], "x\ny");
        assert_eq!(value["level"], "warning");
        assert!(value["ts"].as_f64() > Some(1.7e12), "{line}");
        let explained = lines(&["--logging-format=json"], || tracing::debug!("woken"));
        assert!(explained[0].contains("\"v\":4"), "{explained:?}");
    }
}
