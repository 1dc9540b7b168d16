//! Just enough XML to change an answer of the Query protocol and pass it on.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// An element; attributes are dropped, for none of AWS's says anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers, booleans and texts are given alike"
    )]
    pub(crate) fn leaf(name: &str, text: impl ToString) -> Self {
        Self {
            text: text.to_string(),
            ..Self::new(name)
        }
    }

    #[must_use]
    pub(crate) fn with(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    pub(crate) fn with_all(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    /// The root of a document; none of what is no XML.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => open.push(Self::new(start.local_name().as_ref())),
                Event::Empty(empty) => {
                    let empty = Self::new(empty.local_name().as_ref());
                    open.last_mut()?.children.push(empty);
                }
                Event::End(_) => {
                    let done = open.pop()?;
                    open.last_mut()?.children.push(done);
                }
                Event::Text(part) => open.last_mut()?.text.push_str(&part),
                Event::GeneralRef(entity) => open.last_mut()?.text.push_str(&resolve(&entity)),
                Event::Eof => break,
                _ => {}
            }
        }
        let mut document = open.pop()?;
        document.children.pop()
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub(crate) fn child_mut(&mut self, name: &str) -> Option<&mut Self> {
        self.children.iter_mut().find(|child| child.name == name)
    }

    /// The text of a child; empty without one.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.trim())
    }

    pub(crate) fn number(&self, name: &str) -> u32 {
        self.get(name).parse().unwrap_or(0)
    }

    /// Sets the text of a child, which is made if it is not there.
    pub(crate) fn set(&mut self, name: &str, text: impl ToString) {
        match self.child_mut(name) {
            Some(child) => child.text = text.to_string(),
            None => self.children.push(Self::leaf(name, text)),
        }
    }

    /// The members of a list.
    pub(crate) fn members(&self, list: &str) -> &[Self] {
        self.child(list).map_or(&[], |list| &list.children)
    }

    pub(crate) fn to_xml(&self) -> String {
        let mut xml = String::new();
        self.write(&mut xml);
        xml
    }

    fn write(&self, xml: &mut String) {
        // Writing into a String cannot fail.
        let _ = write!(xml, "<{}>", self.name);
        if self.children.is_empty() {
            xml.push_str(&quick_xml::escape::escape(&self.text));
        }
        for child in &self.children {
            child.write(xml);
        }
        let _ = write!(xml, "</{}>", self.name);
    }
}

fn resolve(entity: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = entity.resolve_char_ref() {
        return character.to_string();
    }
    quick_xml::escape::resolve_predefined_entity(&entity.xml10_content())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_survives_being_read_and_written() {
        let xml = "<A><B>1 &lt; 2</B><C><member><D/></member></C></A>";
        let mut root = Element::parse(&format!("<?xml version=\"1.0\"?>\n{xml}")).unwrap();
        assert_eq!(root.get("B"), "1 < 2");
        assert_eq!(root.members("C").len(), 1);
        root.set("B", "3");
        root.set("E", 4);
        assert_eq!(
            root.to_xml(),
            "<A><B>3</B><C><member><D></D></member></C><E>4</E></A>"
        );
        assert_eq!(Element::parse("no <xml"), None);
    }
}
