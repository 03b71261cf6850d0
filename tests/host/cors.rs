//! `cors`: what a browser's page may read of answers that were not made for it.

use std::collections::BTreeMap;

use oncegate::cors::Cors;

const APP: &str = "https://app.example.com";
const EVIL: &str = "https://evil.example";

fn of(allowed: &[&str], origin: Option<&str>) -> Cors {
    let allowed: Vec<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
    Cors::new(&allowed, origin.map(str::to_owned))
}

#[test]
fn problems_and_replays_are_granted_to_the_origins_that_the_route_names() {
    let rows = [
        // cors, Origin, who is granted, whether with credentials
        (&[APP][..], Some(APP), Some(APP), true),
        (&[APP], Some(EVIL), None, false),
        (&[APP], Some("https://app.example.com:8443"), None, false),
        (&[APP], None, None, false),
        (&[], Some(APP), None, false),
        (&["*"], Some(APP), Some(APP), false),
        (&["*"], Some("null"), Some("null"), false),
        (&["*"], None, None, false),
        (&["*", APP], Some(APP), Some(APP), true),
    ];
    for (allowed, origin, granted, with_credentials) in rows {
        let cors = of(allowed, origin);
        let marks: BTreeMap<_, _> = cors.marks().into_iter().collect();
        let get = |name| marks.get(name).map(String::as_str);
        assert_eq!(get("access-control-allow-origin"), granted, "{origin:?} of {allowed:?}");
        let credentials = get("access-control-allow-credentials");
        assert_eq!(credentials, with_credentials.then_some("true"), "{origin:?} of {allowed:?}");
        assert_eq!(get("vary"), granted.map(|_| "Origin"));
        // On first answers too.
        let exposed: BTreeMap<_, _> = cors.exposed().into_iter().collect();
        let exposed = exposed.get("access-control-expose-headers").map(String::as_str);
        assert_eq!(
            (exposed.is_some(), exposed),
            (granted.is_some(), get("access-control-expose-headers"))
        );
        for name in [
            "Idempotent-Replayed",
            "Idempotency-Status",
            "Idempotency-Expires",
            "X-Correlation-Id",
            "Retry-After",
        ] {
            assert!(exposed.is_none_or(|list| list.contains(name)), "{name}");
        }
    }
}

#[test]
fn a_stored_grant_is_replayed_to_the_origin_that_it_was_made_for() {
    let rows = [
        // cors, Origin, stored Allow-Origin, whether it is replayed, and Allow-Credentials with it
        (&[][..], Some(APP), Some(APP), true, true),
        (&[], Some(EVIL), Some(APP), false, false),
        (&[], None, Some(APP), false, false),
        // `*` never grants credentials.
        (&[], Some(APP), Some("*"), true, false),
        (&[], None, Some("*"), true, false),
        (&[], Some(APP), None, false, false),
        // Every sandboxed page says `null`.
        (&[], Some("null"), Some("null"), true, false),
        // The route's own grant comes first.
        (&[APP], Some(APP), Some(EVIL), false, false),
        (&[APP], Some(APP), Some(APP), false, false),
        (&["*"], Some(EVIL), Some(APP), false, false),
        (&["*"], Some(APP), Some(APP), false, true),
        (&["*"], Some(APP), Some("*"), false, false),
    ];
    for (allowed, origin, granted, replayed, with_credentials) in rows {
        let cors = of(allowed, origin);
        let grant = granted.map(|to| ("access-control-allow-origin", to));
        let stored = grant.into_iter().chain([("access-control-allow-credentials", "true")]);
        let stored: Vec<_> =
            stored.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let row = format!("{origin:?} of {allowed:?}, stored {granted:?}");
        if granted.is_some() {
            assert_eq!(cors.replays("access-control-allow-origin", &stored), replayed, "{row}");
        }
        let credentials = cors.replays("access-control-allow-credentials", &stored);
        assert_eq!(credentials, with_credentials, "{row}");
        for name in ["access-control-expose-headers", "content-type", "vary"] {
            assert!(cors.replays(name, &stored));
        }
    }
}
