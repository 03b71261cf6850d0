//! Reads the vars and keeps what they mean: once per instance, since a new configuration comes with a
//! new instance.

use std::cell::OnceCell;
use std::rc::Rc;

use serde_json::{Map, Value};
use wasm_bindgen::JsCast as _;
use worker::Env;

use super::bindings;
use super::error::Error;
use crate::config::loops::LoopId;
use crate::config::read::Misconfigured;
use crate::config::{Policy, VARS, Vars};
use crate::log::LogKey;
use crate::operator::auth::{Auth, NoAuth, TOKEN_MIN};

thread_local! {
    static AUTH: OnceCell<Option<Rc<Auth>>> = const { OnceCell::new() };
    static LEDGERS: OnceCell<bindings::Namespace> = const { OnceCell::new() };
    static RUNNERS: OnceCell<bindings::Namespace> = const { OnceCell::new() };
    static LOOP_ID: OnceCell<LoopId> = const { OnceCell::new() };
    static LOG_KEY: OnceCell<Option<Rc<LogKey>>> = const { OnceCell::new() };
    static POLICY: OnceCell<Result<Rc<Policy>, Rc<Vec<Misconfigured>>>> = const { OnceCell::new() };
}

/// The policy of this deployment.
pub(super) fn policy(env: &Env) -> Result<Rc<Policy>, Rc<Vec<Misconfigured>>> {
    POLICY.with(|cell| {
        let parse = || Policy::parse(&vars(env).map_err(|mistake| vec![mistake])?);
        cell.get_or_init(|| parse().map(Rc::new).map_err(Rc::new)).clone()
    })
}

/// The Ledgers of this deployment: all objects of the class, or those of its jurisdiction.
pub(super) fn ledgers(env: &Env) -> Result<bindings::Namespace, Error> {
    LEDGERS.with(|cell| objects(cell, env, || Ok(bindings::ledger(env))))
}

/// The Runners of this deployment, in the same way.
pub(super) fn runners(env: &Env) -> Result<bindings::Namespace, Error> {
    let bound = || match bindings::runners(env) {
        runners if runners.is_object() => Ok(runners.unchecked_into()),
        _ => Err(Error::NoRunner),
    };
    RUNNERS.with(|cell| objects(cell, env, bound))
}

fn objects(
    known: &OnceCell<bindings::Namespace>,
    env: &Env,
    bound: impl FnOnce() -> Result<bindings::Namespace, Error>,
) -> Result<bindings::Namespace, Error> {
    if let Some(objects) = known.get() {
        return Ok(objects.clone());
    }
    let all = bound()?;
    let name = bindings::get(env, "JURISDICTION").as_string().filter(|name| !name.is_empty());
    let objects = match name {
        None => all,
        Some(name) => bindings::in_jurisdiction(&all, &name)?.unwrap_or_else(|| {
            bindings::log_warning(
                "JURISDICTION is ignored: this runtime is a local one and has none",
            );
            all
        }),
    };
    Ok(known.get_or_init(|| objects).clone())
}

/// The id by which this deployment knows its own requests.
pub(super) fn loop_entry(env: &Env, method: &str, path: &str) -> String {
    let read = || {
        // Where the vars cannot be read, nothing is forwarded.
        LoopId::of(&vars(env).unwrap_or_default(), &bindings::store_id(&bindings::ledger(env)))
    };
    LOOP_ID.with(|id| id.get_or_init(read).entry(method, path))
}

/// The secret under which the log holds digests of keys; none where `LOG_KEY` is not set or not usable.
pub(super) fn log_key(env: &Env) -> Option<Rc<LogKey>> {
    LOG_KEY.with(|cell| {
        let text = |name| bindings::get(env, name).as_string();
        let read = || match LogKey::new(&text("LOG_KEY")?, text("ADMIN_TOKEN").as_deref()) {
            Ok(key) => Some(Rc::new(key)),
            Err(why) => {
                bindings::log_warning(why);
                None
            }
        };
        cell.get_or_init(read).clone()
    })
}

/// Authenticates operators; `None` where there is no usable `ADMIN_TOKEN`.
pub(super) fn auth(env: &Env) -> Option<Rc<Auth>> {
    AUTH.with(|cell| cell.get_or_init(|| read_auth(env).map(Rc::new)).clone())
}

fn read_auth(env: &Env) -> Option<Auth> {
    match Auth::new(&bindings::get(env, "ADMIN_TOKEN").as_string()?) {
        Ok(auth) => Some(auth),
        Err(NoAuth::Blank) => None,
        Err(NoAuth::TooShort) => {
            bindings::log_error(&format!(
                "ADMIN_TOKEN has fewer than {TOKEN_MIN} characters and opens nothing: set a longer one"
            ));
            None
        }
    }
}

/// What is configured. A binding is nobody's misspelt var, so bindings are left out; one that has the
/// name of a var of ours becomes a null, which no var takes.
pub(super) fn vars(env: &Env) -> Result<Vars, Misconfigured> {
    let unreadable = |why: String| Misconfigured { knob: "vars".to_owned(), why };
    let json = bindings::vars(env).map_err(|error| unreadable(bindings::text(&error)))?;
    let mut values: Map<String, Value> =
        serde_json::from_str(&json).map_err(|error| unreadable(error.to_string()))?;
    for name in VARS {
        if !values.contains_key(name) && !bindings::get(env, name).is_undefined() {
            values.insert(name.to_owned(), Value::Null);
        }
    }
    let binds_origin = bindings::is_fetcher(&bindings::get(env, "ORIGIN"));
    let binds_runner = bindings::runners(env).is_object();
    Ok(Vars { values, binds_origin, binds_runner })
}
