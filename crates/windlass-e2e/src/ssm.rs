//! Parameter Store, asked directly: what Windlass has published.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use windlass_testbed::Testbed;
use windlass_testbed::proxy::Act;

/// An error as Parameter Store words it, for a proxy before it.
pub fn ssm_error(code: &str) -> Act {
    Act::Answer {
        status: 400,
        content_type: "application/x-amz-json-1.1".to_owned(),
        body: json!({ "__type": code, "message": format!("{code} by the test") }).to_string(),
    }
}

/// A parameter as it is stored.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// `String` or `SecureString`.
    pub kind: String,
    /// Its value.
    pub value: String,
    /// Counted from 1 with every write.
    pub version: u64,
}

impl Parameter {
    /// The value as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.value).context("read the parameter's value")
    }
}

/// moto's Parameter Store.
#[derive(Clone, Debug)]
pub struct Ssm {
    /// `host:port`.
    address: String,
    region: String,
}

impl Ssm {
    /// That of a test bed, in its own region.
    pub fn of(testbed: &Testbed) -> Self {
        Self {
            address: testbed.moto_url().replace("http://", ""),
            region: windlass_testbed::REGION.to_owned(),
        }
    }

    /// The same of another region, which has other parameters.
    #[must_use]
    pub fn in_region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// A parameter, decrypted; none if there is none of that name.
    pub fn get(&self, name: &str) -> Result<Option<Parameter>> {
        let (status, answer) = self.call(
            "GetParameter",
            &json!({ "Name": name, "WithDecryption": true }),
        )?;
        if status == 400 && answer.to_string().contains("ParameterNotFound") {
            return Ok(None);
        }
        if status != 200 {
            bail!("GetParameter: {status} {answer}");
        }
        let parameter = &answer["Parameter"];
        let text = |field: &str| parameter[field].as_str().unwrap_or_default().to_owned();
        Ok(Some(Parameter {
            kind: text("Type"),
            value: text("Value"),
            version: parameter["Version"].as_u64().unwrap_or_default(),
        }))
    }

    /// Writes a parameter, as an operator would.
    pub fn put(&self, name: &str, kind: &str, value: &str) -> Result<()> {
        let input = json!({"Name": name, "Type": kind, "Value": value, "Overwrite": true});
        match self.call("PutParameter", &input)? {
            (200, _) => Ok(()),
            (status, answer) => bail!("PutParameter: {status} {answer}"),
        }
    }

    /// Deletes a parameter.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.call("DeleteParameter", &json!({ "Name": name }))
            .map(drop)
    }

    /// The names of all parameters below a path such as `/windlass/`, sorted.
    pub fn names_below(&self, path: &str) -> Result<Vec<String>> {
        let filter = json!([{"Key": "Name", "Option": "BeginsWith", "Values": [path]}]);
        let input = json!({ "ParameterFilters": filter, "MaxResults": 50 });
        let (status, answer) = self.call("DescribeParameters", &input)?;
        if status != 200 || answer["NextToken"].is_string() {
            bail!("DescribeParameters, up to 50 of them: {status} {answer}");
        }
        let parameters = answer["Parameters"].as_array().map(Vec::as_slice);
        let mut names: Vec<String> = parameters
            .unwrap_or_default()
            .iter()
            .filter_map(|parameter| parameter["Name"].as_str().map(str::to_owned))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn call(&self, action: &str, input: &Value) -> Result<(u16, Value)> {
        self.post("ssm", &format!("AmazonSSM.{action}"), input)
    }

    /// Any call of a service with AWS JSON: what it answers.
    pub fn ask(&self, service: &str, target: &str, input: &Value) -> Result<Value> {
        match self.post(service, target, input)? {
            (200, answer) => Ok(answer),
            (status, answer) => bail!("{target}: {status} {answer}"),
        }
    }

    fn post(&self, service: &str, target: &str, input: &Value) -> Result<(u16, Value)> {
        let mut stream = TcpStream::connect(&self.address).context("connect to moto")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let body = input.to_string();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: {target}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{}/{service}/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.region,
            body.len(),
        )?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .context("read moto's answer")?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let body = serde_json::from_str(body).unwrap_or(Value::Null);
        Ok((status.context("no HTTP status")?, body))
    }
}
