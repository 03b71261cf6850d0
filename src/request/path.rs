//! The request target: path and query, read once, before anything is matched.
//!
//! ```text
//! as it came ──▶ as the runtime sends it ──▶ normal form ──────▶ as it is compared
//!                (what passes goes on so)    (what is guarded    (routes, scope, fingerprint)
//!                                             goes on so)
//! /\v1/%70ay{x}/   //v1/%70ay%7Bx%7D/          //v1/pay%7Bx%7D/    /v1/pay%7Bx%7D
//! ```
//!
//! The runtime parses every address that it sends by the WHATWG URL Standard: it turns `\` into `/`, removes dot segments
//! and percent-encodes. That is done here first, so it finds nothing to change, and what is matched is what it forwards.
//! The normal form (RFC 3986 section 6.2.2) also decodes unreserved characters. Other escapes such as `%2F` stay, in
//! capitals: decoding one would change what the origin is asked.
//!
//! No URL parser is used: it would resolve the path against a base address, and `//evil.example/x` must stay a path. The
//! tests compare with one.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Path (starting with `/`) and raw query (without `?`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path in its normal form.
    pub path: String,
    /// The path as it is compared: see [`compared`].
    pub compared: String,
    /// The query as it is sent; `Some("")` for a lone `?`.
    pub query: Option<String>,
}

/// An absolute URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `http` or `https`.
    pub scheme: String,
    /// Host and port, in lower case.
    pub host: String,
    /// Path and query.
    pub target: Target,
    /// Path and query as the runtime sends them: what is not guarded goes on in this form.
    pub as_sent: String,
}

impl Address {
    /// Splits the text of an absolute URL. `None` if it is not one, or if what stands for the host is none: the runtime
    /// puts an HTTP request's Host into its URL as it came, and reads `http://a#x/v1/payments` as a fragment,
    /// `http://a\x/v1/payments` as another path and `http://a@b/` as another host (WHATWG URL section 4.4). None of them
    /// is a host (RFC 9110 section 7.2).
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        // URL parsers take these out, wherever they are, and those at the ends (WHATWG URL section 4.4).
        let url = &url.replace(['\t', '\n', '\r'], "");
        let url = url.trim_matches(|c| c <= ' ');
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (host, rest) = rest.split_at_checked(end)?;
        if rest.starts_with(['#', '\\']) || !is_host(host) {
            return None;
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(utf8_percent_encode(query, QUERY).to_string())),
            None => (rest, None),
        };
        let path = sent(path);
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_ascii_lowercase(),
            as_sent: joined(&path, query.as_deref()),
            target: Target::new(normal_path(&path), query),
        })
    }
}

/// Whether it is a host with or without a port. It may be an IPv6 address in brackets; otherwise no character of it may
/// be one that has a meaning in a URL or is decoded (WHATWG URL section 3.2, forbidden host code points, and `%`).
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((name, port)) => (name, port),
        None => (text, ""),
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_name = match bare {
        Some(v6) => v6.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')),
        None => name.bytes().all(|b| b.is_ascii_graphic() && !NOT_IN_A_HOST.contains(&b)),
    };
    !name.is_empty() && is_name && port.bytes().all(|b| b.is_ascii_digit())
}

impl Target {
    fn new(path: String, query: Option<String>) -> Self {
        Self { compared: compared(&path), path, query }
    }

    /// Path and query as they are forwarded.
    #[must_use]
    pub fn as_text(&self) -> String {
        joined(&self.path, self.query.as_deref())
    }
}

fn joined(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// A path as the runtime sends it (WHATWG URL section 4.4, path state, for http and https).
fn sent(path: &str) -> String {
    let path = path.replace('\\', "/");
    remove_dot_segments(&utf8_percent_encode(&path, PATH).to_string())
}

/// The normal form of a path that is encoded. It always starts with `/`.
#[must_use]
pub fn normal_path(path: &str) -> String {
    remove_dot_segments(&decode_unreserved(path))
}

/// A normal path as it is compared: runs of `/` count as one, and one at the end is not looked at. Most origins serve
/// `/v1/payments/` and `//v1/payments` as `/v1/payments`, or redirect from one to the other.
#[must_use]
pub fn compared(path: &str) -> String {
    let mut compared = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        compared.push('/');
        compared.push_str(segment);
    }
    if compared.is_empty() { "/".to_owned() } else { compared }
}

fn decode_unreserved(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        segments.push(decoded(segment).unwrap_or_else(|| segment.to_owned()));
    }
    segments.join("/")
}

/// One segment with its unreserved characters decoded and its other escapes in capitals (RFC 3986 section 6.2.2.1).
/// `None` where an escape is invalid: decoding the one beside it could create a valid one (`%%370`).
fn decoded(segment: &str) -> Option<String> {
    let mut pieces = segment.split('%');
    let mut out = pieces.next()?.to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).filter(|(digits, _)| is_hex(digits))?;
        match unreserved(digits) {
            Some(plain) => out.push(plain),
            None => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        }
        out.push_str(rest);
    }
    Some(out)
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// RFC 3986 section 2.3: letters, digits, `-`, `.`, `_`, `~`.
fn unreserved(digits: &str) -> Option<char> {
    let c = char::from(u8::from_str_radix(digits, 16).ok()?);
    (c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')).then_some(c)
}

/// Removes dot segments (RFC 3986 section 5.2.4), encoded ones too (WHATWG URL section 4.4). Empty segments stay: the
/// request goes on with the slashes that it came with.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        let dots = dots(segment);
        ends_open = dots > 0;
        match dots {
            0 => kept.push(segment),
            1 => {}
            _ => {
                kept.pop();
            }
        }
    }
    if ends_open {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

/// 1 or 2 for a dot segment, each dot plain or as `%2e`; 0 for every other.
fn dots(segment: &str) -> usize {
    let (mut rest, mut dots) = (segment, 0);
    while !rest.is_empty() {
        let dot = if rest.starts_with('.') { 1 } else { 3 };
        match rest.split_at_checked(dot) {
            Some((first, more)) if first == "." || first.eq_ignore_ascii_case("%2e") => rest = more,
            _ => return 0,
        }
        dots += 1;
    }
    if dots > 2 { 0 } else { dots }
}

/// What is percent-encoded in a query (WHATWG URL section 1.3, special-query percent-encode set).
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');
/// And in a path (the same section, path percent-encode set).
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');
const NOT_IN_A_HOST: &[u8] = b"#/:<>?@[\\]^|%";
