//! `target`: the one spelling in which paths are compared and forwarded.

use oncegate::request::path::{Address, normal_path};
use proptest::prelude::*;

use crate::make::{address, cases};

#[test]
fn a_path_has_one_spelling() {
    let rows = [
        ("/", "/"),
        ("", "/"),
        ("/v1/payments", "/v1/payments"),
        ("v1/payments", "/v1/payments"),
        ("/v1/payments/", "/v1/payments/"),
        // Dot segments (RFC 3986 section 5.2.4).
        ("/.", "/"),
        ("/..", "/"),
        ("/../..", "/"),
        ("/./", "/"),
        ("/../", "/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/../../c", "/c"),
        ("/a/../../b", "/b"),
        ("/a/b/c/./../../g", "/a/g"),
        ("/mid/content=5/../6", "/mid/6"),
        ("/a/.../b", "/a/.../b"),
        ("/a/.b/c..", "/a/.b/c.."),
        // Empty segments are segments.
        ("//", "//"),
        ("//evil.example/x", "//evil.example/x"),
        ("/a//b", "/a//b"),
        ("//..", "/"),
        ("/a//../b", "/a/b"),
        // Unreserved characters (RFC 3986 section 2.3) are decoded, in either case.
        ("/v1/%70ayments", "/v1/payments"),
        ("/%41%5a%61%7a%30%39", "/AZaz09"),
        ("/%41%5A%61%7A%30%39", "/AZaz09"),
        ("/%2d%2e%5f%7e", "/-._~"),
        ("/%2D%2E%5F%7E", "/-._~"),
        ("/%2e%2e/a", "/a"),
        ("/a/%2E%2e/b", "/b"),
        ("/a/.%2e", "/"),
        // All others stay as they came, case included.
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb", "/a%2Fb"),
        ("/%2e%2e%2fetc", "/..%2Fetc"),
        ("/%20%3F%23%25", "/%20%3F%23%25"),
        ("/%3a%3B%40", "/%3A%3B%40"),
        ("/%00", "/%00"),
        ("/%C3%A9", "/%C3%A9"),
        ("/%c3%a9", "/%C3%A9"),
        // Once: what an escaped percent sign precedes is no escape.
        ("/%2570", "/%2570"),
        ("/%252e%252e/x", "/%252e%252e/x"),
        // No escapes at all.
        ("/%", "/%"),
        ("/%7", "/%7"),
        ("/%zz", "/%zz"),
        ("/%7g", "/%7g"),
        ("/%+1", "/%+1"),
        ("/100%/a", "/100%/a"),
        ("/%é1", "/%é1"),
        ("/é", "/é"),
        ("/\u{0}", "/\u{0}"),
        ("/a b", "/a b"),
        ("/A", "/A"),
        // The runtime makes slashes of them.
        (r"/a\..\b", "/b"),
        (r"\v1\payments", "/v1/payments"),
        ("/a%5Cb", "/a%5Cb"),
    ];
    for (path, expected) in rows {
        assert_eq!(normal_path(path), expected, "{path:?}");
    }
}

#[test]
fn an_address_is_taken_apart_as_text() {
    let rows = [
        // url, scheme, host, path, query
        ("https://api.example.com/v1", "https", "api.example.com", "/v1", None),
        ("https://api.example.com", "https", "api.example.com", "/", None),
        ("HTTPS://API.Example.COM:8443/V1", "https", "api.example.com:8443", "/V1", None),
        ("http://[::1]:8080/a", "http", "[::1]:8080", "/a", None),
        ("https://h/a?", "https", "h", "/a", Some("")),
        ("https://h?", "https", "h", "/", Some("")),
        ("https://h?a=1", "https", "h", "/", Some("a=1")),
        ("https://h/a?b?c", "https", "h", "/a", Some("b?c")),
        ("https://h/a?b=%70&c=../..", "https", "h", "/a", Some("b=%70&c=../..")),
        ("https://h/a#f", "https", "h", "/a", None),
        ("https://h/a?b#f?g", "https", "h", "/a", Some("b")),
        ("https://h//evil.example/x", "https", "h", "//evil.example/x", None),
        ("https://h/https://evil.example/", "https", "h", "/https://evil.example/", None),
    ];
    for (url, scheme, host, path, query) in rows {
        let Address { scheme: s, host: h, target, raw_target } = address(url);
        assert_eq!((s.as_str(), h.as_str()), (scheme, host), "{url}");
        assert_eq!((target.path.as_str(), target.query.as_deref()), (path, query), "{url}");
        let text = query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
        assert_eq!(target.as_text(), text, "{url}");
        let sent = url.split('#').next().unwrap();
        assert!(sent.ends_with(&raw_target), "{url}: {raw_target} is what is forwarded");
        assert_eq!(address(&format!("https://h{raw_target}")).target, target, "{url}");
    }
    // What follows `#` in a Host would be matched as a fragment and forwarded as a path; the runtime takes `\` for `/`.
    for none in [
        "",
        "/a",
        "//h/a",
        "mailto:a@b",
        "https:/h/a",
        "https://h#f",
        "https://h#x/v1",
        r"https://h\x/v1",
    ] {
        assert_eq!(Address::parse(none), None, "{none:?}");
    }
}

/// `%%370` holds no escape but `%37`, whose `7` would make one of the `%` before it.
#[test]
fn a_broken_escape_does_not_become_a_sound_one() {
    for path in ["/%%370", "/%2%35", "/%%32%65%%32%65/x"] {
        let once = normal_path(path);
        assert_eq!(normal_path(&once), once, "{path}");
    }
}

/// Segments that mean something, in any order and spelling.
fn path() -> impl Strategy<Value = String> {
    let pieces = [
        "/", ".", "%2e", "%2E", "%2F", "%2f", "%25", "%70", "%7E", "%C3%A9", "a", "é", "~", "\\",
        // What escapes are made of.
        "%", "%2", "%37", "2", "5", "e", "0", "%zz",
    ];
    let piece = proptest::sample::select(pieces.to_vec());
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn a_normal_path_is_its_own_spelling(path in path()) {
        let once = normal_path(&path);
        prop_assert!(once.starts_with('/'));
        prop_assert_eq!(normal_path(&once), once.clone());
        prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
    }

    #[test]
    fn any_text_has_a_normal_path(text in any::<String>()) {
        prop_assert!(normal_path(&text).starts_with('/'));
    }

    #[test]
    fn an_address_stays_on_its_host(text in any::<String>()) {
        let address = address(&format!("https://api.example.com/{text}"));
        prop_assert_eq!(address.host, "api.example.com");
        prop_assert!(address.target.as_text().starts_with('/'));
    }

    #[test]
    fn encoding_what_needs_no_encoding_changes_nothing(path in "(/[a-zA-Z0-9._~-]{1,8}){1,4}") {
        let encoded: String = path
            .chars()
            .map(|c| if c == '/' { c.to_string() } else { format!("%{:02x}", u32::from(c)) })
            .collect();
        prop_assert_eq!(normal_path(&encoded), normal_path(&path));
    }
}
