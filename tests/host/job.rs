//! Schedules and queues: templates, what makes no sense, and what follows from an answer.

use std::time::Duration;

use oncegate::config::{Policy, Vars};
use oncegate::job::answered::{Answered, Next};
use oncegate::job::queue::Message;
use oncegate::job::request::JobHeader;
use oncegate::job::template::{Template, TimeForm, Use};
use oncegate::time::Timestamp;
use serde_json::{Map, Value, json};

/// 2026-11-28T06:45:12.345Z.
const SLOT: Timestamp = Timestamp(1_795_848_312_345);

fn vars(schedules: Value, queues: Value) -> Vars {
    let routes = json!([{ "name": "jobs", "path": "/jobs/{*rest}", "ttl": "14d" }, { "name": "short", "path": "/short" }, { "name": "shadowed", "path": "/shadow", "mode": "shadow" }, { "name": "by-body", "path": "/body", "key": { "from": ["body:/id"] }, "ttl": "14d" }]);
    let values = Map::from_iter([
        ("ROUTES".to_owned(), routes),
        ("SCHEDULES".to_owned(), schedules),
        ("QUEUES".to_owned(), queues),
    ]);
    Vars { values, ..Vars::default() }
}

fn schedule(more: &Value) -> Value {
    let mut schedule = json!({ "name": "nightly", "cron": "0 2 * * *", "request": { "url": "https://a.example/jobs/run" }, "key": "nightly-{scheduled_time:date}" });
    schedule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    schedule
}

fn queue(more: &Value) -> Value {
    let mut queue = json!({ "queue": "jobs", "request": { "url": "https://a.example/jobs/{body:/kind}" }, "key": "message-id" });
    queue.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    queue
}

/// What is wrong with a schedule of these knobs.
fn wrong_schedule(more: &Value) -> Vec<String> {
    wrong(&vars(json!([schedule(more)]), json!([])))
}

fn wrong(vars: &Vars) -> Vec<String> {
    let mistakes = Policy::parse(vars).err().unwrap_or_default();
    mistakes.iter().map(|mistake| format!("{}: {}", mistake.knob, mistake.why)).collect()
}

#[test]
fn an_instant_has_four_forms_in_utc() {
    for (form, text) in [
        (TimeForm::Date, "2026-11-28"),
        (TimeForm::Minute, "2026-11-28T06:45"),
        (TimeForm::Iso, "2026-11-28T06:45:12Z"),
        (TimeForm::Unix, "1795848312"),
    ] {
        assert_eq!(form.of(SLOT), text);
    }
}

#[test]
fn braces_that_begin_no_place_are_text() {
    for text in ["", "{}", r#"{"a":{"b":1}}"#, "{name}", "a{b", "}{"] {
        let template = Template::try_from(text.to_owned()).unwrap();
        assert_eq!(template.filled(Use::Text, &|_| None).as_deref(), Some(text));
        assert_eq!(template.places().count(), 0);
    }
    for text in ["{scheduled_time:weekday}", "{scheduled_time}", "{message-id:x}", "{body:id}"] {
        assert!(Template::try_from(text.to_owned()).is_err(), "{text}");
    }
}

#[test]
fn what_fills_a_place_stays_within_its_segment() {
    let template = Template::try_from("/jobs/{body:/kind}?a={message-id}".to_owned()).unwrap();
    let filled = template.filled(Use::Address, &|_| Some("../x?y=1#ü".to_owned()));
    assert_eq!(filled.unwrap(), "/jobs/..%2Fx%3Fy%3D1%23%C3%BC?a=..%2Fx%3Fy%3D1%23%C3%BC");
}

#[test]
fn a_slot_makes_a_request_with_a_key_of_its_own() {
    let request = json!({
        "method": "PUT",
        "url": "https://a.example/jobs/{scheduled_time:date}",
        "headers": { "Authorization": "secret:TOKEN", "X-Slot": "{scheduled_time:unix}" },
        "body": "{\"day\":\"{scheduled_time:date}\"}",
    });
    let routes =
        json!([{ "name": "jobs", "path": "/jobs/{*rest}", "methods": ["PUT"], "ttl": "14d" }]);
    let mut vars = vars(json!([schedule(&json!({ "request": request }))]), json!([]));
    vars.values.insert("ROUTES".to_owned(), routes);
    let policy = Policy::parse(&vars).unwrap();
    let made = policy.schedules[0].request(SLOT).unwrap();
    let text = |text: &str| JobHeader::Text(text.to_owned());
    assert_eq!(
        (made.method.as_str(), made.url.as_str()),
        ("PUT", "https://a.example/jobs/2026-11-28")
    );
    assert_eq!(made.body.as_deref(), Some(r#"{"day":"2026-11-28"}"#));
    assert_eq!(
        made.headers,
        [
            ("idempotency-key".to_owned(), text("nightly-2026-11-28")),
            ("authorization".to_owned(), JobHeader::Secret("TOKEN".to_owned())),
            ("x-slot".to_owned(), text("1795848312")),
        ]
    );
}

#[test]
fn a_message_makes_a_request_or_says_what_it_lacks() {
    let policy = |more: &Value| Policy::parse(&vars(json!([]), json!([queue(more)]))).unwrap();
    let key_of = |more: &Value, body: Option<&str>| -> Result<String, String> {
        let made = policy(more).queues[0].request(Message { id: "m-1", body })?;
        match &made.headers[0].1 {
            JobHeader::Text(key) => Ok(format!("{key} {}", made.url)),
            JobHeader::Secret(_) => panic!("the key is no secret"),
        }
    };
    let kind = Some(r#"{"kind":"a/b","id":7}"#);
    assert_eq!(key_of(&json!({}), kind).unwrap(), "m-1 https://a.example/jobs/a%2Fb");
    assert_eq!(
        key_of(&json!({ "key": "body:/id" }), kind).unwrap(),
        "7 https://a.example/jobs/a%2Fb"
    );
    assert_eq!(
        key_of(&json!({ "key": "job-{body:/id}" }), kind).unwrap(),
        "job-7 https://a.example/jobs/a%2Fb"
    );
    for body in
        [None, Some("no JSON"), Some("{}"), Some(r#"{"kind":{}}"#), Some(r#"{"kind":1,"kind":2}"#)]
    {
        assert!(key_of(&json!({}), body).is_err(), "{body:?}");
    }
    assert!(key_of(&json!({ "key": "body:/other" }), kind).unwrap_err().contains("key"));
}

#[test]
fn what_a_schedule_must_not_be_is_named() {
    for (more, named) in [
        (json!({ "cron": 5 }), "SCHEDULES[0].cron: is 5"),
        (json!({ "request": {} }), "SCHEDULES[0].request.url: is missing"),
        (json!({ "request": { "url": "/jobs/run" } }), "SCHEDULES[0].request.url"),
        (
            json!({ "request": { "url": "https://{scheduled_time:date}.example/jobs" } }),
            "SCHEDULES[0].request.url",
        ),
        (
            json!({ "request": { "url": "https://a.example/jobs/run", "method": "GET" } }),
            "SCHEDULES[0].request.method",
        ),
        (
            json!({ "request": { "url": "https://a.example/jobs/run", "headers": { "Idempotency-Key": "x" } } }),
            "SCHEDULES[0].request.headers",
        ),
        (
            json!({ "request": { "url": "https://a.example/jobs/run", "headers": { "A": "b\nc" } } }),
            "SCHEDULES[0].request.headers",
        ),
        (
            json!({ "request": { "url": "https://a.example/jobs/run", "payload": "x" } }),
            "SCHEDULES[0].request.payload",
        ),
        (json!({ "key": "nightly-{scheduled_time:weekday}" }), "SCHEDULES[0].key"),
        (json!({ "key": "nightly-{message-id}" }), "SCHEDULES[0].key"),
        (json!({ "key": "nightly" }), "SCHEDULES[0].key: is the same for every slot"),
        (json!({ "on_duplicate": "skip" }), "SCHEDULES[0].on_duplicate"),
        (
            json!({ "request": { "url": "https://a.example/open" } }),
            "SCHEDULES[0].request: is POST /open, which no route guards",
        ),
        (
            json!({ "request": { "url": "https://a.example/shadow" } }),
            "SCHEDULES[0].request: is guarded by route shadowed, whose mode",
        ),
        (
            json!({ "request": { "url": "https://a.example/short" } }),
            "SCHEDULES[0].request: is guarded by route short, which forgets",
        ),
        (
            json!({ "request": { "url": "https://a.example/body" } }),
            "SCHEDULES[0].request: is guarded by route by-body, which does not look",
        ),
    ] {
        let wrong = wrong_schedule(&more);
        assert!(wrong.len() == 1 && wrong[0].starts_with(named), "{more}: {wrong:?}");
    }
    assert_eq!(
        wrong_schedule(&json!({ "key": "sync", "on_duplicate": "fail_on_running" })),
        [""; 0]
    );
    let twins = wrong(&vars(json!([schedule(&json!({})), schedule(&json!({}))]), json!([])));
    assert!(twins.len() == 1 && twins[0].starts_with("SCHEDULES[1].name"), "{twins:?}");
}

#[test]
fn what_a_queue_must_not_be_is_named() {
    for (more, named) in [
        (json!({ "key": "fixed" }), "QUEUES[0].key: is the same for every message"),
        (json!({ "key": "body:id" }), "QUEUES[0].key"),
        (
            json!({ "key": "{scheduled_time:date}-{message-id}" }),
            "QUEUES[0].request: has a place for a schedule's slot",
        ),
        (json!({ "concurrency": 7 }), "QUEUES[0].concurrency"),
        (json!({ "concurrency": 0 }), "QUEUES[0].concurrency"),
        (
            json!({ "request": { "url": "https://a.example/open" } }),
            "QUEUES[0].request: is POST /open, which no route guards",
        ),
        (json!({ "retries": 3 }), "QUEUES[0].retries"),
    ] {
        let wrong = wrong(&vars(json!([]), json!([queue(&more)])));
        assert!(wrong.len() == 1 && wrong[0].starts_with(named), "{more}: {wrong:?}");
    }
}

#[test]
fn what_follows_from_an_answer() {
    let retry = |seconds| Next::Retry(Duration::from_secs(seconds));
    let doubt = |seconds| Next::InDoubt(Duration::from_secs(seconds));
    let refused = |why: &str| Next::Refused(why.to_owned());
    for (outcome, status, after, next) in [
        (Some("executed"), 201, None, Next::Done),
        (Some("replayed"), 200, None, Next::Done),
        (Some("joined"), 204, None, Next::Done),
        (Some("already-executed"), 409, None, Next::Done),
        (Some("reply-not-stored"), 409, None, Next::Done),
        (Some("in-flight"), 409, Some(3), retry(3)),
        (Some("running"), 202, Some(5), retry(5)),
        (Some("origin-unreachable"), 502, Some(1), retry(1)),
        (Some("store-unavailable"), 503, Some(1), retry(1)),
        (Some("outcome-unknown"), 409, None, doubt(60)),
        (Some("outcome-unknown"), 504, Some(300), doubt(300)),
        (Some("outcome-unknown"), 409, Some(5), doubt(60)),
        (Some("unknown"), 503, Some(5), doubt(60)),
        (Some("released"), 429, Some(7), retry(7)),
        (Some("released"), 503, None, retry(10)),
        (Some("released"), 404, None, refused("404 released")),
        (Some("executed"), 402, None, refused("402 executed")),
        (Some("replayed"), 500, None, refused("500 replayed")),
        (Some("executed"), 302, None, refused("302 executed")),
        (Some("key-reused"), 422, None, refused("422 key-reused")),
        (Some("not-guarded"), 404, None, refused("404 not-guarded")),
        // The filter itself has failed: never done.
        (None, 200, None, retry(10)),
        (None, 500, Some(2), retry(2)),
    ] {
        let retry_after = after.map(Duration::from_secs);
        assert_eq!(Answered { status, outcome, retry_after }.next(), next, "{status} {outcome:?}");
    }
}
