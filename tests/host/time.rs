//! `time` beside another one's.

use std::time::{Duration, SystemTime};

use oncegate::time::{Timestamp, read_rfc3339, read_span, rfc3339, span};
use proptest::prelude::*;

use crate::make::cases;

const DAY: u64 = 24 * 60 * 60 * 1000;

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[test]
fn every_day_is_written_and_read_as_others_do() {
    for day in (0..50_000).chain((50_000..2_932_897).step_by(61)) {
        let at = Timestamp(day * DAY + day % DAY);
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(at.0);
        let text = rfc3339(at);
        assert_eq!(text, humantime::format_rfc3339_millis(time).to_string());
        assert_eq!(read_rfc3339(&text), Some(at));
    }
    assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999Z");
}

#[test]
fn a_span_is_written_in_few_units() {
    let rows =
        [(0, "0s"), (1, "1ms"), (600_000, "10m"), (5_400_000, "1h 30m"), (3660 * DAY, "3660d")];
    for (span_ms, text) in rows {
        assert_eq!(span(Duration::from_millis(span_ms)), text);
    }
}

proptest! {
    #![proptest_config(cases(5000))]

    #[test]
    fn an_instant_is_read_as_others_do(
        text in "(19[67]|20[0-9]|99)[0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|\\+00:00|z|)",
    ) {
        let other = humantime::parse_rfc3339_weak(&text).ok();
        let other = other.map(|at| Timestamp(ms(at.duration_since(SystemTime::UNIX_EPOCH).unwrap())));
        prop_assert_eq!(read_rfc3339(&text), other, "{}", text);
    }

    #[test]
    fn a_span_is_read_as_others_do(
        text in "( {0,1}[0-9]{1,3}(\\.[0-9]{1,2})? ?(ns|us|ms|msec|s|sec|secs|m|min|minutes|h|hr|hours|d|day|days|w|week|M|month|months|y|years|x|)){0,3} ?",
    ) {
        let other = humantime::parse_duration(&text).ok().map(ms).map(Duration::from_millis);
        // That one takes a fraction only where it leaves none of its own units.
        if other.is_some() || !text.contains('.') {
            let own = read_span(&text);
            // Ours ends at 584 years.
            let ends = own == Some(Duration::from_millis(u64::MAX / 1_000_000));
            prop_assert!(ends && other > own || own == other, "{own:?} for {other:?}");
        }
    }
}
