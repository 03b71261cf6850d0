//! What Worker and Ledger say to each other, as bytes.

use oncegate::lifecycle::record::Completed;
use oncegate::lifecycle::step::Verdict;
use oncegate::protocol::{How, Replay, Told};
use oncegate::wire::{Addressed, PREFIX, Prefix, VERSION, read_ask, write_told};

pub(super) fn answer(verdict: Verdict, body: Option<Vec<u8>>) -> Told<Vec<u8>> {
    match verdict {
        Verdict::Replay(completed) => replay(&completed, How::Replayed, &body.unwrap_or_default()),
        verdict => Told::of(&verdict).expect("a join is no answer"),
    }
}

pub(super) fn replay(completed: &Completed, how: How, body: &[u8]) -> Told<Vec<u8>> {
    let (reply, expires) = (completed.reply.clone(), completed.expires);
    Told::Replay(Replay { reply, expires, how, body: body.to_owned() })
}

/// An answer on its way, and the body beside it.
pub(super) fn told(told: &Told<Vec<u8>>) -> Vec<u8> {
    let mut message = write_told(told, VERSION);
    if let Told::Replay(replay) = told {
        message.extend(&replay.body);
    }
    message
}

/// A question and the body beside it.
pub(super) fn read(question: &[u8]) -> (Addressed, Vec<u8>) {
    let (head, body) = split(question);
    (read_ask(&head).unwrap(), body)
}

/// Head and body of a message.
pub(super) fn split(message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let head = usize::try_from(Prefix::read(message).unwrap().head_bytes).unwrap();
    let (head, body) = message[PREFIX..].split_at(head);
    (head.to_owned(), body.to_owned())
}
