//! What a builder says of itself while it works and at its end: the value of a parameter.

use serde::{Deserialize, Serialize};

/// Longest value of a standard parameter, in bytes.
const LONGEST: usize = 4096;
/// Most that is said of a failure, in bytes: it has to fit beside the sections.
const LONGEST_WHY: usize = 1500;

/// What a boot test's name has behind its build's.
const BOOT_TEST: &str = "-boot";

/// How far a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It goes on.
    Running,
    /// The disk is what the recipe says.
    Succeeded,
    /// It is not.
    Failed,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of the form: 1.
    pub v: u32,
    /// Which build.
    pub build: String,
    /// How far it is.
    pub state: State,
    /// The script's lines, one for each section that has ended.
    pub sections: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Report {
    /// A report of a build.
    pub fn new(build: &str, state: State, sections: &str, why: &str) -> Self {
        Self {
            v: 1,
            build: build.to_owned(),
            state,
            sections: sections.lines().map(str::to_owned).collect(),
            why: end_of(why.trim(), LONGEST_WHY).to_owned(),
        }
    }

    /// The parameter's value; the oldest sections are left out where it would be too long.
    pub fn to_json(&self) -> String {
        let mut report = self.clone();
        loop {
            // Strings and numbers alone: nothing that serde_json could refuse.
            let json = serde_json::to_string(&report).unwrap_or_default();
            if json.len() <= LONGEST || report.sections.is_empty() {
                return json;
            }
            report.sections.remove(0);
        }
    }

    /// Reads a parameter's value; none if it is no report of this build.
    pub fn read(build: &str, json: &str) -> Option<Self> {
        let report: Self = serde_json::from_str(json).ok()?;
        (report.v == 1 && report.build == build).then_some(report)
    }
}

/// Who the instance that tests a build's image reports as: in the build's parameter, where the word of
/// the builder, which may stand there still, is never taken for its own.
pub fn boot_test(build: &str) -> String {
    format!("{build}{BOOT_TEST}")
}

/// Name of the parameter of a build and of the test of its image.
pub fn parameter(build: &str) -> String {
    let build = build.strip_suffix(BOOT_TEST).unwrap_or(build);
    format!("/windlass/ami/{build}/report")
}

/// The end of a text, at most so many bytes.
fn end_of(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_by_its_own_build_alone() {
        let report = Report::new("b1", State::Running, "section prepare ok 0.1s\n", "");
        let json = report.to_json();
        assert_eq!(Report::read("b1", &json), Some(report));
        assert_eq!(Report::read("b2", &json), None);
        assert_eq!(Report::read("b1", "{}"), None);
    }

    #[test]
    fn a_boot_test_reports_in_the_same_place_and_is_not_taken_for_the_builder() {
        let test = boot_test("b1");
        assert_eq!(parameter(&test), parameter("b1"));
        let of_builder = Report::new("b1", State::Succeeded, "", "").to_json();
        assert_eq!(Report::read(&test, &of_builder), None);
    }

    #[test]
    fn it_fits_into_a_parameter_whatever_there_is_to_say() {
        let sections = "section with a long name ok 1.0s\n".repeat(300);
        let why = "ü\n".repeat(5000);
        let report = Report::new("b1", State::Failed, &sections, &why);
        let json = report.to_json();
        assert!(json.len() <= LONGEST, "{}", json.len());
        assert!(Report::read("b1", &json).unwrap().sections.len() > 10);
    }
}
