//! The script.

use std::fmt::Write as _;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;

use super::content::{self, Placed};
use super::recipe::Recipe;
use crate::cluster_config::{PackagePin, Repository};
use crate::userdata::single_quoted;

/// A package as the script has it.
#[derive(Serialize)]
struct Wanted {
    name: String,
    /// What apt-get is asked for.
    request: String,
    /// What the installed version must match, an extended regular expression.
    expression: String,
}

impl Wanted {
    fn of(pin: &PackagePin) -> Self {
        let expression = match &pin.version {
            None => ".*".to_owned(),
            Some(version) => expression(version),
        };
        Self {
            name: pin.name.clone(),
            request: pin.to_string(),
            expression,
        }
    }
}

/// A pattern of versions as an extended regular expression.
fn expression(version: &str) -> String {
    let mut expression = String::new();
    for c in version.chars() {
        match c {
            '*' => expression.push_str(".*"),
            '.' | '+' => {
                expression.push('[');
                expression.push(c);
                expression.push(']');
            }
            c => expression.push(c),
        }
    }
    expression
}

/// A repository as the script has it.
#[derive(Serialize)]
struct Source {
    path: String,
    keyring: String,
    key_text: Option<String>,
    key_url: Option<String>,
    fingerprint: Option<String>,
    sources: String,
}

impl Source {
    fn of(repository: &Repository, architecture: &str) -> Self {
        let Repository {
            name,
            uri,
            suite,
            components,
            key,
        } = repository;
        let keyring = format!("/etc/apt/keyrings/windlass-{name}.asc");
        let mut lines = vec![
            "Types: deb".to_owned(),
            format!("URIs: {uri}"),
            format!("Suites: {suite}"),
        ];
        if !components.is_empty() {
            lines.push(format!("Components: {}", components.join(" ")));
        }
        lines.push(format!("Architectures: {architecture}"));
        lines.push(format!("Signed-By: {keyring}"));
        Self {
            path: format!("/etc/apt/sources.list.d/windlass-{name}.sources"),
            keyring,
            key_text: key.text.as_deref().map(|text| text.trim_end().to_owned()),
            key_url: key.url.clone(),
            fingerprint: key.fingerprint.as_deref().map(str::to_ascii_uppercase),
            sources: lines.join("\n"),
        }
    }
}

impl Recipe {
    /// The script that makes an image, for bash. Run as root it does so on the machine or in the
    /// chroot at hand.
    pub fn script(&self) -> String {
        self.rendered(&self.hash())
    }

    /// The script without its own hash.
    pub(super) fn script_body(&self) -> String {
        self.rendered("")
    }

    fn rendered(&self, hash: &str) -> String {
        let ami = &self.ami;
        let architecture = ami.architecture.name();
        let pinned = self.pinned_packages();
        let distribution = self
            .distribution_packages()
            .into_iter()
            .map(|name| PackagePin {
                name: name.to_owned(),
                version: None,
            });
        let packages: Vec<Wanted> = pinned
            .iter()
            .cloned()
            .chain(distribution)
            .map(|pin| Wanted::of(&pin))
            .collect();
        let repositories: Vec<Source> = self
            .repositories
            .iter()
            .map(|repository| Source::of(repository, architecture))
            .collect();
        let images = &ami.container_images;
        let body = |text: &str| text.trim_end().to_owned();

        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("sq", |text: String| single_quoted(&text));
        environment.add_function("placed", |section: String| placed(&section));
        let rendered = environment.render_str(
            include_str!("script.sh.j2"),
            context! {
                recipe => hash,
                kubernetes => &self.kubernetes.version,
                architecture => architecture,
                repositories => Serde(&repositories),
                fetches_keys => repositories.iter().any(|it| it.key_url.is_some()),
                packages => Serde(&packages),
                held => pinned.iter().map(|pin| pin.name.clone()).collect::<Vec<_>>(),
                upgrade => ami.upgrade,
                modules => content::MODULES.to_vec(),
                sysctls => content::SYSCTLS.map(|(key, value)| format!("{key} = {value}")).to_vec(),
                masked => content::MASKED.to_vec(),
                enabled => content::ENABLED.to_vec(),
                containerd_config => content::CONTAINERD_CONFIG,
                containerd_1 => body(content::CONTAINERD_1),
                containerd_2 => body(content::CONTAINERD_2),
                windlass_url => &ami.windlass.url,
                windlass_sha256 => &ami.windlass.sha256,
                pulls_kubernetes => images.kubernetes,
                pull => &images.pull,
                archives => Serde(&images.archives),
                checks => self.checks_json(),
            },
        );
        // The template is part of the program and all that it names is given: a test renders it
        // with everything and with next to nothing.
        let text = rendered.expect("the template of the image's script is whole");
        format!("{}\n", text.trim_end())
    }
}

/// The lines that write the files of a section.
fn placed(section: &str) -> String {
    let mut lines = String::new();
    for Placed { path, content, .. } in content::files()
        .iter()
        .filter(|file| file.section == section)
    {
        // Writing into a String cannot fail.
        let _ = write!(
            lines,
            "put {path} 644 \"$(\n  cat <<'FILE'\n{content}FILE\n)\"\n"
        );
    }
    lines
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::cluster_config::ClusterConfig;

    /// A recipe of a configuration with `more` in its `spec.ami`, which is JSON's inside of an object.
    pub(in crate::ami) fn recipe(more: &str) -> Recipe {
        let text = format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
             region: us-west-2\n  endpoint: api.example.com:443\n  kubernetes: v1.36.3\n  \
             subnets: [subnet-1]\n  securityGroups: [sg-1]\n  \
             ami: {{source: {{id: ami-1}}, windlass: {{url: https://example.com/windlass, \
             sha256: {}}}{more}}}\n",
            "0123456789abcdef".repeat(4)
        );
        Recipe::of(&ClusterConfig::read("cluster.yaml", &text).unwrap()).unwrap()
    }

    fn recipes() -> Vec<Recipe> {
        let example = include_str!("../../../../examples/cluster.yaml");
        let example = ClusterConfig::read("examples/cluster.yaml", example).unwrap();
        let bare = ", upgrade: false, packages: {runc: null, criTools: null}, \
                    repositories: [], containerImages: {kubernetes: false}";
        vec![Recipe::of(&example).unwrap(), recipe(""), recipe(bare)]
    }

    #[track_caller]
    pub(in crate::ami) fn accepted_by(program: &str, arguments: &[&str], script: &str) {
        let Ok(mut child) = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        else {
            // Where it is not installed there is nothing to hold the script against.
            eprintln!("{program} is not installed: not checked");
            return;
        };
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    fn every_form_passes_bash_and_shellcheck() {
        for recipe in recipes() {
            let script = recipe.script();
            accepted_by("bash", &["-n"], &script);
            accepted_by("shellcheck", &["--shell=bash", "-"], &script);
            assert!(!script.contains("shellcheck disable"));
        }
    }

    #[test]
    fn the_same_recipe_is_the_same_script_and_another_has_another_name() {
        let [all, usual, bare] = &recipes()[..] else {
            panic!("three");
        };
        assert_eq!(usual.script(), recipe("").script());
        assert_ne!(usual.image_name(), bare.image_name());
        assert!(all.image_name().starts_with("windlass-prod-v1.36.3-amd64-"));
        assert!(usual.script().contains(&usual.hash()));
    }

    #[test]
    fn versions_become_expressions() {
        assert_eq!(expression("1:1.36.3-*"), "1:1[.]36[.]3-.*");
        assert_eq!(expression("1.1+ds1~x"), "1[.]1[+]ds1~x");
    }

    #[test]
    fn a_section_begins_and_ends_once() {
        let script = recipe("").script();
        let begun = script.lines().filter(|line| line.starts_with("begin "));
        let finished = script.lines().filter(|line| *line == "finish");
        let sections = begun.count();
        assert_eq!(sections, finished.count());
        assert!(12 <= sections, "{sections}");
    }
}
