//! Whose key it is. An input is lines: the names of the headers that carry the credential, with spaces
//! between, then two requests of five lines each, which are two headers (those with names of odd and of
//! even length), the Cookie header, the host and the path.

use oncegate::config::values::Mode;
use oncegate::request::bearer::Proof;
use oncegate::request::credential::{CredentialPart, Undecodable, credential};
use oncegate::request::fingerprint::Fingerprint;
use oncegate::request::scope::{Caller, ScopePart};

/// Any text.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let mut request = || -> [&str; 5] { [(); 5].map(|()| lines.next().unwrap_or_default()) };
    let [one, other] = [request(), request()].map(|request| Asking::of(&names, request));
    if let (Ok(a), Ok(b)) = (&one.credential, &other.credential) {
        let same = one.shown == other.shown;
        assert_eq!(a == b, same, "{:?} and {:?}", one.shown, other.shown);
    }
    let whole = [ScopePart::Host, ScopePart::Path, ScopePart::Credential, ScopePart::Route];
    let scopes = [&one, &other].map(|it| it.scope(&whole, Mode::Enforce));
    let is_same_place =
        host(one.request[3]) == host(other.request[3]) && one.request[4] == other.request[4];
    let same = one.credential.as_ref().ok() == other.credential.as_ref().ok() && is_same_place;
    assert_eq!(scopes[0] == scopes[1], same);
    assert_ne!(one.scope(&whole, Mode::Shadow), scopes[0]);
    // What is left when only the credential changed.
    let operation = [&one, &other].map(|it| it.operation(&whole));
    assert_eq!(operation[0] == operation[1], is_same_place);
}

/// Without the port that https has anyway, and without one dot at the end of the name.
fn host(text: &str) -> (&str, Option<&str>) {
    let text = text.strip_suffix(":443").unwrap_or(text);
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    (name.strip_suffix('.').unwrap_or(name), port)
}

/// A scheme in any case and any number of spaces after it are one.
fn value<'a>(name: &str, value: &'a str) -> Value<'a> {
    match value.trim_matches([' ', '\t']).split_once(' ') {
        Some((scheme, rest)) if name == "authorization" => {
            (Some(scheme.to_ascii_lowercase()), rest.trim_start_matches(' '))
        }
        _ => (None, value),
    }
}

/// Cookies of Cloudflare and of those who measure, which change by themselves.
fn says_who_calls(cookie: &str) -> bool {
    let name = cookie.split_once('=').map(|(name, _)| name.trim()).unwrap_or_default();
    let exact = "__cf_bm __cflb __cfruid _cfuvid cf_clearance _ga _gid _gat _gcl_au _gcl_aw _gcl_dc _fbp _fbc";
    let is_property = name
        .strip_prefix("_ga_")
        .is_some_and(|id| !id.is_empty() && id.chars().all(|c| matches!(c, 'A'..='Z' | '0'..='9')));
    let begins = ["cf_chl_", "__cfwaitingroom", "_gat_gtag_", "_gat_UA-"];
    let is_listed = !name.is_empty() && exact.split(' ').any(|it| it == name);
    !(is_property || is_listed || begins.iter().any(|it| name.starts_with(it)))
}

/// The scheme in lower case, if it has one, and the rest.
type Value<'a> = (Option<String>, &'a str);

struct Asking<'a> {
    request: [&'a str; 5],
    credential: Result<[u8; 16], Undecodable>,
    /// What tells this caller from others: the values in their places, or else the cookies, in any order.
    shown: Result<Vec<Option<Value<'a>>>, Vec<&'a str>>,
}

impl<'a> Asking<'a> {
    fn of(names: &[&str], request: [&'a str; 5]) -> Self {
        let place = |name: &str| usize::from(name.len().is_multiple_of(2));
        let part = |name: &&str| CredentialPart::Header((*name).to_owned());
        let parts: Vec<CredentialPart> = names.iter().map(part).collect();
        let header = |name: &str| {
            let at = if name == "cookie" { 2 } else { place(name) };
            Some(request[at].to_owned())
        };
        let credential = credential(&parts, &Proof::Opaque, &header);
        let values = names.iter().map(|name| {
            let shown = request[if *name == "cookie" { 2 } else { place(name) }];
            (!shown.trim().is_empty()).then(|| value(name, shown))
        });
        let values: Vec<Option<Value<'_>>> = values.collect();
        let shown = if values.iter().any(Option::is_some) {
            Ok(values)
        } else {
            let cookies = request[2].split([';', ',']).map(str::trim);
            let mut cookies: Vec<&str> =
                cookies.filter(|it| !it.is_empty() && says_who_calls(it)).collect();
            cookies.sort_unstable();
            Err(cookies)
        };
        Self { request, credential, shown }
    }

    fn caller<T>(&self, ask: impl FnOnce(Caller<'_>) -> T) -> T {
        let [.., host, path] = self.request;
        let header = |_: &str| None;
        let credential = *self.credential.as_ref().unwrap_or(&[0; 16]);
        let (scheme, method, route) = ("https", "POST", "charge");
        ask(Caller { scheme, host, method, path, route, credential, header: &header })
    }

    fn scope(&self, parts: &[ScopePart], mode: Mode) -> [u8; 16] {
        self.caller(|caller| caller.scope(parts, mode))
    }

    fn operation(&self, parts: &[ScopePart]) -> [u8; 16] {
        self.caller(|caller| caller.operation(parts, Mode::Enforce, &Fingerprint([0xf1; 32])).0)
    }
}
