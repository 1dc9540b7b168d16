//! What a build's instances run: a builder the script, the checks, the report, and the end; the instance
//! of a boot test all but the script.

use std::time::Duration;

use minijinja::{Environment, UndefinedBehavior, context};

use super::recipe::Recipe;
use crate::userdata::single_quoted;

/// Seconds of the builder's time that are not the script's: booting, checks and the last report.
const APART: u64 = 120;
/// How long what begins at boot may take before its check fails.
const PATIENCE: Duration = Duration::from_mins(3);

/// The user data of a builder, before it is compressed.
pub fn user_data(recipe: &Recipe, region: &str, build: &str, source_image: &str) -> String {
    let timeout = recipe.ami.builder.timeout.0.as_secs();
    rendered(
        Some(&recipe.script()),
        region,
        build,
        source_image,
        timeout.saturating_sub(APART).max(timeout / 2),
    )
}

/// The user data of the instance that tests an image, before it is compressed. `test` is who reports
/// ([`super::report::boot_test`]).
pub fn boot_test_user_data(region: &str, test: &str) -> String {
    rendered(None, region, test, "", PATIENCE.as_secs())
}

fn rendered(
    script: Option<&str>,
    region: &str,
    build: &str,
    source_image: &str,
    seconds: u64,
) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("sq", |text: String| single_quoted(&text));
    let rendered = environment.render_str(
        include_str!("instance.sh.j2"),
        context! { script, region, build, source_image, seconds },
    );
    // As with the script: a test renders it.
    let text = rendered.expect("the template of the instances' user data is whole");
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ami::script::tests::{accepted_by, recipe};

    /// What is between two lines.
    fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
        let from = text.find(begin).unwrap() + begin.len();
        &text[from..from + text[from..].find(end).unwrap()]
    }

    #[track_caller]
    fn check(text: &str) {
        accepted_by("bash", &["-n"], text);
        accepted_by("shellcheck", &["--shell=bash", "-"], text);
        let build = between(text, "<<'WINDLASS-BUILD'\n", "\nWINDLASS-BUILD\n");
        accepted_by("shellcheck", &["--shell=bash", "-"], build);
        accepted_by("bash", &["-n"], build);
    }

    #[test]
    fn it_passes_bash_and_shellcheck_and_has_the_script_as_it_is() {
        let recipe = recipe("");
        let text = user_data(&recipe, "us-west-2", "b1", "ami-1");
        check(&text);
        assert!(text.contains(&recipe.script()));
        // Nothing of the script ends the document that it is in.
        assert!(!recipe.script().contains("WINDLASS-PROVISION"));
    }

    #[test]
    fn a_boot_test_changes_nothing_and_looks_at_the_running_host() {
        let text = boot_test_user_data("us-west-2", "b1-boot");
        check(&text);
        assert!(text.contains("how=(--live)") && !text.contains("--hygiene"));
        assert!(!text.contains("provision.sh"));
    }
}
