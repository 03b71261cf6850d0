//! Reads JSON (RFC 8259).

use std::fmt;
use std::str::Chars;

use super::document::Json;

/// Where a text stops being JSON, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson {
    /// Line.
    pub line: usize,
    /// Byte of the line.
    pub column: usize,
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it ends or goes wrong at line {}, column {}", self.line, self.column)
    }
}

/// A text that is read from the left. `None` is what is not JSON, or not what is asked for.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Of a whole text.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where it is now.
    pub(super) fn place(&self) -> NotJson {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        NotJson { line: before.matches('\n').count() + 1, column: line.len() + 1 }
    }

    /// A value and nothing after it; none too if a member is there twice.
    pub(super) fn whole(&mut self) -> Option<Json> {
        let value = self.value(DEPTH_MAX)?;
        self.end().then_some(value)
    }

    /// Whether nothing is left.
    pub(super) fn end(&mut self) -> bool {
        self.next().is_none()
    }

    fn value(&mut self, depth: u8) -> Option<Json> {
        Some(match self.next()? {
            b'"' => Json::Text(self.string()?),
            b'[' => {
                let depth = depth.checked_sub(1)?;
                self.at += 1;
                let mut items = Vec::new();
                while self.more(b']', items.is_empty())? {
                    items.push(self.value(depth)?);
                }
                Json::List(items)
            }
            b'{' => {
                let depth = depth.checked_sub(1)?;
                self.at += 1;
                let mut members = Vec::new();
                while self.more(b'}', members.is_empty())? {
                    members.push((self.name()?, self.value(depth)?));
                }
                Json::object(members)?
            }
            b't' => self.word("true", Json::Flag(true))?,
            b'f' => self.word("false", Json::Flag(false))?,
            b'n' => self.word("null", Json::Null)?,
            _ => Json::Number(self.number()?.to_owned()),
        })
    }

    /// Looks through an object: name by name, and each value as it is written.
    pub(super) fn members(&mut self, mut each: impl FnMut(String, &'a str)) -> Option<()> {
        self.next();
        self.take(b'{')?;
        let mut first = true;
        while self.more(b'}', first)? {
            each(self.name()?, self.raw()?);
            first = false;
        }
        self.end().then_some(())
    }

    /// A value as it is written, however deep it goes.
    pub(super) fn raw(&mut self) -> Option<&'a str> {
        self.next()?;
        let (start, mut closers) = (self.at, Vec::new());
        loop {
            match self.next()? {
                b'"' => drop(self.quoted()?),
                open @ (b'{' | b'[') => {
                    // In ASCII a bracket closes two places after the one that opens.
                    let closer = open + 2;
                    self.at += 1;
                    if self.more(closer, true)? {
                        self.named(closer)?;
                        closers.push(closer);
                        continue;
                    }
                }
                b't' => self.word("true", ())?,
                b'f' => self.word("false", ())?,
                b'n' => self.word("null", ())?,
                _ => drop(self.number()?),
            }
            while let Some(closer) = closers.last().copied() {
                if self.more(closer, false)? {
                    self.named(closer)?;
                    break;
                }
                closers.pop();
            }
            if closers.is_empty() {
                return self.text.get(start..self.at);
            }
        }
    }

    /// Whether another entry comes before the bracket that closes, which is passed by.
    fn more(&mut self, closer: u8, first: bool) -> Option<bool> {
        if self.next()? == closer {
            self.at += 1;
            return Some(false);
        }
        if !first {
            self.take(b',')?;
        }
        Some(true)
    }

    /// A member's name.
    fn name(&mut self) -> Option<String> {
        self.next();
        let name = self.string()?;
        self.next();
        self.take(b':')?;
        Some(name)
    }

    /// Passes by a member's name, where there is one.
    fn named(&mut self, closer: u8) -> Option<()> {
        if closer != b'}' {
            return Some(());
        }
        self.next();
        self.quoted()?;
        self.next();
        self.take(b':')
    }

    /// A string, read; none if an escape names half a character.
    pub(super) fn string(&mut self) -> Option<String> {
        let mut rest = self.quoted()?;
        let mut text = String::with_capacity(rest.len());
        while let Some((plain, escape)) = rest.split_once('\\') {
            text.push_str(plain);
            let mut chars = escape.chars();
            text.push(match chars.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => utf16(&mut chars)?,
                itself => itself,
            });
            rest = chars.as_str();
        }
        text.push_str(rest);
        Some(text)
    }

    /// What is between two quotes, as it is written.
    fn quoted(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.byte()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    match self.byte()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            let digits = self.text.get(self.at + 1..self.at + 5)?;
                            digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
                            self.at += 4;
                        }
                        _ => return None,
                    }
                }
                0..b' ' => return None,
                _ => {}
            }
            self.at += 1;
        }
        let quoted = self.text.get(start..self.at);
        self.at += 1;
        quoted
    }

    /// A number as it is written.
    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        self.text.get(start..self.at)
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word<T>(&mut self, word: &str, value: T) -> Option<T> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())?;
        Some(value)
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.byte()? == wanted).then(|| self.at += 1)
    }

    /// The next byte after white space, left where it is.
    fn next(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// One character in UTF-16, whose second half has an escape of its own.
fn utf16(rest: &mut Chars<'_>) -> Option<char> {
    let first = unit(rest)?;
    if let Some(c) = char::from_u32(first.into()) {
        return Some(c);
    }
    *rest = rest.as_str().strip_prefix("\\u")?.chars();
    char::decode_utf16([first, unit(rest)?]).next()?.ok()
}

fn unit(rest: &mut Chars<'_>) -> Option<u16> {
    let (digits, after) = rest.as_str().split_at_checked(4)?;
    *rest = after.chars();
    u16::from_str_radix(digits, 16).ok()
}

/// Lists and objects inside of each other.
const DEPTH_MAX: u8 = 127;
