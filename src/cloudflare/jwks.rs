//! Verifies access tokens: fetches the keys of their issuer, and lets the runtime check signatures (`crypto.subtle`). What is
//! decided of it is decided in [`crate::request::bearer`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use js_sys::Array;
use wasm_bindgen::{JsCast as _, JsValue};

use super::bindings;
use super::clock::{now, pause};
use super::error::Error;
use super::tasks::wait;
use crate::request::bearer::key_cache::{KeyCache, LookUp};
use crate::request::bearer::keys::{Found, KeySet, KeySource, PublicKey};
use crate::request::bearer::{Algorithm, NotKnownNow, Proof, Refusal, Trust, Unverified};

thread_local! {
    static CACHE: RefCell<KeyCache> = const { RefCell::new(KeyCache::new()) };
    /// The runtime's form of each key, by the text of its JWK.
    static IMPORTED: RefCell<BTreeMap<String, JsValue>> = const { RefCell::new(BTreeMap::new()) };
}

/// What a token proves. Once its key is known and imported, this waits for one promise.
pub(super) async fn verify(
    trust: Option<&Trust>,
    token: &Unverified,
) -> Result<Proof, NotKnownNow> {
    // A policy with a route that names a claim has it.
    let Some(trust) = trust else { return Ok(Proof::Opaque) };
    if let Err(refusal) = token.judge(trust, now()) {
        return Ok(Proof::Refused(refusal));
    }
    let keys = match &trust.keys {
        KeySource::Document(keys) => keys.clone(),
        KeySource::Server(address) => keys_of(address, token).await?,
    };
    match keys.find(token) {
        Found::OtherAlgorithm => Ok(Proof::Opaque),
        Found::Nothing => Ok(Proof::Refused(Refusal::UnknownKey)),
        Found::Keys(keys) => {
            for key in keys {
                if is_signed_by(key, token).await {
                    return Ok(token.verified());
                }
            }
            Ok(Proof::Refused(Refusal::Signature))
        }
    }
}

/// The keys by which a token is judged, asked of their server if need be.
async fn keys_of(address: &str, token: &Unverified) -> Result<Rc<KeySet>, NotKnownNow> {
    let look_up = match CACHE.with_borrow(|cache| cache.look_up(token, now())) {
        LookUp::Ask => {
            CACHE.with_borrow_mut(|cache| cache.asking(now()));
            match ask(address).await {
                Ok((keys, cache_control)) => {
                    let keys = Rc::new(keys);
                    forget_all_but(&keys);
                    CACHE.with_borrow_mut(|cache| {
                        cache.answered(keys.clone(), cache_control.as_deref(), now());
                    });
                    LookUp::Use(keys)
                }
                Err(why) => {
                    bindings::log_error(&format!(
                        "the key server (JWKS) has not answered with keys: {why}"
                    ));
                    CACHE.with_borrow_mut(|cache| cache.failed(now()));
                    CACHE.with_borrow(|cache| cache.without_server(token, now()))
                }
            }
        }
        look_up => look_up,
    };
    match look_up {
        LookUp::Use(keys) => Ok(keys),
        LookUp::Later(later) => Err(later),
        LookUp::Ask => Err(NotKnownNow(PATIENCE)),
    }
}

/// Asks the key server. The answer comes with its Cache-Control.
async fn ask(address: &str) -> Result<(KeySet, Option<String>), String> {
    let asked = wait(bindings::fetch_keys(address, DOCUMENT_BYTES_MAX, PATIENCE_MS));
    let answer = match select(asked, pin!(pause(PATIENCE))).await {
        Either::Left((answer, _)) => answer.map_err(|error| error.to_string())?,
        Either::Right(_) => return Err("it took longer than 2 s".to_owned()),
    };
    let answer: Array = answer.unchecked_into();
    let document = answer.get(0).as_string().unwrap_or_default();
    Ok((KeySet::parse(&document)?, answer.get(1).as_string()))
}

/// A key that cannot be imported, and a signature that cannot be checked, verify nothing.
async fn is_signed_by(key: &PublicKey, token: &Unverified) -> bool {
    match checked(key, token).await {
        Ok(verifies) => verifies.is_truthy(),
        Err(error) => {
            bindings::log_error(&format!("a key of the issuer (JWKS) cannot be used: {error}"));
            false
        }
    }
}

async fn checked(key: &PublicKey, token: &Unverified) -> Result<JsValue, Error> {
    let imported = match IMPORTED.with_borrow(|imported| imported.get(&key.jwk).cloned()) {
        Some(imported) => imported,
        None => {
            let is_rsa = key.algorithm == Algorithm::Rs256;
            let imported = wait(bindings::import_key(&key.jwk, is_rsa)).await?;
            IMPORTED.with_borrow_mut(|all| all.insert(key.jwk.clone(), imported.clone()));
            imported
        }
    };
    wait(bindings::verifies(&imported, &token.signature, token.signed.as_bytes())).await
}

/// Keys that the server no longer has are forgotten.
fn forget_all_but(keys: &KeySet) {
    let is_there = |jwk: &str| keys.keys().iter().any(|key| key.jwk == jwk);
    IMPORTED.with_borrow_mut(|imported| imported.retain(|jwk, _| is_there(jwk)));
}

/// As long as a request waits for the key server.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_MS: u32 = 2_000;
/// 1 MB: a set of a hundred keys has 50 KB.
const DOCUMENT_BYTES_MAX: u32 = 1_000_000;
