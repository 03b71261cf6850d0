//! JSON bodies beside `serde_json::Value`: canonical form, fingerprint, pointers. An input is a pointer, a
//! line feed, and a body.

use std::fmt::Write as _;

use oncegate::request::fingerprint::{BodyRule, Rule};
use oncegate::request::json::{
    MarkedPointer, Need, Pointer, canonical, canonical_without, selected,
};
use serde_json::{Map, Value, json};

/// Any bytes.
pub fn check(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (pointer, body) = data.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let form = canonical(body);
    if let Some(form) = &form {
        has_one_form(body, form);
    }
    if let Some((text, pointer)) =
        str::from_utf8(pointer).ok().and_then(|text| Some((text, Pointer::parse(text)?)))
    {
        assert_eq!(Pointer::parse(&pointer.to_string()).as_ref(), Some(&pointer));
        names_what_it_names(&pointer, text, body, form.is_some());
    }
}

fn has_one_form(body: &[u8], form: &str) {
    // RFC 8785 writes 1e20 out, which is then an integer beyond 2^53: not safe, and compared by its bytes.
    let long =
        |text: &str| text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 15);
    let own = canonical(form.as_bytes());
    assert!(own.as_deref() == Some(form) || own.is_none() && long(form), "it is its own form");
    let rule = Rule { body: BodyRule::Json, ..Rule::default() };
    let digest = |body: &[u8]| rule.digest(body);
    // What is safely canonical is what everybody reads.
    let Ok(value) = serde_json::from_slice::<Value>(unmarked(body)) else {
        panic!("only we read {:?}", String::from_utf8_lossy(body));
    };
    assert_eq!(serde_json::from_str(form).map(plain).ok(), Some(plain(value.clone())));
    let respelled = respelled(&value);
    if !long(&respelled) {
        let again = canonical(respelled.as_bytes());
        assert_eq!(again.as_deref(), Some(form), "respelled: {respelled}");
        assert_eq!(digest(respelled.as_bytes()), digest(body));
    }
    for other in others(&value) {
        let other = other.to_string();
        assert_ne!(canonical(other.as_bytes()).as_deref(), Some(form), "other: {other}");
        assert_ne!(digest(other.as_bytes()), digest(body), "{other}");
    }
}

/// Without a byte order mark.
fn unmarked(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// As doubles, which is what RFC 8785 takes numbers for.
fn plain(value: Value) -> Value {
    match value {
        // Minus zero is zero.
        Value::Number(number) => json!(number.as_f64().map(|number| number + 0.0)),
        Value::Array(items) => items.into_iter().map(plain).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, plain(value))).collect()
        }
        other => other,
    }
}

/// The same value with its members in reverse, space everywhere, and every character escaped.
fn respelled(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(" ,\t");
    match value {
        Value::Array(items) => format!("[ {}\r]", list(items.iter().map(respelled).collect())),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                format!("{} : {}", escaped(name), respelled(value))
            };
            format!("{{\n{} }}", list(members.iter().rev().map(member).collect()))
        }
        Value::String(text) => escaped(text),
        // Without the point that serde_json gives every double, which adds a digit.
        other => other.to_string().trim_end_matches(".0").to_owned(),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::from('"');
    for unit in text.encode_utf16() {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
    out + "\""
}

/// Values that differ from this one in one place, a few.
fn others(value: &Value) -> Vec<Value> {
    let mut found = match value {
        Value::Null => vec![json!(false), json!("null"), json!([]), json!({})],
        Value::Bool(is) => vec![json!(!is), json!(is.to_string()), Value::Null],
        Value::Number(number) => {
            vec![json!(number.to_string()), json!(number.as_f64().map(|it| it / 2.0 + 1.0))]
                .into_iter()
                // 2 / 2 + 1 is 2.
                .filter(|other| plain(other.clone()) != plain(value.clone()))
                .collect()
        }
        Value::String(text) => vec![json!(format!("{text} ")), json!(format!("{text}\u{0}"))],
        Value::Array(items) => {
            let longer = items.iter().cloned().chain([Value::Null]).collect();
            let mut changed = vec![longer, json!([value])];
            for (at, item) in items.iter().enumerate().take(3) {
                changed.extend(others(item).into_iter().take(3).map(|other| {
                    let mut items = items.clone();
                    items.splice(at..=at, [other]);
                    Value::Array(items)
                }));
            }
            changed
        }
        Value::Object(members) => {
            let mut changed = vec![json!([value])];
            for (name, member) in members.iter().take(3) {
                let without: Map<String, Value> =
                    members.iter().filter(|(n, _)| *n != name).map(owned).collect();
                changed.extend(others(member).into_iter().take(3).map(|other| {
                    let with = without.clone().into_iter().chain([(name.clone(), other)]);
                    with.collect()
                }));
                changed.push(Value::Object(without));
            }
            changed
        }
    };
    found.truncate(12);
    found
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn names_what_it_names(pointer: &Pointer, text: &str, body: &[u8], is_canonical: bool) {
    let named = pointer.text(body);
    let Ok(value) = serde_json::from_slice::<Value>(unmarked(body)) else { return };
    let there = value.pointer(text);
    match (&named, there) {
        // A member on the way is there twice: nothing of such a body is ever compared by its form.
        (Err(_), _) => assert!(!is_canonical),
        (Ok(Some(named)), Some(Value::String(there))) => assert_eq!(named, there),
        (Ok(Some(named)), Some(Value::Number(there))) => {
            let digits = named.strip_prefix('-').unwrap_or(named);
            assert!(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()), "{named}");
            assert_eq!(named.parse::<f64>().ok(), there.as_f64());
        }
        (Ok(None), Some(Value::Number(there))) => assert!(there.is_f64(), "{there} at {text}"),
        (Ok(None), Some(there)) => assert!(!there.is_string(), "{there} at {text}"),
        (Ok(named), there) => assert!(named.is_none(), "{named:?} for {there:?} at {text}"),
    }
    let marked = |need| vec![MarkedPointer { pointer: pointer.clone(), need }];
    let required = selected(body, &marked(Need::Required));
    let selected = selected(body, &marked(Need::Optional));
    assert_eq!(required, selected.clone().filter(|_| there.is_some()), "at {text}");
    if is_canonical {
        is_left_out(pointer, text, body, &value);
        let one = selected.as_deref().and_then(<[_]>::first);
        let form = |there| canonical(respelled(there).as_bytes());
        match (there, there.and_then(form)) {
            (Some(_), Some(form)) => assert_eq!(one, Some(&Some(form)), "at {text}"),
            // As it is spelled here, it is not safely canonical.
            (Some(_), None) => assert!(one.is_some_and(Option::is_some), "at {text}"),
            (None, _) => assert_eq!(one, Some(&None), "at {text}"),
        }
        let digest = |body_rule| Rule { body: body_rule, ..Rule::default() }.digest(body);
        let by_pointer = digest(BodyRule::Pointers(marked(Need::Optional)));
        assert!(by_pointer.is_some_and(|it| Some(it) != digest(BodyRule::Json)));
    }
}

/// A form without a member or an item is that of the value without it.
fn is_left_out(pointer: &Pointer, text: &str, body: &[u8], value: &Value) {
    let form = canonical_without(body, std::slice::from_ref(pointer));
    let Some((parent, _)) = text.rsplit_once('/') else { return };
    let name = text.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
    let mut without = value.clone();
    match without.pointer_mut(parent) {
        Some(Value::Object(members)) => drop(members.remove(&name)),
        Some(Value::Array(items)) if value.pointer(text).is_some() => {
            if let Ok(at) = name.parse::<usize>() {
                items.remove(at);
            }
        }
        _ => {}
    }
    let expected = canonical(respelled(&without).as_bytes());
    // Spelled like this, it may not be safely canonical.
    assert!(expected.is_none() || form == expected, "without {text}: {form:?}");
}
