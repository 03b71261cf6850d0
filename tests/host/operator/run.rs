//! Slots that are run by hand: which one is meant, and which cannot be told from one that never ran.

use oncegate::config::{Policy, Vars};
use oncegate::operator::answer::{ApiResponse, schedules};
use oncegate::operator::api::{ApiRequest, read};
use oncegate::operator::query::{OperatorQuery, OperatorResult};
use oncegate::operator::run::{RunRequest, Slot, read_slot};
use oncegate::operator::schedules::list;
use oncegate::operator::search::{Audited, Position, RerunEntry};
use oncegate::problem::{Code, Problem};
use oncegate::time::{Timestamp, rfc3339};
use serde_json::{Map, Value, json};

use crate::make::{days, key_id, ms_after, ms_before, s};

/// 2026-11-28T06:45:12.345Z, a Saturday.
const NOW: Timestamp = Timestamp(1_795_848_312_345);

fn policy(schedule: &Value, route: &Value) -> Policy {
    let mut all = json!({ "name": "nightly", "cron": "0 2 * * *", "request": { "url": "https://a.example/jobs/{scheduled_time:date}" }, "key": "nightly-{scheduled_time:date}" });
    all.as_object_mut().unwrap().extend(schedule.as_object().unwrap().clone());
    let mut jobs = json!({ "name": "jobs", "path": "/jobs/{*rest}", "ttl": "14d" });
    jobs.as_object_mut().unwrap().extend(route.as_object().unwrap().clone());
    let values = Map::from_iter([
        ("ROUTES".to_owned(), json!([jobs])),
        ("SCHEDULES".to_owned(), json!([all])),
    ]);
    Policy::parse(&Vars { values, ..Vars::default() }).unwrap()
}

fn of(schedule: &Value) -> Policy {
    policy(schedule, &json!({}))
}

fn asked(scheduled_time: Option<Timestamp>) -> RunRequest {
    RunRequest { schedule: "nightly".to_owned(), scheduled_time, rerun: false }
}

fn slot(policy: &Policy, at: &str) -> Result<Slot, Problem> {
    asked(Some(read_slot(at)?)).slot(policy, NOW)
}

fn why(refused: Result<Slot, Problem>) -> String {
    let problem = refused.unwrap_err();
    format!("{} {}", problem.status, problem.detail)
}

#[test]
fn the_latest_slot_is_meant_unless_another_is_named() {
    for (cron, now, latest) in [
        ("0 2 * * *", NOW, "2026-11-28T02:00:00.000Z"),
        ("*/5 * * * *", NOW, "2026-11-28T06:45:00.000Z"),
        ("46 6 * * *", NOW, "2026-11-27T06:46:00.000Z"),
        // Weekdays count from 1, which is Sunday: 2026-11-22.
        ("0 0 * * 1", NOW, "2026-11-22T00:00:00.000Z"),
        ("0 0 1 1 *", NOW, "2026-01-01T00:00:00.000Z"),
        // What is no cron here may be one for the platform: the present minute.
        ("@often", NOW, "2026-11-28T06:45:00.000Z"),
        // It has begun, and a millisecond before it has not.
        ("45 6 * * *", Timestamp(1_795_848_300_000), "2026-11-28T06:45:00.000Z"),
        ("45 6 * * *", Timestamp(1_795_848_299_999), "2026-11-27T06:45:00.000Z"),
    ] {
        let policy = of(&json!({ "cron": cron }));
        assert_eq!(rfc3339(asked(None).slot(&policy, now).unwrap().at), latest, "{cron}");
    }
}

#[test]
fn an_instant_is_written_in_several_ways() {
    for text in [
        "2026-11-28T02:00:00Z",
        "2026-11-28T02:00:00.000Z",
        "2026-11-28T02:00",
        "2026-11-28T02:00:00",
        "2026-11-28 02:00:00Z",
        "2026-11-28T03:30:00+01:30",
        "2026-11-27T21:00:00-05:00",
        "1795831200000",
    ] {
        assert_eq!(read_slot(text), Ok(Timestamp(1_795_831_200_000)), "{text}");
    }
    for text in [
        "",
        "now",
        "2026-11-28",
        "02:00",
        "-1",
        "1e3",
        "2026-11-28T02:00:00 01:00",
        "99999999999999999999",
    ] {
        assert_eq!(read_slot(text).unwrap_err().code, Code::InvalidRequest, "{text}");
    }
}

#[test]
fn what_is_no_slot_is_refused_and_the_nearest_are_named() {
    let nightly = of(&json!({}));
    assert_eq!(slot(&nightly, "2026-11-27T02:00").unwrap().key(), "nightly-2026-11-27");
    for at in ["2026-11-27T02:01", "2026-11-27T02:00:01Z", "2026-11-27T02:00:00.001Z"] {
        let why = why(slot(&nightly, at));
        assert!(why.starts_with("400 ") && why.contains("is no slot of \"0 2 * * *\""), "{why}");
        assert!(why.contains("2026-11-27T02:00:00.000Z and 2026-11-28T02:00:00.000Z"), "{why}");
    }
    // Whether it is one cannot be told.
    assert!(slot(&of(&json!({ "cron": "@often" })), "2026-11-27T02:01").is_ok());
}

#[test]
fn a_slot_that_lies_ahead_is_refused_unless_clocks_may_differ_by_that_much() {
    let policy = of(&json!({ "cron": "* * * * *" }));
    assert!(slot(&policy, "2026-11-28T06:46").is_ok(), "48 s ahead");
    assert!(why(slot(&policy, "2026-11-28T06:47")).contains("lies ahead"));
    assert!(why(slot(&policy, "18446744073709551615")).contains("lies ahead"));
}

#[test]
fn a_schedule_is_named_or_those_that_there_are() {
    let other = RunRequest { schedule: "weekly".to_owned(), ..asked(None) };
    assert_eq!(
        why(other.slot(&of(&json!({})), NOW)),
        "404 There is no such schedule: use one of nightly."
    );
    let none = Policy::parse(&Vars { values: Map::new(), ..Vars::default() }).unwrap();
    assert_eq!(why(asked(None).slot(&none, NOW)), "404 SCHEDULES has no schedule.");
}

#[test]
fn a_slot_that_its_record_would_have_left_by_now_is_outside_the_window() {
    let every_minute = json!({ "cron": "* * * * *", "key": "{scheduled_time:minute}" });
    let slot_ago = Timestamp(1_795_848_300_000);
    for (route, kept) in [
        (json!({ "ttl": "14d" }), days(14)),
        (json!({ "ttl": "1d", "tombstone": "9d" }), days(10)),
        // A doubt is forgotten sooner than a reply: `doubt_ttl`, and 90 days more.
        (json!({ "ttl": "365d", "doubt_ttl": "10d" }), days(100)),
    ] {
        let policy = policy(&every_minute, &route);
        let is_outside = |now| {
            let slot = asked(Some(slot_ago)).slot(&policy, now).unwrap();
            slot.is_outside_window
        };
        // A minute sooner, since clocks differ.
        let last = slot_ago.plus(kept).minus(s(60));
        assert!(!is_outside(ms_before(last)) && !is_outside(last), "{route}");
        assert!(is_outside(ms_after(last)), "{route}");
    }
    let refused = slot(&of(&json!({})), "2026-11-01T02:00").unwrap().outside_window();
    assert_eq!((refused.status, refused.code.as_str()), (412, "outside-window"));
    assert!(refused.detail.contains("14 days") && refused.detail.contains(r#"{"rerun": true}"#));
}

#[test]
fn where_slots_have_no_key_of_their_own_none_is_too_old() {
    let policy = of(&json!({ "key": "sync", "on_duplicate": "fail_on_running" }));
    assert!(!slot(&policy, "2020-01-01T02:00").unwrap().is_outside_window);
    assert_eq!(list(&policy, NOW)[0].known_since, None);
}

#[test]
fn a_run_is_what_path_query_and_body_say() {
    let run = |target: &str| {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        match read("POST", &format!("/.oncegate/schedules/{path}"), query, NOW) {
            Ok(ApiRequest::Run(run)) => Ok(run),
            Ok(other) => panic!("{other:?}"),
            Err(problem) => Err(problem.detail),
        }
    };
    assert_eq!(run("nightly/run"), Ok(asked(None)));
    assert_eq!(run("nightly/run?scheduled_time="), Ok(asked(None)));
    assert_eq!(run("nightly/run?scheduled_time=9"), Ok(asked(Some(Timestamp(9)))));
    assert_eq!(run("a%2Fb%25/run").unwrap().schedule, "a/b%");
    assert!(run("nightly/run?scheduled=9").unwrap_err().starts_with("There is no parameter"));
    assert!(run("nightly/run?scheduled_time=soon").unwrap_err().starts_with("scheduled_time must"));
    for (body, rerun) in [
        ("", false),
        (" \n", false),
        ("{}", false),
        (r#"{"rerun":false}"#, false),
        (r#" {"rerun": true}"#, true),
    ] {
        assert_eq!(asked(None).with_json(body.as_bytes()).unwrap().rerun, rerun, "{body}");
    }
    for body in ["[]", "[true]", "true", "{", r#"{"rerun":1}"#, r#"{"again":true}"#, "rerun=true"] {
        assert_eq!(asked(None).with_json(body.as_bytes()).unwrap_err().status, 400, "{body}");
    }
    let form = |fields: &'static [(&str, &str)]| {
        let field = move |name: &str| {
            let found = fields.iter().find(|(known, _)| *known == name);
            found.map_or(String::new(), |(_, value)| (*value).to_owned())
        };
        asked(None).with_form(&field)
    };
    let chosen = form(&[("scheduled_time", "2026-11-28T02:00")]).unwrap();
    assert_eq!((chosen.scheduled_time, chosen.rerun), (Some(Timestamp(1_795_831_200_000)), false));
    assert!(form(&[("rerun", "true")]).unwrap().rerun);
    assert!(form(&[("scheduled_time", "soon")]).is_err());
}

#[test]
fn the_list_shows_what_is_configured() {
    let listed = list(&of(&json!({})), NOW);
    let Ok(ApiResponse::Json(document)) = schedules(&listed, None) else { panic!("no document") };
    assert_eq!(
        serde_json::from_str::<Value>(&document).unwrap(),
        json!({ "schedules": [{
            "name": "nightly",
            "cron": "0 2 * * *",
            "key": "nightly-{scheduled_time:date}",
            "on_duplicate": null,
            "method": "POST",
            "url": "https://a.example/jobs/{scheduled_time:date}",
            "route": "jobs",
            "latest": "2026-11-28T02:00:00.000Z",
            "known_since": "2026-11-14T06:46:12.345Z",
        }] })
    );
}

#[test]
fn pages_of_reruns_and_decisions_are_one_list() {
    let rerun = |at: u64, n: &str| RerunEntry {
        at: Timestamp(at),
        key: key_id(n),
        by: [1; 4],
        schedule: "nightly".to_owned(),
        scheduled_time: NOW,
        route: "jobs".to_owned(),
        method: "POST".to_owned(),
        path: "/jobs".to_owned(),
        correlation_id: "c".to_owned(),
    };
    let query = OperatorQuery::Reruns { after: None, limit: 2 };
    let shards =
        [vec![rerun(5, "a"), rerun(1, "b")], vec![rerun(3, "c")]].map(OperatorResult::Reruns);
    let merged =
        shards.into_iter().fold(query.empty_result(), |all, more| query.merge(all, more).unwrap());
    let OperatorResult::Reruns(merged) = merged else { panic!("{merged:?}") };
    assert_eq!(merged.iter().map(|rerun| rerun.at.0).collect::<Vec<_>>(), [5, 3]);
    let page = Audited::page(Vec::new(), merged, 1);
    let at = Timestamp(5);
    assert_eq!(
        page.iter().map(Audited::position).collect::<Vec<_>>(),
        [Position { at, key: key_id("a") }]
    );
}
