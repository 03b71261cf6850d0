//! What a request asks for, and how it is refused where it asks for nothing that there is.

use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::operator::api::{
    Action, ApiRequest, DecisionRequest, carries_token, cursor, read, read_form, read_json,
};
use oncegate::operator::decide::Decision;
use oncegate::operator::search::{Position, Search, StateKind};
use oncegate::problem::Problem;
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;

use crate::make::{instant, key, lease};

const NOW: Timestamp = instant(1_763_733_600);
const ID: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const LEASE: &str = "02020202020202020202020202020202";

fn get(target: &str) -> Result<ApiRequest, Problem> {
    ask("GET", target)
}

fn ask(method: &str, target: &str) -> Result<ApiRequest, Problem> {
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    read(method, &format!("/.oncegate/{path}"), query, NOW)
}

fn why(refused: Result<ApiRequest, Problem>) -> String {
    let problem = refused.unwrap_err();
    format!("{} {}", problem.status, problem.detail)
}

fn searched(target: &str) -> (Search, String) {
    match get(target) {
        Ok(ApiRequest::Records { search, digest }) => (search, digest),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_named_as_the_client_sent_it_whatever_characters_it_has() {
    for (query, text) in [
        ("key=8e03978e", "8e03978e"),
        ("key=.", "."),
        ("key=..", ".."),
        ("key=a%2Fb", "a/b"),
        ("key=a%252Fb", "a%2Fb"),
        ("key=%22", "\""),
        ("key=a+b&body=0", "a b"),
        ("key=%5C%3B%2C%26%3D%23", "\\;,&=#"),
    ] {
        let Ok(ApiRequest::Key { key, with_body: false }) = get(&format!("keys?{query}")) else {
            panic!("{query}")
        };
        assert_eq!(key.as_str(), text);
    }
    assert!(matches!(get("keys?key=a&body=1"), Ok(ApiRequest::Key { with_body: true, .. })));
    assert_eq!(key("\"a/b\"").as_str(), "a/b", "the key that a client quotes");
}

#[test]
fn a_search_is_what_its_parameters_say() {
    let (search, _) = searched(
        "records?correlation_id=c-1&state=in_doubt&route=charge&since=2025-11-21T14:00:00Z&limit=7",
    );
    let expected = Search {
        correlation_id: Some("c-1".to_owned()),
        state: Some(StateKind::InDoubt),
        route: Some("charge".to_owned()),
        since: Some(instant(1_763_733_600)),
        after: None,
        limit: 7,
    };
    assert_eq!(search, expected);
    assert_eq!(searched("records?since=2h").0.since, Some(instant(1_763_733_600 - 7200)));
    assert_eq!(searched("records?correlation_id=&state=").0, searched("records").0, "empty fields");
}

#[test]
fn a_cursor_goes_on_with_its_own_search_only() {
    let last = Position { at: Timestamp(12), key: KeyId([3; 32]) };
    for target in ["records?", "records?state=in_doubt&", "records?since=2h&route=charge&"] {
        let (search, digest) = searched(target);
        let cursor = cursor::write(&search, &digest, last);
        let (on, _) = searched(&format!("{target}cursor={cursor}"));
        assert_eq!((on.after, on.since), (Some(last), search.since));
        let more = searched(&format!("{target}limit=3&cursor={cursor}")).0;
        assert_eq!((more.after, more.limit), (Some(last), 3), "pages may differ in length");
        for other in ["records?state=completed&", "records?since=3h&", "records?correlation_id=x&"]
        {
            let refused = why(get(&format!("{other}cursor={cursor}")));
            assert!(refused.starts_with("400 cursor is not one of this search"), "{refused}");
        }
        for at in [1, 63, 64, 95, 96, cursor.len() - 1] {
            assert!(get(&format!("{target}cursor={}", &cursor[..at])).is_err(), "cut at {at}");
        }
    }
    let cursor = cursor::write_audit(last);
    assert_eq!(
        get(&format!("audit?cursor={cursor}&limit=9")),
        Ok(ApiRequest::Audit { after: Some(last), limit: 9 })
    );
    assert!(why(get("audit?cursor=1")).starts_with("400 cursor"));
}

#[test]
fn what_is_wrong_with_a_request_is_named() {
    for (method, target, expected) in [
        ("GET", "keys?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q", "400 There are too many"),
        ("GET", "keys", "400 key is missing"),
        ("GET", "keys?key=%0A", "400 No key is longer"),
        ("GET", "keys?key=a&body=2", "400 body must be"),
        ("GET", "keys?key=a&key=b", "400 \"key\" is there twice"),
        ("GET", "records?statee=in_doubt", "400 There is no parameter \"statee\""),
        ("GET", "records?state=lost", "400 state must be one of"),
        ("GET", "records?limit=0", "400 limit must be"),
        ("GET", "records?limit=201", "400 limit must be"),
        ("GET", "records?since=soon", "400 since must be"),
        ("GET", "records/12", "400 key_id must be"),
        ("GET", "stats?x=1", "400 \"x\" is not asked for"),
        ("POST", "records", "405 Use GET"),
        ("PUT", "records/12", "405 Use GET, DELETE"),
        ("GET", "resolve", "405 Use POST"),
        ("GET", "nowhere", "404 Nothing is here"),
        ("GET", "records/", "400 key_id must be"),
        ("GET", "a/b/c/d", "404 Nothing is here"),
    ] {
        let why = why(ask(method, target));
        assert!(why.starts_with(expected), "{method} {target}: {why}");
    }
}

#[test]
fn a_record_is_named_by_its_key_id() {
    let id = KeyId([1; 32]);
    assert_eq!(get(&format!("records/{ID}")), Ok(ApiRequest::Record { key: id, with_body: false }));
    assert_eq!(
        get(&format!("records/{ID}?body=1")),
        Ok(ApiRequest::Record { key: id, with_body: true })
    );
    assert_eq!(
        get(&format!("records/{ID}/release")),
        Ok(ApiRequest::Confirm { key: id, action: Action::Release, refused: None })
    );
    let purge = |lease| {
        Ok(ApiRequest::Decide(DecisionRequest {
            key: id,
            lease,
            decision: Decision::Purge,
            body: Vec::new(),
        }))
    };
    assert_eq!(ask("DELETE", &format!("records/{ID}")), purge(None));
    assert_eq!(ask("DELETE", &format!("records/{ID}?lease={LEASE}")), purge(Some(lease(2))));
}

#[test]
fn a_token_in_an_address_is_noticed() {
    for query in ["token=x", "a=b&access_token=x", "ADMIN_TOKEN=x", "%74oken=x"] {
        assert!(carries_token(Some(query)), "{query}");
    }
    assert!(!carries_token(Some("key=token&correlation_id=token")));
    assert!(!carries_token(None));
}

#[test]
fn a_decision_as_json_and_as_a_form_is_the_same() {
    let json = format!(
        r#"{{"key_id":"{ID}","lease":"{LEASE}","action":"complete","status":201,"headers":{{"Content-Type":"application/json"}},"body":"{{\"id\":1}}"}}"#
    );
    let expected = DecisionRequest {
        key: KeyId([1; 32]),
        lease: Some(lease(2)),
        decision: Decision::Complete(Reply {
            status: 201,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Kept::Whole { bytes: 8 },
        }),
        body: br#"{"id":1}"#.to_vec(),
    };
    assert_eq!(read_json(json.as_bytes()), Ok(expected.clone()));
    let fields = [
        ("key_id", ID),
        ("lease", LEASE),
        ("action", "complete"),
        ("status", " 201 "),
        ("headers", "Content-Type: application/json\r\n\r\n"),
        ("body", r#"{"id":1}"#),
    ];
    let field = |name: &str| {
        let found = fields.iter().find(|(known, _)| *known == name);
        found.map_or(String::new(), |(_, value)| (*value).to_owned())
    };
    assert_eq!(read_form(&field), Ok(ApiRequest::Decide(expected.clone())));
    // JSON as JSON is the same text.
    let plain = json.replace(r#""{\"id\":1}""#, r#"{"id":1}"#);
    assert_eq!(read_json(plain.as_bytes()), Ok(expected));
}

#[test]
fn a_body_that_is_json_is_kept_to_the_byte() {
    let raw = r#"{"z": 1.10, "id":12345678901234567890123, "z":2}"#;
    let json = format!(
        r#"{{"key_id":"{ID}","lease":"{LEASE}","action":"complete","status":200,"body": {raw} }}"#
    );
    assert_eq!(read_json(json.as_bytes()).unwrap().body, raw.as_bytes());
}

#[test]
fn a_decision_that_cannot_be_carried_out_says_why() {
    let with = |more: &str| format!(r#"{{"key_id":"{ID}","lease":"{LEASE}",{more}}}"#);
    for (body, expected) in [
        ("[]".to_owned(), "The body is not a JSON object"),
        ("{".to_owned(), "The body is not a JSON object"),
        (with(r#""action":"finish""#), "action must be"),
        (
            with(r#""action":"release","lase":1"#),
            "The body is not a JSON object with key_id, lease and action: lase: unknown field `lase`",
        ),
        (with(r#""action":"complete""#), "status must be"),
        (with(r#""action":"complete","status":99"#), "status must be"),
        (with(r#""action":"complete","status":600"#), "status must be"),
        (with(r#""action":"complete","status":204,"body":"x""#), "A 204 has no body"),
        (with(r#""action":"complete","status":200,"headers":{"a b":"c"}"#), "The header \"a b\""),
        (with(r#""action":"complete","status":200,"headers":{"a":"b\nc"}"#), "The header \"a\""),
        (
            with(r#""action":"complete","status":200,"headers":{"Set-Cookie":"a=b"}"#),
            "The header \"set-cookie\" is never kept",
        ),
        (
            with(r#""action":"complete","status":200,"headers":["a"]"#),
            "The body is not a JSON object with key_id, lease and action: headers: invalid type: sequence, expected an object of texts, such as {\"Content-Type\"",
        ),
        (
            with(r#""action":"complete","status":"200""#),
            "The body is not a JSON object with key_id, lease and action: status: invalid type: string \"200\"",
        ),
        (
            with(r#""action":"release"} {"#),
            "The body is not a JSON object with key_id, lease and action: trailing characters",
        ),
        (
            with(r#""action":"complete","status":200,"headers":{"Content-Encoding":"gzip"}"#),
            "The body is stored as it is given",
        ),
        (with(r#""action":"release","status":200"#), "status, headers and body go with"),
        (format!(r#"{{"key_id":"{ID}","action":"release"}}"#), "lease is missing"),
        (format!(r#"{{"lease":"{LEASE}","action":"release"}}"#), "key_id must be"),
        (format!(r#"{{"key_id":"{ID}","lease":"02","action":"release"}}"#), "lease must be"),
    ] {
        let problem = read_json(body.as_bytes()).unwrap_err();
        assert_eq!(problem.status, 400);
        assert!(problem.detail.starts_with(expected), "{body}: {}", problem.detail);
    }
}
