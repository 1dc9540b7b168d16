use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use windlass_config::{LogFormat, Logging, Severity};

use super::file::{LogFile, Names};

/// Where lines go. Source: klog's `output`.
pub(super) struct Sink {
    streams: Streams,
    files: Option<Mutex<Files>>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sink").finish_non_exhaustive()
    }
}

/// Which of the process's own streams a line goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Streams {
    /// Errors to standard error, everything else to standard output.
    is_split: bool,
    /// Lines go to files too, so that not all of them need to go to standard error.
    has_files: bool,
    also: Option<Severity>,
    threshold: Option<Severity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

impl Streams {
    fn new(logging: &Logging) -> Self {
        let has_files = !logging.log_to_stderr;
        // With klog's old behaviour the threshold counts where there are files only.
        let ignores_threshold = logging.legacy_stderr_threshold_behavior && !has_files;
        Self {
            is_split: match logging.format {
                LogFormat::Text => logging.text_split_stream,
                LogFormat::Json => logging.json_split_stream,
            },
            has_files,
            also: logging
                .also_log_to_stderr
                .then_some(logging.also_log_to_stderr_threshold),
            threshold: (!ignores_threshold).then_some(logging.stderr_threshold),
        }
    }

    fn of(self, severity: Severity) -> Option<Stream> {
        let is_wanted = self.threshold.is_none_or(|least| least <= severity)
            || self.has_files && self.also.is_some_and(|least| least <= severity);
        let stream = if self.is_split && severity < Severity::Error {
            Stream::Output
        } else {
            Stream::Error
        };
        is_wanted.then_some(stream)
    }
}

enum Files {
    /// `--log-file`.
    One(LogFile),
    /// `--log-dir`.
    BySeverity(Box<Directory>),
}

/// A file for each severity, made when it is first needed.
struct Directory {
    path: PathBuf,
    names: Names,
    logging: Logging,
    files: [Option<LogFile>; 3],
}

/// Of the least first.
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Error];

impl Sink {
    pub(super) fn open(logging: &Logging) -> anyhow::Result<Self> {
        let files = if logging.log_to_stderr {
            None
        } else if let Some(path) = &logging.file {
            let opened = LogFile::append(Path::new(path), logging);
            Some(Files::One(
                opened.with_context(|| format!("open --log-file={path}"))?,
            ))
        } else {
            let directory = logging
                .directory
                .as_ref()
                .map_or_else(std::env::temp_dir, PathBuf::from);
            let mut files = Files::BySeverity(Box::new(Directory {
                path: directory.clone(),
                names: Names::of_this_process(),
                logging: logging.clone(),
                files: [None, None, None],
            }));
            // What cannot be written is better known now than at the first line.
            files
                .write(Severity::Info, "")
                .with_context(|| format!("make a log file in --log-dir={}", directory.display()))?;
            Some(files)
        };
        Ok(Self {
            streams: Streams::new(logging),
            files: files.map(Mutex::new),
        })
    }

    pub(super) fn write(&self, severity: Severity, line: &str) {
        // A log that nobody reads any more is no reason to stop working.
        let _ = match self.streams.of(severity) {
            Some(Stream::Output) => io::stdout().lock().write_all(line.as_bytes()),
            Some(Stream::Error) => io::stderr().lock().write_all(line.as_bytes()),
            None => Ok(()),
        };
        if let Some(files) = &self.files {
            let written = files
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(severity, line);
            if let Err(error) = written {
                let mut stderr = io::stderr().lock();
                let _ = write!(stderr, "cannot write to the log file: {error}: {line}");
            }
        }
    }
}

impl Files {
    fn write(&mut self, severity: Severity, line: &str) -> io::Result<()> {
        match self {
            Self::One(file) => file.write(line),
            Self::BySeverity(directory) => directory.write(severity, line),
        }
    }
}

impl Directory {
    /// Into the file of its own severity and, unless `--one-output`, those of the lesser ones.
    fn write(&mut self, severity: Severity, line: &str) -> io::Result<()> {
        let Self {
            path,
            names,
            logging,
            files,
        } = self;
        for (file, of) in files.iter_mut().zip(SEVERITIES) {
            let is_own = of == severity.min(Severity::Error);
            let is_lesser = of < severity && !logging.one_output;
            if !is_own && !is_lesser {
                continue;
            }
            let file = match file {
                Some(file) => file,
                None => file.insert(LogFile::of_severity(path, of, names, logging)?),
            };
            file.write(line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn logging(flags: &[&str]) -> Logging {
        windlass_config::Config::parse(flags).unwrap().0.logging
    }

    fn streams(flags: &[&str]) -> [Option<Stream>; 3] {
        let streams = Streams::new(&logging(flags));
        SEVERITIES.map(|severity| streams.of(severity))
    }

    const ERR: Option<Stream> = Some(Stream::Error);
    const OUT: Option<Stream> = Some(Stream::Output);

    #[test]
    fn the_threshold_keeps_lines_from_standard_error() {
        assert_eq!(streams(&[]), [ERR, ERR, ERR]);
        assert_eq!(streams(&["--stderrthreshold=error"]), [None, None, ERR]);
        let old = [
            "--stderrthreshold=error",
            "--legacy-stderr-threshold-behavior",
        ];
        assert_eq!(streams(&old), [ERR, ERR, ERR]);
    }

    #[test]
    fn with_files_the_threshold_always_counts_and_more_can_be_asked_for() {
        let flags = |more: &[&'static str]| {
            let few = ["--logtostderr=false", "--stderrthreshold=error"];
            streams(&[&few, more].concat())
        };
        assert_eq!(flags(&[]), [None, None, ERR]);
        assert_eq!(
            flags(&["--legacy-stderr-threshold-behavior"]),
            [None, None, ERR]
        );
        assert_eq!(flags(&["--alsologtostderr"]), [ERR, ERR, ERR]);
        let some = ["--alsologtostderr", "--alsologtostderrthreshold=warning"];
        assert_eq!(flags(&some), [None, ERR, ERR]);
    }

    #[test]
    fn split_streams_leave_standard_error_to_errors() {
        assert_eq!(streams(&["--log-text-split-stream"]), [OUT, OUT, ERR]);
        assert_eq!(streams(&["--log-json-split-stream"]), [ERR, ERR, ERR]);
        let json = ["--log-json-split-stream", "--logging-format=json"];
        assert_eq!(streams(&json), [OUT, OUT, ERR]);
    }

    /// A directory of the test's own, removed at its end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("windlass-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap_or_default()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write_all(flags: &[&str]) {
        let flags = [&["--logtostderr=false", "--stderrthreshold=fatal"], flags].concat();
        let sink = Sink::open(&logging(&flags)).unwrap();
        for severity in SEVERITIES {
            sink.write(severity, &format!("{}\n", severity.as_str()));
        }
    }

    #[test]
    fn a_log_file_is_appended_to_and_its_directories_are_made() {
        let directory = Place::new("log-file");
        let flag = format!("--log-file={}/a/b.log", directory.0.display());
        write_all(&[&flag]);
        write_all(&[&flag]);
        assert_eq!(
            directory.read("a/b.log"),
            "INFO\nWARNING\nERROR\n".repeat(2)
        );
    }

    #[test]
    fn a_log_file_that_is_too_large_is_started_anew() {
        let directory = Place::new("log-size");
        let flag = format!("--log-file={}/b.log", directory.0.display());
        let logging = logging(&[
            "--logtostderr=false",
            "--stderrthreshold=fatal",
            "--log-file-max-size=1",
            &flag,
        ]);
        let sink = Sink::open(&logging).unwrap();
        let half = "x".repeat(600 * 1024);
        for line in ["first", "second"] {
            sink.write(Severity::Info, &format!("{line} {half}\n"));
        }
        let text = directory.read("b.log");
        assert!(text.starts_with("second") && text.len() < 1024 * 1024);
    }

    #[test]
    fn a_log_directory_has_a_file_for_each_severity() {
        let directory = Place::new("log-dir");
        let flag = format!("--log-dir={}", directory.0.display());
        write_all(&[&flag]);
        let info = directory.read("windlass.INFO");
        assert!(info.starts_with("Log file created at: "), "{info}");
        assert!(info.ends_with("INFO\nWARNING\nERROR\n"), "{info}");
        assert!(
            directory
                .read("windlass.WARNING")
                .ends_with("msg\nWARNING\nERROR\n")
        );
        assert!(directory.read("windlass.ERROR").ends_with("msg\nERROR\n"));
    }

    #[test]
    fn one_output_and_no_headings() {
        let directory = Place::new("log-one");
        let flag = format!("--log-dir={}", directory.0.display());
        write_all(&[&flag, "--one-output", "--skip-log-headers"]);
        assert_eq!(directory.read("windlass.INFO"), "INFO\n");
        assert_eq!(directory.read("windlass.ERROR"), "ERROR\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let logging = logging(&["--logtostderr=false", "--log-file=/proc/nobody/x.log"]);
        let error = Sink::open(&logging).unwrap_err();
        assert_eq!(error.to_string(), "open --log-file=/proc/nobody/x.log");
    }
}
