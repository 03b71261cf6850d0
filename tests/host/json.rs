//! `json` beside other readers and writers: what it takes, the canonical form, what it writes.

use oncegate::request::json::{self, Json, canonical};
use proptest::prelude::*;
use serde_json::Value;

use crate::make::cases;

/// Any JSON, spelled in many ways, and what is almost JSON.
fn texts() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        numbers(),
        "\"([ -~é€𝄞\u{7f}]|\\\\[\"\\\\/bfnrtux]|\\\\u00[0-9a-f]{2}|\\\\ud83[4d]\\\\ude0[0-9]|\\\\ud83d){0,4}\"",
        prop_oneof![Just("true"), Just("false"), Just("null"), Just("nul"), Just("")]
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let space = "[ \t\r\n]{0,1}";
        let name = "\"([ab1é𝄞\u{fb33}\u{20ac}]|\\\\u0061|\\\\r){0,2}\"";
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space).prop_map(|(items, s)| format!(
                "{s}[{s}{}{s}]{s}",
                items.join(&format!("{s},{s}"))
            )),
            prop::collection::vec((name, inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(n, v)| format!("{n} :{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,17})",
        "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?",
        "-?0\\.0{0,8}[0-9]{1,16}",
        "-?[0-9]{1,3}\\.?[0-9]{0,2}e?-?[0-9]{0,2}",
        "(-?9007199254740(991|992|993)|1e(299|300)|9\\.99999999999999e(299|-301)|1e-(300|301))",
    ]
}

/// The rule by way of doubles.
fn is_safe(number: &str) -> bool {
    if let Ok(integer) = number.parse::<i64>() {
        return integer.unsigned_abs() <= 1 << 53;
    }
    let mantissa = number.split(['e', 'E']).next().unwrap();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0').count();
    let zero = mantissa.bytes().all(|b| !matches!(b, b'1'..=b'9'));
    digits <= 15 && (zero || (1e-300..1e300).contains(&number.parse::<f64>().unwrap().abs()))
}

proptest! {
    #![proptest_config(cases(5000))]

    #[test]
    fn a_number_is_written_as_its_double_is(number in numbers()) {
        let other = serde_json::from_str::<Value>(&number).ok().filter(|_| is_safe(&number));
        let other = other.map(|value| serde_json_canonicalizer::to_vec(&value).unwrap());
        prop_assert_eq!(canonical(number.as_bytes()), other, "{}", number);
    }

    #[test]
    fn it_takes_what_others_take_and_writes_what_others_write(text in texts()) {
        let value = serde_json::from_str::<Value>(&text).ok();
        if let Ok(own) = Json::parse(&text) {
            let again = serde_json::from_str::<Value>(&own.to_string()).ok();
            prop_assert_eq!(&again, &value);
        }
        match canonical(text.as_bytes()) {
            Some(form) => prop_assert_eq!(Some(form), value.map(|v| serde_json_canonicalizer::to_vec(&v).unwrap())),
            // Not JSON, a number that is not safe, a member twice.
            None => prop_assert!(
                value.is_none() || Json::parse(&text).is_err() || text.contains(|c: char| c.is_ascii_digit())
            ),
        }
        // Members twice apart, it is JSON for both; but a double is too small for some numbers.
        let other = serde_json::from_str::<Value>(&text);
        let too_large = other.as_ref().is_err_and(|e| e.to_string().starts_with("number out of range"));
        if !too_large {
            let is_json = other.is_ok() && !has_twice(&text);
            prop_assert_eq!(Json::parse(&text).is_ok(), is_json, "{}", text);
        }
    }

    #[test]
    fn what_is_written_is_what_is_read(name in "[^lno].*", text in any::<String>(), number: u64) {
        let document = json::object(|object| {
            object.text(&name, &text);
            object.list("list", |list| {
                list.item_text(&text);
                list.item_list(|inner| inner.item_text(""));
                list.item(|_| {});
                list.item(|inner| inner.number("n", number));
            });
            object.maybe_text("null", None);
            object.object("o", |inner| inner.flag("f", true));
        });
        let read: Value = serde_json::from_str(&document).unwrap();
        let list = serde_json::json!([text, [""], {}, { "n": number }]);
        prop_assert_eq!(&read["list"], &list);
        prop_assert!(read["null"].is_null());
        prop_assert_eq!(&read["o"], &serde_json::json!({ "f": true }));
        prop_assert_eq!(read.get(&name).and_then(Value::as_str), Some(text.as_str()));
    }
}

/// Whether a member is there twice somewhere, as a third reader sees it.
fn has_twice(text: &str) -> bool {
    struct Seen;
    impl<'de> serde::de::Visitor<'de> for Seen {
        type Value = Twice;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("JSON")
        }
        fn visit_unit<E>(self) -> Result<Twice, E> {
            Ok(Twice(false))
        }
        fn visit_bool<E>(self, _: bool) -> Result<Twice, E> {
            Ok(Twice(false))
        }
        fn visit_i64<E>(self, _: i64) -> Result<Twice, E> {
            Ok(Twice(false))
        }
        fn visit_u64<E>(self, _: u64) -> Result<Twice, E> {
            Ok(Twice(false))
        }
        fn visit_f64<E>(self, _: f64) -> Result<Twice, E> {
            Ok(Twice(false))
        }
        fn visit_str<E>(self, _: &str) -> Result<Twice, E> {
            Ok(Twice(false))
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Twice, A::Error> {
            let mut twice = false;
            while let Some(Twice(inner)) = seq.next_element()? {
                twice |= inner;
            }
            Ok(Twice(twice))
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Twice, A::Error> {
            let (mut names, mut twice) = (std::collections::BTreeSet::new(), false);
            while let Some((name, Twice(inner))) = map.next_entry::<String, Twice>()? {
                twice |= inner | !names.insert(name);
            }
            Ok(Twice(twice))
        }
    }
    struct Twice(bool);
    impl<'de> serde::Deserialize<'de> for Twice {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(Seen)
        }
    }
    serde_json::from_str::<Twice>(text).is_ok_and(|twice| twice.0)
}
