//! Whose access tokens are taken (`jwt:/pointer` in a route's credential): the vars `JWKS`, `JWT_ISSUER` and
//! `JWT_AUDIENCE`. What is said of them names no value: a document may hold a key that is nobody's business.

use std::rc::Rc;

use serde_json::{Map, Value};

use crate::config::read::Misconfigured;
use crate::config::route::Route;
use crate::request::bearer::Trust;
use crate::request::bearer::keys::{KeySet, KeySource};
use crate::request::credential::CredentialPart;
use crate::request::path::Address;

/// Reads the vars. `None` where no route needs them.
pub(super) fn trust(
    vars: &Map<String, Value>,
    routes: &[(String, Rc<Route>)],
) -> Result<Option<Rc<Trust>>, Vec<Misconfigured>> {
    let names_claim =
        |route: &Route| route.credential.iter().any(|part| matches!(part, CredentialPart::Jwt(_)));
    let needed_by = routes.iter().find(|(_, route)| names_claim(route)).map(|(place, _)| place);
    let mut mistakes = Vec::new();
    let mut read = |name: &str, parse: &dyn Fn(&Value) -> Result<(), String>| {
        match vars.get(name) {
        Some(value) => {
            if let Err(why) = parse(value) {
                mistakes.push(Misconfigured::new(name, why));
            }
        }
        None => mistakes.extend(needed_by.map(|place| {
            Misconfigured::new(name, format!("is missing, and {place}.credential names a claim of a token (jwt:…): set JWKS, JWT_ISSUER and JWT_AUDIENCE"))
        })),
    }
    };
    read("JWKS", &|value| keys(value).map(drop));
    for name in ["JWT_ISSUER", "JWT_AUDIENCE"] {
        read(name, &|value| text(value).map(drop));
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let text = |name| vars.get(name).and_then(|value| text(value).ok());
    let keys = vars.get("JWKS").and_then(|value| keys(value).ok());
    Ok(match (needed_by, keys, text("JWT_ISSUER"), text("JWT_AUDIENCE")) {
        (Some(_), Some(keys), Some(issuer), Some(audience)) => {
            Some(Rc::new(Trust { issuer, audience, keys }))
        }
        _ => None,
    })
}

fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().filter(|text| !text.trim().is_empty());
    text.map(str::to_owned)
        .ok_or_else(|| "must be a text that is not empty, as it stands in the tokens".to_owned())
}

fn keys(value: &Value) -> Result<KeySource, String> {
    let document = match value {
        Value::String(text) if !text.trim_start().starts_with('{') => return server(text.trim()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let set = KeySet::parse(&document).map_err(|_| {
        r#"must be the address of a JWK Set, or the document itself: {"keys": [ … ]} (RFC 7517)"#.to_owned()
    })?;
    if set.is_empty() {
        return Err("holds no public key for RS256 (RSA of 2048 bits or more) or ES256 (P-256), so no token could be verified".to_owned());
    }
    Ok(KeySource::Document(Rc::new(set)))
}

/// Whoever can change what the key server says can be everybody, so it is asked over TLS. A key server on the developer's
/// own machine may have none.
fn server(text: &str) -> Result<KeySource, String> {
    let is_own = |host: &str| {
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| !port.contains(']'))
            .map_or(host, |(name, _)| name);
        matches!(name, "localhost" | "127.0.0.1" | "[::1]")
    };
    let address = Address::parse(text).filter(|address| !address.host.contains('@'));
    match address.map(|address| (address.scheme, address.host)) {
        Some((scheme, _)) if scheme == "https" => Ok(KeySource::Server(text.to_owned())),
        Some((scheme, host)) if scheme == "http" && is_own(&host) => {
            Ok(KeySource::Server(text.to_owned()))
        }
        _ => Err("must be an https address, such as https://issuer.example.com/.well-known/jwks.json, or the JWK Set itself".to_owned()),
    }
}
