use super::*;

const MINUTE: i64 = 60;

/// Minutes after an arbitrary beginning.
fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * MINUTE).unwrap()
}

fn token(id: &str) -> BootstrapToken {
    format!("{id}.0123456789abcdef").parse().unwrap()
}

fn pin(digit: char) -> CaPin {
    format!("sha256:{}", digit.to_string().repeat(64))
        .parse()
        .unwrap()
}

fn target() -> Target {
    Target {
        cluster: "prod".to_owned(),
        endpoint: "api:443".to_owned(),
        pins: vec![pin('1')],
        certificate_authority: "PEM".to_owned(),
        kubernetes: "v1.36.3".to_owned(),
    }
}

/// A signed token of ours that was made then and lives an hour.
fn managed(id: &str, created: i64) -> ManagedToken {
    ManagedToken {
        token: token(id),
        uid: format!("uid-{id}"),
        created: at(created),
        expires: at(created + 60),
        signed: true,
    }
}

fn document(id: &str, modified: i64) -> Published {
    Published::Document(Box::new(Publication {
        document: JoinDocument {
            cluster: "prod".to_owned(),
            endpoint: "api:443".to_owned(),
            token: token(id),
            pins: vec![pin('1')],
            certificate_authority: None,
            issued: at(modified),
            expires: at(modified + 60),
            kubernetes: "v1.36.3".to_owned(),
            by: String::new(),
        },
        modified: at(modified),
    }))
}

/// `aaaaaa` was made and published at minute 0, and it is minute `now`.
fn seen(now: i64) -> Observation {
    Observation {
        published: document("aaaaaa", 0),
        tokens: vec![managed("aaaaaa", 0)],
        target: target(),
        compat: Compat::Off,
        aws_now: at(now),
        api_now: at(now),
    }
}

#[track_caller]
fn check(observation: &Observation, action: &Action, sweep: &[&str]) {
    let decision = decide(observation, &Settings::default());
    assert_eq!(decision.action, *action);
    let swept: Vec<&str> = decision.sweep.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(swept, sweep);
}

#[test]
fn a_fresh_token_is_kept_and_an_old_one_renewed() {
    check(&seen(0), &Action::Keep, &[]);
    check(&seen(29), &Action::Keep, &[]);
    check(&seen(30), &Action::Create(Reason::Due), &[]);
    // A parameter from the future is a clock's fault, not an age.
    check(&seen(-5), &Action::Keep, &[]);
}

#[test]
fn age_and_expiry_are_each_judged_by_their_own_servers_clock() {
    let mut skewed = seen(10);
    skewed.tokens = vec![managed("aaaaaa", 600)];
    skewed.api_now = at(610);
    check(&skewed, &Action::Keep, &[]);
    skewed.aws_now = at(31);
    check(&skewed, &Action::Create(Reason::Due), &[]);
}

#[test]
fn a_young_parameter_with_an_old_token_is_renewed() {
    let mut copied = seen(36);
    copied.published = document("aaaaaa", 35);
    check(&copied, &Action::Create(Reason::ShortLived), &[]);
}

#[test]
fn without_a_usable_document_a_token_is_made() {
    let mut observation = seen(1);
    observation.published = Published::Absent;
    observation.tokens.clear();
    check(&observation, &Action::Create(Reason::Absent), &[]);
    observation.published = Published::Garbage;
    check(&observation, &Action::Create(Reason::Garbage), &[]);
}

#[test]
fn a_document_of_a_later_version_is_left_alone() {
    let mut observation = seen(500);
    observation.published = Published::Newer(2);
    check(&observation, &Action::Refuse { version: 2 }, &[]);
}

#[test]
fn a_revoked_token_is_replaced_at_once() {
    let mut observation = seen(1);
    observation.tokens.clear();
    check(&observation, &Action::Create(Reason::Revoked), &[]);
    // A Secret of that name with another secret is not the published token.
    let mut other = managed("aaaaaa", 0);
    other.token = "aaaaaa.aaaaaaaaaaaaaaaa".parse().unwrap();
    observation.tokens = vec![other];
    let decision = decide(&observation, &Settings::default());
    assert_eq!(
        decision.action,
        Action::Publish("aaaaaa".parse().unwrap(), Reason::Revoked)
    );
}

#[test]
fn another_endpoint_or_authority_is_published_at_once() {
    let mut moved = seen(1);
    moved.target.endpoint = "other:443".to_owned();
    check(&moved, &Action::Create(Reason::TargetChanged), &[]);
    let mut renewed = seen(1);
    renewed.target.pins.push(pin('2'));
    check(&renewed, &Action::Create(Reason::TargetChanged), &[]);
}

#[test]
fn a_token_that_a_crashed_rotator_left_is_published() {
    let mut crashed = seen(31);
    crashed.tokens.push(managed("bbbbbb", 30));
    let action = Action::Publish("bbbbbb".parse().unwrap(), Reason::Due);
    check(&crashed, &action, &[]);
    // One that is not signed yet is waited for, unless there is one that is.
    crashed.tokens[1].signed = false;
    check(&crashed, &action, &[]);
    crashed.tokens.push(managed("cccccc", 29));
    let signed = Action::Publish("cccccc".parse().unwrap(), Reason::Due);
    check(&crashed, &signed, &[]);
    crashed.tokens.truncate(2);
    // Not an old one.
    crashed.tokens[1] = managed("bbbbbb", 25);
    check(&crashed, &Action::Create(Reason::Due), &["bbbbbb"]);
}

#[test]
fn a_superseded_token_stays_for_the_boot_budget() {
    let mut renewed = seen(44);
    renewed.published = document("bbbbbb", 30);
    renewed.tokens.push(managed("bbbbbb", 30));
    check(&renewed, &Action::Keep, &[]);
    renewed.aws_now = at(45);
    renewed.api_now = at(45);
    check(&renewed, &Action::Keep, &["aaaaaa"]);
}

#[test]
fn a_token_that_may_yet_be_published_stays() {
    let mut racing = seen(5);
    racing.tokens.push(managed("bbbbbb", 1));
    check(&racing, &Action::Keep, &[]);
    racing.api_now = at(6);
    check(&racing, &Action::Keep, &["bbbbbb"]);
}

#[test]
fn while_the_published_token_is_revoked_others_are_swept_all_the_same() {
    let mut revoked = seen(20);
    revoked.tokens = vec![managed("bbbbbb", 14), managed("cccccc", 16)];
    check(&revoked, &Action::Create(Reason::Revoked), &["bbbbbb"]);
    // One from before its publication may be held by a booting node.
    revoked.published = document("aaaaaa", 15);
    revoked.tokens.truncate(1);
    check(&revoked, &Action::Create(Reason::Revoked), &[]);
}

#[test]
fn the_plain_parameter_follows_the_published_token() {
    let mut observation = seen(1);
    observation.compat = Compat::Holds(Some(token("aaaaaa")));
    check(&observation, &Action::Keep, &[]);
    observation.compat = Compat::Holds(Some(token("bbbbbb")));
    check(&observation, &Action::PublishCompat, &[]);
    observation.compat = Compat::Holds(None);
    check(&observation, &Action::PublishCompat, &[]);
    observation.aws_now = at(30);
    check(&observation, &Action::Create(Reason::Due), &[]);
}

#[test]
fn the_remaining_life_is_that_of_the_secret() {
    assert_eq!(remaining(&seen(20)), Some(Duration::from_mins(40)));
    assert_eq!(remaining(&seen(80)), Some(Duration::ZERO));
    let mut revoked = seen(20);
    revoked.tokens.clear();
    assert_eq!(remaining(&revoked), None);
}
