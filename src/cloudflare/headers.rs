//! Headers, which cross between Rust and JavaScript as one text: a crossing for each of them would cost more than all the
//! rest that is done with them (measured).

use wasm_bindgen::JsValue;
use web_sys::Headers;

use super::bindings;
use super::error::Error;
use crate::answer::Marks;
use crate::request::fingerprint::media_type;

/// Headers as one text, which crosses over from JavaScript at once. Names are in lower case; repeated lines come joined by
/// a comma, Set-Cookie apart (Fetch, section 2.2.2).
pub(super) struct HeaderLines {
    text: String,
    /// Where each name and each value ends.
    ends: Vec<usize>,
}

impl HeaderLines {
    pub(super) fn of(headers: &Headers) -> Self {
        Self::read(bindings::lines(headers))
    }

    /// A name, a line end, its value, a line end, and so on.
    pub(super) fn read(text: String) -> Self {
        let mut ends = Vec::new();
        for (at, byte) in text.bytes().enumerate() {
            if byte == b'\n' {
                ends.push(at);
            }
        }
        Self { text, ends }
    }

    /// The first of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut n = 0;
        while let Some((known, value)) = self.line(n) {
            if known == name {
                return Some(value);
            }
            n += 1;
        }
        None
    }

    /// Name and value of the nth one.
    pub(super) fn line(&self, n: usize) -> Option<(&str, &str)> {
        let from = if n == 0 { 0 } else { self.ends.get(2 * n - 1)? + 1 };
        let (name, value) = (*self.ends.get(2 * n)?, *self.ends.get(2 * n + 1)?);
        Some((self.text.get(from..name)?, self.text.get(name + 1..value)?))
    }

    pub(super) fn all(&self) -> Vec<(&str, &str)> {
        let mut all = Vec::new();
        while let Some(line) = self.line(all.len()) {
            all.push(line);
        }
        all
    }

    /// Content-Length in bytes, where it is there, a number, and what ends the body (RFC 9112 section 6.3:
    /// not beside a Transfer-Encoding).
    pub(super) fn content_length(&self) -> Option<u64> {
        if self.get("transfer-encoding").is_some() {
            return None;
        }
        self.get("content-length")?.trim().parse().ok()
    }

    pub(super) fn is_event_stream(&self) -> bool {
        self.get("content-type").is_some_and(|value| media_type(value) == "text/event-stream")
    }
}

/// Changes of headers as one text, which crosses over to JavaScript at once.
#[derive(Default)]
pub(super) struct HeaderChanges {
    lines: String,
    /// A line end in a header would make two of it.
    is_wrong: bool,
}

impl HeaderChanges {
    /// One more line.
    pub(super) fn append(&mut self, name: &str, value: &str) {
        self.add("+", name, value);
    }

    /// One line instead of what there is of that name.
    pub(super) fn replace(&mut self, name: &str, value: &str) {
        self.add("=", name, value);
    }

    /// No line of that name.
    pub(super) fn delete(&mut self, name: &str) {
        self.add("-", name, "");
    }

    /// The same for several of the filter's own.
    pub(super) fn replace_all(&mut self, marks: &Marks) {
        for (name, value) in marks {
            self.replace(name, value);
        }
    }

    fn add(&mut self, how: &str, name: &str, value: &str) {
        self.is_wrong |= name.contains('\n') || value.contains('\n');
        for part in [how, name, "\n", value, "\n"] {
            self.lines.push_str(part);
        }
    }

    /// A copy of headers with the changes.
    pub(super) fn of(&self, headers: &Headers) -> Result<Headers, Error> {
        Ok(bindings::changed(headers, self.sound()?)?)
    }

    fn sound(&self) -> Result<&str, Error> {
        if self.is_wrong { Err(Error::HeaderLineEnd) } else { Ok(&self.lines) }
    }

    /// A response with headers so changed.
    pub(super) fn respond(
        &self,
        status: u16,
        headers: Option<&Headers>,
        body: &JsValue,
    ) -> Result<web_sys::Response, Error> {
        Ok(bindings::respond(status, headers, self.sound()?, body)?)
    }
}
