//! Headers. They cross between Rust and JavaScript as one text: a crossing for each header would take more CPU than all the
//! rest that is done with it (measured).

use wasm_bindgen::JsValue;
use web_sys::Headers;

use super::bindings;
use super::error::Error;
use crate::answer::Marks;
use crate::forward::Change;

/// Headers that have come from JavaScript. Names are in lower case. Repeated lines are joined by a comma, those of Set-Cookie
/// are kept apart (Fetch standard, section 2.2.2, "sort and combine").
pub(super) struct HeaderLines {
    text: String,
    /// Where each name and each value ends.
    ends: Vec<usize>,
}

impl HeaderLines {
    pub(super) fn of(headers: &Headers) -> Self {
        Self::read(bindings::lines(headers))
    }

    /// Those of these names alone.
    pub(super) fn some_of(headers: &Headers, names: &[&str]) -> Self {
        Self::read(bindings::some_lines(headers, &names.join("\n")))
    }

    /// `text` holds a name, a line end, its value, a line end, and so on.
    pub(super) fn read(text: String) -> Self {
        let mut ends = Vec::new();
        for (at, byte) in text.bytes().enumerate() {
            if byte == b'\n' {
                ends.push(at);
            }
        }
        Self { text, ends }
    }

    /// The first value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..).map_while(|n| self.line(n))
    }

    fn line(&self, n: usize) -> Option<(&str, &str)> {
        let from = if n == 0 { 0 } else { self.ends.get(2 * n - 1)? + 1 };
        let (name, value) = (*self.ends.get(2 * n)?, *self.ends.get(2 * n + 1)?);
        Some((self.text.get(from..name)?, self.text.get(name + 1..value)?))
    }

    /// Content-Length, unless a Transfer-Encoding overrides it (RFC 9112 section 6.3).
    pub(super) fn content_length(&self) -> Option<u64> {
        if self.get("transfer-encoding").is_some() {
            return None;
        }
        self.get("content-length")?.trim().parse().ok()
    }
}

/// Changes that JavaScript makes to headers: `+name` adds a line, `=name` replaces all lines, `-name` deletes them.
#[derive(Clone, Default)]
pub(super) struct HeaderChanges {
    lines: String,
    /// A header has a line end in it, which would make two headers of one.
    has_line_end: bool,
}

impl HeaderChanges {
    pub(super) fn append(&mut self, name: &str, value: &str) {
        self.add("+", name, value);
    }

    pub(super) fn replace(&mut self, name: &str, value: &str) {
        self.add("=", name, value);
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.add("-", name, "");
    }

    pub(super) fn of(changes: &[Change]) -> Self {
        let mut all = Self::default();
        for change in changes {
            match change {
                Change::Delete(name) => all.delete(name),
                Change::Replace(name, value) => all.replace(name, value),
            }
        }
        all
    }

    pub(super) fn append_all(&mut self, marks: &Marks) {
        for (name, value) in marks {
            self.append(name, value);
        }
    }

    pub(super) fn replace_all(&mut self, marks: &Marks) {
        for (name, value) in marks {
            self.replace(name, value);
        }
    }

    fn add(&mut self, how: &str, name: &str, value: &str) {
        self.has_line_end |= name.contains('\n') || value.contains('\n');
        for part in [how, name, "\n", value, "\n"] {
            self.lines.push_str(part);
        }
    }

    /// A copy of headers, with the changes. What is not changed keeps its case, its repeated lines, and bytes beyond UTF-8.
    pub(super) fn applied_to(&self, headers: &Headers) -> Result<Headers, Error> {
        Ok(bindings::changed(headers, self.lines()?)?)
    }

    /// The changes as JavaScript reads them.
    pub(super) fn lines(&self) -> Result<&str, Error> {
        if self.has_line_end { Err(Error::HeaderLineEnd) } else { Ok(&self.lines) }
    }

    /// A response with a copy of headers, with the changes.
    pub(super) fn respond(
        &self,
        status: u16,
        headers: Option<&Headers>,
        body: &JsValue,
    ) -> Result<web_sys::Response, Error> {
        Ok(bindings::respond(status, headers, self.lines()?, body)?)
    }
}
