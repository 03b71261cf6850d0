//! `path`: the one spelling in which paths are compared and forwarded.

use oncegate::request::path::{Address, normal_path};
use proptest::prelude::*;
use url::Url;

use crate::make::{address, cases};

#[test]
fn a_path_has_one_spelling() {
    let rows = [
        ("/", "/"),
        ("", "/"),
        ("/v1/payments", "/v1/payments"),
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
        // What the runtime percent-encodes.
        ("/%é1", "/%%C3%A91"),
        ("/é", "/%C3%A9"),
        ("/\u{0}\u{7f}", "/%00%7F"),
        ("/a b", "/a%20b"),
        ("/{a}\"^`<b>", "/%7Ba%7D%22%5E%60%3Cb%3E"),
        ("/a|b[c]'d", "/a|b[c]'d"),
        ("/%7b", "/%7B"),
        ("/A", "/A"),
        // The runtime makes slashes of them.
        (r"/a\..\b", "/b"),
        (r"/\v1\payments", "//v1/payments"),
        ("/a%5Cb", "/a%5Cb"),
    ];
    for (path, expected) in rows {
        let found = address(&format!("https://h{path}")).target.path;
        assert_eq!(found, expected, "{path:?}");
        assert_eq!(normal_path(&found), found, "its own spelling");
    }
}

#[test]
fn slashes_do_not_count_where_paths_are_compared() {
    for (path, expected) in [
        ("/v1/payments", "/v1/payments"),
        ("/v1/payments/", "/v1/payments"),
        ("//v1/payments", "/v1/payments"),
        ("/v1///payments//", "/v1/payments"),
        ("/v1/./payments//", "/v1/payments"),
        (r"/\v1\payments\", "/v1/payments"),
        ("/v1/x/..//payments", "/v1/payments"),
        ("/", "/"),
        ("///", "/"),
        ("", "/"),
        // Not slashes to most servers.
        ("/v1%2Fpayments", "/v1%2Fpayments"),
        ("/v1/payments%2F", "/v1/payments%2F"),
        ("/v1/%20/", "/v1/%20"),
    ] {
        let target = address(&format!("https://h{path}")).target;
        assert_eq!(target.compared, expected, "{path:?}");
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
        ("http://[::1]/a", "http", "[::1]", "/a", None),
        ("http://h:/a", "http", "h:", "/a", None),
        ("https://h/a?{b}=\"<'>é", "https", "h", "/a", Some("{b}=%22%3C%27%3E%C3%A9")),
        ("https://h/a?b\tc\n", "https", "h", "/a", Some("bc")),
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
        let Address { scheme: s, host: h, target, as_sent } = address(url);
        assert_eq!((s.as_str(), h.as_str()), (scheme, host), "{url}");
        assert_eq!((target.path.as_str(), target.query.as_deref()), (path, query), "{url}");
        let text = query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
        assert_eq!(target.as_text(), text, "{url}");
        assert_eq!(as_sent, sent(&Url::parse(url).unwrap()), "{url}");
        assert_eq!(address(&format!("https://h{as_sent}")).target, target, "{url}");
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
        "https:///v1",
        "https://a@h/v1",
        "https://a b/v1",
        "https://h%2e/v1",
        "https://h:8o/v1",
        "https://[::1/v1",
        "https://h]/v1",
        "https://h<x>/v1",
    ] {
        assert_eq!(Address::parse(none), None, "{none:?}");
    }
}

/// `%%370` holds no escape but `%37`, whose `7` would make one of the `%` before it.
#[test]
fn a_broken_escape_does_not_become_a_sound_one() {
    for path in ["/%%370", "/%2%35", "/%%32%65%%32%65/x"] {
        let once = address(&format!("https://h{path}")).target.path;
        assert_eq!(normal_path(&once), once, "{path}");
    }
}

/// Segments that mean something, in any order and spelling.
fn path() -> impl Strategy<Value = String> {
    let pieces = [
        "/", ".", "%2e", "%2E", "%2F", "%2f", "%25", "%70", "%7E", "%C3%A9", "a", "é", "~", "\\",
        // What escapes are made of.
        "%", "%2", "%37", "2", "5", "e", "0", "%zz", // What is percent-encoded.
        "{", "}", "\"", "^", "`", " ", "|", "'", "\t", ";", ":", "@",
    ];
    let piece = proptest::sample::select(pieces.to_vec());
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// Path and query that a parser hands to the runtime's connection.
fn sent(url: &Url) -> String {
    // The standard has `^` encoded since 2024, and `url` 2.5 does not yet do so.
    let path = url.path().replace('^', "%5E");
    format!("{path}{}", &url[url::Position::AfterPath..url::Position::AfterQuery])
}

proptest! {
    #![proptest_config(cases(1000))]

    /// The parser is that of the WHATWG URL Standard, as the runtime's is.
    #[test]
    fn what_is_matched_is_what_a_url_parser_makes_of_it(path in path(), query in "([{}\"'<>^`é&=%a ]{0,8})") {
        let url = format!("https://api.example.com/{path}?{query}");
        let read = address(&url);
        let parsed = Url::parse(&url).unwrap();
        prop_assert_eq!(&read.as_sent, &sent(&parsed));
        // It finds nothing to change in what it is given to forward.
        for forwarded in [&read.as_sent, &read.target.as_text()] {
            let url = format!("https://origin.example{forwarded}");
            prop_assert_eq!(&sent(&Url::parse(&url).unwrap()), forwarded);
            prop_assert_eq!(&address(&url).target, &read.target);
        }
    }

    #[test]
    fn a_normal_path_is_its_own_spelling(path in path()) {
        let once = address(&format!("https://h/{path}")).target.path;
        prop_assert!(once.starts_with('/'));
        prop_assert_eq!(normal_path(&once), once.clone());
        prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
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
