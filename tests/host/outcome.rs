//! `outcome`: every status against the table of the promise, written as ranges.

use oncegate::lifecycle::condition::{Body, Coding, accepted};
use oncegate::lifecycle::outcome::Outcome::{self, InDoubt, Release, Store};
use oncegate::lifecycle::outcome::{Facts, Preset, Rule};
use oncegate::lifecycle::redirect::leads_back;
use serde_json::json;

use crate::make::{self, route};

/// One letter per preset: standard, strict, success-only; Store, Release, in Doubt. Each status once.
const TABLE: [(u16, u16, When, &str); 36] = [
    (0, 199, Always, "DDD"),
    (200, 299, Always, "SSS"),
    (300, 306, Always, "SSR"),
    (307, 308, LedBack, "RRR"),
    (307, 308, LedAway, "SSR"),
    (309, 399, Always, "SSR"),
    (400, 400, Always, "RSR"),
    (401, 401, Always, "RRR"),
    (402, 402, Always, "SSR"),
    (403, 403, Always, "RRR"),
    (404, 406, Always, "RSR"),
    (407, 409, Always, "RRR"),
    (410, 420, Always, "RSR"),
    (421, 421, Always, "RRR"),
    (422, 424, Always, "RSR"),
    (425, 425, Always, "RRR"),
    (426, 428, Always, "RSR"),
    (429, 429, Always, "RRR"),
    (430, 499, Always, "RSR"),
    (500, 501, Always, "SSR"),
    (502, 502, Always, "DDD"),
    (503, 503, Always, "DDR"),
    (504, 504, Always, "DDD"),
    (505, 510, Always, "SSR"),
    (511, 511, Always, "RRR"),
    (512, 519, Always, "SSR"),
    (520, 520, Always, "DDD"),
    (521, 521, Always, "RRR"),
    (522, 522, Always, "DDD"),
    (523, 523, Always, "RRR"),
    (524, 524, Always, "DDD"),
    (525, 526, Always, "RRR"),
    (527, 529, Always, "SSR"),
    (530, 530, Always, "RRR"),
    (531, 599, Always, "SSR"),
    (600, 999, Always, "DDD"),
];

#[derive(Clone, Copy, PartialEq)]
enum When {
    Always,
    /// The redirect spells the address in another way.
    LedBack,
    /// It leads elsewhere.
    LedAway,
}
use When::{Always, LedAway, LedBack};

fn rule(preset: Preset) -> Rule {
    Rule { preset, ..route().outcome }
}

fn facts(status: u16, leads_back: bool, origin_outcome: Option<&str>) -> Facts {
    let origin_outcome = origin_outcome.map(str::to_owned);
    Facts { leads_back, origin_outcome, ..Facts::of(status) }
}

fn outcome(letter: char) -> Outcome {
    match letter {
        'S' => Store,
        'R' => Release,
        'D' => InDoubt,
        _ => panic!("no outcome is called {letter}"),
    }
}

fn expected(status: u16, leads_back: bool) -> &'static str {
    let speaks = |when| match when {
        Always => true,
        LedBack => leads_back,
        LedAway => !leads_back,
    };
    let rows =
        TABLE.iter().filter(|(from, to, when, _)| (*from..=*to).contains(&status) && speaks(*when));
    let rows: Vec<_> = rows.map(|(.., letters)| *letters).collect();
    let [letters] = rows[..] else { panic!("{} rows for {status}", rows.len()) };
    letters
}

#[test]
fn every_status_means_what_the_table_says() {
    for status in 0..=999 {
        for leads_back in [false, true] {
            let letters = expected(status, leads_back);
            for (preset, letter) in [Preset::Standard, Preset::Strict, Preset::SuccessOnly]
                .into_iter()
                .zip(letters.chars())
            {
                let judged = rule(preset).judge(&facts(status, leads_back, None));
                let place = format!("{status} {preset:?}, leading back {leads_back}");
                assert_eq!(judged, outcome(letter), "{place}");
            }
        }
    }
    assert_eq!(rule(Preset::Standard).judge(&facts(u16::MAX, true, None)), InDoubt);
}

#[test]
fn a_route_follows_the_standard_table_unless_it_says_otherwise() {
    assert_eq!(route().outcome, rule(Preset::Standard));
}

#[test]
fn a_status_that_a_list_names_means_what_the_list_says() {
    let lists = Rule {
        store: vec![402, 404, 503],
        release: vec![200, 500],
        in_doubt: vec![201, 429],
        ..rule(Preset::SuccessOnly)
    };
    for (status, expected) in [
        (402, Store),
        (404, Store),
        (503, Store),
        (200, Release),
        (500, Release),
        (201, InDoubt),
        (429, InDoubt),
        // Not named: as the preset has it.
        (202, Store),
        (405, Release),
        (502, InDoubt),
    ] {
        for leads_back in [false, true] {
            assert_eq!(lists.judge(&facts(status, leads_back, None)), expected, "{status}");
        }
    }
}

#[test]
fn the_origins_own_word_counts_more_than_any_table() {
    let lists = Rule { store: vec![500], ..rule(Preset::Standard) };
    for (status, said, expected) in [
        (200, "release", Release),
        (200, "in-doubt", InDoubt),
        (500, "release", Release),
        (404, "store", Store),
        (503, "store", Store),
        (502, " release ", Release),
        // A word that means nothing changes nothing.
        (200, "", Store),
        // In any case.
        (200, "RELEASE", Release),
        (404, "Store", Store),
        (200, "In-Doubt", InDoubt),
        (200, "in_doubt", Store),
        (404, "keep", Release),
        (500, "store, release", Store),
        // No word makes a reply of what cannot be sent.
        (0, "store", InDoubt),
        (199, "release", InDoubt),
        (600, "store", InDoubt),
    ] {
        let judged = lists.judge(&facts(status, false, Some(said)));
        assert_eq!(judged, expected, "{status} {said:?}");
    }
}

/// The rules of `outcome.when`.
fn when(rules: &serde_json::Value) -> Rule {
    serde_json::from_value(json!({ "when": rules })).unwrap()
}

#[test]
fn a_rule_looks_into_the_body_or_at_a_header() {
    let no_header = |_: &str| None;
    let rows = [
        // what is asked, the body, whether it fits
        (json!({ "body": "/approved", "is": false }), r#"{"approved":false}"#, true),
        (json!({ "body": "/approved", "is": false }), r#"{"approved":"false"}"#, false),
        (json!({ "body": "/approved", "is": false }), r#"{"approved":true}"#, false),
        (json!({ "body": "/approved", "is": false }), "{}", false),
        (json!({ "body": "/a/0/b", "is": "x" }), "\u{feff}{\"a\":[{\"b\":\"\\u0078\"}]}", true),
        (json!({ "body": "/n", "is": 1 }), r#"{"n":1.0}"#, true),
        (json!({ "body": "/n", "is": 1 }), r#"{"n":"1"}"#, false),
        (
            json!({ "body": "/n", "is": 9_007_199_254_740_993_u64 }),
            r#"{"n":9007199254740992}"#,
            false,
        ),
        (json!({ "body": "/n", "is": "x" }), r#"{"n":{"x":1}}"#, false),
        (json!({ "body": "/errors", "present": true }), r#"{"errors":[]}"#, true),
        (json!({ "body": "/errors", "present": true }), r#"{"data":1}"#, false),
        // GraphQL servers write it where there are none.
        (json!({ "body": "/errors", "present": true }), r#"{"errors":null}"#, false),
    ];
    for (asked, body, fits) in rows {
        let mut table = json!({ "status": 200, "then": "release" });
        table.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        let rule = when(&json!([table]));
        let judged = rule.when(200, no_header, Body::Text(body));
        assert_eq!(judged, fits.then_some(Release), "{asked} {body}");
        assert_eq!(rule.when(201, no_header, Body::Text(body)), None, "another status");
        assert!(rule.reads_body(Some(200)) && !rule.reads_body(Some(201)) && rule.reads_body(None));
    }
    let header = |name: &str| (name == "x-maintenance").then(|| " On ".to_owned());
    let asks = |asked: &str| {
        let rule = format!(
            r#"[{{"status":[502,503],"header":"X-Maintenance",{asked},"then":"release"}}]"#
        );
        let rule = when(&serde_json::from_str(&rule).unwrap());
        assert!(!rule.reads_body(None));
        [rule.when(503, header, Body::NotRead), rule.when(502, no_header, Body::NotRead)]
    };
    assert_eq!(asks(r#""present":true"#), [Some(Release), None]);
    assert_eq!(asks(r#""is":"On""#), [Some(Release), None]);
    assert_eq!(asks(r#""is":"on""#), [None, None]);
}

/// A key is never freed because of what nobody could read, and never kept for good.
#[test]
fn a_body_that_cannot_be_read_frees_nothing_and_stores_nothing() {
    let no_header = |_: &str| None;
    for (then, expected) in
        [("release", None), ("store", Some(InDoubt)), ("in_doubt", Some(InDoubt))]
    {
        let rule = when(&json!([{ "status": 200, "body": "/a", "present": true, "then": then }]));
        for body in
            [Body::Unreadable, Body::Text("<html>"), Body::Text(""), Body::Text(r#"{"a":1,"a":2}"#)]
        {
            assert_eq!(rule.when(200, no_header, body), expected, "{then} {body:?}");
            assert_eq!(rule.when(500, no_header, body), None);
        }
        // A shadow streams it.
        assert_eq!(rule.when(200, no_header, Body::NotRead), None);
    }
}

#[test]
fn the_origins_word_comes_first_then_the_first_rule_that_fits_then_the_lists_then_the_preset() {
    let rule: Rule = serde_json::from_value(json!({
        "store": [429],
        "when": [
            { "status": 429, "body": "/a", "is": 1, "then": "in_doubt" },
            { "status": 429, "body": "/b", "is": 1, "then": "release" },
        ],
    }))
    .unwrap();
    let judge = |body: &str, said: Option<&str>| {
        let when = rule.when(429, |_| None, Body::Text(body));
        rule.judge(&Facts { when, ..facts(429, false, said) })
    };
    assert_eq!(judge(r#"{"a":1,"b":1}"#, Some("store")), Store);
    assert_eq!(judge(r#"{"a":1,"b":1}"#, None), InDoubt);
    assert_eq!(judge(r#"{"a":2,"b":1}"#, None), Release);
    assert_eq!(judge(r#"{"a":2,"b":2}"#, None), Store);
    assert_eq!(judge(r#"{"a":2,"b":2}"#, Some("nonsense")), Store);
}

#[test]
fn a_body_is_asked_for_in_a_coding_that_the_client_takes_and_the_filter_decodes() {
    for (by_client, asked) in [
        (None, "gzip"),
        (Some("gzip, deflate, br"), "gzip"),
        (Some("br;q=1.0, *;q=0.1"), "gzip"),
        (Some("X-GZIP"), "gzip"),
        (Some("br"), "identity"),
        (Some("gzip;q=0, br"), "identity"),
        (Some(""), "identity"),
    ] {
        assert_eq!(accepted(by_client), asked, "{by_client:?}");
    }
    for (header, coding) in [
        (None, Coding::Plain),
        (Some("Identity"), Coding::Plain),
        (Some(" GZIP"), Coding::Gzip),
        (Some("x-gzip"), Coding::Gzip),
        (Some("deflate"), Coding::Deflate),
        (Some("br"), Coding::Other),
        (Some("gzip, gzip"), Coding::Other),
    ] {
        assert_eq!(Coding::of(header), coding, "{header:?}");
    }
}

#[test]
fn a_redirect_leads_back_that_spells_the_same_address_in_another_way() {
    let address = make::address("https://api.example.com/v1/Payments?a=1");
    for (location, back) in [
        ("/v1/Payments/?a=1", true),
        ("//www.example.com/v1//payments?a=1", true),
        ("http://api.example.com/V1/PAYMENTS?A=1", true),
        ("https://api.example.com:8443/v1/%50ayments?a=1#top", true),
        ("Payments/?a=1", true),
        ("./Payments?a=1", true),
        ("../v1/payments/?a=1", true),
        ("?a=1", true),
        ("", true),
        ("/v1/Payments/", false),
        ("/v1/Payments?a=2", false),
        ("?a=1&b", false),
        ("/v1/payments/42?a=1", false),
        ("/thanks", false),
        ("thanks?a=1", false),
        ("https://api.example.com/", false),
        ("mailto:payments@example.com", false),
        ("https://", false),
    ] {
        assert_eq!(leads_back(&address, location), back, "{location:?}");
    }
    let folder = make::address("http://a/v1/payments/");
    assert!(leads_back(&folder, "/v1/payments") && leads_back(&folder, "../payments"));
    assert!(!leads_back(&folder, "42") && !leads_back(&folder, "/v1"));
}
