//! `forward`: what is changed in a guarded request's headers on its way to the origin.

use oncegate::config::Origin;
use oncegate::forward::{Change, changes};

use crate::make::{address, headers};

fn url() -> Origin {
    Origin::Url { base: "https://origin.example".to_owned() }
}

/// The changes as text, one for each.
fn of(origin: &Origin, lines: &[(&str, &str)]) -> Vec<String> {
    let requested = address("https://API.example.com:8443/v1?a");
    let text = |change| match change {
        Change::Delete(name) => format!("-{name}"),
        Change::Replace(name, value) => format!("{name}: {value}"),
    };
    changes(&headers(lines), origin, &requested).into_iter().map(text).collect()
}

#[test]
fn what_belongs_to_one_hop_is_left_out() {
    for origin in [Origin::Zone, Origin::Binding] {
        assert_eq!(of(&origin, &[("accept", "*/*"), ("x-forwarded-host", "mine")]), [""; 0]);
        for name in [
            "expect",
            "http2-settings",
            "keep-alive",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ] {
            assert_eq!(of(&origin, &[(name, "x")]), [format!("-{name}")]);
        }
    }
}

#[test]
fn what_connection_names_is_left_out_but_for_what_the_platform_says() {
    let rows = [
        ("close", &["-close", "-connection"][..]),
        ("Keep-Alive, X-Foo ,x-bar", &["-keep-alive", "-x-foo", "-x-bar", "-connection"]),
        ("", &["-connection"]),
        (", not a name, a\u{e9},", &["-connection"]),
        ("CF-Connecting-IP, cf-ray, Host, Content-Length", &["-connection"]),
    ];
    for (named, expected) in rows {
        assert_eq!(of(&Origin::Zone, &[("connection", named)]), expected, "{named:?}");
    }
}

#[test]
fn several_cookie_lines_become_one() {
    let rows = [
        ("a=1", None),
        ("a=1; b=2", None),
        ("a=1, b=2; c=3", Some("a=1; b=2; c=3")),
        ("a=1, b=2, c=3", Some("a=1; b=2; c=3")),
        // No line begins there.
        ("a=1, 2", None),
        ("a=[1, 2], b=3", Some("a=[1, 2]; b=3")),
        ("a={\"x\":1, \"y\":2}", None),
        ("at=Sat, 28 Nov 2026", None),
        // It would lose its bytes.
        ("a=\u{fffd}, b=2", None),
    ];
    for (cookies, expected) in rows {
        let expected: Vec<_> = expected.iter().map(|one| format!("cookie: {one}")).collect();
        assert_eq!(of(&Origin::Zone, &[("cookie", cookies)]), expected, "{cookies:?}");
    }
}

#[test]
fn an_origin_elsewhere_is_told_what_the_client_asked_for() {
    let host = "x-forwarded-host: api.example.com:8443";
    let proto = "x-forwarded-proto: https";
    let client = ("cf-connecting-ip", "203.0.113.7");
    let rows = [
        (&[][..], None),
        (&[("x-forwarded-host", "evil"), ("x-forwarded-proto", "http")], None),
        (&[("x-forwarded-for", "198.51.100.1")], None),
        (&[client], Some("203.0.113.7")),
        (&[client, ("x-forwarded-for", " ")], Some("203.0.113.7")),
        (&[client, ("x-forwarded-for", "198.51.100.1")], Some("198.51.100.1, 203.0.113.7")),
        (&[client, ("x-forwarded-for", "1, 203.0.113.7")], Some("1, 203.0.113.7")),
    ];
    for (lines, hops) in rows {
        let hops = hops.map(|hops| format!("x-forwarded-for: {hops}"));
        let expected: Vec<_> =
            [host.to_owned(), proto.to_owned()].into_iter().chain(hops).collect();
        assert_eq!(of(&url(), lines), expected, "{lines:?}");
        assert_eq!(of(&Origin::Binding, lines), [""; 0]);
    }
}
