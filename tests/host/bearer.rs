//! `bearer`: what an access token says and proves, which keys verify it, and when a key server is asked. Signatures are
//! the platform's: tests/workerd/credentials.test.mjs has those.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use oncegate::admission::{Admission, Guarded, Head, Unproven, admit};
use oncegate::answer::problem_marks;
use oncegate::config::{Policy, Vars};
use oncegate::lifecycle::event::CredentialChange;
use oncegate::problem::{Code, Problem};
use oncegate::request::bearer::key_cache::{KeyCache, LookUp};
use oncegate::request::bearer::keys::{Found, KeySet, KeySource};
use oncegate::request::bearer::{Algorithm, NotKnownNow, Proof, Refusal, Trust, Unverified};
use oncegate::request::json::Pointer;
use oncegate::time::Timestamp;
use serde_json::{Value, json};

use crate::make::{address, headers, instant, lease, s, vars};

const NOW: Timestamp = instant(1_000_000);
const ISSUER: &str = "https://issuer.example";

fn coded(json: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json)
}

fn jws(header: &str, payload: &str) -> String {
    format!("{}.{}.{}", coded(header), coded(payload), coded("signature"))
}

fn header(more: &Value) -> String {
    merged(json!({ "alg": "RS256", "kid": "k1", "typ": "at+jwt" }), more)
}

fn payload(more: &Value) -> String {
    merged(json!({ "iss": ISSUER, "aud": "shop", "exp": 1_000_600, "sub": "alice" }), more)
}

/// A null takes a member out.
fn merged(mut base: Value, more: &Value) -> String {
    let members = base.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        members.insert(name.clone(), value.clone());
    }
    members.retain(|_, value| !value.is_null());
    base.to_string()
}

fn token(claims: &Value) -> String {
    jws(&header(&json!({})), &payload(claims))
}

fn read(authorization: &str, claims: &[&str]) -> Option<Unverified> {
    let pointers: Vec<_> = claims.iter().map(|text| Pointer::parse(text).unwrap()).collect();
    Unverified::read(authorization.to_owned(), &pointers.iter().collect::<Vec<_>>())
}

fn unverified(header: &str) -> Unverified {
    read(&format!("Bearer {}", jws(header, &payload(&json!({})))), &["/sub"]).unwrap()
}

fn rsa(kid: &str) -> Value {
    json!({ "kty": "RSA", "kid": kid, "n": coded(&"n".repeat(256)), "e": "AQAB" })
}

fn ec(kid: &str) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": coded(&"x".repeat(32)), "y": coded(&"y".repeat(32)) })
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap()
}

#[test]
fn what_is_no_token_that_could_be_verified_is_opaque() {
    let usual = header(&json!({}));
    let good = token(&json!({}));
    assert!(read(&format!("Bearer {good}"), &["/sub"]).is_some());
    assert!(read(&format!("  bEARER   {good} "), &["/sub"]).is_some());
    let of_header = |more: Value| format!("Bearer {}", jws(&header(&more), &payload(&json!({}))));
    let of_claims = |more: Value| format!("Bearer {}", token(&more));
    let twice = format!(r#"{{"alg":"RS256","alg":"none","kid":"{}"}}"#, "k1");
    let claims_twice = payload(&json!({})).replace(r#""sub""#, r#""sub":"bob","sub""#);
    for (what, authorization) in [
        ("no token", "Bearer".to_owned()),
        ("an opaque token", "Bearer 8e03978e".to_owned()),
        ("another scheme", format!("DPoP {good}")),
        ("no scheme", good.clone()),
        ("two tokens", format!("Bearer {good}, Bearer {good}")),
        ("two tokens in one", format!("Bearer {good} {good}")),
        ("four parts", format!("Bearer {good}.x")),
        ("five parts, encrypted", format!("Bearer {good}.x.y")),
        ("two parts", format!("Bearer {}", good.rsplit_once('.').unwrap().0)),
        ("padding", format!("Bearer {good}=")),
        ("not base64url", format!("Bearer {good}+")),
        ("unsigned", of_header(json!({ "alg": "none" }))),
        ("unsigned in capitals", of_header(json!({ "alg": "NONE" }))),
        ("signed with a shared secret", of_header(json!({ "alg": "HS256" }))),
        ("PS256", of_header(json!({ "alg": "PS256" }))),
        ("another spelling", of_header(json!({ "alg": "rs256" }))),
        ("no alg", of_header(json!({ "alg": null }))),
        ("a number for alg", of_header(json!({ "alg": 256 }))),
        ("alg twice", format!("Bearer {}", jws(&twice, &payload(&json!({}))))),
        ("crit", of_header(json!({ "crit": ["exp"] }))),
        ("an empty crit", of_header(json!({ "crit": [] }))),
        (
            "a crit that is null",
            format!(
                "Bearer {}",
                jws(&usual.replacen('{', r#"{"crit":null,"#, 1), &payload(&json!({})))
            ),
        ),
        ("cnf", of_claims(json!({ "cnf": { "jkt": "x" } }))),
        ("no end", of_claims(json!({ "exp": null }))),
        ("an end that is a text", of_claims(json!({ "exp": "1000600" }))),
        ("no claim", of_claims(json!({ "sub": null }))),
        ("an empty claim", of_claims(json!({ "sub": "" }))),
        ("a claim that is a list", of_claims(json!({ "sub": ["alice"] }))),
        ("a claim that is true", of_claims(json!({ "sub": true }))),
        ("a claim that is a fraction", of_claims(json!({ "sub": 1.5 }))),
        ("a claim that is there twice", format!("Bearer {}", jws(&usual, &claims_twice))),
        ("claims that are no JSON", format!("Bearer {}", jws(&usual, "sub=alice"))),
        ("a header that is no JSON", format!("Bearer {}", jws("alg=RS256", &payload(&json!({}))))),
        ("more than 16 KiB", of_claims(json!({ "more": "m".repeat(16 * 1024) }))),
    ] {
        assert_eq!(read(&authorization, &["/sub"]), None, "{what}");
    }
    let long = of_claims(json!({ "more": "m".repeat(11 * 1024) }));
    assert!(read(&long, &["/sub"]).is_some(), "below 16 KiB");
    assert_eq!(read(&format!("Bearer {good}"), &["/sub", "/none"]), None, "one claim is missing");
}

#[test]
fn a_token_is_refused_by_its_time_its_issuer_and_its_audience() {
    use Refusal::{Audience, Expired, Issuer, NotYet};
    let trust = Trust {
        issuer: ISSUER.to_owned(),
        audience: "shop".to_owned(),
        keys: KeySource::Document(Rc::new(set(&[rsa("k1")]))),
    };
    for (claims, expected) in [
        (json!({}), Ok(())),
        (json!({ "aud": ["other", "shop"] }), Ok(())),
        (json!({ "aud": ["other"] }), Err(Audience)),
        (json!({ "aud": [] }), Err(Audience)),
        (json!({ "aud": "Shop" }), Err(Audience)),
        (json!({ "aud": null }), Err(Audience)),
        (json!({ "iss": "https://issuer.example/" }), Err(Issuer)),
        (json!({ "iss": null }), Err(Issuer)),
        // 60 seconds of leeway, both ways.
        (json!({ "exp": 999_941 }), Ok(())),
        (json!({ "exp": 999_940.5 }), Ok(())),
        (json!({ "exp": 999_940 }), Err(Expired)),
        (json!({ "exp": -1 }), Err(Expired)),
        (json!({ "nbf": 1_000_060 }), Ok(())),
        (json!({ "nbf": 1_000_061 }), Err(NotYet)),
        (json!({ "nbf": 0 }), Ok(())),
    ] {
        let token = read(&format!("Bearer {}", token(&claims)), &["/sub"]).unwrap();
        assert_eq!(token.judge(&trust, NOW), expected, "{claims}");
    }
}

#[test]
fn a_key_verifies_its_own_algorithm_and_nothing_else() {
    let rs = unverified(&header(&json!({})));
    let es = unverified(&header(&json!({ "alg": "ES256" })));
    let nameless = unverified(&header(&json!({ "kid": null })));
    let of = |keys: &[Value], token: &Unverified| match set(keys).find(token) {
        Found::Keys(keys) => format!("{} keys", keys.len()),
        Found::OtherAlgorithm => "other algorithm".to_owned(),
        Found::Nothing => "nothing".to_owned(),
    };
    let symmetric =
        json!({ "kty": "oct", "kid": "k1", "alg": "HS256", "k": coded("a shared secret") });
    for (keys, token, expected) in [
        (vec![rsa("k1")], &rs, "1 keys"),
        (vec![ec("k1")], &es, "1 keys"),
        (vec![rsa("k1")], &es, "other algorithm"),
        (vec![ec("k1")], &rs, "other algorithm"),
        (vec![rsa("k1"), ec("k1")], &rs, "1 keys"),
        (vec![rsa("k2")], &rs, "nothing"),
        (vec![], &rs, "nothing"),
        (vec![symmetric.clone()], &rs, "other algorithm"),
        (vec![symmetric, rsa("k2")], &rs, "other algorithm"),
        // A key without a name may be any, and so may that of a token without a name: up to four are tried.
        (vec![with(rsa(""), "kid", Value::Null)], &rs, "1 keys"),
        (vec![rsa("k1"), rsa("k2"), ec("k3")], &nameless, "2 keys"),
        (["a", "b", "c", "d", "e"].map(rsa).to_vec(), &nameless, "4 keys"),
        (vec![ec("k3")], &nameless, "other algorithm"),
        // Keys that are for something else, too short, too long, or no keys.
        (vec![with(rsa("k1"), "alg", json!("RS512"))], &rs, "other algorithm"),
        (vec![with(rsa("k1"), "alg", json!("RS256"))], &rs, "1 keys"),
        (vec![with(rsa("k1"), "use", json!("enc"))], &rs, "other algorithm"),
        (vec![with(rsa("k1"), "key_ops", json!(["sign"]))], &rs, "other algorithm"),
        (vec![with(rsa("k1"), "key_ops", json!(["verify"]))], &rs, "1 keys"),
        (vec![with(rsa("k1"), "n", json!(coded(&"n".repeat(128))))], &rs, "other algorithm"),
        (vec![with(rsa("k1"), "n", json!(coded(&"n".repeat(2048))))], &rs, "other algorithm"),
        (vec![with(rsa("k1"), "n", Value::Null)], &rs, "other algorithm"),
        (vec![with(ec("k1"), "crv", json!("P-384"))], &es, "other algorithm"),
        (vec![json!(7), json!({}), json!({ "kty": 1 }), rsa("k1")], &rs, "1 keys"),
    ] {
        assert_eq!(of(&keys, token), expected, "{keys:?}");
    }
    for document in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]} x"#, "<html>"] {
        assert!(KeySet::parse(document).is_err(), "{document}");
    }
    // Nothing but the public members goes on to the runtime.
    let private = with(with(rsa("k1"), "d", json!("secret")), "alg", json!("RS256"));
    let set = set(&[private]);
    assert_eq!(set.keys()[0].algorithm, Algorithm::Rs256);
    let jwk: Value = serde_json::from_str(&set.keys()[0].jwk).unwrap();
    assert_eq!(jwk.as_object().unwrap().keys().collect::<Vec<_>>(), ["e", "kty", "n"]);
}

/// What a cache does for a token, in a word.
fn word(look_up: &LookUp) -> &'static str {
    match look_up {
        LookUp::Use(_) => "use",
        LookUp::Ask => "ask",
        LookUp::Later(NotKnownNow(after)) => {
            assert!(*after >= s(1), "Retry-After is a second at least");
            "later"
        }
    }
}

fn known(keys: &[Value], cache_control: Option<&str>, at: Timestamp) -> KeyCache {
    let mut cache = KeyCache::new();
    cache.asking(at);
    cache.answered(Rc::new(set(keys)), cache_control, at);
    cache
}

#[test]
fn keys_are_used_for_as_long_as_their_server_says_within_1_to_60_minutes() {
    let known_kid = unverified(&header(&json!({})));
    for (cache_control, seconds) in [
        (None, 300),
        (Some(""), 300),
        (Some("public, max-age=600"), 600),
        (Some("Max-Age=\"600\""), 600),
        (Some("max-age=0"), 60),
        (Some("max-age=soon"), 60),
        (Some("max-age=86400"), 3600),
        (Some("max-age=99999999999999999999"), 60),
        (Some("no-store, max-age=600"), 60),
        (Some("no-cache"), 60),
    ] {
        let cache = known(&[rsa("k1")], cache_control, NOW);
        let last = NOW.plus(s(seconds - 1));
        assert_eq!(word(&cache.look_up(&known_kid, last)), "use", "{cache_control:?}");
        let over = NOW.plus(s(seconds));
        assert_eq!(word(&cache.look_up(&known_kid, over)), "ask", "{cache_control:?}");
    }
}

#[test]
fn keys_outlive_an_outage_of_their_server_by_24_hours() {
    let known_kid = unverified(&header(&json!({})));
    let mut cache = known(&[rsa("k1")], Some("max-age=60"), NOW);
    let fails = NOW.plus(s(60));
    cache.asking(fails);
    cache.failed(fails.plus(s(2)));
    assert_eq!(word(&cache.without_server(&known_kid, fails.plus(s(2)))), "use");
    // It is asked again after a minute, and meanwhile nobody waits for it.
    assert_eq!(word(&cache.look_up(&known_kid, fails.plus(s(59)))), "use");
    assert_eq!(word(&cache.look_up(&known_kid, fails.plus(s(60)))), "ask");
    let day = Duration::from_hours(24);
    assert_eq!(word(&cache.without_server(&known_kid, fails.plus(day).minus(s(1)))), "use");
    assert_eq!(word(&cache.without_server(&known_kid, fails.plus(day))), "later");
    assert_eq!(word(&cache.look_up(&known_kid, fails.plus(day))), "ask");
}

#[test]
fn an_unknown_kid_asks_again_at_most_once_a_minute() {
    let unknown = unverified(&header(&json!({ "kid": "k2" })));
    let cache = known(&[rsa("k1")], Some("max-age=3600"), NOW);
    // What the server said within the last minute is believed: the token is judged by it, and refused.
    assert_eq!(word(&cache.look_up(&unknown, NOW.plus(s(59)))), "use");
    let later = NOW.plus(s(60));
    let mut cache = cache;
    assert_eq!(word(&cache.look_up(&unknown, later)), "ask");
    cache.asking(later);
    // While it is asked, and after it has not answered, nobody knows.
    assert_eq!(word(&cache.look_up(&unknown, later)), "later");
    cache.failed(later.plus(s(2)));
    assert_eq!(word(&cache.without_server(&unknown, later.plus(s(2)))), "later");
    assert_eq!(word(&cache.look_up(&unknown, later.plus(s(59)))), "later");
    assert_eq!(word(&cache.look_up(&unknown, later.plus(s(60)))), "ask");
    cache.asking(later.plus(s(60)));
    cache.answered(Rc::new(set(&[rsa("k1")])), None, later.plus(s(61)));
    assert_eq!(word(&cache.look_up(&unknown, later.plus(s(62)))), "use");
    // A key of another algorithm is a known one: nobody is asked for it.
    let other = unverified(&header(&json!({ "alg": "ES256" })));
    assert_eq!(word(&known(&[rsa("k1")], None, NOW).look_up(&other, NOW.plus(s(120)))), "use");
}

#[test]
fn without_any_keys_each_request_asks_and_a_server_that_failed_is_left_alone_for_a_second() {
    let token = unverified(&header(&json!({})));
    let mut cache = KeyCache::new();
    assert_eq!(word(&cache.look_up(&token, NOW)), "ask");
    cache.asking(NOW);
    // Another request's fetch must not be awaited.
    assert_eq!(word(&cache.look_up(&token, NOW)), "ask");
    cache.failed(NOW);
    assert_eq!(word(&cache.without_server(&token, NOW)), "later");
    assert_eq!(word(&cache.look_up(&token, Timestamp(NOW.0 + 999))), "later");
    assert_eq!(word(&cache.look_up(&token, NOW.plus(s(1)))), "ask");
}

/// A configuration whose route takes its credential from these parts.
fn configured(route: &Value) -> Vars {
    let mut all = vars([
        ("ROUTES", json!([route])),
        ("JWKS", json!({ "keys": [rsa("k1")] })),
        ("JWT_ISSUER", json!(ISSUER)),
        ("JWT_AUDIENCE", json!("shop")),
    ]);
    all.values.retain(|_, value| !value.is_null());
    all
}

fn admitted(route: &Value, lines: &[(&str, &str)]) -> Admission {
    let policy = Policy::parse(&configured(route)).unwrap();
    let (address, header) = (address("https://h/a"), headers(lines));
    admit(&policy, &Head { method: "POST", address: &address, header: &header })
}

fn unproven(route: &Value, lines: &[(&str, &str)]) -> Unproven {
    match admitted(route, lines) {
        Admission::Verify(unproven) => unproven,
        other => panic!("it is not verified: {other:?}"),
    }
}

fn proven(
    route: &Value,
    lines: &[(&str, &str)],
    proof: impl FnOnce(&Unverified) -> Proof,
) -> Guarded {
    let unproven = unproven(route, lines);
    let (address, header) = (address("https://h/a"), headers(lines));
    let head = Head { method: "POST", address: &address, header: &header };
    let proof = proof(&unproven.token);
    match unproven.prove(&head, Ok(proof)) {
        Admission::Guard(guarded) => guarded,
        other => panic!("it is not guarded: {other:?}"),
    }
}

const KEY: (&str, &str) = ("idempotency-key", "k1");

#[test]
fn a_verified_claim_and_its_issuer_are_the_credential_and_nothing_else_of_the_token() {
    let by_sub = json!({ "credential": ["jwt:/sub"] });
    let by_both = json!({ "credential": ["jwt:/sub", "jwt:/scope"] });
    let id = |route: &Value, claims: Value| {
        let authorization = format!("Bearer {}", token(&claims));
        proven(route, &[KEY, ("authorization", &authorization)], Unverified::verified).id
    };
    let alice = id(&by_sub, json!({}));
    // Renewed.
    assert_eq!(
        alice,
        id(&by_sub, json!({ "exp": 2_000_000, "iat": 7, "jti": "x", "scope": "all" }))
    );
    for other in [
        json!({ "sub": "bob" }),
        json!({ "sub": "Alice" }),
        json!({ "sub": 7 }),
        json!({ "iss": "https://other.example" }),
    ] {
        assert_ne!(alice, id(&by_sub, other.clone()), "{other}");
    }
    // A text and an integer are two subjects.
    assert_ne!(id(&by_sub, json!({ "sub": "7" })), id(&by_sub, json!({ "sub": 7 })));
    let scoped = id(&by_both, json!({ "scope": "read" }));
    assert_ne!(scoped, id(&by_both, json!({ "scope": "write" })));
    assert_ne!(
        id(&by_both, json!({ "sub": "a", "scope": "bc" })),
        id(&by_both, json!({ "sub": "ab", "scope": "c" }))
    );
    // Nobody becomes alice with what is not verified.
    let authorization = format!("Bearer {}", token(&json!({})));
    let lines = [KEY, ("authorization", authorization.as_str())];
    let refused = proven(&by_sub, &lines, |_| Proof::Refused(Refusal::Signature)).id;
    let opaque = proven(&by_sub, &lines, |_| Proof::Opaque).id;
    assert_ne!(alice, refused);
    assert_eq!(opaque, refused, "the header counts as it is");
    for crafted in ["jwt", "alice", "text", "jwthttps://issuer.exampletextalice"] {
        match admitted(&by_sub, &[KEY, ("authorization", crafted)]) {
            Admission::Guard(guarded) => assert_ne!(guarded.id, alice, "{crafted}"),
            other => panic!("nothing is to be verified: {other:?}"),
        }
    }
}

#[test]
fn a_token_is_looked_at_only_where_a_route_names_a_claim_of_it() {
    let authorization = format!("Bearer {}", token(&json!({})));
    let lines = [KEY, ("authorization", authorization.as_str())];
    let usual = json!({});
    assert!(matches!(admitted(&usual, &lines), Admission::Guard(_)));
    let named = json!({ "credential": ["jwt:/sub"] });
    assert!(matches!(admitted(&named, &lines), Admission::Verify(_)));
    assert!(matches!(admitted(&named, &[KEY]), Admission::Guard(_)), "it has no token");
    assert!(matches!(admitted(&named, &lines[1..]), Admission::Pass), "it has no key");
    let shadow = json!({ "credential": ["jwt:/sub"], "mode": "shadow" });
    assert!(matches!(admitted(&shadow, &lines), Admission::Verify(_)));
}

#[test]
fn a_refused_token_is_401_where_the_operation_is_live_and_never_runs_it_again() {
    let forward = json!({ "credential": ["jwt:/sub"], "credential_change": "forward" });
    let authorization = format!("Bearer {}", token(&json!({})));
    let lines = [KEY, ("authorization", authorization.as_str())];
    let (address, header) = (address("https://h/a"), headers(&lines));
    let head = Head { method: "POST", address: &address, header: &header };
    let changed = || Problem::new(Code::CredentialChanged, "");
    let refused = proven(&forward, &lines, |_| Proof::Refused(Refusal::Expired));
    assert_eq!(
        refused.claim(&head, &[0; 32], lease(1)).credential_change,
        CredentialChange::Refuse
    );
    let problem = refused.told(changed());
    assert_eq!((problem.code, problem.status), (Code::CredentialRefused, 401));
    assert!(problem.detail.contains("it has expired"), "{}", problem.detail);
    let marks = problem_marks(&problem, None, "c-1");
    let challenge = marks.iter().find(|(name, _)| *name == "www-authenticate").unwrap();
    assert_eq!(challenge.1, r#"Bearer error="invalid_token""#);
    assert_eq!(refused.told(Problem::new(Code::KeyReused, "")).code, Code::KeyReused);
    for proof in [Proof::Opaque, refused_to_verified(&lines, &forward)] {
        let guarded = proven(&forward, &lines, |_| proof);
        let claim = guarded.claim(&head, &[0; 32], lease(1));
        assert_eq!(claim.credential_change, CredentialChange::Forward);
        assert_eq!(guarded.told(changed()).code, Code::CredentialChanged);
    }
}

fn refused_to_verified(lines: &[(&str, &str)], route: &Value) -> Proof {
    unproven(route, lines).token.verified()
}

#[test]
fn a_token_that_cannot_be_verified_now_is_503_and_nothing_is_claimed() {
    let route = json!({ "credential": ["jwt:/sub"] });
    let authorization = format!("Bearer {}", token(&json!({})));
    let lines = [KEY, ("authorization", authorization.as_str())];
    let (address, header) = (address("https://h/a"), headers(&lines));
    let head = Head { method: "POST", address: &address, header: &header };
    let not_known = Err(NotKnownNow(Duration::from_millis(1)));
    let Admission::Refuse(problem, _) = unproven(&route, &lines).prove(&head, not_known) else {
        panic!("it is refused")
    };
    assert_eq!((problem.code.as_str(), problem.status), ("credential-unverifiable", 503));
    assert_eq!(problem.retry_after_s, Some(1));
}

#[test]
fn a_route_that_names_a_claim_needs_keys_issuer_and_audience() {
    let route = json!({ "credential": ["jwt:/sub"] });
    let wrong = |name: &'static str, value: Option<Value>| {
        let mut vars = configured(&route);
        match value {
            Some(value) => vars.values.insert(name.to_owned(), value),
            None => vars.values.remove(name),
        };
        let wrongs = Policy::parse(&vars).map(|_| ()).err().unwrap_or_default();
        wrongs.into_iter().map(|wrong| format!("{}: {}", wrong.knob, wrong.why)).collect::<Vec<_>>()
    };
    assert!(Policy::parse(&configured(&route)).unwrap().trust.is_some());
    for name in ["JWKS", "JWT_ISSUER", "JWT_AUDIENCE"] {
        let [wrong] = &wrong(name, None)[..] else { panic!("{name} is missing") };
        assert!(
            wrong.starts_with(&format!("{name}: is missing, and ROUTES[0].credential")),
            "{wrong}"
        );
    }
    for name in ["JWT_ISSUER", "JWT_AUDIENCE"] {
        for value in [json!(""), json!(" "), json!(7), json!(["a"]), json!(null)] {
            assert_eq!(wrong(name, Some(value.clone())).len(), 1, "{name} {value}");
        }
    }
    for sound in [
        json!("https://issuer.example/.well-known/jwks.json"),
        json!("http://127.0.0.1:8080/jwks"),
        json!("http://localhost/jwks"),
        json!(json!({ "keys": [ec("a")] }).to_string()),
        json!({ "keys": [ec("a"), { "kty": "oct", "k": "secret" }] }),
    ] {
        assert_eq!(wrong("JWKS", Some(sound.clone())), [""; 0], "{sound}");
    }
    for value in [
        json!(""),
        json!("jwks.json"),
        json!("http://issuer.example/jwks"),
        json!("http://localhost.example/jwks"),
        json!("ftp://issuer.example/jwks"),
        json!("https://user:hunter2@issuer.example/jwks"),
        json!("{"),
        json!(r#"{"keys":"hunter2"}"#),
        json!({ "keys": [] }),
        json!({ "keys": [{ "kty": "oct", "k": "hunter2" }] }),
        json!([rsa("hunter2")]),
        json!(7),
        json!(null),
    ] {
        let said = wrong("JWKS", Some(value.clone()));
        assert_eq!(said.len(), 1, "{value}");
        assert!(said[0].starts_with("JWKS: ") && !said[0].contains("hunter2"), "{said:?}");
    }
    // Without such a route nobody needs them.
    let usual = configured(&json!({}));
    assert!(Policy::parse(&usual).unwrap().trust.is_none());
    for contradiction in [
        json!({ "credential": ["jwt:/sub", "header:Authorization"] }),
        json!({ "credential": ["jwt:/sub"], "scope": ["path", "header:authorization"] }),
        json!({ "credential": ["jwt:/sub"], "fingerprint": { "headers": ["Authorization"] } }),
        json!({ "credential": ["jwt:sub"] }),
        json!({ "credential": ["jwt:"] }),
    ] {
        assert_eq!(
            Policy::parse(&configured(&contradiction)).unwrap_err().len(),
            1,
            "{contradiction}"
        );
    }
    // A var of four letters is nobody's misspelt JWKS.
    let mut vars = configured(&route);
    vars.values.extend([("AWS".to_owned(), json!("x")), ("JOBS".to_owned(), json!("x"))]);
    assert!(Policy::parse(&vars).is_ok());
}
