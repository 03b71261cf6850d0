//! The keys that verify tokens: a JWK Set (RFC 7517), from a key server or from the configuration.
//!
//! Only public keys for RS256 and ES256 are kept, and of these only what the key is: a symmetric key in a document that
//! anybody can fetch is no secret, and private members are nobody's business.

use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Algorithm, Unverified};

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A server, by its address.
    Server(String),
    /// The configuration.
    Document(Rc<KeySet>),
}

/// The keys of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    /// The names of keys that are there, but not for RS256 or ES256.
    other_kids: Vec<String>,
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// What it verifies.
    pub algorithm: Algorithm,
    /// Its name.
    pub kid: Option<String>,
    /// The key as a JWK of its public members and nothing else.
    pub jwk: String,
}

/// What a set has for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// One of these has signed it, or nobody has.
    Keys(Vec<&'a PublicKey>),
    /// The key that it names is for another algorithm.
    OtherAlgorithm,
    /// No key of that name.
    Nothing,
}

impl KeySet {
    /// Reads a JWK Set. Keys that cannot be used are left out (RFC 7517 section 5).
    ///
    /// # Errors
    /// It is not JSON, or no JWK Set.
    pub fn parse(document: &str) -> Result<Self, String> {
        let set: Document = serde_json::from_str(document).map_err(|error| error.to_string())?;
        let mut read = Self::default();
        for entry in set.keys {
            let kid = entry.get("kid").and_then(Value::as_str).map(str::to_owned);
            let key = serde_json::from_value::<Jwk>(entry).ok();
            match key.and_then(|key| key.public(kid.clone())) {
                Some(key) => read.keys.push(key),
                None => read.other_kids.extend(kid),
            }
        }
        Ok(read)
    }

    /// Whether none of its keys verifies anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All keys that verify.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The keys that may have signed a token. A key without a name may be any.
    #[must_use]
    pub fn find(&self, token: &Unverified) -> Found<'_> {
        let has_name = |kid: &Option<String>| match (&token.kid, kid) {
            (Some(wanted), Some(kid)) => wanted == kid,
            (None, _) | (_, None) => true,
        };
        let named: Vec<_> = self.keys.iter().filter(|key| has_name(&key.kid)).collect();
        let is_other = !named.is_empty()
            || token.kid.as_ref().is_some_and(|wanted| self.other_kids.contains(wanted));
        let keys: Vec<_> =
            named.into_iter().filter(|key| key.algorithm == token.algorithm).collect();
        match keys.as_slice() {
            [] if is_other => Found::OtherAlgorithm,
            [] => Found::Nothing,
            _ => Found::Keys(keys.into_iter().take(TRIED_MAX).collect()),
        }
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn public(&self, kid: Option<String>) -> Option<PublicKey> {
        let is_for = |name: &str| self.alg.as_deref().is_none_or(|alg| alg == name);
        let verifies = self.r#use.as_deref().is_none_or(|it| it == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !verifies {
            return None;
        }
        let bytes = |text: &Option<String>| {
            BASE64_URL_SAFE_NO_PAD
                .decode(text.as_deref().unwrap_or_default())
                .map_or(0, |it| it.len())
        };
        let (algorithm, jwk) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _)
                if is_for("RS256") && RSA_BYTES.contains(&bytes(&self.n)) && bytes(&self.e) > 0 =>
            {
                (Algorithm::Rs256, json!({ "kty": "RSA", "n": self.n, "e": self.e }))
            }
            ("EC", Some("P-256"))
                if is_for("ES256") && bytes(&self.x) == 32 && bytes(&self.y) == 32 =>
            {
                let jwk = json!({ "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y });
                (Algorithm::Es256, jwk)
            }
            _ => return None,
        };
        Some(PublicKey { algorithm, kid, jwk: jwk.to_string() })
    }
}

/// 2048 bits at least (RFC 7518 section 3.3), and no more than a request may spend time on.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// So many keys are tried for a token that names none.
const TRIED_MAX: usize = 4;
