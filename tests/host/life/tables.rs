//! Every transition, one row per case; the words are explained in [`super::cells`].
//!
//! `rerun` is the strategy `fail_on_running`. A claim that comes with `own` is the same claim again, or
//! a copy of it that was on its way for long.

use oncegate::lifecycle::record::{
    Completed, Doubt, Metadata, Previous, RELEASED_KEPT, Reason, Record, Released, Running, State,
};
use oncegate::lifecycle::reply::{Kept, Reply};
use oncegate::time::Timestamp;

use super::cells::{OLD, OWN, START, Subject};
use crate::make::{self, days, instant, lease};

#[test]
fn where_there_is_no_record() {
    subject(None).meets(
        "
        .. | claim alone                  | granted: first     | insert running
        .. | claim elsewhere              | credential changed | nothing
        .. | settle/release/doubt/lost/break         | stale              | nothing
        .. | look                         | absent             | nothing
        ",
    );
}

/// What every running claim has in common, whatever it was granted over; a release of it puts that back.
const RUNNING: &str = "
        ..until       | claim own                          | granted: the same     | nothing
        ..until       | claim !own other                   | key reused            | nothing
        ..until       | claim !own same existing waits     | join                  | nothing
        ..until       | claim !own same existing hurries   | in flight             | nothing
        ..until       | claim !own same fail/rerun         | in flight             | nothing
        ..until       | settle own                         | kept for ttl          | the new reply
        ..until       | doubt own                          | kept                  | timed out
        ..until       | lost own                           | kept                  | lost
        ..until       | break own                          | kept                  | broken off
        ..until       | settle/release/doubt/lost/break !own          | stale                 | nothing
        ..until       | look same waits                    | join                  | nothing
        ..until       | look same hurries                  | in flight             | nothing
        ..until       | look other                         | key reused            | nothing
        until..closes | claim other                        | key reused            | nothing
        until..closes | claim own same                     | in doubt              | nothing
        until..closes | claim !own same hold               | in doubt              | nothing
        until..closes | claim !own same retry              | granted: next attempt | running over doubt
        until..closes | settle own                         | kept for ttl          | the new reply
        until..closes | doubt/lost/break own               | kept                  | nothing
        until..closes | settle/release/doubt/lost/break !own          | stale                 | nothing
        until..closes | look same                          | in doubt              | nothing
        until..closes | look other                         | key reused            | nothing
        closes..gone  | claim/look same                    | expired               | nothing
        closes..gone  | claim/look other                   | key reused            | nothing
        closes..gone  | settle/release/doubt/lost/break               | stale                 | nothing
        gone..        | claim alone                        | granted: first        | insert running
        gone..        | claim elsewhere                    | credential changed    | nothing
        gone..        | settle/release/doubt/lost/break               | stale                 | nothing
        gone..        | look                               | absent                | nothing
";

#[test]
fn where_one_is_running() {
    let running = make::running(OWN, START);
    let doubt = make::doubt(OWN, running.until);
    Subject {
        doubt: Some(doubt.clone()),
        deadlines: doubt_deadlines(&doubt),
        ..subject(Some(State::Running(running)))
    }
    .meets(&with(
        RUNNING,
        "
        ..until | release own | kept | delete
        until..closes | release own | kept | delete
        ",
    ));
}

#[test]
fn where_one_is_running_over_a_completed_one() {
    let previous = make::completed(OLD, Timestamp(0));
    let running = Running {
        previous: Previous::Replied(previous.clone()),
        ..make::running(OWN, instant(86_390))
    };
    let doubt = Doubt { base: Some(previous.clone()), ..make::doubt(OWN, running.until) };
    let old_reply = [("old reply expires", previous.expires)];
    Subject {
        reply: Some(previous),
        doubt: Some(doubt.clone()),
        deadlines: [doubt_deadlines(&doubt), old_reply.to_vec()].concat(),
        ..subject(Some(State::Running(running)))
    }
    .meets(&with(
        RUNNING,
        "
        ..until | release own | kept | the old reply or what is told
        until..closes | release own | kept | the old reply or what is told
        ",
    ));
}

#[test]
fn where_a_retry_is_running_over_a_doubt() {
    let earlier = Doubt { reason: Reason::Status(503), ..make::doubt(OLD, instant(500)) };
    let run = make::run(OLD, 2);
    let running =
        Running { run, previous: Previous::Doubted(earlier.clone()), ..make::running(OWN, START) };
    let doubt =
        Doubt { run, earlier: Some(Reason::Status(503)), ..make::doubt(OWN, running.until) };
    Subject {
        earlier: Some(earlier),
        doubt: Some(doubt.clone()),
        run,
        deadlines: doubt_deadlines(&doubt),
        ..subject(Some(State::Running(running)))
    }
    .meets(&with(
        RUNNING,
        "
        ..until | release own | kept | earlier doubt
        until..closes | release own | kept | doubt of nobody
        ",
    ));
}

#[test]
fn where_one_has_completed() {
    let completed = make::completed(OWN, START);
    Subject {
        reply: Some(completed.clone()),
        deadlines: vec![("expires", completed.expires)],
        ..subject(Some(State::Completed(completed)))
    }
    .meets(
        "
        ..expires | claim other             | key reused         | nothing
        ..expires | claim own same          | replay             | nothing
        ..expires | claim !own same existing| replay             | nothing
        ..expires | claim !own same fail    | executed           | nothing
        ..expires | claim !own same rerun   | granted: first     | running over reply
        ..expires | settle own              | kept as it was     | nothing
        ..expires | settle !own             | stale              | nothing
        ..expires | release/doubt/lost/break           | stale              | nothing
        ..expires | look same               | replay             | nothing
        ..expires | look other              | key reused         | nothing
        expires.. | claim alone             | granted: first     | insert running
        expires.. | claim elsewhere         | credential changed | nothing
        expires.. | settle/release/doubt/lost/break    | stale              | nothing
        expires.. | look                    | absent             | nothing
        ",
    );
}

/// A tombstone stands only for what would otherwise run again: the strategies that never do so meet it.
const TOMBSTONE: &str = "
        expires..gone | claim other                  | key reused         | nothing
        expires..gone | claim same existing/fail     | expired            | nothing
        expires..gone | claim same rerun elsewhere   | credential changed | nothing
        expires..gone | claim same rerun alone       | granted: first     | running over tombstone
        expires..gone | settle/release/doubt/lost/break         | stale              | nothing
        expires..gone | look same                    | expired            | nothing
        expires..gone | look other                   | key reused         | nothing
        gone..        | claim alone                  | granted: first     | insert running
        gone..        | claim elsewhere              | credential changed | nothing
        gone..        | settle/release/doubt/lost/break         | stale              | nothing
        gone..        | look                         | absent             | nothing
";

#[test]
fn where_one_has_completed_and_leaves_a_tombstone() {
    let completed = with_tombstone();
    let deadlines = vec![("expires", completed.expires), ("gone", completed.gone)];
    let table = "
        ..expires     | claim other                  | key reused         | nothing
        ..expires     | claim own same               | replay             | nothing
        ..expires     | claim !own same existing     | replay             | nothing
        ..expires     | claim !own same fail         | executed           | nothing
        ..expires     | claim !own same rerun        | granted: first     | running over reply
        ..expires     | settle own                   | kept as it was     | nothing
        ..expires     | settle !own                  | stale              | nothing
        ..expires     | release/doubt/lost/break                | stale              | nothing
        ..expires     | look same                    | replay             | nothing
        ..expires     | look other                   | key reused         | nothing
    ";
    // Read as Expired and stored as that, it would be the same: nothing hangs on who wrote it.
    for state in [State::Completed(completed.clone()), State::Expired(completed.clone())] {
        Subject {
            reply: Some(completed.clone()),
            deadlines: deadlines.clone(),
            ..subject(Some(state))
        }
        .meets(&[table.trim_end(), TOMBSTONE].concat());
    }
}

/// What every doubt has in common, whatever a release of it leaves.
const DOUBT: &str = "
        ..closes      | claim !own same hold         | in doubt              | nothing
        ..closes      | claim !own same retry        | granted: next attempt | running over doubt
        ..closes      | claim other                  | key reused            | nothing
        ..closes      | look same                    | in doubt              | nothing
        ..closes      | look other                   | key reused            | nothing
        ..closes      | settle/release/doubt/lost/break !own    | stale                 | nothing
        closes..gone  | claim/look same              | expired               | nothing
        closes..gone  | claim/look other             | key reused            | nothing
        closes..gone  | settle/release/doubt/lost/break         | stale                 | nothing
        gone..        | claim alone                  | granted: first        | insert running
        gone..        | claim elsewhere              | credential changed    | nothing
        gone..        | settle/release/doubt/lost/break         | stale                 | nothing
        gone..        | look                         | absent                | nothing
";

#[test]
fn where_one_is_in_doubt() {
    doubtful(&make::doubt(OWN, START)).meets(&with(
        DOUBT,
        "
        ..closes | settle own  | kept for ttl | the new reply
        ..closes | release own | kept         | delete
        ..closes | doubt/lost/break own | kept | nothing
        ..closes | claim own same | in doubt | nothing
        ",
    ));
}

#[test]
fn where_one_is_in_doubt_after_an_earlier_attempt_was() {
    let doubt = Doubt {
        run: make::run(OLD, 2),
        earlier: Some(Reason::Status(503)),
        ..make::doubt(OWN, START)
    };
    doubtful(&doubt).meets(&with(
        DOUBT,
        "
        ..closes | settle own  | kept for ttl | the new reply
        ..closes | release own | kept         | doubt of nobody
        ..closes | doubt/lost/break own | kept | nothing
        ..closes | claim own same | in doubt | nothing
        ",
    ));
}

#[test]
fn where_one_is_in_doubt_and_its_latest_attempt_was_released() {
    let doubt = Doubt {
        lease: None,
        run: make::run(OLD, 2),
        earlier: Some(Reason::Status(503)),
        ..make::doubt(lease(0), START)
    };
    doubtful(&doubt).meets(&with(
        DOUBT,
        "
        ..closes | settle/release/doubt/lost/break own | stale | nothing
        ..closes | claim own same hold | in doubt | nothing
        ..closes | claim own same retry | granted: next attempt | running over doubt
        ",
    ));
}

#[test]
fn where_one_is_in_doubt_over_a_completed_one() {
    let base = Completed { gone: instant(0).plus(days(400)), ..make::completed(OLD, instant(10)) };
    let doubt = Doubt { base: Some(base.clone()), ..make::doubt(OWN, START) };
    Subject { reply: Some(base), ..doubtful(&doubt) }.meets(&with(
        DOUBT,
        "
        ..closes | settle own  | kept for ttl | the new reply
        ..closes | release own | kept         | the old reply
        ..closes | doubt/lost/break own | kept | nothing
        ..closes | claim own same | in doubt | nothing
        ",
    ));
}

#[test]
fn a_doubt_that_was_stored_as_closed_is_the_same_doubt() {
    let doubt = make::doubt(OWN, START);
    let closed = make::record(State::Closed(doubt.clone()));
    Subject { record: Some(closed), ..doubtful(&doubt) }.meets(&with(
        DOUBT,
        "
        ..closes | settle own  | kept for ttl | the new reply
        ..closes | release own | kept         | delete
        ..closes | doubt/lost/break own | kept | nothing
        ..closes | claim own same | in doubt | nothing
        ",
    ));
}

/// Its call is read on until then: whoever comes for the reply waits for it.
#[test]
fn where_one_is_in_doubt_and_its_call_is_still_read() {
    let doubt = Doubt { reason: Reason::Timeout, ..make::doubt(OWN, instant(1075)) };
    doubtful(&doubt).meets(
        "
        ..until       | claim own same               | still read            | nothing
        ..until       | claim !own same existing waits   | join              | nothing
        ..until       | claim !own same existing hurries | still read        | nothing
        ..until       | claim !own same fail/rerun   | still read            | nothing
        ..until       | look same waits              | join                  | nothing
        ..until       | look same hurries            | still read            | nothing
        ..until       | doubt own                    | kept                  | nothing
        ..until       | lost own                     | kept                  | lost
        ..until       | break own                    | kept                  | broken off
        until..closes | claim own same               | in doubt              | nothing
        until..closes | claim !own same hold         | in doubt              | nothing
        until..closes | claim !own same retry        | granted: next attempt | running over doubt
        until..closes | look same                    | in doubt              | nothing
        until..closes | doubt/lost/break own         | kept                  | nothing
        ..closes      | claim other                  | key reused            | nothing
        ..closes      | look other                   | key reused            | nothing
        ..closes      | settle own                   | kept for ttl          | the new reply
        ..closes      | release own                  | kept                  | delete
        ..closes      | settle/release/doubt/lost/break !own | stale         | nothing
        closes..gone  | claim/look same              | expired               | nothing
        closes..gone  | claim/look other             | key reused            | nothing
        closes..gone  | settle/release/doubt/lost/break | stale              | nothing
        gone..        | claim alone                  | granted: first        | insert running
        gone..        | claim elsewhere              | credential changed    | nothing
        gone..        | settle/release/doubt/lost/break | stale              | nothing
        gone..        | look                         | absent                | nothing
        ",
    );
}

/// Its body goes to the first caller while the origin sends it, and the origin may break it off.
#[test]
fn where_one_has_completed_at_the_head_of_a_stream() {
    let head = Reply { body: Kept::StatusOnly, ..make::reply(200, 0) };
    let completed = Completed { reply: head, ..make::completed(OWN, START) };
    let doubt = Doubt { since: START, ..make::doubt(OWN, START) };
    Subject {
        reply: Some(completed.clone()),
        doubt: Some(doubt),
        deadlines: vec![("expires", completed.expires)],
        ..subject(Some(State::Completed(completed)))
    }
    .meets(
        "
        ..expires | claim other                 | key reused         | nothing
        ..expires | claim own same              | replay             | nothing
        ..expires | claim !own same existing    | replay             | nothing
        ..expires | claim !own same fail        | executed           | nothing
        ..expires | claim !own same rerun       | granted: first     | running over reply
        ..expires | settle own                  | kept as it was     | nothing
        ..expires | break own                   | kept               | broken off
        ..expires | settle/break !own           | stale              | nothing
        ..expires | release/doubt/lost          | stale              | nothing
        ..expires | look same                   | replay             | nothing
        ..expires | look other                  | key reused         | nothing
        expires.. | claim alone                 | granted: first     | insert running
        expires.. | claim elsewhere             | credential changed | nothing
        expires.. | settle/release/doubt/lost/break | stale          | nothing
        expires.. | look                        | absent             | nothing
        ",
    );
}

/// To a claim it is no record at all; whoever knows the address is told what became of the call.
#[test]
fn where_one_was_released() {
    for (reply, told) in [(Some(make::reply(429, 4)), "released reply"), (None, "not sent")] {
        let until = START.plus(RELEASED_KEPT);
        let run = make::run(OWN, 1);
        let released = Released { lease: OWN, run, reply, since: START, until };
        let metadata = Metadata { status: Some(make::status_key(OWN)), ..make::metadata() };
        let record = Record { metadata, state: State::Released(released) };
        let table = "
        ..until | claim own                | stale              | nothing
        ..until | claim !own elsewhere     | credential changed | nothing
        ..until | claim !own same alone    | granted: first     | insert running, same address
        ..until | claim !own other alone   | granted: first     | insert running
        ..until | release own              | kept               | nothing
        ..until | release !own             | stale              | nothing
        ..until | settle/doubt/lost/break  | stale              | nothing
        ..until | look same                | TOLD               | nothing
        ..until | look other               | absent             | nothing
        until.. | claim alone              | granted: first     | insert running
        until.. | claim elsewhere          | credential changed | nothing
        until.. | settle/release/doubt/lost/break | stale       | nothing
        until.. | look                     | absent             | nothing
        ";
        Subject { record: Some(record), deadlines: vec![("until", until)], ..subject(None) }
            .meets(&table.replace("TOLD", told));
    }
}

fn subject(state: Option<State>) -> Subject {
    Subject {
        record: state.map(make::record),
        deadlines: Vec::new(),
        reply: None,
        doubt: None,
        earlier: None,
        run: make::run(OWN, 1),
    }
}

fn doubtful(doubt: &Doubt) -> Subject {
    Subject {
        doubt: Some(doubt.clone()),
        run: doubt.run,
        deadlines: doubt_deadlines(doubt),
        ..subject(Some(State::InDoubt(doubt.clone())))
    }
}

fn doubt_deadlines(doubt: &Doubt) -> Vec<(&'static str, Timestamp)> {
    vec![("until", doubt.until), ("closes", doubt.closes), ("gone", doubt.gone)]
}

/// For the next seven days.
fn with_tombstone() -> Completed {
    let completed = make::completed(OWN, START);
    Completed { gone: completed.expires.plus(days(7)), ..completed }
}

fn with(table: &str, rows: &str) -> String {
    format!("{}{}", table.trim_end(), rows.trim_end())
}
