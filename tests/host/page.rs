//! The operators' page: that nothing from outside becomes markup, that it says the right thing of each
//! state, and that what it links to and posts is what the API reads.

mod pictures; // a record's life, and the plots
mod reading; // tags, texts and forms of a page

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use oncegate::config::route::Route;
use oncegate::job::answered::Next;
use oncegate::job::request::{JobRequest, RequestTemplate};
use oncegate::job::schedule::Schedule;
use oncegate::job::template::Template;
use oncegate::lifecycle::event::Strategy;
use oncegate::lifecycle::record::{Completed, Doubt, Metadata, Record, State};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::operator::api::{self, Action, ApiRequest, Draft};
use oncegate::operator::decide::{Decision, DecisionResult, decide, lease_of};
use oncegate::operator::documents::UnavailableShard;
use oncegate::operator::page::{self, PageContext};
use oncegate::operator::run::Slot;
use oncegate::operator::schedules::{ListedSchedule, Ran};
use oncegate::operator::search::{AuditEntry, Audited, FoundRecord, Position, RerunEntry, Search};
use oncegate::operator::statistics::{Counter, Statistics, hour_of};
use oncegate::operator::stored_reply::{StoredBody, StoredReply};
use oncegate::problem::Problem;
use oncegate::request::digest::hex;
use oncegate::time::Timestamp;
use proptest::prelude::*;

use crate::make::{
    cases, completed, days, doubt, fingerprint, key_id, lease, ms_before, operation, record, reply,
    running, s,
};

use self::reading::{Tag, fields, hides, read, says};

const NOW: Timestamp = Timestamp(1_795_315_165_433);
const ACTIONS: [Action; 4] = [Action::Complete, Action::Release, Action::Hold, Action::Purge];

fn context() -> PageContext {
    PageContext {
        nonce: "n0nce".to_owned(),
        csrf_token: "f0rm".to_owned(),
        query: None,
        now: NOW,
        unavailable: Vec::new(),
        has_schedules: true,
    }
}

fn body(text: &str) -> StoredReply {
    StoredReply { status: 201, headers: Some(Vec::new()), body: StoredBody::Text(text.to_owned()) }
}

fn asked(query: &str) -> PageContext {
    PageContext { query: Some(query.to_owned()), ..context() }
}

fn ago(span: Duration) -> Timestamp {
    NOW.minus(span)
}

fn found(state: State) -> FoundRecord {
    since(ago(s(3600)), state)
}

fn since(created: Timestamp, state: State) -> FoundRecord {
    let record = record(state);
    let record = Record { metadata: Metadata { created, ..record.metadata }, ..record };
    FoundRecord { key: key_id("order-1001"), record: record.at(NOW).unwrap(), replays: 3 }
}

fn in_doubt() -> FoundRecord {
    found(State::InDoubt(doubt(lease(7), ago(s(60)))))
}

fn stored() -> FoundRecord {
    found(State::Completed(completed(lease(7), ago(s(3599)))))
}

/// One record in each state, and the doubts that are told apart.
fn states() -> BTreeMap<&'static str, FoundRecord> {
    let kept = completed(lease(7), ago(s(3599)));
    let unkept = Reply { body: Kept::StatusOnly, ..reply(201, 0) };
    let old = completed(lease(7), ago(days(2)));
    let closed = doubt(lease(7), ago(days(91)));
    BTreeMap::from([
        ("running", found(State::Running(running(lease(7), ago(s(30)))))),
        ("completed", stored()),
        ("unkept", found(State::Completed(Completed { reply: unkept, ..kept }))),
        ("live doubt", found(State::InDoubt(doubt(lease(7), NOW.plus(s(40)))))),
        ("doubt", in_doubt()),
        (
            "expired",
            since(ago(days(3)), State::Completed(Completed { gone: NOW.plus(days(1)), ..old })),
        ),
        ("closed", since(ago(days(92)), State::InDoubt(closed))),
    ])
}

fn slot(word: &str) -> Slot {
    let template = |text: &str| {
        Template::try_from(text.to_owned()).unwrap_or_else(|_| String::new().try_into().unwrap())
    };
    let text = template(word);
    let request = RequestTemplate {
        method: word.to_owned(),
        url: text.clone(),
        headers: BTreeMap::new(),
        body: None,
    };
    let key = template(&format!("{word}{{scheduled_time:date}}"));
    let name = word.to_owned();
    let schedule = Schedule { name, cron: word.to_owned(), request, key, on_duplicate: None };
    Slot {
        request: JobRequest {
            method: word.to_owned(),
            url: word.to_owned(),
            headers: Vec::new(),
            body: None,
        },
        schedule: Rc::new(schedule),
        at: ago(days(20)),
        route: Rc::new(Route { name: word.to_owned(), ttl: days(14), ..Route::default() }),
        is_outside_window: true,
    }
}

fn listed(slot: &Slot) -> ListedSchedule {
    ListedSchedule {
        schedule: slot.schedule.clone(),
        route: Some(slot.route.clone()),
        latest: ago(s(60)),
        known_since: Some(ago(days(14))),
    }
}

fn nexts(why: &str) -> [Next; 4] {
    [Next::Done, Next::Retry(s(7)), Next::InDoubt(s(60)), Next::Refused(why.to_owned())]
}

fn ran(slot: &Slot, outcome: &'static str, next: Next) -> Ran {
    Ran { slot: slot.clone(), key_id: Some(key_id("order-1001")), outcome, status: 201, next }
}

/// Every page there is, with these words in every place that holds words from outside.
fn pages(word: &str, found: &FoundRecord) -> Vec<(String, String)> {
    let context = context();
    let problem = Problem::invalid(word).about(found.key);
    let query: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("correlation_id", word), ("route", word), ("since", word)])
        .finish();
    let asked = asked(&query);
    let draft = Draft { status: word.to_owned(), headers: word.to_owned(), body: word.to_owned() };
    let mut statistics = Statistics::default();
    statistics.add(word, Counter::Executed, 7);
    statistics.add(word, Counter::KeyReused, 1);
    let decision = AuditEntry {
        at: NOW,
        key: found.key,
        action: word.to_owned(),
        by: [1; 4],
        before: found.record.clone(),
        after: None,
    };
    let decisions = [decision];
    let rerun = RerunEntry {
        at: NOW,
        key: found.key,
        by: [1; 4],
        schedule: word.to_owned(),
        scheduled_time: NOW,
        route: word.to_owned(),
        method: word.to_owned(),
        path: word.to_owned(),
        correlation_id: word.to_owned(),
    };
    let audited = [Audited::Decision(Box::new(decisions[0].clone())), Audited::Rerun(rerun)];
    let list = [found.clone()];
    let mut pages = vec![
        ("log in".to_owned(), page::log_in("n0nce", Some(word))),
        (
            "overview".to_owned(),
            page::overview(&context, &list, &list, &[(hour_of(NOW), statistics)]),
        ),
        ("records".to_owned(), page::records(&asked, &list, Some("c0"))),
        ("no records".to_owned(), page::records(&asked, &[], None)),
        ("key".to_owned(), page::key(&context, word, &list)),
        ("no key".to_owned(), page::key(&context, word, &[])),
        ("record".to_owned(), page::record(&context, found, Some(&body(word)), &decisions)),
        ("refused".to_owned(), page::refused(&context, &problem)),
        ("audit".to_owned(), page::audit(&context, &audited, Some("c0"))),
        ("no audit".to_owned(), page::audit(&context, &[], None)),
    ];
    let slot = slot(word);
    pages.push(("schedules".to_owned(), page::schedules(&context, &[listed(&slot)])));
    pages.push(("outside window".to_owned(), page::outside_window(&context, &slot)));
    for next in nexts(word) {
        let name = format!("ran {}", next.as_str());
        pages.push((name, page::ran(&context, &ran(&slot, "executed", next))));
    }
    for (action, stays) in ACTIONS.into_iter().zip([true, false, true, false]) {
        let refused = (problem.clone(), draft.clone());
        let name = action.as_str();
        let page = page::confirm(&context, found, action, Some(&refused));
        pages.push((format!("confirm {name}"), page));
        pages.push((format!("decided {name}"), page::decided(&context, found.key, name, stays)));
    }
    pages
}

// Nothing from outside is markup.

fn shape(html: &str) -> Vec<(String, Vec<String>)> {
    let names = |tag: Tag| tag.attributes.into_iter().map(|(name, _)| name).collect();
    read(html).0.into_iter().map(|tag| (tag.name.clone(), names(tag))).collect()
}

fn with_words(word: &str) -> FoundRecord {
    let metadata = Metadata {
        fingerprint: fingerprint(1),
        operation: operation(1),
        route: word.to_owned(),
        method: word.to_owned(),
        path: word.to_owned(),
        correlation_id: word.to_owned(),
        created: NOW,
        status: None,
    };
    let reply = Reply { headers: vec![(word.to_owned(), word.to_owned())], ..reply(201, 4) };
    let state = State::Completed(Completed { reply, ..completed(lease(1), NOW) });
    FoundRecord { key: key_id("k"), record: Record { metadata, state }, replays: 0 }
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn words_from_outside_change_no_tag_and_no_attribute(
        word in prop_oneof![any::<String>(), r#"[<>"'&/=a ;!\-]{1,12}"#],
    ) {
        prop_assume!(!word.trim().is_empty());
        let plain = pages("word", &with_words("word"));
        for ((name, page), (_, plain)) in pages(&word, &with_words(&word)).into_iter().zip(plain) {
            prop_assert_eq!(shape(&page), shape(&plain), "{}", name);
        }
    }
}

#[test]
fn words_from_outside_come_through_as_text() {
    let word = "</title><script>alert('1')</script>\"onload=\"x&amp;";
    for (name, page) in pages(word, &with_words(word)) {
        if ["no audit", "decided", "confirm"].iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let (tags, text) = read(&page);
        let mut values = tags.iter().flat_map(|tag| &tag.attributes);
        let shown = text.contains(word) || values.any(|(_, value)| value.contains(word));
        assert!(shown, "{name} lost the word");
    }
}

#[test]
fn no_page_needs_what_the_policy_forbids() {
    for found in states().values() {
        for (name, page) in pages("word", found) {
            assert!(!page.contains("http:") && !page.contains("https:"), "{name} points elsewhere");
            for tag in read(&page).0 {
                assert!(!["script", "img", "iframe", "base"].contains(&tag.name.as_str()));
                if tag.name == "link" {
                    assert_eq!((tag.get("rel"), tag.get("href")), (Some("icon"), Some("data:,")));
                }
                if tag.name == "style" {
                    assert_eq!(tag.get("nonce"), Some("n0nce"), "{name}");
                }
                for (attribute, value) in &tag.attributes {
                    let is_free = attribute == "style" || attribute.starts_with("on");
                    assert!(!is_free, "{name}: {attribute}={value}");
                }
            }
        }
    }
}

#[test]
fn every_posted_form_but_the_log_in_carries_the_csrf_token() {
    for (name, page) in pages("word", &in_doubt()) {
        let (tags, _) = read(&page);
        let posts = tags.iter().filter(|tag| tag.get("method") == Some("post"));
        let actions: Vec<_> = posts.map(|tag| tag.get("action").unwrap().to_owned()).collect();
        assert!(!actions.is_empty(), "{name} has no way to log out");
        for action in actions.iter().filter(|action| *action != "/.oncegate/login") {
            let fields = fields(&page, action);
            assert_eq!(fields.get("form_token").map(String::as_str), Some("f0rm"), "{name}");
        }
    }
}

#[test]
fn every_link_and_form_is_one_that_the_api_reads() {
    let asked = |method: &str, address: &str| {
        let address = address.split('#').next().unwrap();
        let (path, query) = address.split_once('?').map_or((address, None), |(p, q)| (p, Some(q)));
        api::read(method, path, query, NOW)
    };
    let mut seen = 0;
    for found in states().values() {
        for (name, page) in pages("word", found) {
            let (tags, _) = read(&page);
            for address in tags.iter().filter_map(|tag| tag.get("href")) {
                // The cursors here are made up, and so is what a search asked for.
                if !["#main", "data:,"].contains(&address) && !address.contains("cursor=") {
                    assert!(asked("GET", address).is_ok(), "{name}: {address}");
                    seen += 1;
                }
            }
            for form in tags.iter().filter(|tag| tag.name == "form") {
                let (method, action) = (form.get("method").unwrap(), form.get("action").unwrap());
                let query: String = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(fields(&page, action).into_keys().map(|name| (name, "1h")))
                    .finish();
                let address = match (method, action) {
                    ("post", _) => action.to_owned(),
                    // Any state that there is.
                    _ => format!("{action}?{}", query.replace("state=1h", "state=running")),
                };
                let method = method.to_ascii_uppercase();
                assert!(asked(&method, &address).is_ok(), "{name}: {method} {address}");
                seen += 1;
            }
        }
    }
    assert!(seen > 500, "only {seen}");
}

#[test]
fn the_link_to_older_records_goes_on_with_the_same_search() {
    let query = "correlation_id=a%26b+c%2F..&state=completed&route=&since=2h&limit=7";
    let Ok(ApiRequest::Records { search, digest }) =
        api::read("GET", "/.oncegate/records", Some(query), NOW)
    else {
        panic!("the search does not parse")
    };
    let last = Position { at: ago(s(60)), key: key_id("last") };
    let cursor = api::cursor::write(&search, &digest, last);
    let page = page::records(&asked(query), &[stored()], Some(&cursor));
    let (tags, _) = read(&page);
    let next = tags.iter().find(|tag| tag.get("rel") == Some("next")).unwrap();
    let (path, query) = next.get("href").unwrap().split_once('?').unwrap();
    // Ten seconds later: the span still begins where it began.
    let later = NOW.plus(s(10));
    let expected = Search { after: Some(last), ..search };
    assert_eq!(
        api::read("GET", path, Some(query), later),
        Ok(ApiRequest::Records { search: expected, digest })
    );
}

#[test]
fn a_search_fills_its_form_again() {
    let query = "correlation_id=%3Cb%3E&state=expired&route=charge&since=2h";
    let page = page::records(&asked(query), &[], None);
    let fields = fields(&page, "/.oncegate/records");
    assert_eq!(fields["correlation_id"], "<b>");
    assert_eq!((fields["route"].as_str(), fields["since"].as_str()), ("charge", "2h"));
    let (tags, _) = read(&page);
    let chosen: Vec<_> = tags.iter().filter(|tag| tag.get("selected").is_some()).collect();
    assert_eq!(chosen.len(), 1);
    assert_eq!(chosen[0].get("value"), Some("expired"));
    says(&page, "No record is like that.");
}

#[test]
fn any_key_is_searched_for_as_it_was_typed() {
    for key in ["..", "a%2Fb", "it's \"quoted\"", "<a&b>", " two  words "] {
        let page = page::key(&context(), key, &[]);
        assert_eq!(fields(&page, "/.oncegate/keys")["key"], key);
    }
}

// What it says of each state.

#[test]
fn a_person_sees_what_a_retry_gets_and_why() {
    let page = |name: &str| page::record(&context(), &states()[name], None, &[]);
    says(&page("running"), "409 in-flight with Retry-After");
    says(&page("completed"), "201 replayed with Idempotent-Replayed: true: the stored answer");
    says(&page("completed"), "409 already-executed");
    says(&page("unkept"), "409 reply-not-stored");
    says(
        &page("doubt"),
        "409 outcome-unknown every time, because sending it on could execute it a second time",
    );
    says(&page("expired"), "410 key-expired because it was executed before");
    says(&page("closed"), "410 key-expired because it may have been executed");
    for name in states().keys() {
        says(&page(name), "422 key-reused");
    }
    let overview = page::overview(&context(), &[in_doubt()], &[stored()], &[]);
    says(&overview, "retry: 409 outcome-unknown");
    says(&overview, "retry: 201 replayed");
}

#[test]
fn a_record_shows_all_that_the_json_says() {
    let found = stored();
    let page = page::record(&context(), &found, None, &[]);
    for word in ["completed", "charge", "POST /v1/payments", "c-1", "3 times", "201", "4 bytes"] {
        says(&page, word);
    }
    says(&page, &hex(&found.key.0));
    says(&page, &hex(&lease_of(&found.record.state).0));
    says(&page, "content-type: application/json");
    // 2026-11-22T02:39:25Z is NOW; it was claimed an hour before.
    says(&page, "2026-11-22 01:39:25 UTC, 60 min ago");
    assert!(page.contains("<time datetime=\"2026-11-22T01:39:25.433Z\">"));
}

#[test]
fn decisions_are_offered_where_they_would_be_carried_out_and_nowhere_else() {
    for (name, found) in states() {
        let (tags, _) = read(&page::record(&context(), &found, None, &[]));
        for action in ACTIONS {
            let confirm = format!("/.oncegate/records/{}/{}", hex(&found.key.0), action.as_str());
            let offered = tags.iter().any(|tag| tag.get("href") == Some(&confirm));
            let page = page::confirm(&context(), &found, action, None);
            let asks = page.contains("action=\"/.oncegate/resolve\"");
            assert_eq!(offered, asks, "{name}: {action:?}");
            let decided = match action {
                Action::Complete => Decision::Complete(reply(201, 0)),
                Action::Release => Decision::Release,
                Action::Hold => Decision::Hold,
                Action::Purge => Decision::Purge,
            };
            let lease = lease_of(&found.record.state);
            let result = decide(Some(found.record.clone()), Some(lease), decided, NOW).result;
            assert_eq!(offered, result == DecisionResult::Done, "{name}: {action:?} is {result:?}");
        }
    }
}

#[test]
fn while_a_lease_is_live_it_says_until_when() {
    for name in ["running", "live doubt"] {
        let found = &states()[name];
        says(
            &page::record(&context(), found, None, &[]),
            "Nothing can be decided before 2026-11-22",
        );
        says(
            &page::confirm(&context(), found, Action::Release, None),
            "That cannot be decided before",
        );
    }
    let over = PageContext { now: NOW.plus(s(40)), ..context() };
    let before = PageContext { now: ms_before(over.now), ..context() };
    let page = |context: &PageContext| page::record(context, &states()["live doubt"], None, &[]);
    hides(&page(&before), "Complete: it was executed");
    says(&page(&over), "Complete: it was executed");
}

#[test]
fn a_confirmation_says_what_happens_to_the_customer() {
    let page = |found: &FoundRecord, action| page::confirm(&context(), found, action, None);
    says(
        &page(&in_doubt(), Action::Complete),
        "every retry gets exactly the answer below, until 2026-11-23 02:39:25 UTC, in 24 h.",
    );
    says(&page(&in_doubt(), Action::Release), "a payment is charged twice");
    says(&page(&in_doubt(), Action::Hold), "Until then every retry gets 409 outcome-unknown");
    says(&page(&in_doubt(), Action::Purge), "a payment is charged twice");
    says(&page(&stored(), Action::Purge), "executed a second time: a payment is charged twice");
    let over_old =
        Doubt { base: Some(completed(lease(2), ago(days(1)))), ..doubt(lease(7), ago(s(60))) };
    let over_old = found(State::InDoubt(over_old));
    let release = page(&over_old, Action::Release);
    says(&release, "is put back, and retries get it again");
    hides(&release, "charged twice");
}

#[test]
fn a_confirmed_form_is_the_decision_that_it_says() {
    for action in ACTIONS {
        let found = in_doubt();
        let page = page::confirm(&context(), &found, action, None);
        let mut fields = fields(&page, "/.oncegate/resolve");
        if action == Action::Complete {
            fields.insert("body".to_owned(), "{\r\n  \"id\": 1\r\n}".to_owned());
        }
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let Ok(ApiRequest::Decide(resolve)) = api::read_form(&field) else {
            panic!("{action:?} is no decision")
        };
        assert_eq!(resolve.decision.as_str(), action.as_str());
        assert_eq!((resolve.key, resolve.lease), (found.key, Some(lease(7))));
        if action == Action::Complete {
            assert_eq!(resolve.body, b"{\n  \"id\": 1\n}");
            let reply = Reply { body: Kept::Whole { bytes: 13 }, ..reply(201, 0) };
            assert_eq!(resolve.decision, Decision::Complete(reply));
        }
        let decided = decide(Some(found.record), resolve.lease, resolve.decision, NOW);
        assert_eq!(decided.result, DecisionResult::Done);
    }
}

#[test]
fn a_refused_completion_keeps_what_was_typed() {
    let found = in_doubt();
    let mut typed =
        fields(&page::confirm(&context(), &found, Action::Complete, None), "/.oncegate/resolve");
    typed.insert("headers".to_owned(), "no colon".to_owned());
    typed.insert("body".to_owned(), "\r\n{\"a\":\r\n</textarea>1}".to_owned());
    let field = |name: &str| typed.get(name).cloned().unwrap_or_default();
    let Ok(ApiRequest::Confirm { key: id, action: Action::Complete, refused: Some(refused) }) =
        api::read_form(&field)
    else {
        panic!("it is not asked for again")
    };
    assert_eq!(id, found.key);
    let page = page::confirm(&context(), &found, Action::Complete, Some(&refused));
    // A parser reads CR LF as one line end.
    let again = fields(&page.replace("\r\n", "\n"), "/.oncegate/resolve");
    assert_eq!(again, typed);
    says(&page, "The header line \"no colon\" has no colon");
}

#[test]
fn a_stored_body_is_shown_where_it_was_asked_for_and_not_endlessly() {
    let page = |reply: Option<&StoredReply>| page::record(&context(), &stored(), reply, &[]);
    let link = format!("/.oncegate/records/{}?body=1", hex(&stored().key.0));
    assert!(page(None).contains(&link));
    let text = page(Some(&body("\n<b>paid</b>")));
    assert!(text.contains("<pre>\n\n&lt;b&gt;paid&lt;/b&gt;</pre>") && !text.contains(&link));
    says(
        &page(Some(&StoredReply { body: StoredBody::Base64("AP8=".to_owned()), ..body("") })),
        "this is its base64. AP8=",
    );
    let long = format!("{}ü", "x".repeat(64 * 1024 - 1));
    let long = page(Some(&body(&long)));
    assert!(long.contains(&format!("{}</pre>", "x".repeat(64 * 1024 - 1))));
    says(&long, "The first 64 KiB of it.");
}

#[test]
fn a_body_without_room_on_the_page_is_linked() {
    let left_out = StoredReply { body: StoredBody::LeftOut, ..body("") };
    let page = page::record(&context(), &stored(), Some(&left_out), &[]);
    let address = format!("/.oncegate/records/{}/body", hex(&stored().key.0));
    let (tags, _) = read(&page);
    assert!(tags.iter().any(|tag| tag.get("href") == Some(&*address)), "{address}");
    says(&page, "The body is too large to be shown here.");
}

#[test]
fn shards_that_did_not_answer_are_named_and_nothing_is_claimed_for_them() {
    let missing =
        |shard| UnavailableShard { shard, why: "it did not answer within 5 s".to_owned() };
    let context = PageContext { unavailable: vec![missing(3), missing(7)], ..context() };
    for page in [
        page::overview(&context, &[], &[], &[]),
        page::records(
            &PageContext { query: Some("state=in_doubt".to_owned()), ..context.clone() },
            &[],
            None,
        ),
        page::audit(&context, &[], None),
    ] {
        says(&page, "Some shards could not be asked. What they hold is missing on this page.");
        says(&page, "Shard 3: it did not answer within 5 s");
        says(&page, "Shard 7: it did not answer within 5 s");
        hides(&page, "of every operation here it is known");
    }
    let many = PageContext { unavailable: (0..25).map(missing).collect(), ..context };
    says(&page::overview(&many, &[], &[], &[]), "And 15 more shards.");
}

#[test]
fn a_refusal_leads_back_to_its_record() {
    for result in [DecisionResult::MovedOn, DecisionResult::LeaseLive(NOW)] {
        let problem = result.problem(key_id("order-1001")).unwrap();
        let page = page::refused(&context(), &problem);
        assert!(page.contains(&format!("/.oncegate/records/{}\"", hex(&key_id("order-1001").0))));
    }
}

#[test]
fn a_slot_is_run_by_the_form_beside_its_schedule() {
    let slot = slot("nightly");
    let page = page::schedules(&context(), &[listed(&slot)]);
    // A minute before NOW.
    assert_eq!(
        fields(&page, "/.oncegate/schedules/nightly/run")["scheduled_time"],
        "2026-11-22T02:38"
    );
    says(&page, "Latest slot");
    let without = Route { on_duplicate: Strategy::FailOnRunning, ..Route::default() };
    let each = ListedSchedule { route: Some(Rc::new(without)), ..listed(&slot) };
    hides(&page, "each run executes it");
    says(&page::schedules(&context(), &[each]), "each run executes it");
}

#[test]
fn a_slot_that_is_too_old_is_asked_about_before_it_is_run() {
    let page = page::outside_window(&context(), &slot("nightly"));
    says(&page, "nobody knows whether it was run");
    says(&page, "keeps one for 14 days");
    says(&page, "all that the job does is done a second time");
    let fields = fields(&page, "/.oncegate/schedules/nightly/run");
    assert_eq!(
        (&*fields["scheduled_time"], &*fields["rerun"]),
        ("2026-11-02T02:39:25.433Z", "true")
    );
}

#[test]
fn what_came_of_a_slot_is_said_and_what_is_left_to_do() {
    let slot = slot("nightly");
    let page = |outcome, next| page::ran(&context(), &ran(&slot, outcome, next));
    let record = format!("/.oncegate/records/{}\"", hex(&key_id("order-1001").0));
    says(&page("executed", Next::Done), "The origin has executed it now and answered 201.");
    says(&page("replayed", Next::Done), "It was executed before, so nothing was done now.");
    says(&page("in-flight", Next::Retry(s(7))), "Run it again in 7 s");
    says(&page("unknown", Next::InDoubt(s(60))), "Find out, and decide on the page of its record.");
    says(&page("executed", Next::Refused("402 executed".to_owned())), "402 executed");
    assert!(page("unknown", Next::InDoubt(s(60))).contains(&record));
    assert!(!page("released", Next::Retry(s(7))).contains(&record), "it has left no record");
}

#[test]
fn without_schedules_nothing_leads_to_them() {
    let without = PageContext { has_schedules: false, ..context() };
    assert!(!page::overview(&without, &[], &[], &[]).contains("/.oncegate/schedules"));
    assert!(page::overview(&context(), &[], &[], &[]).contains("/.oncegate/schedules"));
}

#[test]
fn nothing_to_show_is_said_in_words() {
    let page = page::overview(&context(), &[], &[], &[]);
    says(&page, "Nothing is in doubt");
    says(&page, "No record yet.");
    says(&page, "Nothing was counted in the last 24 hours.");
    says(&page::key(&context(), "order-1", &[]), "There is no record of this key.");
    says(&page::audit(&context(), &[], None), "Nobody has decided anything yet.");
}

#[test]
fn what_is_in_doubt_comes_before_everything_but_the_search() {
    let page = page::overview(&context(), &[in_doubt()], &[stored()], &[]);
    let at = |what: &str| page.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(at("name=\"correlation_id\"") < at("id=\"doubts\""));
    assert!(at("id=\"doubts\"") < at("id=\"latest\"") && at("id=\"latest\"") < at("id=\"stats\""));
    assert!(page.contains("<title>1 in doubt · Oncegate</title>"));
}

proptest! {
    #![proptest_config(cases(256))]
    #[test]
    fn no_instant_and_no_number_stops_a_page(
        record in crate::arbitrary::record(),
        replays in any::<u32>(),
        now in crate::arbitrary::instant(),
        counts in any::<[u64; 3]>(),
    ) {
        let found = FoundRecord { key: key_id("k"), record, replays };
        let context = PageContext { now, ..context() };
        let mut statistics = Statistics::default();
        for (kind, more) in [Counter::Executed, Counter::Replayed, Counter::Joined].into_iter().zip(counts) {
            statistics.add("charge", kind, more);
        }
        let list = [found.clone()];
        read(&page::overview(&context, &list, &list, &[(hour_of(now), statistics.clone()), (hour_of(now), statistics)]));
        read(&page::record(&context, &found, None, &[]));
        for action in ACTIONS {
            read(&page::confirm(&context, &found, action, None));
        }
    }
}
