//! The binary's other commands, run to their end, and never with a secret in what they say.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use windlass_testbed::{Proxy, Testbed, User};

/// How a command is run: against a test bed, with everything said that there is to say.
#[derive(Clone, Debug)]
pub struct Tool {
    environment: Vec<(String, String)>,
    secrets: Vec<String>,
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its data.
    pub stdout: String,
    /// Its talk.
    pub stderr: String,
}

/// Fails unless the command ended with `code` and said `part`; gives all that it said, data first.
#[track_caller]
pub fn expect(output: &Output, code: i32, part: &str) -> Result<String> {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        output.status.code() == Some(code) && text.contains(part),
        "expected exit code {code} and `{part}`, found {}: {text}",
        output.status
    );
    Ok(text)
}

impl Finished {
    /// Fails unless it ended with `code`.
    pub fn expect(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "ended with {:?}, not {code}: {}{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }
}

impl Tool {
    /// As administrator of the test bed's cluster, against its moto.
    pub fn of(testbed: &Testbed) -> Self {
        let mut environment = Testbed::aws_environment(&testbed.moto_url());
        environment.push(("WINDLASS_LOG".to_owned(), "debug".to_owned()));
        let kubeconfig = testbed.kubeconfig(User::Admin);
        environment.push(("KUBECONFIG".to_owned(), kubeconfig.display().to_string()));
        Self {
            environment,
            secrets: Vec::new(),
        }
    }

    /// Through a proxy before AWS.
    #[must_use]
    pub fn aws_through(self, proxy: &Proxy) -> Self {
        Testbed::aws_environment(proxy.url())
            .into_iter()
            .fold(self, |tool, (name, value)| tool.env(&name, &value))
    }

    /// Where it finds AWS: moto, or a proxy before it.
    pub fn aws(&self) -> &str {
        let endpoint = self.environment.iter();
        endpoint
            .filter(|(name, _)| name == "AWS_ENDPOINT_URL")
            .map(|(_, url)| url.as_str())
            .next()
            .unwrap_or_default()
    }

    /// Through a proxy before the API server, or as somebody else.
    #[must_use]
    pub fn kubeconfig(self, path: &std::path::Path) -> Self {
        self.env("KUBECONFIG", &path.display().to_string())
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What must not be in anything that the command says on standard error.
    pub fn keep_secret(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    /// All that was kept secret so far.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The environment, for what is started otherwise.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Runs it. Fails if it says a secret.
    pub fn run(&self, arguments: &[&str]) -> Result<Finished> {
        let output = Command::new(crate::binary()?)
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .output()
            .with_context(|| format!("run windlass {arguments:?}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let finished = Finished {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        self.check(&finished.stderr)?;
        Ok(finished)
    }

    /// Fails if a text has a secret in it.
    pub fn check(&self, text: &str) -> Result<()> {
        for secret in &self.secrets {
            ensure!(!text.contains(secret.as_str()), "a secret was said: {text}");
        }
        Ok(())
    }
}
