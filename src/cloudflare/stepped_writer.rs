//! Writes a body in small steps, to see whether the other side goes on reading.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::{Either, select};
use js_sys::{Promise, Uint8Array};
use web_sys::{WritableStream, WritableStreamDefaultWriter};

use super::clock::{Pause, pause};
use super::error::Error;
use super::tasks::wait;

/// Who judges how fast a body is read.
pub(super) trait Pace {
    /// A step has been read.
    fn moved(&self);
    /// Whether to give up on a reader that has not taken the step yet. Asked twice a second.
    fn is_too_slow(&self) -> bool;
}

/// A stream's writer. A write to it ends when all of it has been read (developers.cloudflare.com,
/// workers/runtime-apis/streams/transformstream: an identity transform keeps nothing).
pub(super) struct SteppedWriter<P> {
    writer: WritableStreamDefaultWriter,
    pace: P,
    /// The time of the next look, which outlasts most steps.
    look: Cell<Option<Pause>>,
}

impl<P: Pace> SteppedWriter<P> {
    pub(super) fn new(to: &WritableStream, pace: P) -> Result<Self, Error> {
        Ok(Self { writer: to.get_writer()?, pace, look: Cell::default() })
    }

    /// Writes all of it.
    pub(super) async fn write(&self, bytes: &Uint8Array) -> Result<(), Error> {
        let length = bytes.byte_length();
        for at in (0..length).step_by(STEP as usize) {
            let step = bytes.subarray(at, length.min(at + STEP));
            self.until(self.writer.write_with_chunk(&step)).await?;
            self.pace.moved();
        }
        Ok(())
    }

    /// All has been written.
    pub(super) async fn close(&self) -> Result<(), Error> {
        self.until(self.writer.close()).await
    }

    /// Lets another one write on.
    pub(super) fn release(self) {
        self.writer.release_lock();
    }

    /// The reader sees that the body breaks off. One who has left needs to see nothing.
    pub(super) async fn abort(&self, why: &Error) {
        let why = js_sys::Error::new(&why.to_string());
        let _ = wait(self.writer.abort_with_reason(&why)).await;
    }

    async fn until(&self, step: Promise) -> Result<(), Error> {
        let mut done = wait(step);
        let mut look = self.look.take().unwrap_or_else(|| pause(LOOK_EVERY));
        loop {
            match select(&mut done, &mut look).await {
                Either::Left((done, _)) => {
                    self.look.set(Some(look));
                    return done.map(drop);
                }
                Either::Right(_) if self.pace.is_too_slow() => return Err(Error::ReadTooSlowly),
                Either::Right(_) => look = pause(LOOK_EVERY),
            }
        }
    }
}

const STEP: u32 = 64 * 1024;
const LOOK_EVERY: Duration = Duration::from_millis(500);
