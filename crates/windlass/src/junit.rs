//! Results as `JUnit` XML, which CI systems read.

use std::fmt::Write as _;

/// A test case.
pub(crate) struct Case {
    /// What it belongs to.
    pub(crate) class: String,
    /// Its name.
    pub(crate) name: String,
    /// How long it took, where that was measured.
    pub(crate) seconds: Option<f64>,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
}

/// The document of a suite.
pub(crate) fn document(suite: &str, cases: &[Case]) -> String {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    // Writing into a String cannot fail.
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{suite}\" tests=\"{}\" \
         failures=\"{failures}\">\n",
        cases.len()
    );
    for case in cases {
        let _ = write!(
            xml,
            "  <testcase classname=\"{}\" name=\"{}\"",
            case.class,
            escaped(&case.name)
        );
        if let Some(seconds) = case.seconds {
            let _ = write!(xml, " time=\"{seconds:.1}\"");
        }
        let _ = match &case.failure {
            None => writeln!(xml, "/>"),
            Some(why) => writeln!(
                xml,
                ">\n    <failure message=\"{}\"/>\n  </testcase>",
                escaped(why)
            ),
        };
    }
    xml + "</testsuite>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\n', "&#10;")
}
