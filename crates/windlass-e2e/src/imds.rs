//! An instance metadata service of our own, version 2 only: without a session token every path
//! answers 401.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// What an instance is told of itself.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// Its host name.
    pub host_name: String,
    /// Its address.
    pub address: String,
}

/// A running service. It ends with the process.
#[derive(Clone, Debug)]
pub struct Imds {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    paths: BTreeMap<String, String>,
    sessions: BTreeMap<String, Instant>,
    refused: usize,
    /// Connections that are still to be closed without an answer.
    silent: usize,
}

impl Imds {
    /// Starts it at a free port of 127.0.0.1.
    pub fn start(instance: &Instance) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for metadata requests")?;
        let region = instance
            .zone
            .trim_end_matches(|c: char| c.is_ascii_lowercase());
        let paths = [
            ("instance-id", instance.id.as_str()),
            ("placement/region", region),
            ("placement/availability-zone", &instance.zone),
            ("local-hostname", &instance.host_name),
            ("local-ipv4", &instance.address),
            ("instance-type", "m5.large"),
            ("iam/security-credentials/", "node"),
            (
                "iam/security-credentials/node",
                r#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIATEST","SecretAccessKey":"test","Token":"session","Expiration":"2099-01-01T00:00:00Z","LastUpdated":"2026-01-01T00:00:00Z"}"#,
            ),
        ];
        let imds = Self {
            address: listener.local_addr()?.to_string(),
            state: Arc::new(Mutex::new(State {
                paths: paths
                    .map(|(path, text)| (path.to_owned(), text.to_owned()))
                    .into(),
                ..State::default()
            })),
        };
        let state = Arc::clone(&imds.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    // A client that hangs up is its own affair.
                    let _ = serve(&stream, &state);
                });
            }
        });
        Ok(imds)
    }

    /// For `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what a path answers; nothing makes it 404.
    pub fn set(&self, path: &str, text: Option<&str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match text {
            Some(text) => state.paths.insert(path.to_owned(), text.to_owned()),
            None => state.paths.remove(path),
        };
    }

    /// Closes the next connections without an answer.
    pub fn stay_silent(&self, connections: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.silent = connections;
    }

    /// How many requests came without a session token that was good.
    pub fn refused(&self) -> usize {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .refused
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.silent > 0 {
            state.silent -= 1;
            return Ok(());
        }
    }
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let (status, body) = answer(&method, &path, &headers, state);
        write!(
            &*stream,
            "HTTP/1.1 {status} x\r\nContent-Type: text/plain\r\n\
             x-aws-ec2-metadata-token-ttl-seconds: 300\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

fn answer(
    method: &str,
    path: &str,
    headers: &BTreeMap<String, String>,
    state: &Mutex<State>,
) -> (u16, String) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if method == "PUT" && path == "/latest/api/token" {
        let seconds = headers
            .get("x-aws-ec2-metadata-token-ttl-seconds")
            .and_then(|seconds| seconds.parse().ok())
            .filter(|seconds| (1..=21_600).contains(seconds));
        let Some(seconds) = seconds else {
            return (400, String::new());
        };
        let session = format!("session-{}", state.sessions.len());
        state
            .sessions
            .insert(session.clone(), now + Duration::from_secs(seconds));
        return (200, session);
    }
    let is_known = headers
        .get("x-aws-ec2-metadata-token")
        .and_then(|session| state.sessions.get(session))
        .is_some_and(|until| now < *until);
    if !is_known {
        state.refused += 1;
        return (401, String::new());
    }
    let found = path
        .strip_prefix("/latest/meta-data/")
        .filter(|_| method == "GET")
        .and_then(|path| state.paths.get(path));
    match found {
        Some(text) => (200, text.clone()),
        None => (404, String::new()),
    }
}
