//! The world as one request sees it, and the origin's answers in it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use oncegate::ask::{Ask, Told};
use oncegate::filter::{self, Unreachable};
use oncegate::key::KeyId;
use oncegate::outcome::{Facts, Failure};
use oncegate::record::{Millis, Run};
use oncegate::reply::{Kept, Reply};
use oncegate::wire::{self, VERSION};

use super::calls::{Calling, Said, Shared, Stage, What};
use super::{Story, ledger};
use crate::make::{self, s};

/// The world as one story sees it.
pub(super) struct Seat {
    story: Story,
    key: KeyId,
    shared: Rc<RefCell<Shared>>,
}

impl Seat {
    pub(super) fn new(story: Story, key: KeyId, shared: &Rc<RefCell<Shared>>) -> Self {
        Self { story, key, shared: Rc::clone(shared) }
    }

    fn call(&self, what: What) -> Waiting {
        let mut shared = self.shared.borrow_mut();
        let stage = Stage::Out;
        shared.calls.push(Calling { by: self.story, what, stage, wanted: true, held: false });
        Waiting { at: shared.calls.len() - 1, shared: Rc::clone(&self.shared) }
    }
}

impl filter::World for Seat {
    type Heard = Heard;
    type Body = Vec<u8>;

    async fn ask(
        &self,
        key: &KeyId,
        ask: &Ask,
        heard: Option<&Heard>,
    ) -> Result<Told<Vec<u8>>, Unreachable> {
        let addressed = wire::Addressed { key: *key, ..make::addressed(ask.clone()) };
        let mut question = wire::write_ask(&addressed, VERSION);
        if let Some(Heard { body, kept: Kept::Whole { .. }, .. }) = heard {
            question.extend(body);
        }
        let Said::Told(answer) = self.call(What::Ask(question)).await else {
            panic!("a question is answered by the Ledger")
        };
        let (head, body) = ledger::split(&answer?);
        Ok(wire::read_told(&head).unwrap().with_body(|()| body))
    }

    async fn forward(&self, run: Run) -> Result<Heard, Failure> {
        let Said::Heard(heard) = self.call(What::Forward(self.key, run)).await else {
            panic!("a request is answered by the origin")
        };
        heard
    }

    async fn probe(&self) -> Result<Heard, Failure> {
        let Said::Heard(heard) = self.call(What::Probe).await else {
            panic!("a probe is answered by the origin")
        };
        heard
    }

    async fn pause(&self, span: Millis) {
        let waiting = self.call(What::Pause);
        let until = self.shared.borrow().now.plus(span);
        self.shared.borrow_mut().calls[waiting.at].stage = Stage::Until(until, Said::Woken);
        waiting.await;
    }

    /// Far from the Ledger's clock: whoever takes one for the other is found out.
    fn now(&self) -> Millis {
        self.shared.borrow().now.plus(s(777_777))
    }

    fn log(&self, why: &str) {
        self.shared.borrow_mut().log.push(why.to_owned());
    }
}

/// Stands still until the driver has chosen what comes of the call.
struct Waiting {
    at: usize,
    shared: Rc<RefCell<Shared>>,
}

impl Future for Waiting {
    type Output = Said;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Said> {
        let mut shared = self.shared.borrow_mut();
        match &mut shared.calls[self.at].stage {
            Stage::Over(said) => said.take().map_or(Poll::Pending, Poll::Ready),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.borrow_mut().calls[self.at].wanted = false;
    }
}

/// What the origin says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) facts: Facts,
    pub(crate) body: Vec<u8>,
    /// How much of the body is kept.
    pub(crate) kept: Kept,
}

impl filter::Heard for Heard {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn reply(&self) -> Reply {
        Reply { body: self.kept, ..make::reply(self.facts.status, 0) }
    }
}

/// An answer of the origin.
pub(crate) fn heard(status: u16, body: &str) -> Heard {
    let facts = Facts { status, says_when: false, said: None };
    Heard { facts, body: body.into(), kept: Kept::Whole { bytes: body.len() as u64 } }
}
