//! What goes wrong at the edge. Exceptions of JavaScript become this where they come out of [`super::bindings`].

use thiserror::Error as ThisError;
use wasm_bindgen::JsValue;

use super::bindings;

/// Why something at the edge did not come about.
#[derive(Debug, ThisError)]
pub(super) enum Error {
    /// The runtime has thrown, or rejected a promise.
    #[error("{}", bindings::text(.0))]
    Thrown(JsValue),
    /// The request waited so long that its body was given up. It must not be forwarded without one.
    #[error("the request's body is no longer buffered")]
    BodyExpired,
    /// The body decides who is guarded, and has been read for that already.
    #[error("a body was asked for twice")]
    BodyAskedTwice,
    /// A line end in a header would make two of it.
    #[error("a header with a line end")]
    HeaderLineEnd,
    /// The runtime's digest is no SHA-256.
    #[error("SHA-256 did not give 32 bytes")]
    NoDigest,
    /// A message of the protocol, in its version, has another form than it should.
    #[error("the Ledger's answer is unreadable: {0}")]
    Unreadable(#[from] crate::encoding::Unreadable),
    /// What a Ledger has stored has another form than it should. That is never taken for "absent": it would run again.
    #[error("{0}")]
    Stored(String),
    /// The tables could not be made.
    #[error("the database is not open")]
    DatabaseClosed,
    /// A route answers asynchronously, and nothing is bound that could.
    #[error("no class of Durable Objects is bound as RUNNER")]
    NoRunner,
    /// Shard 0 must know how many shards there are.
    #[error("shard 0 does not say how many shards there are")]
    NoShardCount,
    /// Others need the memory that a body takes whose reader does not go on.
    #[error("it is read too slowly, and others wait")]
    ReadTooSlowly,
    /// The origin did not send all of a body that is streamed.
    #[error("the origin broke it off")]
    OriginBrokeOff,
    /// The work was ended by a fault, and so was what should have said so.
    #[error("two faults in one event")]
    SecondFault,
    /// A schedule or a queue names a secret that this deployment does not have.
    #[error("the secret {0} is not set: npx wrangler secret put {0}")]
    NoSecret(String),
    /// A place of a template has nothing that fills it.
    #[error("a place of its request or key has nothing to fill it")]
    NothingForPlace,
    /// A message that is refused has nowhere to go.
    #[error("no queue is bound as ASIDE")]
    NoAside,
    /// A message that is refused has a body that the queue ASIDE could not get as JSON.
    #[error("its body is no text, no bytes and no JSON, so it is not put aside")]
    NoAsideForm,
    /// Nobody is there to be answered.
    #[error("the event's context has ended")]
    ContextEnded,
}

impl Error {
    /// Whether the runtime says of a failed call that the object has too much to do
    /// (developers.cloudflare.com, durable-objects/best-practices/error-handling).
    pub(super) fn is_overload(&self) -> bool {
        matches!(self, Self::Thrown(error) if bindings::get(error, "overloaded").is_truthy())
    }
}

impl From<JsValue> for Error {
    fn from(error: JsValue) -> Self {
        Self::Thrown(error)
    }
}

impl From<worker::Error> for Error {
    fn from(error: worker::Error) -> Self {
        Self::Thrown(error.into())
    }
}

impl From<Error> for worker::Error {
    fn from(error: Error) -> Self {
        JsValue::from(error).into()
    }
}

/// What a promise is rejected with that the platform waits for.
impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        match error {
            Error::Thrown(error) => error,
            own => js_sys::Error::new(&own.to_string()).into(),
        }
    }
}
