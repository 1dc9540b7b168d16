//! What the environment says, by processes of their own: a test must not change its own.

use std::process::Command;

use windlass_aws_client::{Client, Options};

/// Set in the other process.
const CHILD: &str = "WINDLASS_TEST_CONNECT";

/// Connects in a process with this environment alone; the region, or the error.
fn connect(environment: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["the_other_process", "--exact", "--nocapture"])
        .env_clear()
        .env(CHILD, "1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .envs(environment.iter().copied())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("told: "));
    line.unwrap_or_else(|| panic!("it told nothing: {text}"))
        .to_owned()
}

#[tokio::test]
async fn the_other_process() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let fallback_region = std::env::var("FALLBACK").ok();
    let options = Options {
        fallback_region,
        ..Options::default()
    };
    match Client::connect(options).await {
        Err(error) => println!("\ntold: {error}"),
        Ok(client) => match client.sts().get_caller_identity().await {
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                println!(
                    "\ntold: {} {} {error} {}",
                    client.region(),
                    error.class(),
                    cause.unwrap_or_default()
                );
            }
            Ok(identity) => println!("\ntold: {} {}", client.region(), identity.account),
        },
    }
}

/// Nobody listens there: calls fail before they reach anybody.
const NOWHERE: (&str, &str) = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
];

/// Point 15 of the AWS acceptance checklist.
#[test]
fn checklist_15_a_missing_region_is_told_with_all_the_ways_to_set_it() {
    let told = connect(&KEYS);
    for way in [
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "--cloud-config",
        "profile",
        "metadata",
    ] {
        assert!(told.contains(way), "{told}");
    }
    let first = ("AWS_MAX_ATTEMPTS", "1");
    for (environment, region) in [
        (
            vec![("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "x")],
            "eu-west-1 ",
        ),
        (vec![("AWS_DEFAULT_REGION", "eu-west-2")], "eu-west-2 "),
        (vec![("FALLBACK", "eu-west-3")], "eu-west-3 "),
        (
            vec![("AWS_REGION", "eu-west-1"), ("FALLBACK", "eu-west-3")],
            "eu-west-1 ",
        ),
    ] {
        let environment = [&environment[..], &KEYS, &[NOWHERE, first]].concat();
        let told = connect(&environment);
        assert!(told.starts_with(region), "{told}");
    }
}

/// Point 15 of the AWS acceptance checklist.
#[test]
fn checklist_15_a_bad_number_of_attempts_is_refused_with_its_value() {
    for bad in ["many", "0", "-1", "2.5"] {
        let environment = [
            &KEYS[..],
            &[("AWS_REGION", "eu-west-1"), ("AWS_MAX_ATTEMPTS", bad)],
        ];
        let told = connect(&environment.concat());
        assert_eq!(
            told,
            format!("AWS_MAX_ATTEMPTS: `{bad}` is not an integer above 0")
        );
    }
    let environment = [
        &KEYS[..],
        &[("AWS_REGION", "eu-west-1"), ("AWS_RETRY_MODE", "odd")],
    ];
    assert!(connect(&environment.concat()).contains("AWS_RETRY_MODE: `odd`"));
}

/// Point 15 of the AWS acceptance checklist.
#[test]
fn checklist_15_a_web_identity_token_that_cannot_be_used_is_told() {
    let told = connect(&[
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/windlass"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"),
        ("AWS_MAX_ATTEMPTS", "1"),
        NOWHERE,
    ]);
    assert!(told.starts_with("eu-west-1 credentials "), "{told}");
    assert!(told.contains("no AWS credentials"), "{told}");
}
