use std::fmt::Write;

use windlass_model::{Duration, format_go_duration};

use crate::report::{Counts, Sample};

/// Width of the drawing, and of what stands beside the panels, in SVG's units.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
/// Height of a panel, and of the heading above it.
const PANEL: f64 = 96.0;
const HEADING: f64 = 26.0;
/// Height of the line with the times.
const FOOT: f64 = 22.0;

/// Most lines across a panel, and most times below.
const MOST_LEVELS: u64 = 4;
const MOST_TIMES: i64 = 10;

/// One panel: what it shows, its class in the style, and the number that it takes.
type Panel = (&'static str, &'static str, fn(&Counts) -> usize);

const PANELS: [Panel; 3] = [
    ("nodes", "nodes", |counts| counts.nodes),
    ("pods on nodes", "running", |counts| counts.running),
    ("pods without a node", "pending", |counts| counts.pending),
];

/// Panels below each other that share their time: each number holds until the next sample.
pub(super) fn draw(series: &[Sample], duration: Duration) -> String {
    let end = duration.as_secs_f64().max(1.0);
    let x = |at: Duration| LEFT + at.as_secs_f64() / end * (WIDTH - LEFT - RIGHT);
    let height = PANELS
        .iter()
        .fold(FOOT, |height, _| height + HEADING + PANEL);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Nodes, running pods and pending pods over time\">\n"
    );
    let times = times(duration);
    let mut top = HEADING;
    for panel in PANELS {
        svg += &draw_panel(panel, series, duration, top, &x);
        for at in &times {
            let x = x(*at);
            line(&mut svg, (x, top), (x, top + PANEL));
        }
        top += PANEL + HEADING;
    }
    for at in &times {
        let y = top - HEADING + 16.0;
        text(&mut svg, "", "middle", (x(*at), y), &clock(*at));
    }
    svg + "</svg>\n"
}

fn draw_panel(
    (name, class, number): Panel,
    series: &[Sample],
    duration: Duration,
    top: f64,
    x: &impl Fn(Duration) -> f64,
) -> String {
    let most = series.iter().map(|sample| number(&sample.counts)).max();
    let most = most.unwrap_or(0);
    let step = level_step(most);
    let levels = u64::try_from(most)
        .unwrap_or(u64::MAX)
        .div_ceil(step)
        .max(1);
    let y = |value: f64| top + PANEL - value / (levels * step) as f64 * PANEL;
    let mut svg = String::new();
    text(
        &mut svg,
        "name",
        "start",
        (LEFT, top - 8.0),
        &format!("{name}, at most {most}"),
    );
    for level in (0..=levels).map(|level| level * step) {
        let y = y(level as f64);
        line(&mut svg, (LEFT, y), (WIDTH - RIGHT, y));
        let place = (LEFT - 6.0, y + 4.0);
        text(&mut svg, "", "end", place, &level.to_string());
    }
    let mut path = String::new();
    for sample in series {
        let (x, y) = (x(sample.at), y(number(&sample.counts) as f64));
        // Writing to a string cannot fail.
        let _ = if path.is_empty() {
            write!(path, "M{x:.1} {y:.1}")
        } else {
            write!(path, "H{x:.1}V{y:.1}")
        };
    }
    if path.is_empty() {
        return svg;
    }
    let _ = write!(path, "H{:.1}", x(duration));
    let ground = y(0.0);
    let _ = write!(
        svg,
        "<path class=\"area {class}\" d=\"{path}V{ground:.1}H{LEFT:.1}Z\"/>\n\
         <path class=\"line {class}\" d=\"{path}\"/>\n"
    );
    svg
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<line class=\"grid\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
    );
}

/// From one line across a panel to the next: 1, 2 or 5 times a power of ten.
fn level_step(most: usize) -> u64 {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let mut power: u64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if most.div_ceil(step) <= MOST_LEVELS {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// The times that are written below, so many that they do not touch.
fn times(duration: Duration) -> Vec<Duration> {
    const STEPS: [i64; 14] = [
        1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    ];
    const DAY: i64 = 86_400;
    let seconds = duration.as_secs();
    let is_wide_enough = |step: &i64| seconds / step <= MOST_TIMES;
    let days = || DAY * (seconds / DAY / MOST_TIMES + 1);
    let step = STEPS.into_iter().find(is_wide_enough);
    let step = step.unwrap_or_else(days);
    (0..=seconds / step)
        .map(|count| Duration::from_secs(count * step))
        .collect()
}

/// `45m` and not `45m0s`.
fn clock(at: Duration) -> String {
    let text = format_go_duration(at);
    match (text.strip_suffix("h0m0s"), text.strip_suffix("m0s")) {
        (Some(hours), _) => format!("{hours}h"),
        (_, Some(minutes)) => format!("{minutes}m"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        let steps = [0, 1, 4, 5, 9, 21, 40, 41, 12_345].map(level_step);
        assert_eq!(steps, [1, 1, 1, 2, 5, 10, 10, 20, 5000]);
    }

    #[test]
    fn times_are_round_and_few() {
        let shown = |minutes| -> Vec<String> {
            times(Duration::from_mins(minutes))
                .into_iter()
                .map(clock)
                .collect()
        };
        assert_eq!(shown(3), ["0s", "30s", "1m", "1m30s", "2m", "2m30s", "3m"]);
        assert_eq!(
            shown(50),
            [
                "0s", "5m", "10m", "15m", "20m", "25m", "30m", "35m", "40m", "45m", "50m"
            ]
        );
        assert_eq!(shown(1440).len(), 9);
        assert!(shown(60 * 24 * 365).len() <= 11);
    }

    #[test]
    fn a_number_holds_until_the_next() {
        let sample = |seconds, nodes| Sample {
            at: Duration::from_secs(seconds),
            counts: Counts {
                nodes,
                ..Counts::default()
            },
        };
        let svg = draw(&[sample(0, 0), sample(50, 4)], Duration::from_secs(100));
        // Up in the middle of the panel's width, from its ground to its top.
        assert!(svg.contains("d=\"M46.0 122.0H516.0V26.0H986.0\""), "{svg}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert!(!draw(&[], Duration::ZERO).contains("<path"));
    }
}
