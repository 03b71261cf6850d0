//! The slots of a cron trigger, in UTC. `croner` reads the expressions.

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::CronParser;

use crate::time::Timestamp;

/// When a cron trigger fires.
#[derive(Debug)]
pub struct Slots(Cron);

impl Slots {
    /// The slots of a cron expression.
    ///
    /// # Errors
    /// It is none.
    pub fn of(cron: &str) -> Result<Self, String> {
        // Cloudflare counts weekdays from 1, which is Sunday (developers.cloudflare.com,
        // workers/configuration/cron-triggers).
        let parser = CronParser::builder().alternative_weekdays(true).build();
        parser.parse(cron).map(Self).map_err(|error| error.to_string())
    }

    /// Whether the trigger fires at this instant, to the millisecond.
    #[must_use]
    pub fn has(&self, at: Timestamp) -> bool {
        // A cron knows no part of a second.
        at.0.is_multiple_of(1000)
            && instant(at).is_some_and(|at| self.0.is_time_matching(&at).unwrap_or(false))
    }

    /// The latest slot that has begun by this instant.
    #[must_use]
    pub fn latest(&self, by: Timestamp) -> Option<Timestamp> {
        timestamp(self.0.find_previous_occurrence(&instant(by)?, true).ok()?)
    }

    /// The first slot after an instant.
    #[must_use]
    pub fn first_after(&self, after: Timestamp) -> Option<Timestamp> {
        timestamp(self.0.find_next_occurrence(&instant(after)?, false).ok()?)
    }
}

/// A year beyond what `chrono` counts has no slots.
fn instant(at: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(at.0).ok()?)
}

fn timestamp(at: DateTime<Utc>) -> Option<Timestamp> {
    u64::try_from(at.timestamp_millis()).ok().map(Timestamp)
}
