//! The request target: path and query. Paths are compared and forwarded in their normal form (RFC 3986 section
//! 6.2.2): dot segments are removed and unreserved characters are decoded, so `/v1/%70ayments` and
//! `/a/../v1/payments` are `/v1/payments`. Other escapes such as `%2F` stay, in capitals: decoding one would change
//! what the origin is asked.
//!
//! No crate is used. A URL parser would resolve the path against a base address, and `//evil.example/x` must stay
//! a path.

/// Path (starting with `/`) and raw query (without `?`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The normalised path.
    pub path: String,
    /// The query as the client sent it; `Some("")` for a lone `?`.
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
    /// The same as it came: what is not guarded goes on in this form.
    pub raw_target: String,
}

impl Address {
    /// Splits the text of an absolute URL. `None` if it is not one, or if the host is followed by `#` or `\`: the
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

    /// Path and query as they are forwarded.
    #[must_use]
    pub fn as_text(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// The normal form of a path. It always starts with `/`.
#[must_use]
pub fn normal_path(path: &str) -> String {
    // The runtime's URL parser turns a backslash into a slash (WHATWG URL, special schemes), so it must count as
    // one before a route is matched.
    remove_dot_segments(&decode_unreserved(&path.replace('\\', "/")))
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

/// Removes dot segments (RFC 3986 section 5.2.4). Empty segments stay: `//x` is not `/x`.
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
