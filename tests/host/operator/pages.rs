//! Pages of records: newest first over all shards, nothing twice and nothing left out.

use oncegate::lifecycle::record::State;
use oncegate::operator::query::{OperatorQuery, OperatorResult};
use oncegate::operator::search::{FoundRecord, ResultPage, Search, StateKind};
use oncegate::request::key::KeyId;
use oncegate::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::make::{cases, completed, doubt, instant, lease, metadata, record};

fn found(created: u64, key: u8) -> FoundRecord {
    let mut record = record(State::Completed(completed(lease(1), instant(1))));
    record.metadata.created = Timestamp(created);
    FoundRecord { key: KeyId([key; 32]), record, replays: 0 }
}

/// What one shard would answer.
fn shard(rows: &[FoundRecord], search: &Search) -> OperatorResult {
    let mut page = ResultPage::new(usize::from(search.limit));
    for row in rows.iter().filter(|row| search.matches(row)) {
        page.offer(row.position(), row.clone());
    }
    OperatorResult::Records(Timestamp(0), page.into_rows())
}

fn search(shards: &[Vec<FoundRecord>], search: &Search) -> Vec<FoundRecord> {
    let query = OperatorQuery::Search(search.clone());
    let all = shards.iter().map(|rows| shard(rows, search));
    let together = all.fold(query.empty_result(), |sum, more| query.merge(sum, more).unwrap());
    let OperatorResult::Records(_, rows) = together else { panic!("records were asked for") };
    rows
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn leafing_through_shows_every_record_once_newest_first(
        rows in vec((0..20_u64, 0..4_usize), 0..60),
        limit in 1..10_u16,
    ) {
        let mut shards = vec![Vec::new(); 4];
        for (key, (created, shard)) in (0..).zip(&rows) {
            shards[*shard].push(found(*created, key));
        }
        let mut seen: Vec<FoundRecord> = Vec::new();
        let mut wanted = Search { limit, ..Search::default() };
        loop {
            let page = search(&shards, &wanted);
            prop_assert!(page.len() <= usize::from(limit));
            let Some(last) = page.last() else { break };
            wanted.after = Some(last.position());
            seen.extend(page);
        }
        prop_assert_eq!(seen.len(), rows.len());
        for pair in seen.windows(2) {
            prop_assert!(pair[0].position().is_before(&pair[1].position()));
        }
    }
}

#[test]
fn a_search_finds_what_has_all_that_was_asked_for() {
    let mut doubtful = found(5000, 1);
    doubtful.record.state = State::InDoubt(doubt(lease(1), instant(1)));
    let some = |text: &str| Some(text.to_owned());
    let finds = |search: Search| search.matches(&doubtful);
    assert!(finds(Search::default()));
    assert!(finds(Search {
        correlation_id: some(&metadata().correlation_id),
        ..Search::default()
    }));
    assert!(!finds(Search { correlation_id: some("c-"), ..Search::default() }), "not a part of it");
    assert!(finds(Search { state: Some(StateKind::InDoubt), ..Search::default() }));
    assert!(!finds(Search { state: Some(StateKind::Completed), ..Search::default() }));
    assert!(finds(Search { route: some("charge"), since: Some(instant(5)), ..Search::default() }));
    assert!(!finds(Search { route: some("refund"), ..Search::default() }));
    assert!(!finds(Search { since: Some(Timestamp(5001)), ..Search::default() }));
}
