//! The alarm, and the sweep that it starts. The sweep deletes what is over, in time, but not at a higher price
//! than that is worth.

use std::time::Duration;

use js_sys::{Date, Object};

use super::Shard;
use crate::cloudflare::clock::{now, pause, to_js};
use crate::cloudflare::error::Error;
use crate::cloudflare::{bindings, faults};
use crate::time::{Timestamp, millis};

/// The object's one alarm.
#[derive(Clone, Copy)]
pub(super) enum Alarm {
    /// Not asked for since the start.
    Unknown,
    /// Not set.
    Off,
    /// Set for then.
    At(Timestamp),
}

impl Shard {
    /// Asks for the alarm, once after a start: setting an alarm without knowing would move an earlier one.
    pub(super) async fn know_alarm(&self) -> Result<(), Error> {
        if matches!(self.alarm.get(), Alarm::Unknown) {
            let set = self.storage.get_alarm().await?;
            if matches!(self.alarm.get(), Alarm::Unknown) {
                self.alarm
                    .set(set.map_or(Alarm::Off, |at| Alarm::At(Timestamp(at.unsigned_abs()))));
            }
        }
        Ok(())
    }

    /// Sets the alarm if it is not set for as early. It belongs to the same commit as the row. A failure is no
    /// reason to refuse: the row is right, and the next event tries again.
    pub(super) fn arm(&self, due: Timestamp) {
        let at = due.max(self.sweep_from.get());
        if matches!(self.alarm.get(), Alarm::At(set) if set <= at) {
            return;
        }
        // The call is made here and now; its promise says nothing that the output gate does not.
        match self.storage.as_raw().set_alarm(Date::new(&to_js(at).into()), Object::new()) {
            Ok(_) => self.alarm.set(Alarm::At(at)),
            Err(error) => {
                let why = Error::from(error);
                bindings::log_error(&format!("the sweep could not be scheduled: {why}"));
            }
        }
    }

    /// One pass over the shard in bounded batches. Between two batches other requests get their turn.
    pub(super) async fn sweep(&self) -> Result<(), Error> {
        faults::here("sweep");
        let store = self.store()?;
        let (mut after, mut rows, mut next) = (None, 0, None);
        let mut hundredths = Vec::new();
        while let Some(batch) = store.sweep(after.as_ref(), now())? {
            rows += batch.rows;
            next = [next, batch.next].into_iter().flatten().min();
            hundredths.extend(batch.hundredth);
            after = Some(batch.last);
            pause(Duration::ZERO).await;
        }
        let late = next.map_or(Duration::ZERO, |next| lateness(next, &hundredths, rows));
        self.sweep_from
            .set(now().plus(SWEEP_PAUSE.saturating_add(Duration::from_millis(rows)).max(late)));
        if let Some(due) = next {
            self.arm(due.plus(late));
        }
        Ok(())
    }
}

/// How long rows may stay after their time. A pass reads every row of the shard, and reads are paid for: a pass
/// for each row would cost more than everything else. So the sweep waits until one row in a hundred is due.
fn lateness(next: Timestamp, hundredths: &[Timestamp], rows: u64) -> Duration {
    let sum = hundredths.iter().map(|at| millis(at.since(next))).sum::<u64>();
    let mean = sum.checked_div(hundredths.len() as u64).unwrap_or(0);
    Duration::from_millis(mean.min(millis(LATE_MAX) + millis(LATE_PER_ROW) * rows))
}

/// Between two passes at least, and 1 ms more for each row of the shard: a pass over 10^6 rows, which costs
/// about half a second of the object's time, comes at most every 17 minutes.
const SWEEP_PAUSE: Duration = Duration::from_secs(5);
/// At most, where few rows are due long before the others: a shard then reads 200 rows a second, which is 50
/// cents in a month (developers.cloudflare.com, durable-objects/platform/pricing).
const LATE_MAX: Duration = Duration::from_mins(15);
const LATE_PER_ROW: Duration = Duration::from_millis(10);
