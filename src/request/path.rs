//! The request target: path and query, in the one spelling in which paths are compared and forwarded.
//!
//! RFC 3986 section 6.2.2: dot segments removed and unreserved characters decoded, so that
//! `/v1/%70ayments` and `/a/../v1/payments` are `/v1/payments`. Other escapes (`%2F`) stay, in capitals:
//! decoding one would change what the origin is asked. Nothing is ever resolved against a base
//! address: `//evil.example/x` stays a path.

/// Path (starting with `/`) and raw query (without `?`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The normalised path.
    pub path: String,
    /// The query as it came; `Some("")` for a lone `?`.
    pub query: Option<String>,
}

/// Scheme, host with port, and target of an absolute URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `http` or `https`.
    pub scheme: String,
    /// Host and port as written, in lower case.
    pub host: String,
    /// What follows.
    pub target: Target,
    /// The same as it came: what is not guarded goes on in this form.
    pub raw_target: String,
}

impl Address {
    /// Takes an absolute URL apart as text. `None` if it is not one, or if the host is followed by `#` or `\`: the
    /// runtime puts an HTTP request's Host into its URL as it came, and reads `http://a#x/v1/payments` as a fragment and
    /// `http://a\x/v1/payments` as another path (WHATWG URL section 4.4). Neither is a host (RFC 9110 section 7.2).
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (host, rest) = rest.split_at_checked(end)?;
        if rest.starts_with(['#', '\\']) {
            return None;
        }
        let raw_target = rest.split_once('#').map_or(rest, |(before, _)| before);
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_ascii_lowercase(),
            target: Target::parse(raw_target),
            raw_target: raw_target.to_owned(),
        })
    }
}

impl Target {
    fn parse(text: &str) -> Self {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (text, None),
        };
        Self { path: normal_path(path), query }
    }

    /// Path and query as they are sent on.
    #[must_use]
    pub fn as_text(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// The spelling in which paths are compared. Always starts with `/`.
#[must_use]
pub fn normal_path(path: &str) -> String {
    // The runtime's URL parser sends a backslash on as a slash (WHATWG URL, special schemes), so it
    // must count as one before anything is matched.
    remove_dot_segments(&decode_unreserved(&path.replace('\\', "/")))
}

fn decode_unreserved(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        segments.push(decoded(segment).unwrap_or_else(|| segment.to_owned()));
    }
    segments.join("/")
}

/// One segment, its unreserved characters decoded and its other escapes in capitals (RFC 3986 section
/// 6.2.2.1). None where an escape is broken: decoding beside it could make a sound one (`%%370`).
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

/// RFC 3986 section 5.2.4, on segments. Empty segments are kept: `//x` is not `/x`.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        ends_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    if ends_open {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}
