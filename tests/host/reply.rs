//! `reply`: which headers a replay carries, and which responses have no body.

use oncegate::lifecycle::reply::{
    StreamedTypes, has_no_body, is_ours, is_sendable, kept_headers, may_keep,
};

type Lines = Vec<(String, String)>;

fn lines(headers: &[(&str, &str)]) -> Lines {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn kept(heard: &Lines) -> Lines {
    adjusted(heard, &[], &[])
}

fn adjusted(heard: &Lines, drop: &[&str], keep: &[&str]) -> Lines {
    let heard: Vec<_> = heard.iter().map(|(name, value)| (&**name, &**value)).collect();
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    kept_headers(&heard, &owned(drop), &owned(keep))
}

fn is_kept(name: &str) -> bool {
    !kept(&lines(&[(name, "x")])).is_empty()
}

/// End to end, and as true on the replay as on the first day.
const KEPT: [&str; 24] = [
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "content-security-policy",
    "etag",
    "last-modified",
    "location",
    "link",
    "vary",
    "expires",
    "cache-control",
    "retry-after",
    "warning",
    "www-authenticate",
    "access-control-allow-origin",
    "request-id",
    "stripe-version",
    "x-request-id",
    "x-frame-options",
    // Near the families, and not of them.
    "cfoo",
    "x-rate",
    "x-cf-thing",
    "idempotent",
];

/// Of one exchange or one hop, of the edge, or the filter's own.
const NEVER: [&str; 41] = [
    "set-cookie",
    "set-cookie2",
    "date",
    "age",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "server-timing",
    "alt-svc",
    "ratelimit",
    "ratelimit-limit",
    "ratelimit-policy",
    "ratelimit-remaining",
    "ratelimit-reset",
    "rate-limit-limit",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset-requests",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "cf-ray",
    "cf-cache-status",
    "cf-connecting-ip",
    "cf-mitigated",
    "x-correlation-id",
    "idempotency-key",
    "idempotency-status",
    "idempotency-expires",
    "idempotency-outcome",
    "idempotency-attempt",
    "idempotency-anything",
    "idempotent-replayed",
    "idempotent-anything",
];

#[test]
fn a_replay_carries_what_is_still_true_and_nothing_else() {
    for name in KEPT {
        assert!(is_kept(name), "{name} is kept");
    }
    for name in NEVER {
        assert!(!is_kept(name), "{name} is not kept");
    }
}

#[test]
fn what_connection_names_belongs_to_one_hop() {
    let heard = lines(&[
        ("connection", "close, X-Internal ,TE"),
        ("x-internal", "1"),
        ("connection", "X-Second"),
        ("x-second", "2"),
        ("x-third", "3"),
        ("close", "4"),
    ]);
    let expected = lines(&[("x-third", "3")]);
    assert_eq!(kept(&heard), expected);
}

#[test]
fn repeated_headers_stay_apart_and_in_order_with_their_bytes() {
    let heard = lines(&[
        ("link", "</a>; rel=next"),
        ("x-b", " spaced "),
        ("link", "</b>; rel=prev"),
        ("set-cookie", "s=1"),
        ("x-empty", ""),
        ("x-latin", "caf\u{e9}"),
        ("link", "</a>; rel=next"),
    ]);
    let mut expected = heard.clone();
    expected.remove(3);
    assert_eq!(kept(&heard), expected);
    assert_eq!(kept(&lines(&[])), lines(&[]));
}

#[test]
fn a_route_may_drop_more_and_keep_more() {
    let heard = lines(&[("etag", "1"), ("date", "2"), ("x-a", "3"), ("connection", "x-a")]);
    let adjust = |drop: &[&str], keep: &[&str]| {
        adjusted(&heard, drop, keep).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(adjust(&[], &[]), ["etag"]);
    assert_eq!(adjust(&["etag"], &[]), [""; 0]);
    assert_eq!(adjust(&[], &["date"]), ["etag", "date"]);
    assert_eq!(adjust(&[], &["x-a"]), ["etag", "x-a"]);
    assert_eq!(adjust(&["date"], &["date"]), ["etag"], "what is dropped is dropped");
}

#[test]
fn what_is_of_one_hop_or_the_filters_own_cannot_even_be_asked_for() {
    for name in ["set-cookie", "date", "age", "alt-svc", "server-timing", "cf-ray", "ratelimit"] {
        assert!(may_keep(name), "{name}");
    }
    for name in KEPT {
        assert!(may_keep(name), "{name}");
    }
    for name in [
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "proxy-authenticate",
        "x-correlation-id",
        "idempotency-status",
        "idempotent-replayed",
    ] {
        assert!(!may_keep(name), "{name}");
    }
}

#[test]
fn an_origin_cannot_forge_the_filters_own_headers() {
    for (name, ours) in [
        ("idempotency-status", true),
        ("idempotency-key", true),
        ("idempotency-", true),
        ("idempotent-replayed", true),
        ("idempotent", false),
        ("x-idempotency-status", false),
        ("x-correlation-id", false),
    ] {
        assert_eq!(is_ours(name), ours, "{name}");
    }
}

#[test]
fn statuses_without_a_body_and_statuses_that_cannot_be_sent() {
    let without: Vec<u16> = (200..=599).filter(|status| has_no_body(*status)).collect();
    assert_eq!(without, [204, 205, 304]);
    let sendable: Vec<u16> = (0..=1100).filter(|status| is_sendable(*status)).collect();
    assert_eq!(sendable, (200..=599).collect::<Vec<u16>>());
}

#[test]
fn a_reply_is_streamed_by_its_media_type() {
    let usual = StreamedTypes::default();
    for (content_type, streamed) in [
        ("text/event-stream", true),
        ("Text/Event-Stream; charset=utf-8", true),
        (" application/x-ndjson ;a=b", true),
        ("application/jsonl", true),
        ("application/grpc", true),
        ("application/grpc-web+proto", true),
        ("application/connect+json", true),
        ("application/connect", false),
        ("text/event-streams", false),
        ("application/json", false),
        ("text/plain; note=text/event-stream", false),
        ("", false),
    ] {
        assert_eq!(usual.has(content_type), streamed, "{content_type:?}");
    }
    let named = |names: &[&str]| serde_json::from_value::<StreamedTypes>(serde_json::json!(names));
    let videos = named(&["Video/*"]).unwrap();
    assert!(videos.has("video/mp4") && !videos.has("text/event-stream"));
    let none = named(&[]).unwrap();
    assert!(!none.has("text/event-stream") && !none.has(""));
}
