//! The request of a schedule or of a message, as it is configured and as it is sent.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::job::template::{Place, Template, Use};
use crate::request::header::header_name;
use crate::request::method::is_safe;
use crate::request::path::Address;

/// The knob `request`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTemplate {
    /// Its method, POST unless another is named.
    #[serde(default = "post", deserialize_with = "method")]
    pub method: String,
    /// Its address. Scheme, host and path decide the route and the scope, as those of a client's request do.
    #[serde(deserialize_with = "url")]
    pub url: Template,
    /// Its headers, by name in lower case. `secret:NAME` stands for the value of a secret.
    #[serde(default, deserialize_with = "headers")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// Its body; a message's own where none is named.
    #[serde(default)]
    pub body: Option<Template>,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// A text.
    Text(Template),
    /// The secret of this name.
    Secret(String),
}

/// A request that is ready but for its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRequest {
    /// Its method.
    pub method: String,
    /// Its address.
    pub url: String,
    /// Its headers, by name in lower case.
    pub headers: Vec<(String, JobHeader)>,
    /// Its body, where the configuration names one.
    pub body: Option<String>,
}

/// A header of such a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobHeader {
    /// Its value.
    Text(String),
    /// The name of the secret that is its value.
    Secret(String),
}

impl RequestTemplate {
    /// The request with its places filled; `None` where a place has nothing to fill it.
    #[must_use]
    pub fn filled(
        &self,
        key: String,
        value: &dyn Fn(&Place) -> Option<String>,
    ) -> Option<JobRequest> {
        let mut headers = vec![(KEY_HEADER.to_owned(), JobHeader::Text(key))];
        for (name, header) in &self.headers {
            let header = match header {
                HeaderValue::Secret(secret) => JobHeader::Secret(secret.clone()),
                HeaderValue::Text(text) => JobHeader::Text(text.filled(Use::Text, value)?),
            };
            headers.push((name.clone(), header));
        }
        let body = match &self.body {
            None => None,
            Some(body) => Some(body.filled(Use::Text, value)?),
        };
        let url = self.url.filled(Use::Address, value)?;
        Some(JobRequest { method: self.method.clone(), url, headers, body })
    }

    /// The path with something in each place, by which its route is found before any request is made.
    #[must_use]
    pub fn sample_path(&self) -> Option<String> {
        let url = self.url.filled(Use::Address, &|_| Some("x".to_owned()))?;
        Address::parse(&url).map(|address| address.target.compared)
    }

    /// Every place of the request.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let headers = self.headers.values().filter_map(|header| match header {
            HeaderValue::Text(text) => Some(text),
            HeaderValue::Secret(_) => None,
        });
        std::iter::once(&self.url).chain(headers).chain(&self.body).flat_map(Template::places)
    }
}

fn post() -> String {
    "POST".to_owned()
}

fn method<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let method = String::deserialize(from)?;
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) || is_safe(&method) {
        return Err(D::Error::custom(
            "must be a method in capitals that changes something, such as POST",
        ));
    }
    Ok(method)
}

fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Template, D::Error> {
    let url = Template::deserialize(from)?;
    let sample = url.filled(Use::Address, &|_| Some("x".to_owned()));
    let address = sample.as_deref().and_then(Address::parse);
    let is_sound = address.is_some_and(|address| {
        matches!(address.scheme.as_str(), "http" | "https") && !address.host.is_empty()
    });
    // A place before the path could send the request, and its secrets, to another host.
    let has_host = url.as_str().splitn(4, '/').take(3).all(|part| !part.contains(['{', '}']));
    if is_sound && has_host {
        return Ok(url);
    }
    Err(D::Error::custom(
        "must be an address such as https://api.example.com/v1/invoices/run, with places in its path or query only",
    ))
}

fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, HeaderValue>, D::Error> {
    let mut headers = BTreeMap::new();
    for (name, value) in BTreeMap::<String, String>::deserialize(from)? {
        let lower = header_name(&name).filter(|name| name != KEY_HEADER).ok_or_else(|| {
            D::Error::custom(format!(
                "must name headers, and not Idempotency-Key, which key makes: \"{name}\""
            ))
        })?;
        if value.contains(|c: char| c.is_control() || !c.is_ascii()) {
            return Err(D::Error::custom(format!(
                "must have a value of visible ASCII characters for {name}"
            )));
        }
        let value = match value.strip_prefix("secret:") {
            Some(secret) => HeaderValue::Secret(secret.to_owned()),
            None => HeaderValue::Text(Template::try_from(value).map_err(D::Error::custom)?),
        };
        headers.insert(lower, value);
    }
    Ok(headers)
}

/// The header that carries the key.
pub const KEY_HEADER: &str = "idempotency-key";
