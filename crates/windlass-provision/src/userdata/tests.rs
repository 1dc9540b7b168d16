use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;

use super::*;

fn example() -> UserData {
    UserData {
        mode: Mode::Script,
        cluster: "prod".to_owned(),
        parameter: "/windlass/prod/join".to_owned(),
        node_group: "workers-a".to_owned(),
        endpoint: "api.example.internal:443".to_owned(),
        labels: vec![("team".to_owned(), "web".to_owned())],
        taints: vec![(
            "dedicated".to_owned(),
            "web".to_owned(),
            "NoSchedule".to_owned(),
        )],
        labels_from: LabelsFrom::Config,
        auto_scaling_group: None,
        local_disks: LocalDisks::None,
        pre_join: vec![CommandConfig {
            required: true,
            ..CommandConfig::new("modprobe zram\necho 'it''s loaded'")
        }],
        post_join: vec![CommandConfig::new("touch /run/joined")],
        cri_socket: "unix:///run/containerd/containerd.sock".to_owned(),
        cloud_provider: CloudProvider::External,
        pins: vec![format!("sha256:{}", "1".repeat(64)).parse().unwrap()],
        lifecycle_hook: None,
        on_failure: OnFailure::Unhealthy,
        binary: Some(Binary {
            url: "https://example.com/windlass".to_owned(),
            sha256: "0123456789abcdef".repeat(4),
        }),
        ignore_preflight_errors: vec!["Swap".to_owned()],
    }
}

/// Every mode with everything and with next to nothing set.
fn examples() -> Vec<UserData> {
    [Mode::Agent, Mode::Fetch, Mode::Script, Mode::Legacy2019]
        .into_iter()
        .flat_map(|mode| {
            let has_commands = mode != Mode::Legacy2019;
            let kept = |commands: Vec<CommandConfig>| {
                commands.into_iter().filter(|_| has_commands).collect()
            };
            let full = UserData {
                mode,
                pre_join: kept(example().pre_join),
                post_join: kept(example().post_join),
                lifecycle_hook: Some(LifecycleHook {
                    group: "workers-a".to_owned(),
                    hook: "join".to_owned(),
                }),
                ..example()
            };
            let bare = UserData {
                labels: Vec::new(),
                taints: Vec::new(),
                pins: Vec::new(),
                pre_join: Vec::new(),
                post_join: Vec::new(),
                lifecycle_hook: None,
                cloud_provider: CloudProvider::None,
                on_failure: OnFailure::Keep,
                ..full.clone()
            };
            [full, bare]
        })
        .collect()
}

#[test]
fn what_a_form_does_nothing_with_is_refused() {
    let refused = |data: UserData| data.render().unwrap_err().to_string();
    let tags = UserData {
        labels_from: LabelsFrom::AsgTags,
        ..example()
    };
    assert!(refused(tags.clone()).contains("agent"));
    let agent = UserData {
        mode: Mode::Agent,
        auto_scaling_group: Some("workers-a".to_owned()),
        ..tags
    };
    let script = agent.render().unwrap();
    assert!(script.contains(r#""labelsFrom": "asg-tags""#), "{script}");
    let disks = UserData {
        local_disks: LocalDisks::Raid0,
        ..example()
    };
    assert!(refused(disks).starts_with("local disks"));
    let legacy = UserData {
        mode: Mode::Legacy2019,
        ..example()
    };
    assert!(refused(legacy).contains("MIME part"));
}

fn feed(program: &str, arguments: &[&str], input: &str) -> std::io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().unwrap().write_all(input.as_bytes())?;
    child.wait_with_output()
}

#[test]
fn every_form_passes_bash_and_shellcheck() {
    for data in examples() {
        let script = data.render().unwrap();
        let output = feed("bash", &["-n"], &script).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // Where shellcheck is not installed there is nothing to hold the script against.
        let Ok(output) = feed("shellcheck", &["--shell=bash", "-"], &script) else {
            eprintln!("shellcheck is not installed: not checked");
            continue;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{:?}: {said}", data.mode);
        assert!(!script.contains("shellcheck disable"));
    }
}

#[test]
fn every_form_fits_and_holds_no_token() {
    let token = regex_of_a_token;
    for data in examples() {
        let script = data.render().unwrap();
        assert!(script.len() < TIGHT_LENGTH, "{}", script.len());
        assert!(as_mime(&script).unwrap().contains(&script));
        assert!(!token(&script), "{:?}", data.mode);
        assert_eq!(data.render().unwrap(), script);
    }
    assert!(token("x abcdef.0123456789abcdef y"));
}

/// Whether a text has a word of the form of a bootstrap token.
fn regex_of_a_token(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .any(|word| word.parse::<crate::token::BootstrapToken>().is_ok())
}

#[test]
fn only_the_2019_form_may_skip_the_authority() {
    for data in examples() {
        let script = data.render().unwrap();
        let skips = script.contains("unsafe-skip-ca-verification");
        assert_eq!(skips, data.mode == Mode::Legacy2019);
    }
}

#[test]
fn labels_that_the_kubelet_may_not_set_are_refused() {
    let with = |key: &str| UserData {
        labels: vec![(key.to_owned(), "x".to_owned())],
        ..example()
    };
    for allowed in [
        "team",
        "example.com/a",
        "node.kubernetes.io/lifecycle",
        "kubernetes.io/os",
    ] {
        assert!(with(allowed).render().is_ok(), "{allowed}");
    }
    for reserved in [
        "node-role.kubernetes.io/worker",
        "kubernetes.io/role",
        "x.node-restriction.kubernetes.io/a",
        "k8s.io/a",
    ] {
        assert!(
            matches!(
                with(reserved).render(),
                Err(UserDataError::Label(LabelError::Reserved(_)))
            ),
            "{reserved}"
        );
    }
    for wrong in ["", "a b", "a/b/c", "-a", "A/b"] {
        assert!(
            matches!(
                with(wrong).render(),
                Err(UserDataError::Label(LabelError::Syntax(_)))
            ),
            "{wrong}"
        );
    }
}

#[test]
fn what_could_be_read_as_something_else_is_refused() {
    let evil = UserData {
        cluster: "prod\"; rm -rf".to_owned(),
        ..example()
    };
    assert!(matches!(evil.render(), Err(UserDataError::Text { .. })));
    let effect = UserData {
        taints: vec![("a".to_owned(), "b".to_owned(), "Never".to_owned())],
        ..example()
    };
    assert!(matches!(
        effect.render(),
        Err(UserDataError::Label(LabelError::Syntax(_)))
    ));
}

#[test]
fn what_is_too_long_is_refused() {
    let long = UserData {
        labels: (0..200)
            .map(|n| (format!("example.com/label-{n}"), "x".repeat(60)))
            .collect(),
        ..example()
    };
    assert!(matches!(long.render(), Err(UserDataError::Length(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_comes_through_bash_as_it_is(text in "[^\0]*") {
        let script = format!("printf %s {}", single_quoted(&text));
        let output = feed("bash", &[], &script).unwrap();
        prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    }
}

#[test]
fn what_the_agent_is_told_is_what_was_rendered() {
    for data in examples() {
        let config = data.node_config().unwrap();
        assert_eq!(NodeConfig::from_yaml(&config.to_json()).unwrap(), config);
        assert_eq!(config.labels.len(), data.labels.len());
        assert_eq!(config.ca_pins, data.pins);
        assert_eq!(
            config.lifecycle_hook.is_some(),
            data.lifecycle_hook.is_some()
        );
    }
}

#[test]
fn nothing_is_fetched_without_its_hash() {
    for (url, sha256) in [
        ("http://example.com/windlass", "0123456789abcdef".repeat(4)),
        ("https://example.com/windlass", String::new()),
        ("https://example.com/a b", "0123456789abcdef".repeat(4)),
    ] {
        let data = UserData {
            mode: Mode::Fetch,
            binary: Some(Binary {
                url: url.to_owned(),
                sha256,
            }),
            ..example()
        };
        assert!(matches!(data.render(), Err(UserDataError::Binary)), "{url}");
    }
}
