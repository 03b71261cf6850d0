//! Where keys are taken from. An input is lines: the source, then two requests of four lines each, which
//! are two headers (those with names of odd and of even length), the query, and the body.

use oncegate::config::publish::published;
use oncegate::config::{Policy, Vars};
use oncegate::request::key_source::{Parts, Piece, Source, Value};
use serde_json::json;

/// Any text.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let spelled = lines.next().unwrap_or_default();
    let Ok(source) = Source::parse(spelled) else { return };
    let mut request = || -> [&str; 4] { [(); 4].map(|()| lines.next().unwrap_or_default()) };
    let [one, other] = [request(), request()];
    let [one_value, other_value] = [one, other].map(|request| value(&source, &request));
    if let Source::Template(pieces) = &source {
        let [one_set, other_set] = [one, other].map(|request| places(pieces, &request));
        let found = |value: &Value| matches!(value, Value::Found(_));
        for (value, set) in [(&one_value, &one_set), (&other_value, &other_set)] {
            assert_eq!(found(value), set.iter().all(found), "{spelled:?} of {set:?}");
        }
        if found(&one_value) && found(&other_value) {
            let same = one_set == other_set;
            assert_eq!(
                one_value == other_value,
                same,
                "{spelled:?} of {one_set:?} and {other_set:?}"
            );
        }
    }
    is_published_as_it_is(spelled, &source);
}

fn value(source: &Source, [odd, even, query, body]: &[&str; 4]) -> Value {
    let header =
        |name: &str| Some(if name.len() % 2 == 1 { (*odd).to_owned() } else { (*even).to_owned() });
    source.value(Parts { header: &header, query: Some(query), body: Some(body.as_bytes()) })
}

fn places(pieces: &[Piece], request: &[&str; 4]) -> Vec<Value> {
    let places = pieces.iter().filter_map(|piece| match piece {
        Piece::Place(source, _) => Some(source),
        Piece::Literal(_) => None,
    });
    places.map(|source| value(source, request)).collect()
}

/// What the published policy calls it is read as the same source.
fn is_published_as_it_is(spelled: &str, source: &Source) {
    let routes = json!([{ "key": { "from": [spelled] } }]).to_string();
    let values = [("ROUTES".to_owned(), serde_json::Value::String(routes))];
    let vars = Vars { values: values.into_iter().collect(), ..Vars::default() };
    let policy = Policy::parse(&vars);
    assert!(policy.is_ok(), "{spelled:?}: {policy:?}");
    let document = policy.map(|policy| published(&policy)).unwrap_or_default();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap_or_default();
    let shown = document.pointer("/routes/0/key/from/0").and_then(serde_json::Value::as_str);
    assert_eq!(shown.map(Source::parse), Some(Ok(source.clone())), "{spelled:?}");
}
