//! The XML of EC2's answers: elements with text or with other elements in them. Attributes say nothing here.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

// EC2's answers are eight deep.
const MOST_DEPTH: usize = 64;

/// One element.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// Without what stands before a colon.
    pub name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn of(start: &BytesStart<'_>) -> Self {
        Self {
            name: start.local_name().as_ref().to_owned(),
            ..Self::default()
        }
    }

    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        Some(self.child(name)?.text.trim())
    }

    /// What a list has: the `item`s in the first child of this name.
    pub(super) fn items(&self, name: &str) -> impl Iterator<Item = &Self> {
        let children = self.child(name).map(|list| list.children.as_slice());
        children.unwrap_or_default().iter().filter(|child| child.name == "item")
    }
}

/// Reads a document. Nothing outside of it is looked up: of a document type's declarations nothing is read, and of
/// entities only XML's own are known.
pub(super) fn read(bytes: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("XML: {e}"))?;
    let mut reader = Reader::from_str(text);
    // The elements that are open; the first one holds the document.
    let mut open = vec![Element::default()];
    loop {
        let event = reader
            .read_event()
            .map_err(|e| format!("XML: byte {}: {e}", reader.error_position()))?;
        let at = reader.buffer_position();
        let Some(innermost) = open.last_mut() else {
            return Err(format!("XML: byte {at}: what is not open is closed"));
        };
        match event {
            Event::Start(start) => {
                if open.len() > MOST_DEPTH {
                    return Err(format!("XML: byte {at}: more than {MOST_DEPTH} elements in each other"));
                }
                open.push(Element::of(&start));
            }
            Event::Empty(start) => innermost.children.push(Element::of(&start)),
            Event::End(_) => {
                // That the names agree the reader sees to.
                let closed = open.pop();
                let (Some(closed), Some(outer)) = (closed, open.last_mut()) else {
                    return Err(format!("XML: byte {at}: what is not open is closed"));
                };
                outer.children.push(closed);
            }
            Event::Text(text) => innermost.text.push_str(&text.xml10_content()),
            Event::CData(text) => innermost.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = reference
                    .resolve_char_ref()
                    .map_err(|e| format!("XML: byte {at}: {e}"))?;
                let name = reference.into_inner();
                let text = quick_xml::escape::resolve_predefined_entity(&name);
                match (character, text) {
                    (Some(character), _) => innermost.text.push(character),
                    (None, Some(text)) => innermost.text.push_str(text),
                    (None, None) => return Err(format!("XML: byte {at}: unknown entity {name:?}")),
                }
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof => break,
        }
    }
    if open.len() > 1 {
        let names: Vec<&str> = open.iter().skip(1).map(|element| element.name.as_str()).collect();
        return Err(format!("XML: the document ends within {}", names.join(" > ")));
    }
    let document = open.pop().unwrap_or_default();
    let root = document.children.into_iter().next();
    root.ok_or_else(|| "XML: there is no element".to_owned())
}
