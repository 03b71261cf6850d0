//! Bytes between Worker, Ledger and Runner and on the disk, from anybody: whatever can be read comes back as it went.

use std::fmt::Debug;

use oncegate::encoding::{Unreadable, read_row, write_row};
use oncegate::lifecycle::record::Record;
use oncegate::operator::search::AuditEntry;
use oncegate::operator::statistics::Statistics;
use oncegate::protocol::runner::{
    read_runner_answer, read_runner_request, write_runner_answer, write_runner_request,
};
use oncegate::protocol::{
    LedgerAnswer, VERSION, agreed, read_answer, read_request, write_answer, write_request,
};

/// Any bytes.
pub fn check(data: &[u8]) {
    let request = read_request(data).map(|(version, request)| {
        assert_eq!(agreed(version), Some(version));
        request
    });
    comes_back(request, |request| {
        read_request(&write_request(request, VERSION)).map(|(_, request)| request)
    });
    comes_back(read_answer(data), |answer: &LedgerAnswer| {
        read_answer(&write_answer(answer, VERSION))
    });
    comes_back(read_runner_request(data), |request| {
        read_runner_request(&write_runner_request(request))
    });
    comes_back(read_runner_answer(data), |answer| read_runner_answer(&write_runner_answer(answer)));
    comes_back(read_row::<Record>(data), |value| read_row(&write_row(value)));
    comes_back(read_row::<AuditEntry>(data), |value| read_row(&write_row(value)));
    comes_back(read_row::<Statistics>(data), |value| read_row(&write_row(value)));
}

fn comes_back<T: PartialEq + Debug>(
    read: Result<T, Unreadable>,
    again: impl Fn(&T) -> Result<T, Unreadable>,
) {
    if let Ok(value) = read {
        assert_eq!(again(&value).as_ref(), Ok(&value));
    }
}
