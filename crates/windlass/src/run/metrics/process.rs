use std::fs;

use super::text::line;

/// What Prometheus' clients say of their process; nothing where /proc is not as expected.
pub(super) fn encode(text: &mut String) {
    let mut say = |name: &str, kind: &str, help: &str, value: f64| {
        line(text, format_args!("# HELP {name} {help}"));
        line(text, format_args!("# TYPE {name} {kind}"));
        line(text, format_args!("{name} {value}"));
    };
    if let Some(bytes) = status_kilobytes("VmRSS:") {
        let help = "Resident memory size in bytes.";
        say(
            "process_resident_memory_bytes",
            "gauge",
            help,
            bytes * 1024.0,
        );
    }
    if let Some(bytes) = status_kilobytes("VmSize:") {
        let help = "Virtual memory size in bytes.";
        say(
            "process_virtual_memory_bytes",
            "gauge",
            help,
            bytes * 1024.0,
        );
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "Number of open file descriptors.";
        say("process_open_fds", "gauge", help, open.count() as f64);
    }
}

fn status_kilobytes(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
