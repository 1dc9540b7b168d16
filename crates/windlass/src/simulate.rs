use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration as WallTime, Instant};

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use windlass_model::{Duration, format_go_duration, parse_go_duration};
use windlass_sim::{HEADING, Once, Progress, Report, Scenario, decide_once, play};

use crate::output::{self, Encoding};
use crate::scenario_files;

/// Arguments of `windlass simulate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenario files, YAML or JSON; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take one decision, that of a fresh autoscaler's first loop, and stop.
    #[arg(long)]
    once: bool,
    /// Simulated time to play, such as `2h`.
    ///
    /// Without it the scenario is played until its last entry has been played and nothing changes
    /// any more, 24 hours at most.
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "once", value_parser = play_time)]
    play_time: Option<Duration>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// Print how long the decision took, as a line of JSON on standard error.
    #[arg(long, requires = "once")]
    timings: bool,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// A page for a browser, with nodes and pods over time; not of a single decision.
    Html,
}

fn play_time(text: &str) -> anyhow::Result<Duration> {
    let duration = parse_go_duration(text)?;
    if duration <= Duration::ZERO {
        return Err(anyhow!("must be above 0"));
    }
    Ok(duration)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let scenario = scenario_files::read(&args.files)?;
    if args.once {
        if args.output == Form::Html {
            bail!(
                "a single decision has no timeline to draw: leave --once out, or take another --output"
            );
        }
        return print_once(args, &decide_once(&scenario));
    }
    let report = match args.output {
        Form::Text => play_as_text(args, &scenario)?,
        form => {
            let mut progress = ProgressLine::new();
            let report = play(&scenario, args.play_time, &mut |now| progress.show(now));
            progress.clear();
            match form {
                Form::Html => output::data(&report.to_html(&title(args)))?,
                Form::Yaml => output::document(Encoding::Yaml, &report)?,
                Form::Text | Form::Json => output::data(&report.to_json())?,
            }
            report
        }
    };
    match report.summary.refused_plans {
        0 => Ok(()),
        count => bail!("{count} plans broke a rule and were not carried out"),
    }
}

/// The files' names, without their directories.
fn title(args: &Args) -> String {
    let names: Vec<String> = args
        .files
        .iter()
        .map(|file| {
            let name = file.file_name().unwrap_or(file.as_os_str());
            name.to_string_lossy().into_owned()
        })
        .collect();
    format!("Windlass: {}", names.join(", "))
}

fn play_as_text(args: &Args, scenario: &Scenario) -> anyhow::Result<Report> {
    output::data(&format!("{HEADING}\n"))?;
    let mut progress = ProgressLine::new();
    let mut written = Ok(());
    let report = play(scenario, args.play_time, &mut |now| {
        let lines: String = now
            .entries
            .iter()
            .map(|entry| entry.to_line() + "\n")
            .collect();
        if !lines.is_empty() {
            progress.clear();
            let result = output::data(&lines);
            if written.is_ok() {
                written = result;
            }
        }
        progress.show(now);
    });
    progress.clear();
    written?;
    output::data(&format!("\n{}", report.summary.to_text()))?;
    Ok(report)
}

fn print_once(args: &Args, once: &Once) -> anyhow::Result<()> {
    if args.timings {
        output::talk(&serde_json::to_string(&once.timings)?);
    }
    match args.output {
        Form::Json => output::data(&once.decision.to_json())?,
        Form::Yaml => output::document(Encoding::Yaml, &once.decision)?,
        Form::Text | Form::Html => output::data(&once.decision.to_text())?,
    }
    if let Some(violation) = once.violations.first() {
        bail!("the plan breaks a rule and would not be carried out: {violation}");
    }
    Ok(())
}

/// One line on a terminal's standard error that says how far a simulation is.
struct ProgressLine {
    is_wanted: bool,
    is_shown: bool,
    last: Instant,
}

impl ProgressLine {
    /// Often enough to look alive, seldom enough to cost nothing.
    const PAUSE: WallTime = WallTime::from_millis(100);

    fn new() -> Self {
        Self {
            is_wanted: io::stderr().is_terminal(),
            is_shown: false,
            last: Instant::now(),
        }
    }

    fn show(&mut self, now: &Progress<'_>) {
        if !self.is_wanted || self.last.elapsed() < Self::PAUSE {
            return;
        }
        self.last = Instant::now();
        self.is_shown = true;
        let _ = write!(
            io::stderr().lock(),
            "\r\x1b[K{} simulated: {} nodes, {} pods running, {} pending",
            format_go_duration(now.elapsed),
            now.counts.nodes,
            now.counts.running,
            now.counts.pending
        );
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
