//! What a builder runs: the script, the checks, the report, and the end.

use minijinja::{Environment, UndefinedBehavior, context};

use super::recipe::Recipe;
use crate::userdata::single_quoted;

/// Seconds of the builder's time that are not the script's: booting, checks and the last report.
const APART: u64 = 120;

/// The user data of a builder, before it is compressed.
pub fn user_data(recipe: &Recipe, region: &str, build: &str, source_image: &str) -> String {
    format!(
        "{}\n",
        rendered(recipe, region, build, source_image).trim_end()
    )
}

fn rendered(recipe: &Recipe, region: &str, build: &str, source_image: &str) -> String {
    let timeout = recipe.ami.builder.timeout.0.as_secs();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("sq", |text: String| single_quoted(&text));
    let rendered = environment.render_str(
        include_str!("builder.sh.j2"),
        context! {
            script => recipe.script(),
            region => region,
            build => build,
            source_image => source_image,
            seconds => timeout.saturating_sub(APART).max(timeout / 2),
        },
    );
    // As with the script: a test renders it.
    rendered.expect("the template of the builder's user data is whole")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ami::script::tests::{accepted_by, recipe};

    #[test]
    fn it_passes_bash_and_shellcheck_and_has_the_script_as_it_is() {
        let recipe = recipe("");
        let text = user_data(&recipe, "us-west-2", "b1", "ami-1");
        accepted_by("bash", &["-n"], &text);
        accepted_by("shellcheck", &["--shell=bash", "-"], &text);
        assert!(text.contains(&recipe.script()));
        let between = |begin: &str, end: &str| {
            let from = text.find(begin).unwrap() + begin.len();
            text[from..from + text[from..].find(end).unwrap()].to_owned()
        };
        let build = between("<<'WINDLASS-BUILD'\n", "\nWINDLASS-BUILD\n");
        accepted_by("shellcheck", &["--shell=bash", "-"], &build);
        // Nothing of the script ends the document that it is in.
        assert!(!recipe.script().contains("WINDLASS-PROVISION"));
    }
}
