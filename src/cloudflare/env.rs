//! Reads the vars and keeps what they mean: once per instance, since a new configuration comes with a
//! new instance.

use std::cell::OnceCell;
use std::rc::Rc;

use js_sys::JSON;
use worker::Env;

use super::bindings;
use crate::config::{Misconfigured, OriginVar, Policy, VARS, Vars};
use crate::log::LogKey;
use crate::operator::auth::{Auth, NoAuth, TOKEN_MIN};
use crate::request::json::Json;

thread_local! {
    static AUTH: OnceCell<Option<Rc<Auth>>> = const { OnceCell::new() };
    static LOG_KEY: OnceCell<Option<Rc<LogKey>>> = const { OnceCell::new() };
    static POLICY: OnceCell<Result<Rc<Policy>, Rc<Vec<Misconfigured>>>> = const { OnceCell::new() };
}

/// The policy of this deployment.
pub(super) fn policy(env: &Env) -> Result<Rc<Policy>, Rc<Vec<Misconfigured>>> {
    POLICY.with(|cell| {
        cell.get_or_init(|| Policy::parse(&read(env)).map(Rc::new).map_err(Rc::new)).clone()
    })
}

/// The secret under which the log holds digests of keys; none where `LOG_KEY` is not set or not usable.
pub(super) fn log_key(env: &Env) -> Option<Rc<LogKey>> {
    LOG_KEY.with(|cell| {
        let text = |name| bindings::get(env, name).as_string();
        let read = || match LogKey::new(&text("LOG_KEY")?, text("ADMIN_TOKEN").as_deref()) {
            Ok(key) => Some(Rc::new(key)),
            Err(why) => {
                bindings::warn(why);
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
            bindings::error(&format!(
                "ADMIN_TOKEN has fewer than {TOKEN_MIN} characters and opens nothing: set a longer one"
            ));
            None
        }
    }
}

/// What is bound as ORIGIN.
pub(super) fn origin(env: &Env) -> OriginVar {
    let bound = bindings::origin(env);
    if let Some(text) = bound.as_string() {
        return OriginVar::Text(text);
    }
    if bindings::is_fetcher(&bound) {
        return OriginVar::Binding;
    }
    if bound.is_undefined() || bound.is_null() {
        return OriginVar::Absent;
    }
    OriginVar::Text(String::new())
}

fn read(env: &Env) -> Vars {
    let (mut routes, mut others) = (Vec::new(), Vec::new());
    for name in bindings::keys(env) {
        if !name.starts_with("ROUTES") {
            others.extend((!VARS.contains(&name.as_str())).then_some(name));
        } else if let Some(value) = value(env, &name) {
            routes.push((name, value));
        }
    }
    // ROUTES_10 comes after ROUTES_9.
    routes.sort_unstable_by(|(one, _), (other, _)| (one.len(), one).cmp(&(other.len(), other)));
    Vars {
        origin: origin(env),
        shards: value(env, "SHARDS"),
        location_hint: value(env, "LOCATION_HINT"),
        log_keys: value(env, "LOG_KEYS"),
        routes,
        others,
    }
}

/// A var as JSON; what JSON cannot say becomes a text that no knob takes.
fn value(env: &Env, name: &str) -> Option<Json> {
    let value = bindings::get(env, name);
    if value.is_undefined() || value.is_null() {
        return None;
    }
    let json = JSON::stringify(&value).ok().and_then(|text| text.as_string());
    let parsed = json.and_then(|json| Json::parse(&json).ok());
    Some(parsed.unwrap_or_else(|| Json::Text("not JSON".to_owned())))
}
