//! `windlass token` against the real API server, its authenticator, signer and cleaner, and moto's
//! Parameter Store. Every command runs with its log at `debug` and must not say a secret.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use windlass_e2e::{Run, Ssm, Tool, prepare_for_joins, ssm_error};
use windlass_testbed::proxy::{Act, Matcher};
use windlass_testbed::{Spec, Testbed, User, wait_for};

const PARAMETER: &str = "/windlass/demo/join";
/// The authenticator and the signer work from caches of the API server's objects.
const SOON: Duration = Duration::from_secs(30);

/// The test bed with what kubeadm makes for joins, without tokens and without parameters.
fn begin() -> Result<(&'static Testbed, Tool)> {
    let testbed = windlass_e2e::testbed()?;
    prepare_for_joins(testbed)?;
    let secrets = secrets(testbed);
    for secret in testbed.run(secrets.list(&of_tokens()))? {
        let name = secret.metadata.name.unwrap_or_default();
        testbed.run(secrets.delete(&name, &DeleteParams::default()))?;
    }
    Ok((testbed, Tool::of(testbed)))
}

fn secrets(testbed: &Testbed) -> Api<Secret> {
    testbed.cluster().api("kube-system")
}

fn of_tokens() -> ListParams {
    ListParams::default().fields("type=bootstrap.kubernetes.io/token")
}

/// Ids of all tokens that there are.
fn ids(testbed: &Testbed) -> Result<BTreeSet<String>> {
    let listed = testbed.run(secrets(testbed).list(&of_tokens()))?;
    Ok(listed
        .into_iter()
        .filter_map(|secret| secret.metadata.name)
        .map(|name| name.replace("bootstrap-token-", ""))
        .collect())
}

/// The API server as the bearer of a token.
fn bearer(testbed: &Testbed, token: &str) -> Result<kube::Client> {
    let text = fs::read_to_string(testbed.kubeconfig(User::Admin))?;
    let mut kubeconfig: Value = serde_json::from_str(&text)?;
    kubeconfig["users"][0]["user"] = json!({ "token": token });
    let kubeconfig = serde_json::from_value(kubeconfig)?;
    testbed.run(async {
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(kube::Client::try_from(config)?)
    })
}

/// Who the bearer of a token is to the API server: name and groups; none when it is nobody.
fn who_is(testbed: &Testbed, token: &str) -> Result<Option<(String, Vec<String>)>> {
    let reviews = Api::<SelfSubjectReview>::all(bearer(testbed, token)?);
    let reviewed =
        testbed.run(reviews.create(&PostParams::default(), &SelfSubjectReview::default()));
    match reviewed {
        Ok(review) => {
            let user = review.status.and_then(|status| status.user_info);
            let user = user.context("a review names a user")?;
            Ok(Some((
                user.username.unwrap_or_default(),
                user.groups.unwrap_or_default(),
            )))
        }
        Err(kube::Error::Api(status)) if status.code == 401 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn wait_until_nobody(testbed: &Testbed, token: &str, deadline: Duration) -> Result<Duration> {
    let begun = Instant::now();
    wait_for("the token to be refused", deadline, || {
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

fn published(testbed: &Testbed) -> Result<(Value, u64)> {
    let parameter = Ssm::of(testbed)
        .get(PARAMETER)?
        .context("it is published")?;
    ensure!(parameter.kind == "SecureString", "{}", parameter.kind);
    Ok((parameter.json()?, parameter.version))
}

fn token_of(document: &Value) -> String {
    document["token"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_token_logs_in_signs_and_is_of_no_use_once_deleted() -> Result<()> {
    let (testbed, mut tool) = begin()?;
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
    // The whole token is taken too, and not said again.
    tool.run(&["token", "delete", id])?.expect(0)?;
    let time = wait_until_nobody(testbed, &token, SOON)?;
    eprintln!("refused {time:?} after its deletion");
    tool.run(&["token", "delete", id])?.expect(1)?;
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
    let (testbed, mut tool) = begin()?;
    let token = create(&mut tool, &["--ttl", "6s"])?;
    let id = token.split('.').next().unwrap_or_default();
    wait_for("the token to log in", SOON, || who_is(testbed, &token))?;
    wait_until_nobody(testbed, &token, SOON)?;
    wait_for("the cleaner to delete it", SOON, || {
        Ok(!ids(testbed)?.contains(id))
    })?;
    wait_for("the signature to go", SOON, || Ok(!is_signed(testbed, id)?))
}

#[test]
fn a_token_given_in_a_file_is_taken_and_a_bad_one_is_not_repeated() -> Result<()> {
    let (testbed, mut tool) = begin()?;
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
    let (testbed, mut tool) = begin()?;
    let rotate = [
        "token",
        "rotate",
        "--once",
        "--spread",
        "0s",
        "--cluster",
        "demo",
    ];
    let status = ["token", "status", "--cluster", "demo", "-o", "json"];
    let absent = tool.run(&status)?.expect(2)?;
    ensure!(
        absent.stdout.contains("there is no parameter"),
        "{}",
        absent.stdout
    );

    let first = tool.run(&rotate)?.expect(0)?;
    ensure!(
        first.stdout.starts_with("renewed: nothing was published"),
        "{}",
        first.stdout
    );
    let (document, version) = published(testbed)?;
    let token = token_of(&document);
    tool.keep_secret(&token[7..]);
    tool.check(&first.stderr)?;
    ensure!(version == 1 && document["v"] == 1 && document["cluster"] == "demo");
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
    let (_, groups) = who_is(testbed, &token)?.context("it logs in at once")?;
    ensure!(
        groups
            .iter()
            .any(|it| it == "system:bootstrappers:windlass:demo"),
        "{groups:?}"
    );
    ensure!(
        is_signed(testbed, &token[..6])?,
        "it was signed before it was published"
    );

    let second = tool.run(&rotate)?.expect(0)?;
    ensure!(
        second.stdout.starts_with("still fresh"),
        "{}",
        second.stdout
    );
    ensure!(published(testbed)?.1 == 1, "it was written again");
    let told = tool.run(&status)?.expect(0)?;
    tool.check(&told.stdout)?;
    ensure!(serde_json::from_str::<Value>(&told.stdout)?["token"] == token[..6]);

    // Revoked by hand: another one at once, and the first is refused.
    tool.run(&["token", "delete", &token[..6]])?.expect(0)?;
    let third = tool.run(&rotate)?.expect(0)?;
    ensure!(third.stdout.contains("Secret was gone"), "{}", third.stdout);
    let (document, version) = published(testbed)?;
    ensure!(version == 2 && token_of(&document) != token);
    wait_until_nobody(testbed, &token, SOON)?;

    // Garbage is replaced, a later version is left alone.
    let ssm = Ssm::of(testbed);
    ssm.put(PARAMETER, "SecureString", "garbage")?;
    let mended = tool.run(&rotate)?.expect(0)?;
    ensure!(
        mended.stdout.contains("was no join document"),
        "{}",
        mended.stdout
    );
    let (document, _) = published(testbed)?;
    tool.keep_secret(&token_of(&document)[7..]);
    ssm.put(PARAMETER, "SecureString", r#"{"v":2}"#)?;
    let refused = tool.run(&rotate)?.expect(4)?;
    ensure!(refused.stderr.contains("later"), "{}", refused.stderr);
    ensure!(ssm.get(PARAMETER)?.context("it is there")?.value == r#"{"v":2}"#);
    Ok(())
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
fn exit_codes_say_whether_nodes_can_still_join() -> Result<()> {
    let (testbed, tool) = begin()?;
    let proxy = testbed.proxy_aws()?;
    let tool = tool.aws_through(&proxy);
    let rotate = [
        "token",
        "rotate",
        "--once",
        "--spread",
        "0s",
        "--cluster",
        "demo",
    ];
    let due = [&rotate[..], &["--renew-after", "1s"]].concat();
    tool.run(&rotate)?.expect(0)?;
    proxy.on(
        Matcher::action("PutParameter"),
        ssm_error("AccessDeniedException"),
    );
    wait_for("the published token to be due", SOON, || {
        let turn = tool.run(&due)?;
        Ok((turn.code != Some(0)).then_some(turn))
    })
    .and_then(|turn| {
        let turn = turn.expect(3)?;
        ensure!(
            turn.stdout.contains("published token still good for"),
            "{}",
            turn.stdout
        );
        // Said with what to do about it.
        ensure!(turn.stderr.contains("ssm:PutParameter"), "{}", turn.stderr);
        Ok(())
    })?;
    Ssm::of(testbed).delete(PARAMETER)?;
    let turn = tool.run(&rotate)?.expect(4)?;
    ensure!(
        turn.stdout.contains("no published token is known"),
        "{}",
        turn.stdout
    );
    proxy.pass_all();

    // A lost answer after the write was done: the same token stays, and nothing is written twice.
    proxy
        .on(Matcher::action("PutParameter"), Act::DropBeforeAnswering)
        .times(1);
    let turn = tool.run(&rotate)?.expect(0)?;
    ensure!(turn.stdout.starts_with("renewed"), "{}", turn.stdout);
    let (document, _) = published(testbed)?;
    ensure!(who_is(testbed, &token_of(&document))?.is_some());
    // Throttled: it takes longer and goes well.
    Ssm::of(testbed).delete(PARAMETER)?;
    proxy
        .on(
            Matcher::action("PutParameter"),
            ssm_error("ThrottlingException"),
        )
        .times(2);
    tool.run(&rotate)?.expect(0)?;
    ensure!(published(testbed)?.1 == 1);
    // Times that leave a booting node with a dead token are refused.
    let how_tos = tool
        .run(&[&rotate[..], &["--renew-after", "60m"]].concat())?
        .expect(1)?;
    ensure!(how_tos.stderr.contains("dead token"), "{}", how_tos.stderr);
    Ok(())
}

#[test]
fn without_a_signer_nothing_is_published() -> Result<()> {
    let (testbed, tool) = begin()?;
    testbed.stop(windlass_testbed::Part::ControllerManager);
    let rotate = [
        "token",
        "rotate",
        "--once",
        "--spread",
        "0s",
        "--cluster",
        "demo",
    ];
    let unsigned = tool.run(&rotate);
    testbed.restart(windlass_testbed::Part::ControllerManager)?;
    let unsigned = unsigned?.expect(4)?;
    ensure!(
        unsigned.stderr.contains("bootstrapsigner"),
        "{}",
        unsigned.stderr
    );
    ensure!(
        Ssm::of(testbed).get(PARAMETER)?.is_none(),
        "it was published unsigned"
    );
    ensure!(
        ids(testbed)?.is_empty(),
        "tokens were left: {:?}",
        ids(testbed)?
    );
    Ok(())
}

#[test]
fn the_plain_parameter_of_2019_is_kept_and_retired() -> Result<()> {
    let (testbed, mut tool) = begin()?;
    let ssm = Ssm::of(testbed);
    let rotate = [
        "token",
        "rotate",
        "--once",
        "--spread",
        "0s",
        "--cluster",
        "demo",
    ];
    tool.run(&rotate)?.expect(0)?;
    ensure!(ssm.get("jointoken")?.is_none(), "it was not asked for");
    let compat = [&rotate[..], &["--compat", "2019"]].concat();
    let mended = tool.run(&compat)?.expect(0)?;
    let (document, version) = published(testbed)?;
    tool.keep_secret(&token_of(&document)[7..]);
    tool.check(&mended.stderr)?;
    ensure!(
        mended.stderr.contains("warning: --compat=2019"),
        "{}",
        mended.stderr
    );
    let plain = ssm.get("jointoken")?.context("the plain parameter")?;
    ensure!(plain.kind == "String" && plain.value == token_of(&document));
    ensure!(version == 1, "the fresh document was written again");
    let retire = ["token", "retire-compat", "--cluster", "demo"];
    tool.run(&retire)?.expect(0)?;
    ensure!(ssm.get("jointoken")?.is_none());
    tool.run(&retire)?.expect(0)?;
    Ok(())
}

#[test]
fn several_rotators_at_once_never_leave_a_dead_token() -> Result<()> {
    let (testbed, tool) = begin()?;
    let started = Instant::now();
    let metrics = |name: &str| testbed.directory().join(format!("{name}.prom"));
    let mut rotators = Vec::new();
    for name in ["rotator-a", "rotator-b", "rotator-c"] {
        let metrics = metrics(name).display().to_string();
        let mut spec = Spec::new(
            name,
            &windlass_e2e::binary()?,
            [
                "token",
                "rotate",
                "--daemon",
                "--cluster",
                "demo",
                "--coordination",
                "age",
                "--ttl",
                "3m",
                "--renew-after",
                "8s",
                "--tick",
                "2s",
                "--spread",
                "2s",
                "--lateness",
                "70s",
                "--boot-budget",
                "20s",
                "--metrics-file",
                &metrics,
            ],
        );
        spec.environment = tool.environment().to_vec();
        rotators.push(testbed.spawn(spec)?);
    }
    wait_for("a published token", SOON, || {
        Ok(Ssm::of(testbed).get(PARAMETER)?.is_some())
    })?;
    let mut seen = BTreeSet::new();
    let mut last = 0;
    while last < 5 || started.elapsed() < Duration::from_secs(45) {
        ensure!(
            started.elapsed() < Duration::from_mins(4),
            "only {last} renewals"
        );
        let (document, version) = published(testbed)?;
        let token = token_of(&document);
        let is_good = who_is(testbed, &token)?.is_some();
        ensure!(
            is_good,
            "version {version} of the parameter holds a dead token"
        );
        seen.insert(token);
        last = version;
        // A rotator that dies at any moment leaves nothing that the others cannot go on from.
        if last == 3 && rotators[0].exit_status().is_none() {
            rotators[0].kill();
        }
    }
    let most = started.elapsed().as_secs() / 8 + 1;
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
    ensure!((20.0..=180.0).contains(&remaining), "{remaining}");
    // Superseded tokens go.
    wait_for("old tokens to be swept", Duration::from_mins(2), || {
        Ok(ids(testbed)?.len() <= 5)
    })?;
    for rotator in &mut rotators {
        rotator.stop();
        for token in &seen {
            ensure!(
                !rotator.log().contains(&token[7..]),
                "a secret is in {}",
                rotator.log()
            );
        }
    }
    // Nothing of ours is without an end.
    for secret in testbed.run(secrets(testbed).list(&of_tokens()))? {
        ensure!(secret.data.unwrap_or_default().contains_key("expiration"));
    }
    Ok(())
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
    let (testbed, tool) = begin()?;
    let mut rotators = Vec::new();
    for name in ["leader-a", "leader-b"] {
        let mut spec = Spec::new(
            name,
            &windlass_e2e::binary()?,
            [
                "token",
                "rotate",
                "--daemon",
                "--cluster",
                "demo",
                "--coordination",
                "lease",
                "--ttl",
                "3m",
                "--renew-after",
                "5s",
                "--tick",
                "2s",
                "--spread",
                "0s",
                "--lateness",
                "70s",
                "--boot-budget",
                "20s",
            ],
        );
        spec.environment = tool.environment().to_vec();
        rotators.push(testbed.spawn(spec)?);
    }
    wait_for("renewals", Duration::from_mins(1), || {
        let parameter = Ssm::of(testbed).get(PARAMETER)?;
        Ok(parameter.is_some_and(|parameter| 3 <= parameter.version))
    })?;
    let lease = testbed
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
    Ok(())
}

#[test]
fn the_autoscaler_keeps_the_credential_fresh_where_it_is_told_to() -> Result<()> {
    let (testbed, _) = begin()?;
    let run = Run::of_cluster("demo").user(User::Admin);
    {
        let without = run.start(testbed, "run-without-rotation")?;
        wait_for("the autoscaler to be at work", SOON, || {
            Ok(without.is_healthy())
        })?;
    }
    ensure!(
        Ssm::of(testbed).get(PARAMETER)?.is_none(),
        "nobody has asked for it"
    );
    let windlass = run
        .flags(["--token-rotation=true", "--token-cluster=demo", "--v=5"])
        .start(testbed, "run-with-rotation")?;
    // After a random wait of up to two minutes.
    wait_for("the published credential", Duration::from_mins(4), || {
        Ok(Ssm::of(testbed).get(PARAMETER)?.is_some())
    })?;
    let (document, _) = published(testbed)?;
    let token = token_of(&document);
    ensure!(who_is(testbed, &token)?.is_some());
    let sample = "windlass_join_token_rotations_total{result=\"renewed\"}";
    wait_for("its metric", SOON, || {
        Ok(windlass.sample(sample).is_ok_and(|count| count >= 1.0))
    })?;
    ensure!(
        !windlass.log().contains(&token[7..]),
        "a secret is in the log"
    );
    Ok(())
}

#[test]
fn revocation_and_a_missing_signer_become_events() -> Result<()> {
    let (testbed, tool) = begin()?;
    let rotate = [
        "token",
        "rotate",
        "--once",
        "--spread",
        "0s",
        "--cluster",
        "demo",
    ];
    tool.run(&rotate)?.expect(0)?;
    let (document, _) = published(testbed)?;
    tool.run(&["token", "delete", &token_of(&document)[..6]])?
        .expect(0)?;
    tool.run(&rotate)?.expect(0)?;
    let events = testbed.cluster().events("kube-system")?;
    let revoked = events
        .iter()
        .find(|event| event.reason.as_deref() == Some("TokenRevoked"));
    ensure!(revoked.is_some(), "{events:?}");
    let (document, _) = published(testbed)?;
    ensure!(!format!("{events:?}").contains(&token_of(&document)[7..]));
    Ok(())
}

#[test]
fn what_runs_the_rotator_has_its_flags() -> Result<()> {
    let (_, tool) = begin()?;
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
