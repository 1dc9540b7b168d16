//! One moto for the whole test binary; each test has an account of its own on it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use windlass_aws_client::{
    Client, EndpointOverride, Observer, Options, Secret, Service, StaticCredentials,
};

const REGION: &str = "us-east-1";
pub(crate) const AUTOSCALING: &str = "2011-01-01";
pub(crate) const EC2: &str = "2016-11-15";
/// An amd64 Linux image of moto's catalogue.
pub(crate) const IMAGE: &str = "ami-1e749f67";

/// A running moto. It ends when the test binary does: the shell around it waits for the end of
/// its standard input.
pub(crate) struct Server {
    address: String,
    _process: Child,
}

/// An account of its own on the shared moto, empty at first.
pub(crate) struct Account {
    pub(crate) client: Client,
    credentials: StaticCredentials,
}

fn binary() -> PathBuf {
    std::env::var_os("WINDLASS_MOTO_SERVER")
        .map(PathBuf::from)
        .filter(|path| path.exists())
        .expect("run `cargo xtask test --suite moto`, which installs moto and sets WINDLASS_MOTO_SERVER")
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

impl Server {
    /// A moto of its own, for a test that changes it as a whole.
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new("sh")
            .arg("-c")
            .arg(r#""$0" -H 127.0.0.1 -p "$1" >/dev/null 2>&1 & cat >/dev/null; kill $!"#)
            .arg(binary())
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .expect("moto_server starts");
        wait_until_it_answers(&address);
        Self {
            address,
            _process: process,
        }
    }

    /// From now on every call is judged by its caller's policies.
    pub(crate) fn enforce_policies(&self) {
        let mut stream = TcpStream::connect(&self.address).expect("moto listens");
        let request = format!(
            "POST /moto-api/reset-auth HTTP/1.0\r\nHost: {}\r\nContent-Type: text/plain\r\n\
             Content-Length: 1\r\n\r\n0",
            self.address
        );
        stream.write_all(request.as_bytes()).expect("moto reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("moto answers");
        assert!(answer.contains("200"), "{answer}");
    }

    /// A client with these credentials that tells of its calls.
    pub(crate) async fn client_with(
        &self,
        credentials: StaticCredentials,
        observer: Arc<dyn Observer>,
    ) -> Client {
        let mut options = options_at(&self.address, credentials);
        options.observer = Some(observer);
        Client::connect(options).await.expect("a client")
    }

    /// A client with these credentials.
    pub(crate) async fn client(&self, credentials: StaticCredentials) -> Client {
        Client::connect(options_at(&self.address, credentials))
            .await
            .expect("a client")
    }
}

fn wait_until_it_answers(address: &str) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_mins(1) {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let asked = stream.write_all(
                format!("GET /moto-api/data.json HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes(),
            );
            let mut answer = [0; 12];
            if asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"200") {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("moto did not answer within a minute");
}

fn options(credentials: StaticCredentials) -> Options {
    options_at(&server().address, credentials)
}

fn options_at(address: &str, credentials: StaticCredentials) -> Options {
    let url = format!("http://{address}");
    Options {
        region: Some(REGION.to_owned()),
        credentials: Some(credentials),
        endpoint_overrides: [
            Service::AutoScaling,
            Service::Ec2,
            Service::Eks,
            Service::Iam,
            Service::Ssm,
            Service::Sts,
        ]
        .into_iter()
        .map(|service| EndpointOverride {
            service,
            region: None,
            url: url.clone(),
            signing_region: REGION.to_owned(),
            signing_name: None,
        })
        .collect(),
        calls_per_minute: 100_000,
        // The first call that touches EC2 loads moto's catalogues.
        attempt_timeout: Duration::from_mins(1),
        total_timeout: Duration::from_mins(2),
        ..Options::default()
    }
}

/// The text between the first `<tag>` and `</tag>`.
pub(crate) fn text<'a>(xml: &'a str, tag: &str) -> &'a str {
    let (_, rest) = xml
        .split_once(&format!("<{tag}>"))
        .unwrap_or_else(|| panic!("no <{tag}> in {xml}"));
    rest.split_once(&format!("</{tag}>"))
        .expect("a closing tag")
        .0
}

impl Account {
    /// Temporary keys of another account's role lead moto to that account's own state.
    pub(crate) async fn new() -> Self {
        static ACCOUNTS: AtomicU32 = AtomicU32::new(1);
        let number = ACCOUNTS.fetch_add(1, Ordering::Relaxed);
        let root = Client::connect(options(StaticCredentials {
            access_key_id: "test".to_owned(),
            secret_access_key: Secret::new("test"),
            session_token: None,
        }))
        .await
        .expect("a client");
        let role = format!(
            "arn:aws:iam::{:012}:role/test",
            200_000_000_000_u64 + u64::from(number)
        );
        let xml = root
            .query(
                Service::Sts,
                "2011-06-15",
                "AssumeRole",
                &[("RoleArn", &role), ("RoleSessionName", "test")],
            )
            .await
            .expect("moto lets anybody assume any role");
        let credentials = StaticCredentials {
            access_key_id: text(&xml, "AccessKeyId").to_owned(),
            secret_access_key: Secret::new(text(&xml, "SecretAccessKey")),
            session_token: Some(Secret::new(text(&xml, "SessionToken"))),
        };
        Self {
            client: Client::connect(options(credentials.clone()))
                .await
                .expect("a client"),
            credentials,
        }
    }

    /// Another client of the same account.
    pub(crate) async fn client_with(&self, change: impl FnOnce(&mut Options)) -> Client {
        let mut options = options(self.credentials.clone());
        change(&mut options);
        Client::connect(options).await.expect("a client")
    }

    pub(crate) async fn autoscaling(
        &self,
        action: &'static str,
        parameters: &[(&str, &str)],
    ) -> String {
        self.client
            .query(Service::AutoScaling, AUTOSCALING, action, parameters)
            .await
            .expect(action)
    }

    pub(crate) async fn ec2(&self, action: &'static str, parameters: &[(&str, &str)]) -> String {
        self.client
            .query(Service::Ec2, EC2, action, parameters)
            .await
            .expect(action)
    }

    /// A launch template of that name for that instance type.
    pub(crate) async fn launch_template(&self, name: &str, instance_type: &str) {
        self.ec2(
            "CreateLaunchTemplate",
            &[
                ("LaunchTemplateName", name),
                ("LaunchTemplateData.InstanceType", instance_type),
                ("LaunchTemplateData.ImageId", IMAGE),
            ],
        )
        .await;
    }

    /// A group in one zone, of a launch template of its own, with tags.
    pub(crate) async fn group(
        &self,
        name: &str,
        (min, max, desired): (u32, u32, u32),
        tags: &[(&str, &str)],
    ) {
        self.launch_template(name, "m5.large").await;
        let (min, max, desired) = (min.to_string(), max.to_string(), desired.to_string());
        let mut parameters = vec![
            ("AutoScalingGroupName".to_owned(), name),
            ("MinSize".to_owned(), min.as_str()),
            ("MaxSize".to_owned(), max.as_str()),
            ("DesiredCapacity".to_owned(), desired.as_str()),
            ("AvailabilityZones.member.1".to_owned(), "us-east-1a"),
            ("LaunchTemplate.LaunchTemplateName".to_owned(), name),
        ];
        for (index, (key, value)) in tags.iter().enumerate() {
            let tag = format!("Tags.member.{}", index + 1);
            parameters.push((format!("{tag}.Key"), key));
            parameters.push((format!("{tag}.Value"), value));
            parameters.push((format!("{tag}.ResourceId"), name));
            parameters.push((format!("{tag}.ResourceType"), "auto-scaling-group"));
            parameters.push((format!("{tag}.PropagateAtLaunch"), "true"));
        }
        let parameters: Vec<(&str, &str)> = parameters
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        self.autoscaling("CreateAutoScalingGroup", &parameters)
            .await;
    }
}
