use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use windlass_config::{Logging, Severity};

const MEGABYTE: u64 = 1024 * 1024;

/// A file that is started anew when it has grown too large.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    size: u64,
    /// 0: as large as it gets.
    largest: u64,
    /// What the first line of a new file is.
    heading: String,
}

impl LogFile {
    /// `--log-file`: appended to, its directories made where they are missing.
    pub(super) fn append(path: &Path, logging: &Logging) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            file,
            path: path.to_owned(),
            size,
            largest: logging.file_max_size.saturating_mul(MEGABYTE),
            heading: String::new(),
        })
    }

    /// In `--log-dir`, the file of one severity, under klog's name, with a link to it that is
    /// named for the severity alone. klog starts such a file anew at the same size.
    pub(super) fn of_severity(
        directory: &Path,
        severity: Severity,
        names: &Names,
        logging: &Logging,
    ) -> io::Result<Self> {
        let severity = severity.as_str();
        let name = format!(
            "{PROGRAM}.{}.{}.log.{severity}.{}.{}",
            names.host, names.user, names.time, names.process
        );
        let path = directory.join(&name);
        let heading = if logging.skip_log_headers {
            String::new()
        } else {
            format!(
                "Log file created at: {}\nRunning on machine: {}\nBinary: {PROGRAM} {}\n\
                 Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n",
                names.time,
                names.host,
                env!("CARGO_PKG_VERSION")
            )
        };
        let link = directory.join(format!("{PROGRAM}.{severity}"));
        // A link is a convenience: klog does without it too.
        let _ = fs::remove_file(&link);
        let _ = symlink(&name, &link);
        let mut created = Self {
            file: File::create(&path)?,
            path,
            size: 0,
            largest: MOST_MEGABYTES * MEGABYTE,
            heading,
        };
        created.begin()?;
        Ok(created)
    }

    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        if self.largest > 0 && self.size + length >= self.largest {
            self.file = File::create(&self.path)?;
            self.begin()?;
        }
        self.size += length;
        self.file.write_all(line.as_bytes())
    }

    fn begin(&mut self) -> io::Result<()> {
        self.size = self.heading.len() as u64;
        self.file.write_all(self.heading.as_bytes())
    }
}

const PROGRAM: &str = "windlass";
/// klog's `MaxSize`.
const MOST_MEGABYTES: u64 = 1800;

/// What the names of log files are made of.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) host: String,
    pub(super) user: String,
    /// `20260102-150405`.
    pub(super) time: String,
    pub(super) process: u32,
}

impl Names {
    pub(super) fn of_this_process() -> Self {
        let name = rustix::system::uname();
        let host = name.nodename().to_string_lossy();
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        Self {
            // klog's `shortHostname`.
            host: host.split('.').next().unwrap_or(&host).to_owned(),
            user: user.map_or_else(|| "unknownuser".to_owned(), |user| user.replace('\\', "_")),
            time: jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string(),
            process: std::process::id(),
        }
    }
}
