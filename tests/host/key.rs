//! `key`: what is a key, what it becomes, and where its record lies.

use oncegate::lifecycle::record::KeySpelling;
use oncegate::request::digest::hex;
use oncegate::request::key::{Key, KeyId, KeyInvalid, derived};
use proptest::prelude::*;

use crate::make::{cases, lease, run};

#[test]
fn both_spellings_of_a_key_are_one_key_and_what_could_be_read_twice_is_none() {
    let rows: &[(&str, Option<&str>)] = &[
        // Bare, as Stripe's clients send it.
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", Some("8e03978e-40d5-43dd-bc93-6894a57f9324")),
        ("0", Some("0")),
        ("KG5LxwFBepaKHyUD", Some("KG5LxwFBepaKHyUD")),
        ("!#$%&'()*+-./:<=>?@[]^_`{|}~", Some("!#$%&'()*+-./:<=>?@[]^_`{|}~")),
        ("?1", Some("?1")),
        (":cHJl:", Some(":cHJl:")),
        ("a=b", Some("a=b")),
        // Quoted: a structured-field string.
        (r#""8e03978e""#, Some("8e03978e")),
        (r#""a b""#, Some("a b")),
        (r#"" ""#, Some(" ")),
        (r#""a,b;c""#, Some("a,b;c")),
        (r#""say \"hi\"""#, Some(r#"say "hi""#)),
        (r#""back\\slash""#, Some(r"back\slash")),
        // Its parameters are ignored.
        (r#""k";v=1"#, Some("k")),
        (r#""k"; v=1; w="x"; y"#, Some("k")),
        (r#""k";v=?0"#, Some("k")),
        // Space around either is no part of it (RFC 9110 section 5.5).
        ("  k  ", Some("k")),
        ("\tk\t", Some("k")),
        (r#" "k" "#, Some("k")),
        // Nothing.
        ("", None),
        ("   ", None),
        (r#""""#, None),
        // Two header lines arrive joined by a comma.
        ("a, b", None),
        ("a,a", None),
        (r#""a", "b""#, None),
        (r#""a","a""#, None),
        ("a,", None),
        (r#""a","#, None),
        // What a structured-field parser and a plain one would read differently.
        ("a b", None),
        ("a;b", None),
        (r"a\b", None),
        (r#"a"b"#, None),
        (r#"a""#, None),
        // A string that is none.
        ("\"", None),
        ("\"a", None),
        (r#""a\""#, None),
        (r#""a\b""#, None),
        (r#""a"b"#, None),
        (r#""a" b"#, None),
        (r#""a" "b""#, None),
        (r#""a\"#, None),
        ("\"\";v=1", None),
        (";", None),
        (r#""a";"#, None),
        (r#""a";V=1"#, None),
        (r#"("a")"#, None),
        // Controls and what is not ASCII, in either spelling.
        ("a\tb", None),
        ("a\nb", None),
        ("k\n", None),
        ("a\u{0}b", None),
        ("a\u{7f}b", None),
        ("\"a\tb\"", None),
        ("\"a\u{7f}b\"", None),
        ("é", None),
        ("\"é\"", None),
        ("\u{a0}k", None),
        ("k\u{200b}", None),
        ("\u{feff}k", None),
        ("%k%", Some("%k%")),
    ];
    for (field, expected) in rows {
        let parsed = Key::parse(field);
        assert_eq!(parsed.as_ref().ok().map(Key::as_str), *expected, "{field:?}");
    }
}

#[test]
fn a_key_has_at_most_255_characters_however_it_is_spelled() {
    for (characters, allowed) in [(1, true), (254, true), (255, true), (256, false), (5000, false)]
    {
        let text = "k".repeat(characters);
        // Escaped, each of these takes two characters of the header and is one of the key.
        let escaped = r#"\""#.repeat(characters);
        assert_eq!(Key::parse(&text).is_ok(), allowed, "{characters} bare");
        assert_eq!(Key::parse(&format!("\"{text}\"")).is_ok(), allowed, "{characters} quoted");
        assert_eq!(Key::parse(&format!("\"{escaped}\"")).is_ok(), allowed, "{characters} escaped");
        assert_eq!(Key::plain(text).is_ok(), allowed, "{characters} from another source");
    }
}

#[test]
fn a_refused_key_is_told_what_is_wrong_with_it() {
    let why = |field: &str| Key::parse(field).map_err(|KeyInvalid(why)| why).unwrap_err();
    assert_eq!(
        why(""),
        "the key is empty, and a client that has no key leaves the header or field out"
    );
    assert_eq!(why(&"k".repeat(256)), "the key is longer than 255 characters");
    assert_eq!(why("a, b"), "the key holds a comma, or the header was sent more than once");
}

#[test]
fn a_value_from_another_source_is_visible_ascii_and_taken_as_it_is() {
    for (value, allowed) in [
        ("1", true),
        ("evt_1NG8Du2eZvKYlo2CUI79vXWy", true),
        (r#""quoted""#, true),
        ("a,b;c", true),
        (r"a\b", true),
        ("", false),
        ("a b", false),
        (" a", false),
        ("a\n", false),
        ("é", false),
    ] {
        let key = Key::plain(value.to_owned());
        let expected = allowed.then_some(value);
        assert_eq!(key.as_ref().ok().map(Key::as_str), expected, "{value:?}");
    }
}

/// Stored data: whoever changes one of these makes every stored key unknown.
#[test]
fn a_keys_half_and_its_shard_never_change() {
    let rows: &[(&str, &str, [u16; 7])] = &[
        // key, SHA-256 of it cut to 16 bytes, its first 8 bytes as a number modulo SHARDS
        ("8e03978e", "2b3ffd0b13af24bb7e22a843249ba252", [0, 1, 11, 59, 467, 187, 24757]),
        (
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            "d77da8028f3c5a13752873cb9c7581d5",
            [0, 1, 3, 19, 307, 531, 26832],
        ),
        ("a", "ca978112ca1bbdcafac231b39a23dc4d", [0, 0, 10, 10, 250, 458, 54160]),
        ("\"order 1\"", "f3d6f0d55b053fdeb0116c2eaffd74e9", [0, 0, 14, 30, 806, 990, 32656]),
    ];
    for (text, half, shards) in rows {
        let id = KeyId::new(&Key::parse(text).unwrap(), [7; 16]);
        assert_eq!(&hex(&id.key_half()), half);
        assert_eq!(&hex(&id.0[16..]), &"07".repeat(16));
        let of = [1, 2, 16, 64, 1000, 1024, 65535].map(|shards| id.shard(shards));
        assert_eq!(&of, shards, "{text}");
        assert_eq!(id.shard(0), 0, "no shards are one shard");
    }
}

#[test]
fn the_correlation_id_and_the_derived_key_never_change() {
    let key = Key::parse("8e03978e-40d5-43dd-bc93-6894a57f9324").unwrap();
    let mut scope = [0; 16];
    scope.copy_from_slice(&0xf6b6_8cbc_6771_917d_fb6b_75b9_9ddd_2779_u128.to_be_bytes());
    let id = KeyId::new(&key, scope);
    assert_eq!(id.correlation_id("charge"), "cd7b0308a9b5fcf599860eb089d3c5f9");
    assert_eq!(derived(run(lease(1), 1), "charge"), "1def596851b0028792cd74a0debea69a");
}

#[test]
fn a_derived_key_is_the_same_on_every_attempt_and_another_for_each_run_and_route() {
    let first = derived(run(lease(1), 1), "charge");
    assert_eq!(derived(run(lease(1), 2), "charge"), first);
    assert_ne!(derived(run(lease(2), 1), "charge"), first);
    assert_ne!(derived(run(lease(1), 1), "refund"), first);
}

/// What a bare key may hold: visible ASCII without `"`, `,`, `;` and `\`.
fn bare() -> impl Strategy<Value = String> {
    "[!#-+\\--:<-\\[\\]-~]{1,255}"
}

/// What a quoted key may hold.
fn quotable() -> impl Strategy<Value = String> {
    "[ -~]{1,255}"
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_bare_key_in_quotes_is_the_same_key(text in bare()) {
        let bare = Key::parse(&text).unwrap();
        prop_assert_eq!(bare.as_str(), &text);
        prop_assert_eq!(&Key::parse(&format!("\"{text}\"")).unwrap(), &bare);
        prop_assert_eq!(&Key::parse(&format!("  \"{text}\";p=1 ")).unwrap(), &bare);
    }

    #[test]
    fn a_key_that_is_spelled_for_the_origin_is_read_as_itself(text in quotable()) {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        let key = Key::parse(&format!("\"{quoted}\"")).unwrap();
        prop_assert_eq!(key.as_str(), text);
        prop_assert_eq!(&Key::parse(&key.spelled(KeySpelling::Quoted)).unwrap(), &key);
        prop_assert_eq!(key.spelled(KeySpelling::Bare), key.as_str());
    }

    #[test]
    fn any_text_is_a_key_or_is_refused(text in any::<String>()) {
        if let Ok(key) = Key::parse(&text) {
            prop_assert!((1..=255).contains(&key.as_str().len()));
            prop_assert!(key.as_str().bytes().all(|b| b.is_ascii_graphic() || b == b' '));
        }
    }

    #[test]
    fn the_shard_hangs_on_the_keys_half_alone(
        text in bare(), scopes in any::<[[u8; 16]; 2]>(), shards in 1..=1024_u16,
    ) {
        let key = Key::parse(&text).unwrap();
        let [one, other] = scopes.map(|scope| KeyId::new(&key, scope));
        prop_assert_eq!(one.key_half(), other.key_half());
        prop_assert_eq!(one.shard(shards), other.shard(shards));
        prop_assert!(one.shard(shards) < shards);
        prop_assert_eq!(one == other, scopes[0] == scopes[1]);
    }

    /// Nor the scope: whoever knows the key could try passwords against it.
    #[test]
    fn a_correlation_id_does_not_show_the_key(text in bare(), scopes in any::<[[u8; 16]; 2]>()) {
        let key = Key::parse(&text).unwrap();
        let [id, other] = scopes.map(|scope| KeyId::new(&key, scope));
        let correlation_id = id.correlation_id("charge");
        prop_assert_eq!(correlation_id.len(), 32);
        prop_assert!(text.len() < 6 || !correlation_id.contains(&text));
        prop_assert!(!correlation_id.contains(&hex(&id.key_half())[..8]));
        prop_assert_eq!(&other.correlation_id("charge"), &correlation_id);
        prop_assert_ne!(&id.correlation_id("refund"), &correlation_id);
        let elsewhere = KeyId(id.0.map(|byte| !byte));
        prop_assert_ne!(elsewhere.correlation_id("charge"), correlation_id);
    }
}
