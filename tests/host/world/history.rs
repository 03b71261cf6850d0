//! The history of a world: its events in order, each with its time. A judge sees nothing else.

use std::rc::Rc;
use std::time::Duration;

use oncegate::answer::Answer as Answered;
use oncegate::filter::{GuardedRequest, StreamEnd};
use oncegate::lifecycle::event::{self, Verdict};
use oncegate::lifecycle::outcome::Failure;
use oncegate::lifecycle::record::{Execution, Lease, Reason};
use oncegate::protocol::{LedgerAnswer, Question};
use oncegate::request::key::KeyId;
use oncegate::time::{Timestamp, millis};

use super::story::Target;
use super::{Answer, OriginResponse, Story, messages};

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A client sent a request.
    Sent { story: Story, request: Rc<GuardedRequest> },
    /// A lease that a Worker hands over reaches a Runner, which begins a story of its own.
    TakenOver { story: Story, from: Story },
    /// A Worker makes a call.
    Calls { story: Story, kind: Rc<Kind> },
    /// A call reaches the Ledger. Without an answer the caller waits. The caller may be absent: it has given
    /// the call up, or its Worker has stopped.
    Asked { story: Story, asked: Rc<Kind>, answer: Option<LedgerAnswer>, absent: bool },
    /// A caller that waits in the Ledger gets its answer.
    Woken { story: Story, answer: LedgerAnswer },
    /// The origin executes a request, and will give this answer.
    Executed { story: Story, run: Execution, said: Result<OriginResponse, Failure> },
    /// The origin is probed, and will give this answer.
    Probed { story: Story, said: Result<OriginResponse, Failure> },
    /// The answer to a call reaches the Worker.
    Hears { story: Story, kind: Rc<Kind> },
    /// A call fails for its Worker.
    Failed { story: Story, kind: Rc<Kind>, why: Cause },
    /// A Worker stopped.
    Crashed { story: Story },
    /// A client hung up.
    Left { story: Story },
    /// The Ledger restarted.
    Reset,
    /// The clock moved on although something else could have happened.
    Delayed { from: Timestamp },
    /// The sweep ran; these rows are left.
    Swept { left: Vec<KeyId> },
    /// A client has its answer.
    Answered { story: Story, answer: Rc<Answer> },
    /// Nothing is under way any more.
    Quiet,
}

/// What a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Claim {
        lease: Lease,
        wait: Duration,
    },
    Settle {
        lease: Lease,
        status: u16,
        body: Vec<u8>,
    },
    /// With what is kept of the origin's answer: its status and body.
    Release(Lease, Option<(u16, Vec<u8>)>),
    Doubt(Lease, Reason),
    BreakOff(Lease),
    Look,
    Forward(Execution),
    /// A lease is handed over to a Runner.
    HandOver(Execution),
    Probe,
    /// A body that is streamed ends so.
    Stream(StreamEnd),
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Lost,
    Overloaded,
    NeverSent,
    /// A Runner has refused a lease.
    Refused,
}

pub(super) fn kind(what: &Target) -> Option<Kind> {
    Some(match what {
        Target::Ledger(question) => {
            let (request, body) = messages::request(question);
            let Question::Event(event) = request.question else {
                panic!("a request asks for events only")
            };
            match event {
                event::Event::Claim(claim) => Kind::Claim { lease: claim.lease, wait: claim.wait },
                event::Event::Settle(lease, reply) => {
                    Kind::Settle { lease, status: reply.status, body }
                }
                event::Event::Release(lease, reply) => {
                    Kind::Release(lease, reply.map(|reply| (reply.status, body)))
                }
                event::Event::Doubt(lease, reason) => Kind::Doubt(lease, reason),
                event::Event::BreakOff(lease, _) => Kind::BreakOff(lease),
                event::Event::Look(..) => Kind::Look,
            }
        }
        Target::Forward(_, run) => Kind::Forward(*run),
        Target::Runner(_, run, _) => Kind::HandOver(*run),
        Target::Probe => Kind::Probe,
        Target::Stream(_, end) => Kind::Stream(*end),
        Target::Pause(_) => return None,
    })
}

impl Event {
    /// The request that the event is about, if it is about one.
    pub(crate) fn story(&self) -> Option<Story> {
        match self {
            Self::Sent { story, .. }
            | Self::TakenOver { story, .. }
            | Self::Calls { story, .. }
            | Self::Asked { story, .. }
            | Self::Woken { story, .. }
            | Self::Executed { story, .. }
            | Self::Probed { story, .. }
            | Self::Hears { story, .. }
            | Self::Failed { story, .. }
            | Self::Crashed { story }
            | Self::Left { story }
            | Self::Answered { story, .. } => Some(*story),
            Self::Reset | Self::Delayed { .. } | Self::Swept { .. } | Self::Quiet => None,
        }
    }

    /// One line of a printed history.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Sent { story, request } => {
                let print = request.claim.metadata.fingerprint.0[0];
                let strategy = request.claim.strategy;
                format!("{story} is sent: fingerprint {print:02x}, {strategy:?}")
            }
            Self::TakenOver { story, from } => format!("  a Runner takes {from} over, as {story}"),
            Self::Calls { story, kind } => format!("{story} {}", kind.words()),
            Self::Asked { story, asked, answer, absent } => {
                let gone = if *absent { " (which is gone)" } else { "" };
                let said = answer.as_ref().map_or_else(|| "waits".to_owned(), ledger_words);
                format!("  the Ledger hears {story}{gone}: {} -> {said}", asked.word())
            }
            Self::Woken { story, answer } => {
                format!("  the Ledger wakes {story} -> {}", ledger_words(answer))
            }
            Self::Executed { story, run, said } => {
                let attempt = run.attempt;
                format!(
                    "  the origin EXECUTES {story}, attempt {attempt}; says {}",
                    heard_words(said)
                )
            }
            Self::Probed { story, said } => {
                format!("  the origin is probed by {story}; says {}", heard_words(said))
            }
            Self::Hears { story, kind } => {
                format!("{story} hears what came of its {}", kind.word())
            }
            Self::Failed { story, kind, why } => {
                format!("FAULT {why:?}: the {} of {story}", kind.word())
            }
            Self::Crashed { story } => format!("FAULT {story}: its Worker stops"),
            Self::Left { story } => format!("FAULT {story}: its client hangs up"),
            Self::Reset => "FAULT the Ledger restarts and forgets its waiters".to_owned(),
            Self::Delayed { from } => {
                format!("FAULT everything is late; the clock stood at {}", seconds(*from))
            }
            Self::Swept { left } => format!("  the alarm: {} rows are left", left.len()),
            Self::Answered { story, answer } => {
                format!("{story} IS ANSWERED {}", answer_words(answer))
            }
            Self::Quiet => "nothing is under way any more".to_owned(),
        }
    }
}

/// `     0.000 s`, counted from the beginning of a world.
pub(crate) fn seconds(at: Timestamp) -> String {
    let ms = millis(at.since(super::START));
    format!("{:>6}.{:03} s", ms / 1000, ms % 1000)
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "request {}", self.0 + 1)
    }
}

impl Kind {
    fn word(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Settle { .. } => "settle",
            Self::Release(..) => "release",
            Self::Doubt(..) => "doubt",
            Self::BreakOff(_) => "break-off",
            Self::Look => "look",
            Self::Forward(_) => "forward",
            Self::HandOver(_) => "hand-over",
            Self::Probe => "probe",
            Self::Stream(_) => "stream",
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Claim { lease, wait } => {
                format!("asks: claim (lease {}, waits {} s)", short(*lease), wait.as_secs())
            }
            Self::Settle { lease, status, .. } => {
                format!("asks: settle {status} (lease {})", short(*lease))
            }
            Self::Release(lease, None) => format!("asks: release (lease {})", short(*lease)),
            Self::Release(lease, Some((status, _))) => {
                format!("asks: release {status} (lease {})", short(*lease))
            }
            Self::Doubt(lease, reason) => {
                format!("asks: doubt (lease {}, {reason})", short(*lease))
            }
            Self::BreakOff(lease) => format!("asks: break-off (lease {})", short(*lease)),
            Self::Look => "asks: look".to_owned(),
            Self::Forward(run) => format!("forwards (attempt {})", run.attempt),
            Self::HandOver(run) => format!("hands over (attempt {})", run.attempt),
            Self::Probe => "probes the origin".to_owned(),
            Self::Stream(end) => format!("streams a body, which ends {end:?}"),
        }
    }
}

fn short(lease: Lease) -> String {
    format!("{:02x}", lease.0[0])
}

fn ledger_words(answer: &LedgerAnswer) -> String {
    match answer {
        LedgerAnswer::Verdict(Verdict::Replay(replay)) => {
            format!("{:?} {}", replay.how, replay.reply.status)
        }
        LedgerAnswer::Verdict(Verdict::InDoubt { lease, over_for, reason }) => {
            let lease = lease.map_or("none".to_owned(), short);
            format!("InDoubt ({reason}, lease {lease}, over for {over_for:?})")
        }
        LedgerAnswer::Verdict(Verdict::Granted(run, _)) => {
            format!("Granted (attempt {})", run.attempt)
        }
        LedgerAnswer::Verdict(verdict) => format!("{verdict:?}"),
        other => format!("{other:?}"),
    }
}

fn heard_words(said: &Result<OriginResponse, Failure>) -> String {
    match said {
        Ok(response) => {
            format!("{} {:?}", response.facts.status, String::from_utf8_lossy(&response.body))
        }
        Err(failure) => format!("{failure:?}"),
    }
}

/// `201 executed "paid 1"`, `409 in-flight, again in 3 s`.
pub(crate) fn answer_words(answer: &Answer) -> String {
    let told = |status: u16, what: oncegate::answer::Status, body: &[u8]| {
        format!("{status} {} {:?}", what.as_str(), String::from_utf8_lossy(body))
    };
    match answer {
        Answered::OriginResponse(response, status, _) => {
            told(response.facts.status, *status, &response.body)
        }
        Answered::Stored(replay, body) => {
            let body = body.as_deref().unwrap_or_default();
            told(replay.reply.status, replay.how.into(), body)
        }
        Answered::Accepted(accepted) => {
            format!("202 running, again in {} s", accepted.retry_after_s)
        }
        Answered::Problem(problem, _) => {
            let again = problem.retry_after_s;
            let again = again.map_or(String::new(), |s| format!(", again in {s} s"));
            format!("{} {}{again}", problem.status, problem.code.as_str())
        }
    }
}
