//! What Worker and Ledger say to each other, as bytes: a head, and a body beside it.

use oncegate::protocol::{
    LedgerAnswer, LedgerRequest, PREFIX, VERSION, read_request, write_answer,
};

/// An answer on its way, and the body beside it.
pub(super) fn answer(answer: &LedgerAnswer, body: &[u8]) -> Vec<u8> {
    [&write_answer(answer, VERSION), body].concat()
}

/// A request and the body beside it.
pub(super) fn request(message: &[u8]) -> (LedgerRequest, Vec<u8>) {
    let (head, body) = split(message);
    (read_request(head).unwrap().1, body.to_owned())
}

/// Prefix and head, and the body, of a message.
pub(super) fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let length: [u8; 4] = message[1..PREFIX].try_into().unwrap();
    message.split_at(PREFIX + usize::try_from(u32::from_le_bytes(length)).unwrap())
}
