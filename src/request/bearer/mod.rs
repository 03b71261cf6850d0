//! Access tokens that are renewed between two tries (RFC 6750, RFC 7519): what one says, and what it proves.
//!
//! ```text
//!   Authorization ──read──▶ Unverified ──judge──▶ its keys ──signature──▶ Verified: issuer and claims
//!        │                      │                    │            └──────▶ Refused
//!        └─ no such token       └─ Refused           └─ not to be known now
//!           (opaque)               (time, issuer, audience)
//! ```
//!
//! Only a verified token names its caller by its claims. In every other case the header itself is the credential, byte by
//! byte, so that nobody reads another caller's reply with what he has made up. This file decides; the platform only fetches
//! the keys and checks signatures.

pub mod key_cache;
pub mod keys;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use self::keys::KeySource;
use crate::request::header::compared;
use crate::request::json::{Pointer, Scalar};
use crate::time::Timestamp;

/// Whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Who issues them.
    pub issuer: String,
    /// Whom they must be meant for: a token for another application of the same issuer must not open replays.
    pub audience: String,
    /// Where the keys are that verify them.
    pub keys: KeySource,
}

/// How a token is signed. Others are never verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3).
    Rs256,
    /// ECDSA with P-256 and SHA-256 (RFC 7518 section 3.4).
    Es256,
}

/// What a caller's Authorization proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is no token that could be verified: the header counts as it is.
    Opaque,
    /// It is one that must not be believed: the header counts as it is.
    Refused(Refusal),
    /// The caller is who the token says.
    Verified(Subject),
}

/// Why a token must not be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Another issuer's, or none's.
    #[error("it is of another issuer")]
    Issuer,
    /// For another application, or for none.
    #[error("it is for another audience")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// None of the issuer's keys is the one that it names.
    #[error("no key of the issuer has its kid")]
    UnknownKey,
    /// Somebody else has signed it, or changed it.
    #[error("its signature does not verify")]
    Signature,
}

/// Whether a token's keys cannot be had now; after so long it is worth asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotKnownNow(pub Duration);

/// Who calls, in the issuer's words: the claims that the route names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    issuer: String,
    claims: Vec<(Pointer, Scalar)>,
}

impl Subject {
    /// What of it a digest is made of for one claim.
    #[must_use]
    pub fn claim(&self, pointer: &Pointer) -> Vec<&str> {
        let claim = self.claims.iter().find(|(known, _)| known == pointer);
        let value = claim.map_or(["", ""], |(_, claim)| match claim {
            Scalar::Text(text) => ["text", text],
            Scalar::Integer(digits) => ["integer", digits],
        });
        [&["jwt", &self.issuer][..], &value].concat()
    }
}

/// A token whose signature nobody has checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Unverified {
    /// How it says that it is signed.
    pub algorithm: Algorithm,
    /// The key that it says it is signed with.
    pub kid: Option<String>,
    /// What is signed: its first two parts and the dot between them.
    pub signed: String,
    /// Its third part.
    pub signature: Vec<u8>,
    claims: Claims,
    subject: Subject,
}

impl Unverified {
    /// Reads the token of an Authorization header. `None` where the header is opaque: no bearer token, not alone there, too
    /// long, no JWT, of another algorithm, bound to a key (`cnf`), with an extension that must be understood (`crit`),
    /// without an end (a token that never expires is not renewed), or without a claim that the route names.
    #[must_use]
    pub fn read(authorization: String, pointers: &[&Pointer]) -> Option<Self> {
        let header = compared("authorization", authorization);
        let token =
            header.strip_prefix("bearer ").filter(|token| token.len() <= TOKEN_BYTES_MAX)?;
        let mut parts = token.split('.');
        let [header, payload, signature] = [parts.next()?, parts.next()?, parts.next()?];
        if parts.next().is_some() {
            return None;
        }
        let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let read: Header = serde_json::from_slice(&decoded(header)?).ok()?;
        let payload_json = decoded(payload)?;
        let claims: Claims = serde_json::from_slice(&payload_json).ok()?;
        let algorithm = match read.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            _ => return None,
        };
        if read.crit || claims.cnf {
            return None;
        }
        let claim = |pointer: &&Pointer| {
            let value = pointer.scalar(&payload_json).ok()??;
            let is_empty = matches!(&value, Scalar::Text(text) if text.is_empty());
            (!is_empty).then(|| ((*pointer).clone(), value))
        };
        let named = pointers.iter().map(claim).collect::<Option<Vec<_>>>()?;
        let issuer = claims.iss.clone().unwrap_or_default();
        Some(Self {
            algorithm,
            kid: read.kid,
            signed: format!("{header}.{payload}"),
            signature: decoded(signature)?,
            claims,
            subject: Subject { issuer, claims: named },
        })
    }

    /// Whether it would be believed if its signature verifies.
    ///
    /// # Errors
    /// Why it would not.
    pub fn judge(&self, trust: &Trust, now: Timestamp) -> Result<(), Refusal> {
        let Claims { iss, aud, exp, nbf, .. } = &self.claims;
        if iss.as_deref() != Some(trust.issuer.as_str()) {
            return Err(Refusal::Issuer);
        }
        if !aud.has(&trust.audience) {
            return Err(Refusal::Audience);
        }
        let now = now.as_seconds();
        if now >= exp + LEEWAY_S {
            return Err(Refusal::Expired);
        }
        if nbf.is_some_and(|nbf| now + LEEWAY_S < nbf) {
            return Err(Refusal::NotYet);
        }
        Ok(())
    }

    /// Who it says that calls, once its signature has verified.
    #[must_use]
    pub fn verified(&self) -> Proof {
        Proof::Verified(self.subject.clone())
    }
}

/// The JOSE header (RFC 7515 section 4). A member that is there twice is an error.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// The registered claims (RFC 7519 section 4.1), and `cnf` (RFC 7800).
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Claims {
    iss: Option<String>,
    #[serde(default)]
    aud: Audience,
    /// Seconds since 1970; they may have a fraction.
    exp: f64,
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "is_there")]
    cnf: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audience {
    fn has(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

/// Whatever its value is.
fn is_there<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(from).map(|_| true)
}

/// No issuer makes longer ones: most servers refuse a header above it.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// By so much the clocks of issuer and filter may differ.
const LEEWAY_S: f64 = 60.0;
