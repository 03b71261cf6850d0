//! `digest`, `scope`, `fingerprint`: what is the same request, and whose.
//!
//! The literal digests were computed apart from this code, as SHA-256 over `01`, the length of the part
//! in 8 bytes, the part; `00` for a part that is absent. They are stored data.

use oncegate::config::route::Route;
use oncegate::config::values::Mode;
use oncegate::request::bearer::Proof;
use oncegate::request::credential::{self, CredentialPart, Undecodable};
use oncegate::request::digest::{Parts, hex, sha256};
use oncegate::request::fingerprint::{BodyRule, FINGERPRINT_HEADERS, Fingerprint, Rule};
use oncegate::request::header::media_type;
use oncegate::request::json::{MarkedPointer, Pointer};
use oncegate::request::path::{Target, compared};
use oncegate::request::scope::{Caller, ScopePart};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::make::{cases, headers, route};

const AUTHORIZED: (&str, &str) = ("authorization", "Bearer secret");

fn credential(
    parts: &[CredentialPart],
    header: &dyn Fn(&str) -> Option<String>,
) -> Result<[u8; 16], Undecodable> {
    credential::credential(parts, &Proof::Opaque, header)
}

fn credential_of(lines: &[(&str, &str)]) -> [u8; 16] {
    credential(&route().credential, &headers(lines)).unwrap()
}

/// A caller; the others differ from it in one part.
fn caller(header: &dyn Fn(&str) -> Option<String>) -> Caller<'_> {
    Caller {
        scheme: "https",
        host: "api.example.com",
        method: "POST",
        path: "/v1/payments",
        route: "charge",
        credential: credential_of(&[AUTHORIZED]),
        header,
    }
}

fn scope(caller: Caller<'_>) -> String {
    hex(&caller.scope(&route().scope, Mode::Enforce))
}

fn fingerprint_of(
    route: &Route,
    method: &str,
    path: &str,
    query: Option<&str>,
    body: &[u8],
    lines: &[(&str, &str)],
) -> String {
    let target = target(path, query);
    let body = route.fingerprint.digest(body).unwrap_or_else(|| sha256(body));
    hex(&Fingerprint::of(&route.fingerprint, method, &target, &body, &headers(lines)).0)
}

fn fingerprint(query: Option<&str>, body: &[u8], lines: &[(&str, &str)]) -> String {
    fingerprint_of(&route(), "POST", "/v1/payments", query, body, lines)
}

fn target(path: &str, query: Option<&str>) -> Target {
    Target { path: path.to_owned(), compared: compared(path), query: query.map(str::to_owned) }
}

#[test]
fn digests_never_change() {
    let parts = Parts::of("purpose").part("a").maybe(None::<&str>).maybe(Some(""));
    let expected = "88fcbd820ea25fdec4a93b23fe424f3f8789a82cc59763a73410bbda935dcf8b";
    assert_eq!(hex(&parts.clone().whole()), expected);
    assert_eq!(hex(&parts.half()), &expected[..32]);

    let both = [AUTHORIZED, ("x-api-key", "k1")];
    for (lines, expected) in [
        (&both[..1], "117e405d0e253d275e07d216d7b90947"),
        (&both[..], "a0540136c542ada435986eb368efc0fc"),
        (&[], "de8b089dd0e18848c31f51f289a29913"),
        (&[("cookie", "b=2; a=1")], "e2814c4334f02593247577f9d9122c54"),
    ] {
        assert_eq!(hex(&credential_of(lines)), expected, "{lines:?}");
    }
}

#[test]
fn scope_kin_and_fingerprint_never_change() {
    let none = headers(&[]);
    let caller = caller(&none);
    assert_eq!(scope(caller), "a921fb2c7be248ee94eed729df4fab5b");
    let shadow = caller.scope(&route().scope, Mode::Shadow);
    assert_eq!(hex(&shadow), "df2387046646f321bc2faed1a508a341");

    let json = [("content-type", "application/json; charset=utf-8")];
    let whole = fingerprint(Some("a=1&b"), br#"{"amount":10}"#, &json);
    assert_eq!(whole, "b3f45078b85b20d41d5da343a1e84850f2beba465f93efbe8feda8b8313f7c22");
    let bare = fingerprint(None, b"", &[]);
    assert_eq!(bare, "ff282add5b3dea46ba91ca2f5ae3470c5630ebf85f93efbecb3ee3b0fd627c22");

    let mut route = route();
    route.fingerprint.headers = vec!["x-tenant".to_owned(), "x-b".to_owned()];
    let more = [("x-tenant", "t1")];
    let more = fingerprint_of(&route, "POST", "/v1/payments", None, b"", &more);
    assert_eq!(more, "11d6bb83c0e176f30454964ad7b337f47817329f5f93efbecb3ee3b0fd628982");

    let target = target("/v1/payments", Some("a=1&b"));
    let body = sha256(br#"{"amount":10}"#);
    let whole = Fingerprint::of(&route.fingerprint, "POST", &target, &body, &headers(&json));
    assert_ne!(hex(&whole.0), more, "further headers count where they are absent, too");
    let whole =
        Fingerprint::of(&self::route().fingerprint, "POST", &target, &body, &headers(&json));
    assert_eq!(
        hex(&caller.operation(&route.scope, route.mode, &whole).0),
        "c7d2f0cf76815612e62dba3c661c3e9d"
    );
}

#[test]
fn the_digest_of_a_body_never_changes() {
    let rule = |body| Rule { body, ..Rule::default() };
    let of = |body_rule, body: &[u8]| rule(body_rule).digest(body).map(|digest| hex(&digest));
    for (rule, body, expected) in [
        (BodyRule::None, "x", "ca536bb01cac81185404121764ededc0d263d5c0faef96954ec153288ead0cfd"),
        (
            BodyRule::Json,
            r#"{ "b": 2.0, "a": 1 }"#,
            "d1c1fedf24f3742cc73bb4b22db62a1a7d0110f06b87a4c6a410657945344b5b",
        ),
        (
            pointers(&["/amount", "/currency?"]),
            r#"{"amount":10}"#,
            "cb4c0e82381e65429c97bc6bf32741af8a2fcc8a241831631f48da7f6e7ca173",
        ),
    ] {
        assert_eq!(of(rule, body.as_bytes()).as_deref(), Some(expected));
    }
    assert_eq!(of(BodyRule::Raw, b"x"), None, "its bytes are hashed as they are");
    assert_eq!(of(BodyRule::Json, b"{"), None, "what is no JSON counts byte by byte");
    let except = vec![Pointer::parse("/sdkData/createdAt").unwrap()];
    let except = Rule { except, ..rule(BodyRule::Json) };
    let with = except.digest(br#"{"sdkData":{"createdAt":"now"},"amount":1}"#);
    assert_eq!(with, rule(BodyRule::Json).digest(br#"{"amount":1,"sdkData":{}}"#));
    assert_eq!(except.digest(b"amount=1"), None, "what is no JSON counts byte by byte");
}

fn pointers(texts: &[&str]) -> BodyRule {
    let marked = |text: &&str| MarkedPointer::try_from((*text).to_owned()).unwrap();
    BodyRule::Pointers(texts.iter().map(marked).collect())
}

#[test]
fn a_body_in_which_a_pointer_names_nothing_is_compared_raw() {
    let rule = Rule { body: pointers(&["/amount", "/currency", "/note?"]), ..Rule::default() };
    for raw in [
        r#"{"total":5}"#,
        r#"{"currency":"eur","total":5}"#,
        r#"{"amount":5}"#,
        r#"{"Amount":5,"currency":"eur"}"#,
        "amount=5&currency=eur",
        "",
    ] {
        assert_eq!(rule.digest(raw.as_bytes()), None, "{raw}");
    }
    let digest = |body: &str| rule.digest(body.as_bytes()).unwrap();
    let bodies = [
        r#"{"amount":5,"currency":"eur"}"#,
        // null and absent differ, and so do null and an empty text.
        r#"{"amount":5,"currency":"eur","note":null}"#,
        r#"{"amount":5,"currency":"eur","note":""}"#,
        r#"{"amount":5,"currency":null}"#,
        r#"{"amount":null,"currency":"eur"}"#,
    ];
    let mut digests: Vec<_> = bodies.iter().map(|body| digest(body)).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), bodies.len());
    assert_eq!(digest(bodies[0]), digest(r#"{"more":1,"currency":"eur","amount":5.0}"#));
}

#[test]
fn each_header_that_changes_what_a_request_asks_for_counts() {
    let bare = fingerprint(None, b"", &[]);
    let mut seen = vec![bare.clone()];
    for name in [
        "content-encoding",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
        "range",
        "content-range",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        assert!(FINGERPRINT_HEADERS.contains(&name), "{name}");
        for value in ["", "one", "two"] {
            seen.push(fingerprint(None, b"", &[(name, value)]));
        }
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all, "no two of them are one request");
    assert_eq!(bare, fingerprint(None, b"", &[("accept", "*/*"), ("if-scheduled", "x")]));
}

#[test]
fn each_part_of_the_default_scope_keeps_equal_keys_apart() {
    let none = headers(&[]);
    let one = caller(&none);
    let others = [
        Caller { host: "api.example.com:8443", ..one },
        Caller { method: "PATCH", ..one },
        Caller { path: "/v1/payments/", ..one },
        Caller { credential: credential_of(&[]), ..one },
        // What one part loses the next one gains.
        Caller { host: "api.example.comP", method: "OST", ..one },
        Caller { method: "POST/", path: "v1/payments", ..one },
    ];
    let mut scopes: Vec<_> = others.into_iter().map(scope).collect();
    scopes.push(scope(one));
    scopes.sort();
    scopes.dedup();
    assert_eq!(scopes.len(), others.len() + 1);
    assert_eq!(scope(Caller { route: "refund", ..one }), scope(one), "a route is none of it");
}

#[test]
fn hosts_are_one_where_only_a_dot_at_the_end_or_the_usual_port_differs() {
    let none = headers(&[]);
    let one = caller(&none);
    let of = |scheme, host| scope(Caller { scheme, host, ..one });
    let groups: &[&[(&str, &str)]] = &[
        &[
            ("https", "shop.example"),
            ("https", "shop.example."),
            ("https", "shop.example:443"),
            ("https", "shop.example.:443"),
            ("http", "shop.example:80"),
            ("http", "shop.example."),
        ],
        &[("https", "shop.example:80")],
        &[("http", "shop.example:443")],
        &[("https", "shop.example:8443"), ("http", "shop.example.:8443")],
        &[("https", "shop.example..")],
        &[("https", "[::1]"), ("https", "[::1]:443")],
        &[("https", "[::443]")],
        &[("https", "[::1]:8443")],
    ];
    for (at, same) in groups.iter().enumerate() {
        for (scheme, host) in *same {
            for (other_at, others) in groups.iter().enumerate() {
                let equal = of(scheme, host) == of(others[0].0, others[0].1);
                assert_eq!(equal, at == other_at, "{host} and {}", others[0].1);
            }
        }
    }
    let operation = |host| {
        Caller { host, ..one }.operation(&route().scope, route().mode, &Fingerprint([1; 32]))
    };
    assert_eq!(operation("shop.example."), operation("shop.example:443"));
}

#[test]
fn the_scheme_of_authorization_counts_whatever_its_case_wherever_it_is_compared() {
    let one = headers(&[("authorization", "Bearer t1")]);
    let other = headers(&[("authorization", "bearer  t1")]);
    let third = headers(&[("authorization", "Bearer T1")]);
    let named = [ScopePart::Header("authorization".to_owned())];
    let of = |header: &dyn Fn(&str) -> Option<String>| caller(header).scope(&named, Mode::Enforce);
    assert_eq!(of(&one), of(&other));
    assert_ne!(of(&one), of(&third));
    let mut route = route();
    route.fingerprint.headers = vec!["authorization".to_owned(), "x-other".to_owned()];
    let of = |lines: &[(&str, &str)]| fingerprint_of(&route, "POST", "/", None, b"", lines);
    assert_eq!(of(&[("authorization", "Bearer t1")]), of(&[("authorization", "BEARER t1")]));
    assert_ne!(of(&[("x-other", "Bearer t1")]), of(&[("x-other", "BEARER t1")]));
}

#[test]
fn a_scope_holds_what_the_route_says_and_nothing_else() {
    let acme = headers(&[("x-tenant", "acme")]);
    let one = caller(&acme);
    let by = |parts: &[ScopePart], caller: Caller<'_>| caller.scope(parts, Mode::Enforce);
    let tenant = [ScopePart::Header("x-tenant".to_owned())];
    let elsewhere = Caller { host: "h", method: "PUT", path: "/", credential: [0; 16], ..one };
    assert_eq!(by(&tenant, one), by(&tenant, elsewhere));
    for other in [&[("x-tenant", "bolt")][..], &[("x-tenant", "")], &[], &[("x-other", "acme")]] {
        let header = headers(other);
        assert_ne!(by(&tenant, one), by(&tenant, Caller { header: &header, ..one }), "{other:?}");
    }
    let route = [ScopePart::Route];
    assert_ne!(by(&route, one), by(&route, Caller { route: "refund", ..one }));
    assert_ne!(by(&[ScopePart::Host], one), by(&[ScopePart::Host, ScopePart::Method], one));
}

#[test]
fn each_part_of_a_scope_counts_where_the_route_names_it_and_nowhere_else() {
    let (acme, bolt) = (headers(&[("x-tenant", "acme")]), headers(&[("x-tenant", "bolt")]));
    let one = caller(&acme);
    let parts = [
        (ScopePart::Host, Caller { host: "h", ..one }),
        (ScopePart::Method, Caller { method: "PATCH", ..one }),
        (ScopePart::Path, Caller { path: "/", ..one }),
        (ScopePart::Route, Caller { route: "refund", ..one }),
        (ScopePart::Credential, Caller { credential: [0; 16], ..one }),
        (ScopePart::Header("x-tenant".to_owned()), Caller { header: &bolt, ..one }),
    ];
    for (named, (part, _)) in parts.iter().enumerate() {
        for (changed, (_, other)) in parts.iter().enumerate() {
            let of = |caller: Caller<'_>| caller.scope(std::slice::from_ref(part), Mode::Enforce);
            assert_eq!(
                of(one) != of(*other),
                named == changed,
                "{part:?} and the {changed}. change"
            );
        }
    }
}

#[test]
fn kin_is_everything_but_who_asks() {
    let none = headers(&[]);
    let one = caller(&none);
    let [this, that] = [1, 2].map(|number| Fingerprint([number; 32]));
    let operation = |caller: Caller<'_>, fingerprint| {
        caller.operation(&route().scope, route().mode, fingerprint)
    };
    assert_eq!(operation(one, &this), operation(Caller { credential: [0; 16], ..one }, &this));
    for (other, fingerprint) in [
        (Caller { host: "h", ..one }, &this),
        (Caller { method: "PATCH", ..one }, &this),
        (Caller { path: "/", ..one }, &this),
        (Caller { route: "refund", ..one }, &this),
        (one, &that),
    ] {
        assert_ne!(operation(one, &this), operation(other, fingerprint));
    }
}

#[test]
fn a_log_can_tell_in_which_parts_two_requests_differ() {
    let of = |method, path, query, body: &str, lines: &[(&str, &str)]| {
        let target = target(path, query);
        let body = sha256(body.as_bytes());
        Fingerprint::of(&route().fingerprint, method, &target, &body, &headers(lines))
    };
    let json = ("content-type", "application/json");
    let first = of("POST", "/v1/payments", Some("a=1"), "{}", &[json]);
    for (other, expected) in [
        (of("PUT", "/v1/payments", Some("a=1"), "{}", &[json]), "method"),
        (of("POST", "/v1/refunds", Some("a=1"), "{}", &[json]), "path"),
        (of("POST", "/v1/payments", Some(""), "{}", &[json]), "query"),
        (of("POST", "/v1/payments", Some("a=1"), "{ }", &[json]), "body"),
        (of("POST", "/v1/payments", Some("a=1"), "{}", &[]), "Content-Type"),
        (of("POST", "/v1/payments", Some("a=1"), "{}", &[json, ("if-match", "x")]), "headers"),
        (of("POST", "/v1/payments", None, "[]", &[json]), "query, body"),
    ] {
        assert_eq!(first.differs(&other).why(), format!("fingerprint differs in {expected}"));
    }
    assert_eq!(first.differs(&first).0, 0);
}

/// Same row, same caller; other row, other caller.
#[test]
fn a_credential_is_every_header_that_carries_one_or_else_the_cookies() {
    let callers: &[&[&[(&str, &str)]]] = &[
        // A proxy that empties a header must not make all callers one: blank is absent.
        &[&[], &[("accept", "*/*")], &[("cookie", "")], &[("authorization", " ")]],
        &[
            &[AUTHORIZED],
            &[AUTHORIZED, ("cookie", "s=1")],
            &[AUTHORIZED, ("x-api-key", "")],
            // RFC 9110 section 11.1: the scheme counts whatever its case, and more than one space may follow it.
            &[("authorization", "bearer secret")],
            &[("authorization", "BEARER   secret")],
            &[("authorization", " Bearer secret ")],
        ],
        &[&[("authorization", "Bearer secret2")]],
        &[&[("authorization", "Bearer Secret")]],
        &[&[("authorization", "Basic secret")], &[("authorization", "basic secret")]],
        // No scheme: a bare API key.
        &[&[("authorization", "Secret")]],
        &[&[("authorization", "secret")]],
        &[&[("x-api-key", "Bearer secret")]],
        &[&[AUTHORIZED, ("x-api-key", "k")]],
        &[&[("cookie", "s=1; t=2")], &[("cookie", "t=2;s=1")], &[("cookie", "s=1, t=2")]],
        &[&[("cookie", "s=1")], &[("cookie", "s=1"), ("authorization", "")]],
        &[&[("cookie", "s=2; t=1")]],
        &[&[("cookie", "s=1; s=1")]],
        &[&[("cookie", "s=")]],
        &[&[("cookie", "s=1=t")]],
        &[&[("cookie", "nameless")]],
        &[&[("cookie", "Bearer secret")]],
        // Cut short, sent twice, sent elsewhere; one header's end as the next one's beginning.
        &[&[("authorization", "Bearer secre")]],
        &[&[("authorization", "Bearer secret, Bearer other")]],
        &[&[("cookie", "authorization=Bearer secret")]],
        &[&[("authorization", "ab"), ("x-api-key", "c")]],
        &[&[("authorization", "a"), ("x-api-key", "bc")]],
        &[&[("authorization", "ab, c")]],
        &[&[("cookie", r#"s="1; t=2""#)]],
        &[&[("cookie", "ab=c")]],
        &[&[("cookie", "a=bc")]],
    ];
    for (at, same) in callers.iter().enumerate() {
        for lines in *same {
            for (other_at, others) in callers.iter().enumerate() {
                let equal = credential_of(lines) == credential_of(others[0]);
                assert_eq!(equal, at == other_at, "{lines:?} and {:?}", others[0]);
            }
        }
    }
}

#[test]
fn cookies_that_change_by_themselves_do_not_count_in_a_whole_cookie_header() {
    let of = |cookies: &str| credential_of(&[("cookie", cookies)]);
    let one = of("session=s1");
    for name in [
        "__cf_bm",
        "__cflb",
        "__cfruid",
        "_cfuvid",
        "cf_clearance",
        "cf_chl_rc_i",
        "cf_chl_2",
        "__cfwaitingroom",
        "__cfwaitingroom_event",
        "_ga",
        "_ga_1ABC2DEF3G",
        "_gid",
        "_gat",
        "_gat_gtag_UA_1234_1",
        "_gat_UA-1234-1",
        "_gcl_au",
        "_gcl_aw",
        "_gcl_dc",
        "_fbp",
        "_fbc",
    ] {
        for cookies in [
            format!("session=s1; {name}=1"),
            format!("{name}=2;session=s1"),
            format!("{name}=, session=s1"),
            format!("{name}=a=b; session=s1; {name}=c"),
            // It does not count, so its bytes do not matter.
            format!("session=s1; {name}=\u{fffd}"),
        ] {
            assert_eq!(of(&cookies), one, "{cookies}");
        }
        // Alone it is no credential.
        assert_eq!(of(&format!("{name}=1")), of(""));
        // Where the route names it, it is one.
        let named = [CredentialPart::Cookie(name.to_owned())];
        let of = |cookies: String| credential(&named, &headers(&[("cookie", &cookies)])).unwrap();
        assert_ne!(of(format!("{name}=1")), of(format!("{name}=2")));
    }
}

#[test]
fn cookies_that_look_like_those_count() {
    let of = |cookies: &str| credential_of(&[("cookie", cookies)]);
    for name in [
        "_gallery_session",
        "_cfo_session",
        "CF_Authorization",
        "cf_session",
        "__CF_BM",
        "__cf_bm2",
        "x__cf_bm",
        "__cf_bm_session",
        "__cflb2",
        "cf_clearance2",
        "cf_chl",
        "CF_CHL_x",
        "__cfwaitingroo",
        "__cfduid",
        "_ga_",
        "_ga_session",
        "_ga_1ABc",
        "_ga_A-B",
        "_gax",
        "_GA",
        "_gid2",
        "_gat2",
        "_gat_session",
        "_gat_UA",
        "_gcl_session",
        "_gcl_gb",
        "_fbp2",
        "_fb",
        "session",
    ] {
        let [one, other] = ["1", "2"].map(|value| of(&format!("{name}={value}; _ga=1")));
        assert_ne!(one, other, "{name}");
        assert_ne!(one, of(""), "{name}");
    }
    // Without a value it has no name.
    assert_ne!(of("_ga"), of(""));
}

#[test]
fn a_credential_that_is_not_utf_8_is_refused_where_it_counts_and_nowhere_else() {
    let session = [CredentialPart::Cookie("session".to_owned())];
    let usual = route().credential;
    let of = |parts: &[CredentialPart], lines: &[(&str, &str)]| credential(parts, &headers(lines));
    let unreadable = ("cookie", "session=s1; user=J\u{fffd}rgen");
    // All cookies are the credential; the refusal names the way out.
    let refused = of(&usual, &[unreadable]).unwrap_err();
    assert!(refused.detail().contains("credential = [\"cookie:SESSION\"]"), "{}", refused.detail());
    // Another credential is there, or the route names another cookie.
    assert!(of(&usual, &[AUTHORIZED, unreadable]).is_ok());
    let named = of(&session, &[unreadable]);
    assert_eq!(named, of(&session, &[("cookie", "session=s1; user=J")]));
    assert_eq!(named, of(&session, &[("cookie", "session=s1; J\u{fffd}rgen")]), "it has no name");
    for (parts, lines, what) in [
        (&session[..], [("cookie", "session=\u{fffd}")], "The cookie session"),
        (&session, [("cookie", "session=s1,\u{fffd}")], "The cookie session"),
        (&usual, [("authorization", "Bearer \u{fffd}")], "The header authorization"),
        (&usual, [("x-api-key", "\u{fffd}")], "The header x-api-key"),
    ] {
        let detail = of(parts, &lines).unwrap_err().detail();
        assert!(detail.starts_with(what), "{detail}");
    }
}

#[test]
fn nothing_else_of_a_cookie_header_is_left_out_of_the_credential() {
    for [one, other] in [
        ["lang=en; 0123", "lang=en; 4567"],
        ["session=abc,def", "session=abc,xyz"],
        ["lang=en", "lang=en; 0123"],
    ] {
        let of = |cookies| credential_of(&[("cookie", cookies)]);
        assert_ne!(of(one), of(other), "{one} and {other} are two callers");
    }
}

/// Headers that are one caller's.
type SameCaller<'a> = &'a [Vec<(&'a str, &'a str)>];

/// Same row, same caller; other row, other caller.
#[test]
fn where_a_route_names_its_credentials_nothing_else_of_a_request_says_who_calls() {
    let cookie = |name: &str| CredentialPart::Cookie(name.to_owned());
    let header = |name: &str| CredentialPart::Header(name.to_owned());
    let session = [cookie("session")];
    let either = [header("authorization"), cookie("session")];
    let two = [cookie("a"), cookie("b")];
    let custom = [header("x-client")];
    let of = |cookies: &'static str| vec![("cookie", cookies)];
    let routes: &[(&[CredentialPart], &[SameCaller<'_>])] = &[
        (
            &session,
            &[
                &[
                    of("session=s1"),
                    of("visit=9;session=s1"),
                    of("lang=de, session=s1"),
                    vec![AUTHORIZED, ("cookie", "session=s1")],
                ],
                &[of("session=s2")],
                &[of("session=s1,xyz")],
                &[of("xsession=s1")],
                &[of("Session=s1")],
                &[of("session=s1; session=s2")],
                &[of("session=")],
                // No session: all cookies are the credential.
                &[of("visit=s1")],
                &[of("visit=s2")],
            ],
        ),
        (
            &either,
            &[
                &[
                    vec![AUTHORIZED, ("cookie", "session=s1; visit=1")],
                    vec![("cookie", "visit=2; session=s1"), AUTHORIZED],
                ],
                &[vec![AUTHORIZED, ("cookie", "session=s2")]],
                &[of("session=Bearer secret")],
                &[vec![AUTHORIZED]],
            ],
        ),
        (&two, &[&[of("a=1; b=2"), of("b=2, a=1")], &[of("a=2; b=1")], &[of("a=1")], &[of("b=1")]]),
        (
            &custom,
            &[
                &[vec![("x-client", "c1")], vec![("x-client", "c1"), AUTHORIZED]],
                &[vec![("x-client", "c2")]],
            ],
        ),
    ];
    for (parts, callers) in routes {
        for (at, same) in callers.iter().enumerate() {
            for lines in *same {
                for (other_at, others) in callers.iter().enumerate() {
                    let [one, other] = [lines, &others[0]]
                        .map(|lines| credential(parts, &headers(lines)).unwrap());
                    assert_eq!(one == other, at == other_at, "{lines:?} and {:?}", others[0]);
                }
            }
        }
    }
}

#[test]
fn each_part_of_a_request_makes_it_another_one() {
    let of = |method, path, query, body: &str, lines: &[(&str, &str)]| {
        fingerprint_of(&route(), method, path, query, body.as_bytes(), lines)
    };
    let json = ("content-type", "application/json");
    let mut all = vec![
        of("POST", "/v1/payments", Some("a=1"), "{}", &[json]),
        of("PATCH", "/v1/payments", Some("a=1"), "{}", &[json]),
        of("POST", "/v1/refunds", Some("a=1"), "{}", &[json]),
        of("POST", "/v1/payments", Some("a=2"), "{}", &[json]),
        of("POST", "/v1/payments", Some(""), "{}", &[json]),
        of("POST", "/v1/payments", None, "{}", &[json]),
        of("POST", "/v1/paymentsa=1", None, "{}", &[json]),
        of("POST", "/v1/payments", Some("a=1"), "{} ", &[json]),
        of("POST", "/v1/payments", Some("a=1"), "", &[json]),
        of("POST", "/v1/payments", Some("a=1"), "{}", &[]),
        of("POST", "/v1/payments", Some("a=1"), "{}", &[("content-type", "")]),
        of("POST", "/v1/payments", Some("a=1"), "{}", &[("content-type", "text/plain")]),
    ];
    let names = [
        "content-encoding",
        "if-match",
        "if-none-match",
        "content-range",
        "x-http-method-override",
    ];
    for name in names {
        for value in ["", "x", "y"] {
            all.push(of("POST", "/v1/payments", Some("a=1"), "{}", &[json, (name, value)]));
        }
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn what_differs_on_every_try_does_not_make_it_another_one() {
    let json = fingerprint(None, b"{}", &[("content-type", "application/json")]);
    for lines in [
        &[("content-type", "application/json;charset=utf-8")][..],
        &[("content-type", " Application/JSON ; a=b; c")],
        &[("content-type", "application/json"), ("accept", "text/html"), AUTHORIZED],
        &[("content-type", "application/json"), ("idempotency-key", "k"), ("date", "now")],
    ] {
        assert_eq!(fingerprint(None, b"{}", lines), json, "{lines:?}");
    }
    assert_eq!(media_type("multipart/form-data; boundary=x"), "multipart/form-data");
}

proptest! {
    #![proptest_config(cases(1000))]

    /// No delimiter can be injected: other parts, other digest, wherever the cuts are.
    #[test]
    fn two_lists_of_parts_have_one_digest_only_if_they_are_one_list(
        lists in [vec(option::of(vec(0..3_u8, 0..4)), 0..4), vec(option::of(vec(0..3_u8, 0..4)), 0..4)],
    ) {
        let digest = |list: &Vec<Option<Vec<u8>>>| {
            list.iter().fold(Parts::of("p"), |parts, part| parts.maybe(part.as_ref())).whole()
        };
        let [one, other] = &lists;
        prop_assert_eq!(digest(one) == digest(other), one == other);
    }

    #[test]
    fn a_text_cut_elsewhere_has_another_digest(text in "[ -~]{2,12}", cuts in [0..12_usize, 0..12_usize]) {
        let [one, other] = cuts.map(|cut| cut % text.len());
        let digest = |cut| Parts::of("p").part(&text[..cut]).part(&text[cut..]).half();
        prop_assert_eq!(digest(one) == digest(other), one == other);
    }
}
