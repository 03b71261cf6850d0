//! The judge catches every mutant: a judge that nobody has seen fail proves nothing.

use oncegate::config::route::{Doubtful, RespondAsync, Route};
use oncegate::filter::{GuardedRequest, StreamEnd};
use oncegate::lifecycle::event::{CredentialChange, Strategy};
use oncegate::lifecycle::outcome::Failure;
use oncegate::request::key::KeyId;

use super::explorer::{explore, shortest};
use super::rules::Rule;
use super::scenarios::Scenario;
use crate::make::{self, days, s};
use crate::world::{Mutant, Scripted, response, stream};

/// The scenario in which each mutant shows, with how many faults, and the promise that it breaks.
fn table() -> Vec<(Mutant, Scenario, u32, Rule)> {
    use Mutant as P;
    let two = || Scenario::new("mutant", 2);
    let says = |status: u16| (s(1), Ok(response(status, &format!("said {status}"))));
    let unknown: Scripted = (s(1), Err(Failure::Lost));
    let slow = (s(30), Ok(response(201, "slow")));
    let retry = |route: &mut Route| route.on_in_doubt = Doubtful::Retry;
    let probe = |route: &mut Route| {
        route.on_in_doubt = Doubtful::Probe;
        route.probe = Some("/{key}".to_owned());
    };
    let tombstone = |route: &mut Route| route.tombstone = days(1);
    let forward = |route: &mut Route| route.credential_change = CredentialChange::Forward;
    let doubtful = || two().origin(std::slice::from_ref(&unknown));
    let late = || two().origin(&[(s(70), Ok(response(201, "late")))]);
    let handed_over =
        || two().route(|route| route.respond_async = RespondAsync::Allow).prefers(0, s(0));
    let other_scope =
        |request: &mut GuardedRequest| request.key_id = KeyId::new(&make::key("k"), [2; 16]);
    let broken = (s(1), Ok(stream(s(3), StreamEnd::BrokenOff)));
    let not_found = || doubtful().route(probe).probes(&says(404)).after(s(140));
    vec![
        (P::WaiterDeletesLock, two().origin(std::slice::from_ref(&slow)), 0, Rule::GrantedOnce),
        (P::CheckThenLock, two(), 0, Rule::GrantedOnce),
        (P::LapseRunsAgain, two(), 1, Rule::GrantedOnce),
        (
            P::SettleByAnyLease,
            doubtful().route(retry).origin(&[(s(70), Ok(response(201, "late")))]),
            2,
            Rule::HolderEnds,
        ),
        (P::ReleaseByAnyLease, not_found(), 0, Rule::HolderEnds),
        (P::ExpiredRowBlocks, two(), 0, Rule::TrueAnswer),
        (P::FailedSettleReleases, two(), 1, Rule::ReleasedForCause),
        (P::WakeGrants, two().origin(&[says(429)]), 0, Rule::WakesGrantNothing),
        (
            P::ReleaseForgetsReply,
            two()
                .origin(&[says(201), says(429)])
                .request(1, |request| request.claim.strategy = Strategy::FailOnRunning),
            0,
            Rule::GrantedOnce,
        ),
        (
            P::ReleaseForgetsDoubt,
            doubtful().route(retry).origin(&[unknown.clone(), says(429)]).after(s(80)),
            0,
            Rule::GrantedOnce,
        ),
        (P::DoubtSweptAtTtl, doubtful(), 0, Rule::GrantedOnce),
        (P::DoubtClosedEarly, doubtful(), 0, Rule::GrantedOnce),
        (P::DoubtNeverSwept, doubtful(), 0, Rule::NothingLeft),
        (P::ReplayPastExpiry, two(), 0, Rule::TrueAnswer),
        (P::TombstoneIgnored, two().route(tombstone), 0, Rule::GrantedOnce),
        (P::ForwardRepeated, doubtful(), 0, Rule::ExecutedOncePerGrant),
        (P::ForwardUnguarded, two(), 1, Rule::ExecutedOncePerGrant),
        (P::AnsweredBeforeStored, two(), 1, Rule::StoredBeforeSent),
        (
            P::FingerprintIgnored,
            two().request(1, |request| request.claim.metadata.fingerprint = make::fingerprint(2)),
            0,
            Rule::NothingCrosses,
        ),
        (
            P::ScopeLeftOut,
            two()
                .origin(&[(s(0), Ok(response(201, "at once")))])
                .route(forward)
                .request(1, |request| request.key_id = KeyId::new(&make::key("k"), [2; 16])),
            0,
            Rule::NothingCrosses,
        ),
        (P::JoinedToAnother, two(), 0, Rule::SameBytes),
        (P::RetryWhileLive, late().route(retry), 1, Rule::GrantedOnce),
        (P::AttemptForgotten, doubtful().route(retry).after(s(80)), 0, Rule::GrantedOnce),
        (
            P::LeaseTooShort,
            two().route(retry).origin(std::slice::from_ref(&slow)),
            1,
            Rule::GrantedOnce,
        ),
        (
            P::LateSettleRefused,
            two().origin(&[(s(70), Ok(response(201, "late")))]),
            0,
            Rule::HolderEnds,
        ),
        (
            P::RetryAfterPastLease,
            two().route(|route| route.on_duplicate = Strategy::Fail),
            1,
            Rule::RetryAfter,
        ),
        (P::GivenBackForgotten, two(), 2, Rule::EndedIsGone),
        (P::NobodyWoken, two(), 0, Rule::Waits),
        (P::DoubtJoinedForEver, doubtful(), 0, Rule::Waits),
        (P::JoinedDoubtGranted, late(), 1, Rule::GrantedOnce),
        (P::DoubtKeepsLease, doubtful(), 0, Rule::Waits),
        (P::BreakOffForgotten, two().origin(&[broken]), 0, Rule::TrueAnswer),
        (P::ReasonForgotten, doubtful(), 0, Rule::TrueAnswer),
        (P::HandOverRepeated, handed_over(), 1, Rule::ExecutedOncePerGrant),
        (P::LostHandOverReleased, handed_over(), 1, Rule::ReleasedForCause),
        (P::FirstLeaseHandedOver, handed_over(), 1, Rule::DoubtedForCause),
        (
            P::LateHandOverTaken,
            handed_over().route(retry).route(|route| route.timeout = s(5)).prefers(0, s(0)),
            2,
            Rule::BegunInTime,
        ),
        (P::ReleasedReplayed, handed_over().origin(&[says(429)]), 0, Rule::TrueAnswer),
        (
            P::ReleasedIsLive,
            handed_over().request(1, other_scope).origin(&[says(429)]),
            0,
            Rule::TrueAnswer,
        ),
        (P::ReleasedToldAsReply, handed_over().origin(&[says(429)]), 0, Rule::StatusTold),
        (
            P::AddressOfEachClaim,
            handed_over().prefers(1, s(0)).origin(&[says(429)]),
            0,
            Rule::OneAddress,
        ),
    ]
}

#[test]
fn every_mutant_is_caught() {
    for (mutant, scenario, faults, rule) in table() {
        let found = shortest(&scenario.mutant(mutant), faults);
        let caught = found.violation.as_ref().map(|(broken, _)| broken.rule);
        let script = found.violation.map_or(String::new(), |(_, script)| script.join("\n"));
        assert_eq!(caught, Some(rule), "{mutant:?}: {script}");
    }
}

/// The same scenarios without the mutant, with one fault at most.
#[test]
fn the_scenario_of_a_mutant_breaks_nothing_without_it() {
    for (mutant, scenario, faults, _) in table() {
        let found = explore(&scenario, faults.min(1));
        let script = found.violation.map_or(String::new(), |(_, script)| script.join("\n"));
        assert_eq!(script, "", "{mutant:?}");
    }
}

#[test]
fn a_violation_is_told_as_a_script() {
    let scenario = Scenario::new("mutant", 2).mutant(Mutant::ForwardUnguarded);
    let (_, script) = shortest(&scenario, 1).violation.unwrap();
    let expected = [
        "     0.000 s  request 1 is sent: fingerprint f1, ReturnExisting",
        "     0.000 s  request 1 asks: claim (lease 01, waits 10 s)",
        "     0.000 s  FAULT Lost: the claim of request 1",
        "     0.000 s  request 1 forwards (attempt 1)",
        "     0.000 s    the origin EXECUTES request 1, attempt 1; says 201 \"paid 1\"",
        "BROKEN ExecutedOncePerGrant: request 1 is executed without a grant",
    ];
    // Whether it is lost or refused is all the same to it.
    let script: Vec<_> = script.iter().map(|line| line.replace("Overloaded", "Lost")).collect();
    assert_eq!(script, expected);
}
