//! AWS's Query protocol: a form in, XML out. Auto Scaling, EC2, IAM and STS speak it.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::budget::Priority;
use crate::call::{Answer, Call, Client, WireError};
use crate::endpoint::Service;
use crate::error::{CallError, CallErrorKind};
use crate::retry::Repeat;

/// One action with its parameters.
pub(crate) struct Query {
    service: Service,
    action: &'static str,
    resource: Option<String>,
    priority: Priority,
    repeat: Repeat,
    form: Vec<(String, String)>,
}

impl Query {
    /// An action that only looks.
    pub(crate) fn read(service: Service, version: &str, action: &'static str) -> Self {
        Self {
            service,
            action,
            resource: None,
            priority: Priority::Read,
            repeat: Repeat::Safe,
            form: vec![
                ("Action".to_owned(), action.to_owned()),
                ("Version".to_owned(), version.to_owned()),
            ],
        }
    }

    /// An action that changes something.
    pub(crate) fn write(
        service: Service,
        version: &str,
        action: &'static str,
        repeat: Repeat,
    ) -> Self {
        Self {
            priority: Priority::Write,
            repeat,
            ..Self::read(service, version, action)
        }
    }

    /// What errors name as the thing acted on.
    pub(crate) fn about(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// A parameter.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers, booleans and texts are given alike"
    )]
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.form.push((name.into(), value.to_string()));
        self
    }

    /// A parameter that may be absent.
    pub(crate) fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// A list: `prefix.1`, `prefix.2` and so on.
    pub(crate) fn with_list<T: ToString>(
        mut self,
        prefix: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        for (index, value) in values.into_iter().enumerate() {
            self.form
                .push((format!("{prefix}.{}", index + 1), value.to_string()));
        }
        self
    }

    /// Sends it and reads the answer.
    pub(crate) async fn send<T: DeserializeOwned>(self, client: &Client) -> Result<T, CallError> {
        let (action, resource) = (self.action, self.resource.clone());
        let body = self.send_raw(client).await?;
        from_xml(&body).map_err(|source| CallError {
            action,
            resource,
            request_id: None,
            kind: CallErrorKind::Answer { source },
        })
    }

    async fn send_raw(self, client: &Client) -> Result<Vec<u8>, CallError> {
        let Self {
            service,
            action,
            resource,
            priority,
            repeat,
            form,
        } = self;
        let call = Call {
            service,
            action,
            resource,
            method: "POST",
            path: "/".to_owned(),
            headers: vec![(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
            )],
            body: encode(&form).into_bytes(),
            priority,
            repeat,
        };
        client.send(call, read_error).await
    }
}

impl Client {
    /// Calls an action of a Query service that this crate has no types for, once (it is not
    /// repeated after a lost answer), and gives the answer's XML.
    pub async fn query(
        &self,
        service: Service,
        version: &str,
        action: &'static str,
        parameters: &[(&str, &str)],
    ) -> Result<String, CallError> {
        let mut query = Query::write(service, version, action, Repeat::OnlyIfRefused);
        for (name, value) in parameters {
            query = query.with(*name, value);
        }
        let body = self.observed(action, query.send_raw(self)).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// An answer that says nothing but that it was done.
#[derive(Debug, Deserialize)]
pub(crate) struct Done {}

fn from_xml<T: DeserializeOwned>(
    body: &[u8],
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    Ok(quick_xml::de::from_str(std::str::from_utf8(body)?)?)
}

/// `application/x-www-form-urlencoded` as AWS wants it: everything but the unreserved characters
/// of RFC 3986 as `%XX`, a space too.
fn encode(form: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in form {
        if !text.is_empty() {
            text.push('&');
        }
        percent_encode(name, &mut text);
        text.push('=');
        percent_encode(value, &mut text);
    }
    text
}

/// Appends `text`, percent-encoded.
pub(crate) fn percent_encode(text: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Reads an error in either of its shapes (Auto Scaling's `ErrorResponse/Error`, EC2's
/// `Response/Errors/Error`): the first `Code`, `Message` and request id, wherever they stand.
fn read_error(answer: &Answer) -> WireError {
    let mut error = WireError::default();
    let text = String::from_utf8_lossy(&answer.body);
    let mut reader = Reader::from_str(&text);
    let mut elements: Vec<String> = Vec::new();
    let (mut code, mut message, mut request_id) = (String::new(), String::new(), String::new());
    // What is no XML (a proxy's page) ends the reading: the status alone remains.
    while let Ok(event) = reader.read_event() {
        let mut ignored = String::new();
        let target = match elements.last().map(String::as_str) {
            Some("Code") => &mut code,
            Some("Message") => &mut message,
            Some("RequestId" | "RequestID") => &mut request_id,
            _ => &mut ignored,
        };
        match event {
            Event::Start(start) => elements.push(start.local_name().as_ref().to_owned()),
            Event::End(_) => {
                elements.pop();
            }
            Event::Text(part) => target.push_str(&part),
            Event::GeneralRef(entity) => target.push_str(&resolve(&entity)),
            Event::Eof => break,
            _ => {}
        }
    }
    error.code = code;
    error.message = message;
    error.request_id = Some(request_id).filter(|id| !id.is_empty());
    error
}

fn resolve(entity: &quick_xml::events::BytesRef<'_>) -> String {
    if let Ok(Some(character)) = entity.resolve_char_ref() {
        return character.to_string();
    }
    quick_xml::escape::resolve_predefined_entity(&entity.xml10_content())
        .unwrap_or_default()
        .to_owned()
}

/// `<Things><member>…</member></Things>` as a list, for `#[serde(deserialize_with)]`.
pub(crate) fn members<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    struct Members<T> {
        #[serde(rename = "member", default = "Vec::new")]
        members: Vec<T>,
    }
    Ok(Members::deserialize(deserializer)?.members)
}

/// `<things><item>…</item></things>` as a list: EC2's way.
pub(crate) fn items<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    struct Items<T> {
        #[serde(rename = "item", default = "Vec::new")]
        items: Vec<T>,
    }
    Ok(Items::deserialize(deserializer)?.items)
}

/// A text that AWS leaves empty where there is none.
pub(crate) fn filled<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(body: &str) -> WireError {
        read_error(&Answer {
            status: 400,
            error_header: None,
            request_id: None,
            body: body.as_bytes().to_vec(),
        })
    }

    #[test]
    fn parameters_are_percent_encoded() {
        let form = [("Tag.1".to_owned(), "a b/ü&=~".to_owned())];
        assert_eq!(encode(&form), "Tag.1=a%20b%2F%C3%BC%26%3D~");
    }

    #[test]
    fn errors_are_read_in_both_shapes() {
        let expected = |code: &str| WireError {
            code: code.to_owned(),
            message: "Group <a> & b".to_owned(),
            request_id: Some("r-1".to_owned()),
        };
        assert_eq!(
            error_of(
                "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">\n<Error>\
                 <Type>Sender</Type><Code>ValidationError</Code>\
                 <Message>Group &lt;a&gt; &amp; b</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
            ),
            expected("ValidationError")
        );
        assert_eq!(
            error_of(
                "<Response><Errors><Error><Code>RequestLimitExceeded</Code>\
                 <Message>Group &#60;a&gt; &amp; b</Message></Error></Errors>\
                 <RequestID>r-1</RequestID></Response>"
            ),
            expected("RequestLimitExceeded")
        );
    }

    #[test]
    fn a_page_that_is_no_xml_is_an_error_without_code() {
        assert_eq!(error_of("<html><p>Bad gateway").code, "");
        assert_eq!(error_of("upstream closed").code, "");
    }

    #[test]
    fn empty_lists_and_missing_lists_are_the_same() {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default, deserialize_with = "members")]
            names: Vec<String>,
            #[serde(default, deserialize_with = "filled")]
            token: Option<String>,
        }
        for (xml, names) in [
            ("<Page><names/><token/></Page>", vec![]),
            ("<Page></Page>", vec![]),
            (
                "<Page> <names> <member>a</member> <member>b</member> </names> </Page>",
                vec!["a", "b"],
            ),
        ] {
            let page: Page = from_xml(xml.as_bytes()).unwrap();
            assert_eq!(page.names, names);
            assert_eq!(page.token, None);
        }
    }
}
