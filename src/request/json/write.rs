//! Writes JSON documents, member by member.

use std::fmt::Write as _;

/// A JSON text that is being written.
#[derive(Debug, Default)]
pub struct Writer(String);

/// An object with these members.
#[must_use]
pub fn object(members: impl FnOnce(&mut Writer)) -> String {
    let mut writer = Writer::default();
    writer.item(members);
    writer.0
}

impl Writer {
    /// A member that is a text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        quote(&mut self.0, value);
    }

    /// The same, or null.
    pub fn maybe_text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.word(name, "null"),
        }
    }

    /// A member that is a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.word(name, &value.to_string());
    }

    /// The same, or null.
    pub fn maybe_number(&mut self, name: &str, value: Option<u64>) {
        match value {
            Some(value) => self.number(name, value),
            None => self.word(name, "null"),
        }
    }

    /// A member that is true or false.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.word(name, if value { "true" } else { "false" });
    }

    /// A member that is null.
    pub fn null(&mut self, name: &str) {
        self.word(name, "null");
    }

    /// A member that is an object.
    pub fn object(&mut self, name: &str, members: impl FnOnce(&mut Self)) {
        self.name(name);
        self.0.push('{');
        members(self);
        self.0.push('}');
    }

    /// A member that is a list.
    pub fn list(&mut self, name: &str, items: impl FnOnce(&mut Self)) {
        self.name(name);
        self.0.push('[');
        items(self);
        self.0.push(']');
    }

    /// An item that is an object.
    pub fn item(&mut self, members: impl FnOnce(&mut Self)) {
        self.comma();
        self.0.push('{');
        members(self);
        self.0.push('}');
    }

    /// A member that is a list of texts.
    pub fn texts(&mut self, name: &str, texts: &[String]) {
        self.list(name, |list| {
            for text in texts {
                list.item_text(text);
            }
        });
    }

    /// An item that is a text.
    pub fn item_text(&mut self, text: &str) {
        self.comma();
        quote(&mut self.0, text);
    }

    /// An item that is a list.
    pub fn item_list(&mut self, items: impl FnOnce(&mut Self)) {
        self.comma();
        self.0.push('[');
        items(self);
        self.0.push(']');
    }

    fn word(&mut self, name: &str, word: &str) {
        self.name(name);
        self.0.push_str(word);
    }

    fn name(&mut self, name: &str) {
        self.comma();
        quote(&mut self.0, name);
        self.0.push(':');
    }

    /// Before everything but what comes first: only an opening bracket ends in one.
    fn comma(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[']) {
            self.0.push(',');
        }
    }
}

/// A text in quotes, with the escapes that RFC 8785 section 3.2.2.2 has: the shortest, and only where
/// there must be one.
pub(super) fn quote(to: &mut String, text: &str) {
    to.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        to.push_str(text.get(from..at).unwrap_or_default());
        from = at + 1;
        let short = match byte {
            b'"' | b'\\' => char::from(byte),
            0x08 => 'b',
            b'\t' => 't',
            b'\n' => 'n',
            0x0c => 'f',
            b'\r' => 'r',
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(to, "\\u{byte:04x}");
                continue;
            }
        };
        to.extend(['\\', short]);
    }
    to.push_str(text.get(from..).unwrap_or_default());
    to.push('"');
}
