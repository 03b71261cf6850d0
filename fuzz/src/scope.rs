//! Whose key it is. An input is lines: the names of the headers that carry the credential, with spaces
//! between, then two requests of five lines each, which are two headers (those with names of odd and of
//! even length), the Cookie header, the host and the path.

use oncegate::config::values::Mode;
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
    if let (Ok(a), Ok(b)) = (one.credential, other.credential) {
        let same = one.shown == other.shown;
        assert_eq!(a == b, same, "{:?} and {:?}", one.shown, other.shown);
    }
    let whole = [ScopePart::Host, ScopePart::Path, ScopePart::Credential, ScopePart::Route];
    let scopes = [&one, &other].map(|it| it.scope(&whole, Mode::Enforce));
    let same = one.credential == other.credential && one.request[3..] == other.request[3..];
    assert_eq!(scopes[0] == scopes[1], same);
    assert_ne!(one.scope(&whole, Mode::Shadow), scopes[0]);
    // What is left when only the credential changed.
    let operation = [&one, &other].map(|it| it.operation(&whole));
    assert_eq!(operation[0] == operation[1], one.request[3..] == other.request[3..]);
}

struct Asking<'a> {
    request: [&'a str; 5],
    credential: Result<[u8; 16], Undecodable>,
    /// What tells this caller from others: the values in their places, or else the cookies, in any order.
    shown: Result<Vec<Option<&'a str>>, Vec<&'a str>>,
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
        let credential = credential(&parts, &header);
        let values = names.iter().map(|name| {
            let value = request[if *name == "cookie" { 2 } else { place(name) }];
            (!value.trim().is_empty()).then_some(value)
        });
        let values: Vec<Option<&str>> = values.collect();
        let shown = if values.iter().any(Option::is_some) {
            Ok(values)
        } else {
            let cookies = request[2].split([';', ',']).map(str::trim);
            let mut cookies: Vec<&str> = cookies.filter(|it| !it.is_empty()).collect();
            cookies.sort_unstable();
            Err(cookies)
        };
        Self { request, credential, shown }
    }

    fn caller<T>(&self, ask: impl FnOnce(Caller<'_>) -> T) -> T {
        let [.., host, path] = self.request;
        let header = |_: &str| None;
        let credential = self.credential.unwrap_or_default();
        ask(Caller { host, method: "POST", path, route: "charge", credential, header: &header })
    }

    fn scope(&self, parts: &[ScopePart], mode: Mode) -> [u8; 16] {
        self.caller(|caller| caller.scope(parts, mode))
    }

    fn operation(&self, parts: &[ScopePart]) -> [u8; 16] {
        self.caller(|caller| caller.operation(parts, Mode::Enforce, &Fingerprint([0xf1; 32])).0)
    }
}
