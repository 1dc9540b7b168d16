//! The report as a page for a browser: one file that needs nothing else, no script included.

mod chart;

use std::fmt::Write;

use windlass_model::format_go_duration;

use super::{Entry, Report, Summary};

/// Colours are those of a palette that people who see few colours tell apart; a dark page where
/// the reader's system is dark.
const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--faint:#667;--line:#d8dce2;\
--nodes:#0072b2;--running:#009e73;--pending:#d55e00}\
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e6e8eb;--faint:#99a;\
--line:#343a42;--nodes:#56b4e9;--running:#2fc49a;--pending:#f0894a}}\
body{margin:0 auto;max-width:68rem;padding:1.5rem;background:var(--paper);color:var(--ink);\
font:15px/1.45 system-ui,sans-serif}\
h1{font-size:1.35rem;margin:0 0 1rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}\
dl{display:flex;flex-wrap:wrap;gap:.75rem 2rem;margin:0}\
dt{color:var(--faint);font-size:.85rem}dd{margin:0;font-size:1.15rem}\
svg{width:100%;height:auto;display:block}\
svg text{font:11px system-ui,sans-serif;fill:var(--faint)}svg .name{fill:var(--ink);font-size:13px}\
.grid{stroke:var(--line);stroke-width:1}\
.line{fill:none;stroke-width:1.6}.area{stroke:none;opacity:.16}\
.nodes{stroke:var(--nodes)}.running{stroke:var(--running)}.pending{stroke:var(--pending)}\
.area.nodes{fill:var(--nodes)}.area.running{fill:var(--running)}.area.pending{fill:var(--pending)}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.2rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}\
th{color:var(--faint);font-weight:600}\
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
.kind{white-space:nowrap;color:var(--faint)}";

impl Report {
    /// The report as a page that a browser shows: the summary, nodes and pods over time, and
    /// what happened.
    pub fn to_html(&self, title: &str) -> String {
        let title = escape(title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        page += &figures(&self.summary);
        page += "<h2>Nodes and pods over time</h2>\n";
        page += &chart::draw(&self.series, self.summary.duration);
        page += "<h2>What happened</h2>\n<table>\n<thead><tr><th class=\"number\">time</th>\
                 <th class=\"number\">nodes</th><th class=\"number\">pods</th>\
                 <th class=\"number\">pending</th><th>by</th><th>what</th></tr></thead>\n<tbody>\n";
        for entry in &self.timeline {
            page += &row(entry);
        }
        page += "</tbody>\n</table>\n</body>\n</html>\n";
        page
    }
}

fn figures(summary: &Summary) -> String {
    let mut list = "<dl>\n".to_owned();
    for (name, value) in summary.figures() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            list,
            "<div><dt>{name}</dt><dd>{}</dd></div>",
            escape(&value)
        );
    }
    list + "</dl>\n"
}

fn row(entry: &Entry) -> String {
    let after = &entry.after;
    format!(
        "<tr><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{}</td><td class=\"kind\">{}</td><td>{}</td></tr>\n",
        format_go_duration(entry.at),
        after.nodes,
        after.running,
        after.pending,
        escape(entry.kind),
        escape(&entry.text)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use windlass_model::Duration;

    use super::*;
    use crate::report::{Counts, Sample};

    fn report() -> Report {
        let sample = |minutes, nodes, running, pending| Sample {
            at: Duration::from_mins(minutes),
            counts: Counts {
                nodes,
                running,
                pending,
            },
        };
        let summary = Summary {
            duration: Duration::from_mins(30),
            ..Summary::default()
        };
        let timeline = vec![Entry {
            at: Duration::from_mins(5),
            kind: "pods",
            text: "<web> & \"co\"".to_owned(),
            after: Counts::default(),
        }];
        let series = vec![sample(0, 1, 2, 0), sample(5, 1, 2, 9), sample(7, 4, 11, 0)];
        Report::new(timeline, series, summary)
    }

    #[test]
    fn names_cannot_become_markup() {
        let page = report().to_html("a <b>");
        assert!(page.contains("<title>a &lt;b&gt;</title>"));
        assert!(page.contains("<td>&lt;web&gt; &amp; &quot;co&quot;</td>"));
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = report().to_html("a");
        for outside in ["http:", "https:", "src=", "href=", "<script", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
