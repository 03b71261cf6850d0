//! The rows as the decision about one event reads and writes them.

use std::cell::Cell;

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::{FEW_RECORDS, Store, StoredBody, StoredRow, blob, instant, range, read, stored};
use crate::cloudflare::error::Error;
use crate::cloudflare::faults;
use crate::lifecycle::ledger::{Found, Rows};
use crate::lifecycle::step::Change;
use crate::request::fingerprint::OperationId;
use crate::request::key::KeyId;
use crate::time::Timestamp;

pub(in crate::cloudflare) struct EventRows<'a> {
    store: &'a Store,
    /// The body that came with the event.
    body: &'a Uint8Array,
    /// How many records of the key the claim found, as far as they were counted.
    records_of_key: Cell<usize>,
}

impl<'a> EventRows<'a> {
    pub(in crate::cloudflare) fn new(store: &'a Store, body: &'a Uint8Array) -> Self {
        Self { store, body, records_of_key: Cell::default() }
    }
}

impl Rows for EventRows<'_> {
    type Error = Error;
    type Body = StoredBody;

    fn find(&self, key_id: KeyId) -> Result<Option<StoredRow>, Error> {
        self.store.find(key_id)
    }

    fn find_with_body(&self, key_id: KeyId) -> Result<Option<StoredRow>, Error> {
        let row = self.store.rows(FIND_WITH_BODY, &[blob(&key_id.0)])?.pop();
        row.map(|row| stored(&row)).transpose()
    }

    fn find_for_claim(
        &self,
        key_id: KeyId,
        operation: Option<OperationId>,
        now: Timestamp,
    ) -> Result<Found<Self>, Error> {
        let own_id = blob(&key_id.0);
        let [lowest, highest] = range(key_id);
        let wanted = operation.map_or(JsValue::NULL, |operation| blob(&operation.0));
        let values = [own_id.clone(), lowest.clone(), highest.clone(), wanted.clone()];
        let mut rows = self.store.rows(FIND_FOR_CLAIM, &values)?;
        self.records_of_key.set(rows.len());
        if rows.len() > FEW_RECORDS {
            rows = self.store.rows(FIND_WITH_BODY, std::slice::from_ref(&own_id))?;
            if operation.is_some() {
                let values = [wanted, lowest, highest, own_id, instant(now)];
                rows.extend(self.store.rows(FIND_OPERATION, &values)?);
            }
        }
        let (mut own, mut others) = (None, Vec::new());
        for row in rows {
            if row.is_own() > 0.0 {
                own = Some(stored(&row)?);
            } else if !row.value().is_null() {
                others.push(read(&row.value()));
            }
        }
        Ok(Found { own, others })
    }

    fn apply(
        &mut self,
        key_id: KeyId,
        found: Option<&StoredRow>,
        change: &Change,
    ) -> Result<(), Error> {
        faults::here("step");
        self.store.apply(key_id, found, self.records_of_key.get(), change, self.body)?;
        faults::here("stored");
        Ok(())
    }
}

// A larger body is read when there is room for it.
const FIND_WITH_BODY: &str = concat!(
    "SELECT 1 AS is_own, record AS value, CASE WHEN length(body) <= ",
    small!(),
    " THEN body END AS body, first_chunk, chunks FROM records WHERE key_id = ?"
);
// One row more than `FEW_RECORDS`.
const FIND_FOR_CLAIM: &str = concat!(
    "SELECT key_id = ?1 AS is_own, CASE WHEN key_id = ?1 OR operation = ?4 THEN record END AS value, \
    CASE WHEN key_id = ?1 AND length(body) <= ",
    small!(),
    " THEN body END AS body, first_chunk, chunks FROM records WHERE key_id >= ?2 AND key_id <= ?3 LIMIT 33"
);
const FIND_OPERATION: &str = "SELECT 0 AS is_own, record AS value FROM records INDEXED BY operations \
    WHERE indexed = 1 AND operation = ?1 AND key_id >= ?2 AND key_id <= ?3 AND key_id <> ?4 \
    AND (leaves_tombstone = 1 OR due > ?5)";
