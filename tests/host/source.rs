//! `source` and `json`: where a key is taken from, and what a JSON body says.

use oncegate::request::credential::cookies;
use oncegate::request::header::header_name;
use oncegate::request::json::{MarkedPointer, Pointer, canonical, canonical_without, selected};
use oncegate::request::key_source::{Parts, Source, Value};
use proptest::prelude::*;

use crate::make::{cases, headers};

fn found(source: &str, lines: &[(&str, &str)], query: Option<&str>, body: Option<&str>) -> Value {
    let header = headers(lines);
    let parts = Parts { header: &header, query, body: body.map(str::as_bytes) };
    Source::parse(source).unwrap().value(parts)
}

const TWICE: &str = "it is there more than once";

fn is(text: &str) -> Value {
    Value::Found(text.to_owned())
}

#[test]
fn a_key_is_found_in_a_header_a_query_a_body_or_in_several_of_them() {
    let lines = [("x-shop", "s1"), ("x-empty", "")];
    let body =
        r#"{"id":"evt_1","n":42,"big":90071992547409930,"f":1.5,"o":{"a/b":["x",{"~":"t"}]}}"#;
    let rows: &[(&str, Value)] = &[
        ("header:X-Shop", is("s1")),
        ("header:x-shop", is("s1")),
        ("header:X-Empty", is("")),
        ("header:X-None", Value::Missing),
        ("query:id", is("q 1")),
        ("query:na%me", is("é")),
        ("query:none", Value::Missing),
        ("query:twice", Value::Invalid(TWICE)),
        ("body:/id", is("evt_1")),
        // An integer, as it is written.
        ("body:/n", is("42")),
        ("body:/big", is("90071992547409930")),
        ("body:/f", Value::Missing),
        ("body:/o", Value::Missing),
        ("body:/o/a~1b/0", is("x")),
        ("body:/o/a~1b/1/~0", is("t")),
        ("body:/o/a~1b/2", Value::Missing),
        ("body:/o/a~1b/00", Value::Missing),
        ("body:/id/x", Value::Missing),
        ("template:pay-{header:X-Shop}-{body:/n}", is("pay-s1-42")),
        ("template:{query:id}", is("q 1")),
        ("template:{header:X-None}-{body:/n}", Value::Missing),
        ("template:{query:twice}-{body:/n}", Value::Invalid(TWICE)),
    ];
    let query = Some("id=q+1&na%25me=%C3%A9&twice=1&twice=1");
    for (source, expected) in rows {
        assert_eq!(found(source, &lines, query, Some(body)), *expected, "{source}");
    }
    for (source, needs) in [("body:/id", true), ("template:{body:/id}", true), ("query:id", false)]
    {
        let needed = found(source, &lines, query, None) == Value::NeedsBody;
        assert_eq!(needed, needs, "{source}");
    }
}

#[test]
fn a_body_that_says_nothing_certain_yields_no_key() {
    for body in [
        "",
        "id",
        r#"{"id":"a""#,
        r#"{"id":"a"} x"#,
        r#"{"id":null}"#,
        r#"{"id":true}"#,
        r#"{"id":1.0}"#,
        r#"{"id":1e3}"#,
        r#"{"id":["a"]}"#,
        r#"{"id":{"id":"a"}}"#,
        r#"{"ID":"a"}"#,
        r#"{"id":"\ud800"}"#,
        r#"["id"]"#,
        "\u{feff}",
        "\u{feff}\u{feff}{\"id\":\"a\"}",
    ] {
        assert_eq!(found("body:/id", &[], None, Some(body)), Value::Missing, "{body}");
    }
    // Which one is meant? Passing it by unguarded would be an answer too.
    let twice = r#"{"id":"a","id":"a"}"#;
    assert_eq!(found("body:/id", &[], None, Some(twice)), Value::Invalid(TWICE));
    let on_the_way = r#"{"o":{"id":"a"},"o":{"id":"a"}}"#;
    assert_eq!(found("body:/o/id", &[], None, Some(on_the_way)), Value::Invalid(TWICE));
    let spelled = r#"{"id":"a","\u0069d":"b"}"#;
    assert_eq!(found("body:/id", &[], None, Some(spelled)), Value::Invalid(TWICE));
    // Elsewhere it may say what it likes.
    let body = r#"{"x":1e999,"id":"a","y":{"b":1,"b":2}}"#;
    assert_eq!(found("body:/id", &[], None, Some(body)), is("a"));
}

#[test]
fn a_byte_order_mark_before_a_json_body_is_skipped_in_reading() {
    let marked = "\u{feff}{\"id\":\"a\",\"n\":1.0}";
    assert_eq!(found("body:/id", &[], None, Some(marked)), is("a"));
    assert_eq!(found("template:{body:/id}", &[], None, Some(marked)), is("a"));
    assert_eq!(canonical(marked.as_bytes()), canonical(br#"{"n":1,"id":"a"}"#));
    let pointers = [MarkedPointer::try_from("/id".to_owned()).unwrap()];
    assert_eq!(selected(marked.as_bytes(), &pointers), Some(vec![Some("\"a\"".to_owned())]));
}

#[test]
fn a_field_of_a_form_is_decoded_once_and_counts_in_bodies_that_are_forms_only() {
    let form = ("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8");
    let of = |source: &str, body: &str| found(source, &[form, ("x-shop", "s1")], None, Some(body));
    let body = "order=7&id=a%2Bb%2525+c&n%61me=x&twice=1&twice=1&empty=&bare";
    for (source, expected) in [
        ("form:order", is("7")),
        ("form:id", is("a+b%25 c")),
        ("form:name", is("x")),
        ("form:twice", Value::Invalid(TWICE)),
        ("form:empty", is("")),
        ("form:bare", is("")),
        ("form:none", Value::Missing),
        ("form:Order", Value::Missing),
        ("template:pay-{header:X-Shop}-{form:order}", is("pay-s1-7")),
        ("template:{form:twice}-{form:order}", Value::Invalid(TWICE)),
        ("template:{form:none}-{form:order}", Value::Missing),
    ] {
        assert_eq!(of(source, body), expected, "{source}");
    }
    assert_eq!(of("form:order", ""), Value::Missing);
    for other in ["application/json", "multipart/form-data; boundary=x", ""] {
        let lines = [("content-type", other)];
        assert_eq!(found("form:order", &lines, None, Some(body)), Value::Missing, "{other}");
        // Such a body is not even read.
        assert_eq!(found("form:order", &lines, None, None), Value::Missing, "{other}");
    }
    assert_eq!(found("form:order", &[form], None, None), Value::NeedsBody);
    assert_eq!(found("template:{form:order}", &[form], None, None), Value::NeedsBody);
}

/// Source, headers, body, and why the body cannot be read.
type UnreadableRow<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], Option<&'a str>);

#[test]
fn a_body_that_cannot_be_read_for_its_key_says_why() {
    let json = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let gzip = ("content-encoding", "gzip");
    let why = |source: &str, lines: &[(&str, &str)], body: &[u8]| {
        let header = headers(lines);
        let parts = Parts { header: &header, query: None, body: Some(body) };
        Source::parse(source).unwrap().unreadable(parts)
    };
    let rows: &[UnreadableRow<'_>] = &[
        ("body:/id", &[json], b"{}", None),
        ("body:/id", &[json], b"", None),
        ("body:/id", &[json, gzip], b"", None),
        ("body:/id", &[json], b"id=7", Some("it is not JSON")),
        ("body:/id", &[json], b"\xff\xfe{\0}\0", Some("it is not UTF-8")),
        ("body:/id", &[json, gzip], b"\x1f\x8b", Some("it is coded (Content-Encoding: gzip)")),
        ("body:/id", &[json, ("content-encoding", "identity")], b"x", Some("it is not JSON")),
        (
            "body:/id",
            &[("content-type", "application/json; Charset=\"UTF-16\"")],
            b"\0{\0}",
            Some("its charset is UTF-16, and not UTF-8"),
        ),
        ("body:/id", &[("content-type", "text/plain;charset=utf-8")], b"x", Some("it is not JSON")),
        ("form:id", &[form], b"a=b", None),
        ("form:id", &[form], b"", None),
        ("form:id", &[], b"", None),
        ("form:id", &[form, gzip], b"\x1f", Some("it is coded (Content-Encoding: gzip)")),
        (
            "form:id",
            &[json],
            b"{}",
            Some("it is application/json, and not application/x-www-form-urlencoded"),
        ),
        (
            "form:id",
            &[],
            b"id=7",
            Some("it is of no named type, and not application/x-www-form-urlencoded"),
        ),
        ("template:{header:A}-{body:/id}", &[], b"id=7", Some("it is not JSON")),
        ("template:{header:A}-{query:id}", &[], b"id=7", None),
        ("header:A", &[], b"id=7", None),
        ("query:id", &[], b"id=7", None),
    ];
    for (source, lines, body, expected) in rows {
        assert_eq!(why(source, lines, body).as_deref(), *expected, "{source} {lines:?}");
    }
}

#[test]
fn a_source_that_is_none_is_refused() {
    for text in [
        "Idempotency-Key",
        "header:",
        "header:a b",
        "header:é",
        "query:",
        "form:",
        "template:{form:A}{form:B}",
        "body:",
        "body:id",
        "body:/a~2",
        "cookie:s",
        "template:",
        "template:no place",
        "template:{header:A",
        "template:{A}",
        "template:{header:A}{header:B}",
        "template:{template:{header:A}}",
    ] {
        assert!(Source::parse(text).is_err(), "{text}");
    }
    assert_eq!(header_name("X-Shop"), Some("x-shop".to_owned()));
}

#[test]
fn values_in_a_template_are_encoded_where_they_could_be_taken_for_its_text() {
    let lines = [("a", "x-y%z"), ("b", "pay:1")];
    for (template, expected) in [
        ("template:{header:A}-{header:B}", "x%2Dy%25z-pay:1"),
        ("template:{header:A}:{header:B}", "x-y%25z:pay%3A1"),
        ("template:pay-{header:A}", "pay-x-y%25z"),
        ("template:{header:A}-end", "x-y%25z-end"),
    ] {
        assert_eq!(found(template, &lines, None, None), is(expected), "{template}");
    }
}

#[test]
fn cookies_come_joined_by_semicolons_or_commas() {
    assert_eq!(
        pairs(&cookies("a=1; b=2, c=3;d=x=y")),
        [("a", "1"), ("b", "2"), ("c", "3"), ("d", "x=y")]
    );
    assert_eq!(pairs(&cookies("")), []);
}

#[test]
fn a_json_body_has_one_form_or_none() {
    for (body, expected) in [
        (r#" { "b" : 2.0 , "a" : [ 1e1, "\u0041" ] } "#, r#"{"a":[10,"A"],"b":2}"#),
        (r#"{"a":0.1,"z":-0}"#, r#"{"a":0.1,"z":0}"#),
        ("9007199254740992", "9007199254740992"),
        ("123456789012.345e-3", "123456789.012345"),
        ("9.99999999999999e299", "9.99999999999999e+299"),
        ("1e-300", "1e-300"),
        ("1e23", "1e+23"),
        ("-0.0e999", "0"),
        // By UTF-16 code units (RFC 8785 section 3.2.3).
        (
            "{\"\u{fb33}\":1,\"\u{1d11e}\":2,\"\u{20ac}\":3}",
            "{\"\u{20ac}\":3,\"\u{1d11e}\":2,\"\u{fb33}\":1}",
        ),
        ("[100,1.5,0.001,1e6,12.0,-0]", "[100,1.5,0.001,1000000,12,0]"),
        ("[1e2,1.50,1E-3,1.0e+6,12,0]", "[100,1.5,0.001,1000000,12,0]"),
        (r#"["12345678901234567890123"]"#, r#"["12345678901234567890123"]"#),
        (
            r#"{"s":"Zo\u00eb \/ \u0022\u20AC\u0022 \uD83D\uDE00\u000A"}"#,
            r#"{"s":"Zoë / \"€\" 😀\n"}"#,
        ),
        (r#""Zoe\u0308""#, "\"Zoe\u{308}\""),
        (r#"{"é":"\u00e9","a\/b":"\/"}"#, r#"{"a/b":"/","é":"é"}"#),
        ("null", "null"),
        (r#""""#, r#""""#),
    ] {
        let form = canonical(body.as_bytes()).unwrap();
        assert_eq!(form, expected, "{body}");
    }
    for unsafe_body in [
        "",
        "{",
        "{} {}",
        r#"{"a":1,"a":1}"#,
        r#"{"o":{"a":1,"\u0061":2}}"#,
        r#"{"x":[{"a":1,"a":1}]}"#,
        r#"{"a":1,}"#,
        "[1] x",
        "\u{feff}\u{feff}{}",
        "{}\u{feff}",
        "9007199254740993",
        "-9007199254740993",
        "18446744073709551616",
        "1e400",
        "1e300",
        "9e-301",
        "18446744073709551617",
        "9007199254740993e0",
        "9007199254740993.0",
        "1e-400",
        "0.1234567890123456",
        "0.30000000000000001",
        r#""\ud800""#,
        r#"{"\udfff":1}"#,
        "'a'",
        "NaN",
    ] {
        assert_eq!(canonical(unsafe_body.as_bytes()), None, "{unsafe_body}");
    }
    assert_eq!(canonical(b"\"\xff\""), None);
}

#[test]
fn pointers_select_members_in_their_one_form() {
    let marked = |text: &str| MarkedPointer::try_from(text.to_owned()).unwrap();
    let pointers = ["/amount", "/none?", "/items/0/sku"].map(marked);
    let select = |body: &str| selected(body.as_bytes(), &pointers);
    let one = select(r#"{"amount":10.0,"items":[{"sku":"a"}],"at":"now"}"#).unwrap();
    let other = select(r#"{"at":"later","items":[{"n":1,"sku":"\u0061"}],"amount":10}"#).unwrap();
    assert_eq!(one, [Some("10".to_owned()), None, Some("\"a\"".to_owned())]);
    assert_eq!(one, other);
    assert_ne!(Some(one), select(r#"{"amount":10,"none":null,"items":[{"sku":"a"}]}"#));
    assert_eq!(select("amount=10"), None);
    // What must be there is not.
    assert_eq!(select(r#"{"items":[{"sku":"a"}]}"#), None);
    assert_eq!(select(r#"{"amount":10,"items":[]}"#), None);
    // A name that ends in a question mark.
    let asks = |text: &str| selected(br#"{"ok?":1}"#, &[marked(text)]);
    assert_eq!(asks("/ok?"), Some(vec![None]));
    assert_eq!(asks("/ok??"), Some(vec![Some("1".to_owned())]));
}

#[test]
fn a_form_without_a_member_is_that_of_a_body_that_never_had_it() {
    let rows: &[(&[&str], &str, &str)] = &[
        (&["/b"], r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"c":3}"#),
        (&["/a"], r#"{"a":1,"b":2,"c":3}"#, r#"{"b":2,"c":3}"#),
        (&["/c"], r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"b":2}"#),
        (&["/a", "/b"], r#"{"a":1,"b":2,"c":3}"#, r#"{"c":3}"#),
        (&["/c", "/b"], r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1}"#),
        (&["/a", "/a", "/b", "/c"], r#"{"a":1,"b":2,"c":3}"#, "{}"),
        (&["/none", "/a/b"], r#"{"a":1}"#, r#"{"a":1}"#),
        (&["/a"], r#"{"a":null}"#, "{}"),
        (
            &["/sdkData/createdAt"],
            r#"{"sdkData":{"createdAt":"2026-11-28T12:00:00Z","v":3},"amount":{"value":1}}"#,
            r#"{"amount":{"value":1},"sdkData":{"v":3}}"#,
        ),
        (&["/sdkData/createdAt"], r#"{"sdkData":{"createdAt":1}}"#, r#"{"sdkData":{}}"#),
        // What lies within another goes with it, whichever is named first.
        (&["/a/b", "/a"], r#"{"a":{"b":1,"c":2},"d":3}"#, r#"{"d":3}"#),
        (&["/a", "/a/b"], r#"{"a":{"b":1,"c":2},"d":3}"#, r#"{"d":3}"#),
        // Of lists, what stands there before anything is left out.
        (&["/l/0", "/l/1"], r#"{"l":[1,2,3]}"#, r#"{"l":[3]}"#),
        (&["/l/0/t", "/l/1/t"], r#"{"l":[{"t":1},{"t":2,"u":3}]}"#, r#"{"l":[{},{"u":3}]}"#),
        // Names that need an escape, values that look like structure, and text before a colon.
        (
            &["/a~1b", "/q\"", "/\n", "/é"],
            r#"{"a/b":1,"q\"":"x:y,","\u000a":2,"\u00e9":3,"z":4}"#,
            r#"{"z":4}"#,
        ),
        (&["/0"], r#"[":",{"a":":"}]"#, r#"[{"a":":"}]"#),
    ];
    for (pointers, body, expected) in rows {
        let pointers: Vec<_> = pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect();
        let form = canonical_without(body.as_bytes(), &pointers);
        assert_eq!(form.as_deref(), Some(*expected), "{pointers:?} of {body}");
    }
    let pointers = [Pointer::parse("/a").unwrap()];
    for unsafe_body in ["a=1", r#"{"a":1,"a":2}"#, r#"{"a":9007199254740993}"#] {
        assert_eq!(canonical_without(unsafe_body.as_bytes(), &pointers), None, "{unsafe_body}");
    }
}

/// The bounds decide which bodies are compared by their raw bytes: they are part of every fingerprint.
#[test]
fn a_body_that_costs_too_much_has_no_form() {
    for (depth, has_form) in [(127, true), (128, false)] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(canonical(body.as_bytes()).is_some(), has_form, "{open} {depth}");
        }
    }
    // 40 MiB, of 66 bytes for each item and 673 for each object.
    for (item, most) in [("1", 635_500), ("{\"a\":1}", 58_900)] {
        for (count, has_form) in [(most, true), (most + 100, false)] {
            let body = format!("[{}]", vec![item; count].join(","));
            assert_eq!(canonical(body.as_bytes()).is_some(), has_form, "{count} of {item}");
        }
    }
}

#[test]
fn a_deep_body_is_no_reason_to_fail() {
    let deep = "[".repeat(100_000);
    assert_eq!(canonical(deep.as_bytes()), None);
    assert_eq!(found("body:/0/0", &[], None, Some(&deep)), Value::Missing);
    let closed = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let _ = canonical(closed.as_bytes());
    let _ = found("body:/0/0", &[], None, Some(&closed));
}

#[test]
fn a_template_with_a_percent_sign_between_two_places_is_refused_or_gives_two_keys() {
    let template = "template:{header:A}%{header:B}";
    if Source::parse(template).is_ok() {
        let one = found(template, &[("a", "x"), ("b", "25%b")], None, None);
        let other = found(template, &[("a", "x%"), ("b", "25b")], None, None);
        assert_ne!(one, other);
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    /// Two sets of values never give one key, whatever the literals and whatever is in the values.
    #[test]
    fn a_template_gives_another_key_for_other_values(
        literals in ["[-a2]{0,2}", "[-a25]{1,2}", "[-a25]{1,2}", "[-a2]{0,2}"],
        one in ["[-a25%D]{0,4}", "[-a25%D]{0,4}", "[-a25%D]{0,4}"],
        other in ["[-a25%D]{0,4}", "[-a25%D]{0,4}", "[-a25%D]{0,4}"],
    ) {
        let [first, second, third, last] = literals;
        let template = format!(
            "template:{first}{{header:A}}{second}{{header:B}}{third}{{header:C}}{last}"
        );
        let key = |[a, b, c]: &[String; 3]| {
            found(&template, &[("a", a), ("b", b), ("c", c)], None, None)
        };
        prop_assert_eq!(key(&one) == key(&other), one == other);
    }

    #[test]
    fn any_bytes_have_a_form_or_none(body in any::<Vec<u8>>(), pointer in "(/[a0~]{0,2}){1,3}") {
        if let Some(form) = canonical(&body) {
            prop_assert_eq!(canonical(form.as_bytes()).unwrap(), form, "it is its own form");
        }
        if let Some(pointer) = Pointer::parse(&pointer) {
            let _ = pointer.text(&body);
            let _ = canonical_without(&body, std::slice::from_ref(&pointer));
            let need = oncegate::request::json::Need::Optional;
            let _ = selected(&body, &[MarkedPointer { pointer, need }]);
        }
    }
}

fn pairs(cookies: &[(String, String)]) -> Vec<(&str, &str)> {
    cookies.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
