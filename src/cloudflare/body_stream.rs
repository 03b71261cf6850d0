//! Bodies that are sent on while they are read: what has been buffered, then the rest of a stream.

use futures_channel::oneshot::Sender;
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web_sys::{ReadableStream, WritableStream};
use worker::Context;

use super::bindings::{self, FixedLengthStream, IdentityTransformStream};
use super::body_buffer::{BufferedBody, Reader};
use super::error::Error;
use super::stepped_writer::SteppedWriter;
use super::tasks::{spawn, wait, wait_until};
use crate::filter::StreamEnd;

/// A body that is all there. It counts until it has been read; `is_stored` says that the client may come for it again.
pub(super) fn whole(
    bytes: Uint8Array,
    body: BufferedBody,
    is_stored: bool,
    context: &Context,
) -> Result<JsValue, Error> {
    let pipe = FixedLengthStream::new(bytes.byte_length().into())?.into();
    Ok(through(pipe, vec![bytes], body.into_reader(is_stored), None, context))
}

/// A stream of which some has been read: that first, then the rest. `told` is told how it ends.
pub(super) fn resumed(
    rest: Option<ReadableStream>,
    length: Option<u64>,
    first: BufferedBody,
    told: Option<Sender<StreamEnd>>,
    context: &Context,
) -> Result<JsValue, Error> {
    // Whoever reads it cannot come for it again, and is not cut off.
    let (first, reader) = (first.take_chunks(), first.into_reader(false));
    match rest {
        None => Ok(JsValue::NULL),
        Some(rest) if first.is_empty() && told.is_none() => Ok(rest.into()),
        rest => {
            let pipe = match length {
                Some(length) => FixedLengthStream::new(length)?.into(),
                None => IdentityTransformStream::new()?,
            };
            Ok(through(pipe, first, reader, rest.map(|rest| (rest, told)), context))
        }
    }
}

/// The rest of a stream, and who is told how it ends.
type Rest = (ReadableStream, Option<Sender<StreamEnd>>);

/// One end of a pipe; the other end is written in a task of its own.
fn through(
    pipe: IdentityTransformStream,
    first: Vec<Uint8Array>,
    reader: Reader,
    rest: Option<Rest>,
    context: &Context,
) -> JsValue {
    let readable = pipe.readable().into();
    let copied = async move {
        // A break on either side reaches the other one as an aborted stream.
        if let Err(error) = copy(first, reader, rest, &pipe.writable()).await {
            bindings::log(&format!("a streamed body broke off: {error}"));
        }
    };
    wait_until(context, spawn(copied));
    readable
}

async fn copy(
    first: Vec<Uint8Array>,
    reader: Reader,
    rest: Option<Rest>,
    to: &WritableStream,
) -> Result<(), Error> {
    let writer = SteppedWriter::new(to, reader)?;
    let written = async {
        for chunk in first {
            writer.write(&chunk).await?;
        }
        if rest.is_none() { writer.close().await } else { Ok(()) }
    };
    if let Err(why) = written.await {
        writer.abort(&why).await;
        return Err(why);
    }
    writer.release();
    match rest {
        None => Ok(()),
        Some((rest, told)) => {
            let broken_off = wait(bindings::piped_on(&rest, to)).await?.is_truthy();
            let end = if broken_off { StreamEnd::BrokenOff } else { StreamEnd::Over };
            // Nobody waits for it where the request's task has ended.
            let _ = told.map(|told| told.send(end));
            if broken_off { Err(Error::OriginBrokeOff) } else { Ok(()) }
        }
    }
}
