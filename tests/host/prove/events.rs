//! Short functions to write a history with.

use std::rc::Rc;

use oncegate::answer::{Answer as Answered, Status};
use oncegate::filter::GuardedRequest;
use oncegate::lifecycle::event::{How, Replay, Verdict};
use oncegate::lifecycle::record::Execution;
use oncegate::problem::{Code, Problem};
use oncegate::protocol::LedgerAnswer;
use oncegate::time::Timestamp;

use crate::filter::by;
use crate::make::{self, days, instant, s};
use crate::world::{Answer, Event, Kind, OriginResponse, Story, response};

pub(super) type History = Vec<(Timestamp, Event)>;

/// The Ledger hears a question; without a verdict the caller waits.
pub(super) fn ask(story: usize, asked: Kind, verdict: Option<Verdict>) -> Event {
    let answer = verdict.map(LedgerAnswer::Verdict);
    Event::Asked { story: Story(story), asked: Rc::new(asked), answer, absent: false }
}

/// Request `n` is sent; its claim has lease `n`.
pub(super) fn sent(n: u8) -> Event {
    sent_as(n, by(&make::route(), n))
}

pub(super) fn sent_as(n: u8, request: GuardedRequest) -> Event {
    Event::Sent { story: Story(n.into()), request: Rc::new(request) }
}

pub(super) fn claim(n: u8, verdict: Option<Verdict>) -> Event {
    ask(n.into(), Kind::Claim { lease: make::lease(n), wait: s(10) }, verdict)
}

pub(super) fn granted(n: u8) -> Event {
    claim(n, Some(Verdict::Granted(run(n), None)))
}

pub(super) fn run(n: u8) -> Execution {
    make::run(make::lease(n), 1)
}

pub(super) fn executed(n: u8, said: OriginResponse) -> Event {
    Event::Executed { story: Story(n.into()), run: run(n), said: Ok(said) }
}

pub(super) fn paid(n: u8) -> Event {
    executed(n, response(201, "paid"))
}

pub(super) fn settled(n: u8, lease: u8, body: &str, at: Timestamp) -> Event {
    let kind = Kind::Settle { lease: make::lease(lease), status: 201, body: body.into() };
    ask(n.into(), kind, Some(Verdict::Kept(Some(at.plus(days(1))))))
}

pub(super) fn released(n: u8, lease: u8) -> Event {
    ask(n.into(), Kind::Release(make::lease(lease), None), Some(Verdict::Kept(None)))
}

pub(super) fn answered(n: u8, answer: Answer) -> Event {
    Event::Answered { story: Story(n.into()), answer: Rc::new(answer) }
}

pub(super) fn first(n: u8, body: &str) -> Event {
    answered(
        n,
        Answered::OriginResponse(
            response(201, body),
            Status::Executed,
            Some(instant(1001).plus(days(1))),
        ),
    )
}

pub(super) fn replayed(n: u8, body: &str) -> Event {
    let expires = instant(1001).plus(days(1));
    let replay = Replay { reply: make::reply(201, 4), expires, how: How::Replayed };
    answered(n, Answered::Stored(replay, Some(body.into())))
}

pub(super) fn refused(n: u8, code: Code) -> Event {
    answered(n, Answered::Problem(Problem::new(code, ""), None))
}

/// Events that all happen at one instant.
pub(super) fn at(moment: Timestamp, events: impl IntoIterator<Item = Event>) -> History {
    events.into_iter().map(|event| (moment, event)).collect()
}

/// Request 1 is executed and settled at second 1001, and its client is answered.
pub(super) fn done() -> History {
    let start = at(instant(1000), [sent(1), granted(1), paid(1)]);
    [start, at(instant(1001), [settled(1, 1, "paid", instant(1001)), first(1, "paid")])].concat()
}

/// Request 1 is at the origin.
pub(super) fn running() -> History {
    at(instant(1000), [sent(1), granted(1), paid(1)])
}
