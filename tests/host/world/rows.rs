//! A Ledger's rows in memory; records are kept as bytes.

use std::collections::BTreeMap;
use std::rc::Rc;

use oncegate::encoding::{Unreadable, read_row, write_row};
use oncegate::lifecycle::ledger::{self, Found, Rows};
use oncegate::lifecycle::record::Record;
use oncegate::lifecycle::step::Change;
use oncegate::request::fingerprint::OperationId;
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;

/// A row as it is stored.
#[derive(Hash)]
pub(super) struct StoredRow {
    record: Vec<u8>,
    body: Vec<u8>,
}

impl StoredRow {
    pub(super) fn new(record: &Record, body: Vec<u8>) -> Self {
        Self { record: write_row(record), body }
    }

    pub(super) fn record(&self) -> Record {
        read_row(&self.record).unwrap()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// The rows, and the body that came with an event.
pub(super) struct MemoryRows<'a> {
    pub(super) rows: &'a mut BTreeMap<KeyId, Rc<StoredRow>>,
    pub(super) body: &'a [u8],
}

pub(super) type Row = ledger::Row<Vec<u8>>;

impl Rows for MemoryRows<'_> {
    type Error = Unreadable;
    type Body = Vec<u8>;

    fn find(&self, key_id: KeyId) -> Result<Option<Row>, Unreadable> {
        self.find_with_body(key_id)
    }

    fn find_with_body(&self, key_id: KeyId) -> Result<Option<Row>, Unreadable> {
        let row = self.rows.get(&key_id);
        row.map(|row| Ok(Row { record: read_row(&row.record)?, body: row.body.clone() }))
            .transpose()
    }

    fn find_for_claim(
        &self,
        key_id: KeyId,
        operation: Option<OperationId>,
        _: Timestamp,
    ) -> Result<Found<Self>, Unreadable> {
        let [mut first, mut last] = [key_id; 2];
        first.0[16..].fill(0);
        last.0[16..].fill(0xff);
        let others = self.rows.range(first..=last).filter(|(other, _)| **other != key_id);
        let others = others.map(|(_, row)| row.record());
        let others = others.filter(|record| Some(record.metadata.operation) == operation).map(Ok);
        Ok(Found { own: self.find_with_body(key_id)?, others: others.collect() })
    }

    fn apply(&mut self, key_id: KeyId, _: Option<&Row>, change: &Change) -> Result<(), Unreadable> {
        let (record, body) = match change {
            Change::Keep => return Ok(()),
            Change::Delete => {
                self.rows.remove(&key_id);
                return Ok(());
            }
            Change::Insert(record) => (record, Vec::new()),
            Change::Update(record) => {
                let body = self.rows.get(&key_id).map(|row| row.body.clone());
                (record, body.unwrap_or_default())
            }
            Change::Complete(record) => (record, self.body.to_owned()),
        };
        self.rows.insert(key_id, Rc::new(StoredRow::new(record, body)));
        Ok(())
    }
}
