use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use windlass_config::Logging;

/// From this verbosity on, what explains is logged: klog's habit.
pub(super) const EXPLAINS: u32 = 4;
/// From this one on, everything of ours.
pub(super) const EVERYTHING: u32 = 6;
/// From this one on, the libraries too.
const LIBRARIES: u32 = 8;

/// How much is logged: `--v`, and `--vmodule` for some source files.
#[derive(Debug)]
pub(super) struct Levels {
    verbosity: u32,
    by_file: Vec<(String, u32)>,
}

impl Levels {
    pub(super) fn new(logging: &Logging) -> Self {
        let by_file = logging.vmodule.0.iter();
        Self {
            verbosity: logging.verbosity.0,
            by_file: by_file
                .map(|(pattern, level)| (pattern.clone(), level.0))
                .collect(),
        }
    }

    /// The most that any source file may log.
    pub(super) fn most_verbose(&self) -> LevelFilter {
        let levels = self.by_file.iter().map(|(_, level)| *level);
        let most = levels.fold(self.verbosity, u32::max);
        ours(most).max(libraries(most))
    }

    /// Whether what is logged there is written.
    pub(super) fn enables(&self, metadata: &Metadata<'_>) -> bool {
        let level = metadata.level();
        let verbosity = self.of_file(metadata.file().unwrap_or_default());
        let target = metadata.target();
        let root = target.split("::").next().unwrap_or(target);
        if root.starts_with("windlass") {
            return *level <= ours(verbosity);
        }
        // The client of the API server tells each failed connection as an error; what matters of
        // that is told once, by us.
        if root == "kube_client" && verbosity < LIBRARIES {
            return false;
        }
        *level <= libraries(verbosity)
    }

    /// klog's rule: the first pattern that matches the file may only raise the verbosity.
    fn of_file(&self, file: &str) -> u32 {
        let path = file.strip_suffix(".rs").unwrap_or(file);
        let name = path.rsplit('/').next().unwrap_or(path);
        let matching = self.by_file.iter().find(|(pattern, _)| {
            let text = if pattern.contains('/') { path } else { name };
            matches(pattern.as_bytes(), text.as_bytes())
        });
        matching.map_or(self.verbosity, |(_, level)| self.verbosity.max(*level))
    }
}

fn ours(verbosity: u32) -> LevelFilter {
    match verbosity {
        ..EXPLAINS => LevelFilter::INFO,
        EXPLAINS..EVERYTHING => LevelFilter::DEBUG,
        EVERYTHING.. => LevelFilter::TRACE,
    }
}

fn libraries(verbosity: u32) -> LevelFilter {
    if verbosity < LIBRARIES {
        LevelFilter::WARN
    } else {
        LevelFilter::DEBUG
    }
}

/// The verbosity at which klog's users expect an event of this level.
pub(super) fn of_level(level: Level) -> u32 {
    match level {
        Level::TRACE => EVERYTHING,
        Level::DEBUG => EXPLAINS,
        _ => 0,
    }
}

/// Go's `filepath.Match` without its classes: `*` and `?` stop at a slash.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            let longest = text.iter().position(|byte| *byte == b'/');
            (0..=longest.unwrap_or(text.len())).any(|length| matches(rest, &text[length..]))
        }
        (Some((wanted, rest)), Some((found, after))) => {
            let is_one = *wanted == b'?' && *found != b'/';
            (is_one || wanted == found) && matches(rest, after)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(flags: &[&str]) -> Levels {
        let (config, _) = windlass_config::Config::parse(flags).unwrap();
        Levels::new(&config.logging)
    }

    #[test]
    fn verbosity_four_explains_and_eight_tells_of_libraries() {
        assert_eq!(ours(3), LevelFilter::INFO);
        assert_eq!(ours(4), LevelFilter::DEBUG);
        assert_eq!(ours(6), LevelFilter::TRACE);
        assert_eq!(libraries(7), LevelFilter::WARN);
        assert_eq!(libraries(8), LevelFilter::DEBUG);
    }

    #[test]
    fn a_file_may_log_more_than_the_others() {
        let levels = levels(&["--v=1", "--vmodule=shell=6,scale_*=4,*/run/p?ce=5,lease=0"]);
        let of = |file: &str| levels.of_file(&format!("crates/windlass/src/{file}.rs"));
        assert_eq!(of("run/shell"), 6);
        assert_eq!(of("scale_down"), 4);
        assert_eq!(of("shell/in_flight"), 1);
        assert_eq!(of("lease"), 1);
        assert_eq!(levels.of_file("src/run/pace.rs"), 5);
        // A star stops at a slash.
        assert_eq!(of("run/pace"), 1);
        assert_eq!(levels.most_verbose(), LevelFilter::TRACE);
    }
}
