//! `windlass token` against the real API server, its authenticator, signer and cleaner, and moto's
//! Parameter Store. Every command runs with its log at `debug` and must not say a secret.
//!
//! The tests run at the same time on one test bed, each with a cluster's name of its own: most of
//! their time is waiting for the API server's caches and for tokens to become old.

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use windlass_e2e::{
    ArgumentLists, Credential, Run, Ssm, Tool, apply_component, bearer, called, check_exactly,
    check_granted, check_rights, check_what_was_said, granted, joinable_testbed, rights_of,
    service_account_kubeconfig, ssm_error, who_is,
};
use windlass_provision::iam::Actor;
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Part, Process, Proxy, Spec, Testbed, wait_for};

/// The authenticator and the signer work from caches of the API server's objects, and one of the
/// tests takes the signer away for some seconds.
const SOON: Duration = Duration::from_mins(1);

static ARGUMENTS: LazyLock<ArgumentLists> = LazyLock::new(ArgumentLists::watch);

/// What a test begins with: the test bed that all share, and a cluster's name that no other has.
struct Scene {
    testbed: &'static Testbed,
    tool: Tool,
    cluster: &'static str,
    credential: Credential,
    /// What rotators that go on call of AWS comes through here.
    calls: Proxy,
}

impl Scene {
    fn begin(cluster: &'static str) -> Result<Self> {
        LazyLock::force(&ARGUMENTS);
        let testbed = joinable_testbed()?;
        Ok(Self {
            testbed,
            tool: Tool::of(testbed),
            cluster,
            credential: Credential::of(testbed, cluster),
            calls: testbed.proxy_aws()?,
        })
    }

    /// Rotates once and expects an exit code; gives what was said as data and as talk.
    fn rotate(&self, flags: &[&str], code: i32) -> Result<(String, String)> {
        let turn = self.credential.rotate(&self.tool, flags)?.expect(code)?;
        Ok((turn.stdout, turn.stderr))
    }

    /// The token Secrets of this scene's rotators.
    fn managed(&self) -> Result<Vec<Secret>> {
        let group = self.credential.group();
        let mut secrets = tokens(self.testbed)?;
        secrets.retain(|secret| {
            let groups = secret
                .data
                .as_ref()
                .and_then(|data| data.get("auth-extra-groups"));
            groups.is_some_and(|it| String::from_utf8_lossy(&it.0).contains(&group))
        });
        Ok(secrets)
    }

    /// A rotator of this scene that goes on until it is ended.
    fn rotator(&self, name: &str, flags: &[&str]) -> Result<Process> {
        let daemon = ["token", "rotate", "--daemon", "--cluster", self.cluster];
        let arguments = [&daemon[..], flags].concat();
        let mut spec = Spec::new(name, &windlass_e2e::binary()?, arguments);
        let tool = self.tool.clone().aws_through(&self.calls);
        spec.environment = tool.environment().to_vec();
        self.testbed.spawn(spec)
    }

    /// Rotators that went on have called nothing that they have no permission for.
    fn check_granted(&self) -> Result<()> {
        check_granted(&[Actor::Rotator], &called(&self.calls))
    }

    /// The same, and nothing of what was kept secret is in a log, an event or an argument list.
    fn check(&self) -> Result<()> {
        self.check_granted()?;
        eprintln!(
            "{}",
            check_what_was_said(self.testbed, self.tool.secrets())?
        );
        eprintln!("{}", ARGUMENTS.check(&["windlass"], self.tool.secrets())?);
        Ok(())
    }
}

/// All bootstrap tokens that there are.
fn tokens(testbed: &Testbed) -> Result<Vec<Secret>> {
    let secrets = testbed.cluster().api::<Secret>("kube-system");
    let of_tokens = ListParams::default().fields("type=bootstrap.kubernetes.io/token");
    Ok(testbed.run(secrets.list(&of_tokens))?.items)
}

fn exists(testbed: &Testbed, id: &str) -> Result<bool> {
    let name = Some(format!("bootstrap-token-{id}"));
    let tokens = tokens(testbed)?;
    Ok(tokens.iter().any(|secret| secret.metadata.name == name))
}

fn wait_until_nobody(testbed: &Testbed, token: &str) -> Result<Duration> {
    let begun = Instant::now();
    wait_for("the token to be refused", SOON, || {
        Ok(who_is(testbed, token)?.is_none())
    })?;
    Ok(begun.elapsed())
}

fn is_signed(testbed: &Testbed, id: &str) -> Result<bool> {
    let info = testbed
        .cluster()
        .config_map("kube-public", "cluster-info")?;
    let data = info.and_then(|info| info.data).unwrap_or_default();
    Ok(data.contains_key(&format!("jws-kubeconfig-{id}")))
}

/// Makes a token and gives it, whole.
fn create(tool: &mut Tool, arguments: &[&str]) -> Result<String> {
    let arguments = [&["token", "create", "-o", "json"], arguments].concat();
    let created = tool.run(&arguments)?.expect(0)?;
    let created: Value = serde_json::from_str(&created.stdout)?;
    let token = created["token"].as_str().context("a token")?.to_owned();
    tool.keep_secret(token.split_once('.').context("id and secret")?.1);
    Ok(token)
}

#[test]
fn a_token_logs_in_signs_and_is_of_no_use_once_deleted() -> Result<()> {
    let Scene {
        testbed, mut tool, ..
    } = Scene::begin("by-hand")?;
    let token = create(&mut tool, &["--ttl", "10m"])?;
    let id = token.split('.').next().unwrap_or_default();
    let (user, groups) = wait_for("the token to log in", SOON, || who_is(testbed, &token))?;
    ensure!(user == format!("system:bootstrap:{id}"), "{user}");
    for group in [
        "system:bootstrappers",
        "system:bootstrappers:kubeadm:default-node-token",
    ] {
        ensure!(groups.iter().any(|it| it == group), "{groups:?}");
    }
    wait_for("the signature", SOON, || is_signed(testbed, id))?;

    // A certificate request by it is approved and issued.
    let requests = Api::<CertificateSigningRequest>::all(bearer(testbed, &token)?);
    let request = certificate_request("token-suite", "system:node:token-suite")?;
    testbed.run(requests.create(&PostParams::default(), &request))?;
    wait_for("the certificate", SOON, || {
        let request = testbed.run(requests.get("token-suite"))?;
        Ok(request
            .status
            .and_then(|status| status.certificate)
            .is_some())
    })?;

    let listed = tool.run(&["token", "list"])?.expect(0)?;
    ensure!(listed.stdout.contains(id), "{}", listed.stdout);
    tool.check(&listed.stdout)?;
    // Nobody has logged in with it, so that the API server remembers no login.
    let unused = create(&mut tool, &["--ttl", "10m"])?;
    // The whole token is taken too, and not said again.
    tool.run(&["token", "delete", &unused, id])?.expect(0)?;
    let at_once = wait_until_nobody(testbed, &unused)?;
    let remembered = wait_until_nobody(testbed, &token)?;
    eprintln!(
        "refused after its deletion: an unused token in {at_once:?}, a used one in {remembered:?}"
    );
    tool.run(&["token", "delete", id])?.expect(1)?;
    eprintln!("{}", check_what_was_said(testbed, tool.secrets())?);
    Ok(())
}

fn certificate_request(name: &str, common_name: &str) -> Result<CertificateSigningRequest> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "system:nodes");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, common_name);
    let pem = params
        .serialize_request(&rcgen::KeyPair::generate()?)?
        .pem()?;
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "request": BASE64_STANDARD.encode(pem),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        },
    }))?)
}

#[test]
fn a_token_expires_and_is_cleaned_up() -> Result<()> {
    let Scene {
        testbed, mut tool, ..
    } = Scene::begin("expiry")?;
    let token = create(&mut tool, &["--ttl", "15s"])?;
    let id = token.split('.').next().unwrap_or_default();
    wait_for("the token to log in", SOON, || who_is(testbed, &token))?;
    wait_until_nobody(testbed, &token)?;
    wait_for("the cleaner to delete it", SOON, || {
        Ok(!exists(testbed, id)?)
    })?;
    wait_for("the signature to go", SOON, || Ok(!is_signed(testbed, id)?))
}

#[test]
fn a_token_given_in_a_file_is_taken_and_a_bad_one_is_not_repeated() -> Result<()> {
    let Scene {
        testbed, mut tool, ..
    } = Scene::begin("given")?;
    let file = testbed.directory().join("given-token");
    fs::write(&file, "abcdef.0123456789abcdef\n")?;
    let path = file.display().to_string();
    let token = create(
        &mut tool,
        &["--token-file", &path, "--usages", "authentication"],
    )?;
    ensure!(token == "abcdef.0123456789abcdef");
    wait_for("the token to log in", SOON, || who_is(testbed, &token))?;
    let command = tool
        .run(&["token", "create", "--print-join-command"])?
        .expect(0)?;
    ensure!(
        command.stdout.starts_with("kubeadm join 127.0.0.1:")
            && command
                .stdout
                .contains(" --discovery-token-ca-cert-hash sha256:"),
        "{}",
        command.stdout
    );
    tool.keep_secret("9876543210fedcba");
    fs::write(&file, "abcdef.9876543210fedcbaX\n")?;
    let refused = tool
        .run(&["token", "create", "--token-file", &path])?
        .expect(1)?;
    ensure!(refused.stderr.contains("token"), "{}", refused.stderr);
    tool.run(&["token", "create", "--ttl", "0s"])?.expect(2)?;
    Ok(())
}

#[test]
fn a_rotation_publishes_keeps_and_renews() -> Result<()> {
    let mut scene = Scene::begin("fresh")?;
    let testbed = scene.testbed;
    let calls = testbed.proxy_aws()?;
    scene.tool = scene.tool.aws_through(&calls);
    let status = ["token", "status", "--cluster", "fresh", "-o", "json"];
    let absent = scene.tool.run(&status)?.expect(2)?;
    ensure!(
        absent.stdout.contains("there is no parameter"),
        "{}",
        absent.stdout
    );

    let (told, talk) = scene.rotate(&[], 0)?;
    ensure!(told.starts_with("renewed: nothing was published"), "{told}");
    let first = scene.credential.published()?;
    scene.tool.keep_secret(first.secret());
    scene.tool.check(&talk)?;
    let document = &first.document;
    ensure!(first.version == 1 && document["v"] == 1 && document["cluster"] == "fresh");
    ensure!(document["endpoint"] == testbed.api_url().replace("https://", ""));
    ensure!(
        document["kubernetes"] == "v1.36.3",
        "{}",
        document["kubernetes"]
    );
    let hash = document["caHashes"][0].as_str().unwrap_or_default();
    ensure!(hash == openssl_pin(testbed)?, "{hash}");
    let authority = BASE64_STANDARD.decode(document["ca"].as_str().unwrap_or_default())?;
    ensure!(authority == fs::read(testbed.directory().join("pki/ca.crt"))?);
    let (_, groups) = who_is(testbed, &first.token)?.context("it logs in at once")?;
    ensure!(groups.contains(&scene.credential.group()), "{groups:?}");
    ensure!(
        is_signed(testbed, first.id())?,
        "it was signed before it was published"
    );

    let (told, _) = scene.rotate(&[], 0)?;
    ensure!(told.starts_with("still fresh"), "{told}");
    ensure!(
        scene.credential.published()?.version == 1,
        "it was written again"
    );
    let told = scene.tool.run(&status)?.expect(0)?;
    scene.tool.check(&told.stdout)?;
    ensure!(serde_json::from_str::<Value>(&told.stdout)?["token"] == first.id());
    let list = ["token", "list", "--cluster", "fresh", "-o", "json"];
    let listed = scene.tool.run(&list)?.expect(0)?;
    scene.tool.check(&listed.stdout)?;
    let listed: Value = serde_json::from_str(&listed.stdout)?;
    for token in listed["tokens"].as_array().context("tokens")? {
        ensure!(token["published"] == (token["id"] == first.id()), "{token}");
    }

    // Revoked by hand: another one at once, which is an event, and the first is refused.
    scene
        .tool
        .run(&["token", "delete", first.id()])?
        .expect(0)?;
    let (told, _) = scene.rotate(&[], 0)?;
    ensure!(told.contains("Secret was gone"), "{told}");
    let second = scene.credential.published()?;
    scene.tool.keep_secret(second.secret());
    ensure!(second.version == 2 && second.token != first.token);
    let events = testbed.cluster().events("kube-system")?;
    let revoked = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("TokenRevoked"))
        .filter_map(|event| event.message.as_deref());
    ensure!(
        revoked.clone().any(|message| message.contains(second.id())),
        "{:?}",
        revoked.collect::<Vec<_>>()
    );

    // Garbage is replaced, a later version is left alone.
    scene.credential.overwrite("garbage")?;
    let (told, _) = scene.rotate(&[], 0)?;
    ensure!(told.contains("was no join document"), "{told}");
    let third = scene.credential.published()?;
    scene.tool.keep_secret(third.secret());
    scene.credential.overwrite(r#"{"v":2}"#)?;
    let (_, talk) = scene.rotate(&[], 4)?;
    ensure!(talk.contains("later"), "{talk}");
    let stored = scene.credential.stored()?.context("it is there")?;
    ensure!(stored.value == r#"{"v":2}"#);
    wait_until_nobody(testbed, &first.token)?;
    // Nothing is granted to a rotator in vain.
    check_exactly(&granted(&[Actor::Rotator]), &called(&calls))?;
    scene.check()
}

/// The pin as openssl has it.
fn openssl_pin(testbed: &Testbed) -> Result<String> {
    let authority = testbed.directory().join("pki/ca.crt");
    let script = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der | \
                  openssl dgst -sha256 -r";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(authority)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let hash = text.split(' ').next().context("a hash")?;
    Ok(format!("sha256:{hash}"))
}

#[test]
fn the_rotators_account_may_do_what_it_does() -> Result<()> {
    let mut scene = Scene::begin("account")?;
    let began = Timestamp::now();
    let admin = scene.tool.clone();
    let rendered = apply_component(scene.testbed, &admin, "token-rotator")?;
    let kubeconfig = service_account_kubeconfig(scene.testbed, "windlass-token-rotator")?;
    scene.tool = admin.clone().kubeconfig(&kubeconfig);
    scene.rotate(&[], 0)?;
    let published = scene.credential.published()?;
    admin.run(&["token", "delete", published.id()])?.expect(0)?;
    let (told, talk) = scene.rotate(&[], 0)?;
    ensure!(told.contains("Secret was gone"), "{told}");
    ensure!(!talk.contains("the event was not written"), "{talk}");
    // Old ones go once nobody boots with them any more.
    let superseded = scene.credential.published()?;
    wait_for("another token", SOON, || {
        let (told, _) = scene.rotate(&["--renew-after", "1s", "--boot-budget", "1s"], 0)?;
        Ok(told.starts_with("renewed"))
    })?;
    wait_for("the superseded token to be swept", SOON, || {
        scene.rotate(&["--boot-budget", "1s"], 0)?;
        Ok(!exists(scene.testbed, superseded.id())?)
    })?;
    // A signer that sleeps is woken by a change, and the Secret is changed only for that.
    let only_then = ["patch /secrets"];
    let rights = rights_of(&rendered);
    check_rights(
        scene.testbed,
        began,
        "windlass-token-rotator",
        &rights,
        &only_then,
    )
}

const CREATE_AND_GET: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: no-list, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: no-list, namespace: kube-system}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [create, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: no-list, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: no-list}
subjects: [{kind: ServiceAccount, name: no-list, namespace: kube-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: no-list, namespace: kube-public}
rules:
- {apiGroups: [""], resources: [configmaps], resourceNames: [cluster-info], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: no-list, namespace: kube-public}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: no-list}
subjects: [{kind: ServiceAccount, name: no-list, namespace: kube-system}]
"#;

#[test]
fn an_account_that_may_only_create_and_get_is_enough_without_lists() -> Result<()> {
    let mut scene = Scene::begin("no-list")?;
    scene.testbed.cluster().apply(CREATE_AND_GET)?;
    let kubeconfig = service_account_kubeconfig(scene.testbed, "no-list")?;
    scene.tool = scene.tool.kubeconfig(&kubeconfig);
    let (_, talk) = scene.rotate(&[], 4)?;
    ensure!(talk.contains("docs/joining.md"), "{talk}");
    for (begin, version) in [("renewed", 1), ("still fresh", 1)] {
        let (told, _) = scene.rotate(&["--no-list"], 0)?;
        ensure!(told.starts_with(begin), "{told}");
        ensure!(scene.credential.published()?.version == version);
    }
    // Due again: what was published before is left to expire.
    wait_for("the published token to be due", SOON, || {
        let flags = ["--no-list", "--renew-after", "1s", "--boot-budget", "1s"];
        let (told, _) = scene.rotate(&flags, 0)?;
        Ok(told.starts_with("renewed"))
    })?;
    ensure!(scene.managed()?.len() == 2, "{:?}", scene.managed()?);
    Ok(())
}

/// The published parameter's version; 0 without one.
fn version(scene: &Scene) -> Result<u64> {
    Ok(scene.credential.stored()?.map_or(0, |it| it.version))
}

#[test]
fn a_dry_run_says_what_a_rotation_would_do_and_does_nothing() -> Result<()> {
    let mut scene = Scene::begin("dry")?;
    let would = |scene: &Scene, code: i32, words: &str| -> Result<()> {
        let (version, count) = (version(scene)?, scene.managed()?.len());
        let arguments = ["token", "rotate", "--dry-run", "--cluster", "dry"];
        let said = scene.tool.run(&arguments)?.expect(code)?;
        ensure!(said.stdout.contains(words), "no `{words}`: {}", said.stdout);
        scene.tool.check(&said.stdout)?;
        scene.tool.check(&said.stderr)?;
        ensure!(self::version(scene)? == version, "it was written");
        ensure!(
            scene.managed()?.len() == count,
            "a token was made or deleted"
        );
        Ok(())
    };
    would(
        &scene,
        0,
        "would make a token and publish it: nothing was published",
    )?;
    ensure!(scene.credential.stored()?.is_none());
    scene.rotate(&[], 0)?;
    let first = scene.credential.published()?;
    scene.tool.keep_secret(first.secret());
    would(&scene, 0, "would keep the published token, good for")?;
    scene
        .tool
        .run(&["token", "delete", first.id()])?
        .expect(0)?;
    would(&scene, 0, "Secret was gone")?;
    scene.credential.overwrite(r#"{"v":2}"#)?;
    would(
        &scene,
        4,
        "would refuse: the parameter holds a document of version 2",
    )?;
    scene.check()
}

#[test]
fn exit_codes_say_whether_nodes_can_still_join() -> Result<()> {
    let mut scene = Scene::begin("codes")?;
    let proxy = scene.testbed.proxy_aws()?;
    scene.tool = scene.tool.aws_through(&proxy);
    scene.rotate(&[], 0)?;
    proxy.on(
        Matcher::action("PutParameter"),
        ssm_error("AccessDeniedException"),
    );
    let turn = wait_for("the published token to be due", SOON, || {
        let due = ["--renew-after", "1s"];
        let turn = scene.credential.rotate(&scene.tool, &due)?;
        Ok((turn.code != Some(0)).then_some(turn))
    })?
    .expect(3)?;
    ensure!(
        turn.stdout.contains("published token still good for"),
        "{}",
        turn.stdout
    );
    // Said with what to do about it.
    ensure!(turn.stderr.contains("ssm:PutParameter"), "{}", turn.stderr);
    scene.credential.forget()?;
    let (told, _) = scene.rotate(&[], 4)?;
    ensure!(told.contains("no published token is known"), "{told}");
    proxy.pass_all();

    // A lost answer after the write was done: the same token stays, and nothing is written twice.
    proxy
        .on(Matcher::action("PutParameter"), Act::DropBeforeAnswering)
        .times(1);
    let (told, _) = scene.rotate(&[], 0)?;
    ensure!(told.starts_with("renewed"), "{told}");
    let published = scene.credential.published()?;
    ensure!(who_is(scene.testbed, &published.token)?.is_some());
    // Throttled: it takes longer and goes well.
    scene.credential.forget()?;
    proxy
        .on(
            Matcher::action("PutParameter"),
            ssm_error("ThrottlingException"),
        )
        .times(2);
    scene.rotate(&[], 0)?;
    ensure!(scene.credential.published()?.version == 1);
    // Times that leave a booting node with a dead token are refused.
    let (_, talk) = scene.rotate(&["--renew-after", "60m"], 1)?;
    ensure!(talk.contains("dead token"), "{talk}");
    Ok(())
}

#[test]
fn without_a_signer_nothing_is_published() -> Result<()> {
    let scene = Scene::begin("unsigned")?;
    scene.testbed.stop(Part::ControllerManager);
    // Three times.
    let unsigned = scene
        .credential
        .rotate(&scene.tool, &["--sign-deadline", "4s"]);
    scene.testbed.restart(Part::ControllerManager)?;
    let unsigned = unsigned?.expect(4)?;
    ensure!(
        unsigned.stderr.contains("bootstrapsigner"),
        "{}",
        unsigned.stderr
    );
    ensure!(
        scene.credential.stored()?.is_none(),
        "it was published unsigned"
    );
    let left = scene.managed()?;
    ensure!(left.is_empty(), "tokens were left: {left:?}");
    let events = scene.testbed.cluster().events("kube-system")?;
    ensure!(
        events
            .iter()
            .any(|event| event.reason.as_deref() == Some("TokenNotSigned")),
        "there is no event of it"
    );
    Ok(())
}

#[test]
fn the_plain_parameter_of_2019_is_kept_and_retired() -> Result<()> {
    let mut scene = Scene::begin("of-2019")?;
    let ssm = Ssm::of(scene.testbed);
    scene.rotate(&[], 0)?;
    ensure!(ssm.get("jointoken")?.is_none(), "it was not asked for");
    let (_, talk) = scene.rotate(&["--compat", "2019"], 0)?;
    let published = scene.credential.published()?;
    scene.tool.keep_secret(published.secret());
    scene.tool.check(&talk)?;
    ensure!(talk.contains("warning: --compat=2019"), "{talk}");
    let plain = ssm.get("jointoken")?.context("the plain parameter")?;
    ensure!(plain.kind == "String" && plain.value == published.token);
    ensure!(
        published.version == 1,
        "the fresh document was written again"
    );
    let retire = ["token", "retire-compat", "--cluster", "of-2019"];
    scene.tool.run(&retire)?.expect(0)?;
    ensure!(ssm.get("jointoken")?.is_none());
    scene.tool.run(&retire)?.expect(0)?;
    scene.check()
}

#[test]
fn rotators_of_two_clusters_names_leave_each_other_alone() -> Result<()> {
    // A wrong name in one place must not cost the other clusters their tokens.
    let ours = Scene::begin("ours")?;
    let wrong = Scene::begin("ouers")?;
    let sweeps = ["--boot-budget", "1s"];
    ours.rotate(&sweeps, 0)?;
    let published = ours.credential.published()?;
    wrong.rotate(&sweeps, 0)?;
    wait_for("the token to be old enough to be swept", SOON, || {
        let remaining = ours
            .tool
            .run(&["token", "status", "--cluster", "ours", "-o", "json"])?;
        let told: Value = serde_json::from_str(&remaining.stdout)?;
        Ok(told["ageSeconds"].as_u64().is_some_and(|age| age >= 2))
    })?;
    let (told, _) = wrong.rotate(&sweeps, 0)?;
    ensure!(told.starts_with("still fresh"), "{told}");
    ensure!(
        exists(ours.testbed, published.id())?,
        "another name's rotator has deleted it"
    );
    let (told, _) = ours.rotate(&sweeps, 0)?;
    ensure!(told.starts_with("still fresh"), "{told}");
    Ok(())
}

/// Times of rotation that a test can wait for.
const QUICK: [&str; 10] = [
    "--ttl",
    "3m",
    "--tick",
    "2s",
    "--lateness",
    "70s",
    "--boot-budget",
    "3s",
    "--renew-after",
    "6s",
];

#[test]
fn several_rotators_at_once_never_leave_a_dead_token() -> Result<()> {
    let mut scene = Scene::begin("several")?;
    let started = Instant::now();
    let metrics = |name: &str| scene.testbed.directory().join(format!("{name}.prom"));
    let mut rotators = Vec::new();
    for name in ["rotator-a", "rotator-b", "rotator-c"] {
        let file = metrics(name).display().to_string();
        let flags = ["--coordination", "age", "--spread", "2s", "--metrics-file"];
        let flags = [&flags[..], &[&file], &QUICK].concat();
        rotators.push(scene.rotator(name, &flags)?);
    }
    wait_for("a published token", SOON, || {
        Ok(scene.credential.stored()?.is_some())
    })?;
    let mut seen = BTreeSet::new();
    let mut last = 0;
    while last < 6 {
        ensure!(
            started.elapsed() < Duration::from_mins(4),
            "only {last} renewals"
        );
        let published = scene.credential.published()?;
        let is_good = who_is(scene.testbed, &published.token)?.is_some();
        ensure!(
            is_good,
            "version {} of the parameter holds a dead token",
            published.version
        );
        last = published.version;
        seen.insert(published.secret().to_owned());
        // A rotator that dies at any moment leaves nothing that the others cannot go on from.
        if last == 3 && rotators[0].exit_status().is_none() {
            rotators[0].kill();
        }
    }
    let most = started.elapsed().as_secs() / 6 + 1;
    let conflicts: f64 = ["rotator-b", "rotator-c"]
        .iter()
        .map(|name| {
            metric(
                &metrics(name),
                "windlass_join_token_publish_conflicts_total",
            )
        })
        .sum::<Result<f64>>()?;
    eprintln!(
        "{last} writes in {:?} by three rotators, at most {most} by age alone, {conflicts} races",
        started.elapsed()
    );
    ensure!(
        last as f64 <= most as f64 + conflicts + 1.0,
        "{last} writes, and only {most} renewals were due"
    );
    let remaining = metric(
        &metrics("rotator-b"),
        "windlass_join_token_remaining_seconds",
    )?;
    ensure!((60.0..=180.0).contains(&remaining), "{remaining}");
    // Superseded tokens go, the published one and those that a node may still hold stay.
    wait_for("old tokens to be swept", SOON, || {
        Ok(scene.managed()?.len() < seen.len())
    })?;
    for rotator in &mut rotators {
        rotator.stop();
    }
    // Nothing of ours is without an end.
    for secret in scene.managed()? {
        let data = secret.data.unwrap_or_default();
        ensure!(data.contains_key("expiration"));
        let secret = data.get("token-secret").context("a secret")?;
        scene.tool.keep_secret(&String::from_utf8_lossy(&secret.0));
    }
    for secret in &seen {
        scene.tool.keep_secret(secret);
    }
    scene.check()
}

fn metric(file: &std::path::Path, name: &str) -> Result<f64> {
    let text = fs::read_to_string(file)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.context("no such metric")?.parse().context("no number")
}

#[test]
fn by_lease_one_rotator_acts_at_a_time() -> Result<()> {
    let scene = Scene::begin("leased")?;
    let flags = [&["--coordination", "lease", "--spread", "0s"][..], &QUICK].concat();
    let rotators = [
        scene.rotator("leader-a", &flags)?,
        scene.rotator("leader-b", &flags)?,
    ];
    wait_for("renewals", Duration::from_mins(2), || {
        let parameter = scene.credential.stored()?;
        Ok(parameter.is_some_and(|parameter| 3 <= parameter.version))
    })?;
    let lease = scene
        .testbed
        .cluster()
        .lease("kube-system", "windlass-token-rotator")?;
    let holder = lease
        .and_then(|lease| lease.spec)
        .and_then(|spec| spec.holder_identity);
    ensure!(holder.is_some(), "nobody holds the lease");
    let acting = rotators
        .iter()
        .filter(|rotator| rotator.log().contains("renewed the join credential"))
        .count();
    ensure!(acting == 1, "{acting} rotators act");
    scene.check_granted()
}

#[test]
fn the_autoscaler_keeps_the_credential_fresh_where_it_is_told_to() -> Result<()> {
    let mut scene = Scene::begin("run")?;
    let run = Run::of_cluster("run");
    {
        let without = run.start(scene.testbed, "run-without-rotation")?;
        wait_for("the autoscaler to be at work", SOON, || {
            Ok(without.is_healthy())
        })?;
    }
    ensure!(scene.credential.stored()?.is_none(), "nobody asked for it");
    // Replicas, as in a cluster: the first of them to look, after a random wait of up to two
    // minutes each, leader or not.
    let run = run.flags(["--token-rotation=true", "--token-cluster=run", "--v=5"]);
    let replicas = ["run-a", "run-b", "run-c"]
        .iter()
        .map(|name| run.clone().host_name(name).start(scene.testbed, name))
        .collect::<Result<Vec<_>>>()?;
    wait_for("the published credential", Duration::from_mins(4), || {
        Ok(scene.credential.stored()?.is_some())
    })?;
    let published = scene.credential.published()?;
    scene.tool.keep_secret(published.secret());
    ensure!(who_is(scene.testbed, &published.token)?.is_some());
    let sample = "windlass_join_token_rotations_total{result=\"renewed\"}";
    wait_for("its metric", SOON, || {
        let renewed = |it: &windlass_e2e::Windlass| it.sample(sample).is_ok_and(|n| n >= 1.0);
        Ok(replicas.iter().any(renewed))
    })?;
    for replica in &replicas {
        replica.check_for_panics()?;
    }
    scene.check()
}

#[test]
fn what_runs_the_rotator_has_its_flags() -> Result<()> {
    let tool = Scene::begin("demo")?.tool;
    let render = |form: &str| {
        let arguments = [
            "token",
            "rotate",
            "--cluster",
            "demo",
            "--compat",
            "2019",
            "--render",
            form,
        ];
        Ok::<_, anyhow::Error>(tool.run(&arguments)?.expect(0)?.stdout)
    };
    let command = "/usr/local/bin/windlass token rotate";
    let flags = "--cluster demo --compat 2019";
    let service = render("service")?;
    ensure!(
        service.contains(&format!("ExecStart={command} --daemon {flags}\n")),
        "{service}"
    );
    let timer = render("timer")?;
    ensure!(
        timer.contains(&format!("ExecStart={command} --once {flags}\n")),
        "{timer}"
    );
    let cron = render("cron")?;
    ensure!(
        cron.contains(&format!("* * * * root {command} --once {flags} ")),
        "{cron}"
    );
    Ok(())
}
