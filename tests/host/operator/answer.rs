//! Answers as JSON documents.

use oncegate::lifecycle::record::State;
use oncegate::operator::answer::{ApiResponse, Results, answer};
use oncegate::operator::api::ApiRequest;
use oncegate::operator::documents::UnavailableShard;
use oncegate::operator::query::OperatorResult;
use oncegate::operator::search::{FoundRecord, Search};
use oncegate::operator::stored_reply::{StoredBody, StoredReply};
use oncegate::request::digest::hex;
use oncegate::request::key::Key;
use serde_json::{Value, json};

use crate::make::{completed, doubt, instant, key_id, lease, record};

fn found(state: State) -> FoundRecord {
    FoundRecord { key: key_id("order-1"), record: record(state), replays: 0 }
}

fn document(request: &ApiRequest, results: Results) -> Value {
    let Ok(ApiResponse::Json(document)) = answer(request, results, None) else {
        panic!("no document")
    };
    serde_json::from_str(&document).unwrap()
}

#[test]
fn a_body_that_is_left_out_is_named_by_its_address() {
    let found = found(State::Completed(completed(lease(1), instant(1))));
    let request = ApiRequest::Key { key: Key::stored("order-1").unwrap(), with_body: true };
    let reply = |reply| {
        let records = vec![OperatorResult::Records(instant(2), vec![found.clone()])];
        let results = Results { results: records, replies: vec![reply], ..Results::default() };
        document(&request, results)["records"][0]["reply"].clone()
    };
    let address = format!("/.oncegate/records/{}/body", hex(&found.key.0));
    assert_eq!(
        reply(StoredReply::left_out(&found)),
        json!({"status": 201, "body_address": address})
    );
    let whole = StoredReply {
        status: 201,
        headers: Some(vec![("a".to_owned(), "b".to_owned())]),
        body: StoredBody::new(b"paid".to_vec()),
    };
    assert_eq!(reply(Some(whole)), json!({"status": 201, "headers": [["a", "b"]], "body": "paid"}));
    assert_eq!(reply(None), Value::Null);
}

#[test]
fn only_a_stored_reply_is_left_out() {
    assert_eq!(StoredReply::left_out(&found(State::InDoubt(doubt(lease(1), instant(1))))), None);
}

#[test]
fn bytes_that_are_no_text_are_written_in_base64() {
    assert_eq!(StoredBody::new(vec![0, 255, 128, 10]), StoredBody::Base64("AP+ACg==".to_owned()));
    assert_eq!(StoredBody::new("grüße".into()), StoredBody::Text("grüße".to_owned()));
}

#[test]
fn a_reply_takes_room_for_its_headers_too() {
    let headers = Some(vec![("name".to_owned(), "x".repeat(60_000))]);
    let reply = StoredReply { status: 200, headers, body: StoredBody::Text("body".to_owned()) };
    assert_eq!(reply.bytes(), 60_008);
}

#[test]
fn shards_that_did_not_answer_are_named_in_every_search() {
    let unavailable =
        vec![UnavailableShard { shard: 3, why: "it did not answer within 5 s".to_owned() }];
    let records = || OperatorResult::Records(instant(1), Vec::new());
    let stats = || OperatorResult::Stats(Vec::new());
    let search = Search { limit: 1, ..Search::default() };
    for (request, results) in [
        (ApiRequest::Overview, vec![records(), records(), stats()]),
        (ApiRequest::Records { search, digest: String::new() }, vec![records()]),
        (ApiRequest::Stats, vec![stats()]),
        (
            ApiRequest::Audit { after: None, limit: 1 },
            vec![OperatorResult::Audit(Vec::new()), OperatorResult::Reruns(Vec::new())],
        ),
    ] {
        let with = |unavailable| {
            document(
                &request,
                Results { results: results.clone(), unavailable, ..Results::default() },
            )
        };
        assert_eq!(
            with(unavailable.clone())["unavailable_shards"],
            json!([{"shard": 3, "why": "it did not answer within 5 s"}])
        );
        assert_eq!(with(Vec::new()).get("unavailable_shards"), None, "where all have answered");
    }
}
