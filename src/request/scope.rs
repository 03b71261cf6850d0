//! The scope: what keeps equal keys of different callers apart. Values are hashed with their lengths and never
//! stored or logged themselves.

use std::borrow::Cow;

use serde::Deserialize;

use crate::config::values::Mode;
use crate::request::digest::Parts;
use crate::request::fingerprint::{Fingerprint, OperationId};
use crate::request::header::{compared, header_name};

/// A part of the scope.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ScopePart {
    /// Host and port that the client asked for.
    Host,
    /// Request method.
    Method,
    /// Normalised path.
    Path,
    /// The digest of the caller's credential.
    Credential,
    /// Name of the route.
    Route,
    /// A header, by lower-case name.
    Header(String),
}

impl ScopePart {
    /// The name of the header, if the part is one.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        if let Self::Header(name) = self { Some(name) } else { None }
    }
}

impl TryFrom<String> for ScopePart {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let named = || header_name(text.strip_prefix("header:")?).map(Self::Header);
        Ok(match text.as_str() {
            "host" => Self::Host,
            "method" => Self::Method,
            "path" => Self::Path,
            "credential" => Self::Credential,
            "route" => Self::Route,
            _ => named().ok_or("must be host, method, path, credential, route or header:NAME")?,
        })
    }
}

/// What a scope takes from a request.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port that the client asked for.
    pub host: &'a str,
    /// Request method.
    pub method: &'a str,
    /// Normalised path.
    pub path: &'a str,
    /// Name of the route.
    pub route: &'a str,
    /// Digest of the credential.
    pub credential: [u8; 16],
    /// Looks a header up by lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<String>,
}

impl Caller<'_> {
    /// The scope's half of the key id. In shadow mode it is another one, so that a route that is switched to
    /// enforce finds no records.
    #[must_use]
    pub fn scope(&self, scope: &[ScopePart], mode: Mode) -> [u8; 16] {
        let parts = Parts::of(purpose(mode, "scope", "shadow scope"));
        scope.iter().fold(parts, |parts, part| self.add(parts, part)).half()
    }

    /// The operation, whoever asks for it: route, fingerprint, and the scope without the credential. A record of
    /// the same operation under another key id means that the credential changed between two tries.
    #[must_use]
    pub fn operation(
        &self,
        scope: &[ScopePart],
        mode: Mode,
        fingerprint: &Fingerprint,
    ) -> OperationId {
        let parts =
            Parts::of(purpose(mode, "kin", "shadow kin")).part(self.route).part(fingerprint.0);
        let others = scope.iter().filter(|part| **part != ScopePart::Credential);
        OperationId(others.fold(parts, |parts, part| self.add(parts, part)).half())
    }

    fn add(&self, parts: Parts, part: &ScopePart) -> Parts {
        match part {
            ScopePart::Host => {
                parts.part("host").part(compared_host(self.scheme, self.host).as_bytes())
            }
            ScopePart::Method => parts.part("method").part(self.method),
            ScopePart::Path => parts.part("path").part(self.path),
            ScopePart::Credential => parts.part("credential").part(self.credential),
            ScopePart::Route => parts.part("route").part(self.route),
            ScopePart::Header(name) => {
                let value = (self.header)(name).map(|value| compared(name, value));
                parts.part("header").part(name).maybe(value)
            }
        }
    }
}

/// Host and port as they are compared: without the dot of a fully qualified name and without the port that the scheme
/// has anyway (RFC 9110 section 4.2.3).
fn compared_host<'a>(scheme: &str, host: &'a str) -> Cow<'a, str> {
    let default = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(default).unwrap_or(host);
    // The port follows the last colon, unless that belongs to an IPv6 address in brackets.
    match host.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((name, port)) if name.ends_with('.') => {
            format!("{}:{port}", name.strip_suffix('.').unwrap_or(name)).into()
        }
        Some(_) => host.into(),
        None => host.strip_suffix('.').unwrap_or(host).into(),
    }
}

fn purpose(mode: Mode, enforced: &'static str, shadow: &'static str) -> &'static str {
    match mode {
        Mode::Shadow => shadow,
        Mode::Enforce | Mode::Off => enforced,
    }
}
