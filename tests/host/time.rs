//! `time`: instants and spans as text.

use std::time::Duration;

use oncegate::time::{Timestamp, read_rfc3339, read_span, rfc3339};

#[test]
fn an_instant_is_written_to_the_millisecond_and_read_again() {
    for (at_ms, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_999, "2023-11-14T22:13:20.999Z"),
        (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
    ] {
        assert_eq!(rfc3339(Timestamp(at_ms)), text);
        assert_eq!(read_rfc3339(text), Some(Timestamp(at_ms)));
    }
    assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999Z");
}

#[test]
fn an_instant_may_be_written_in_other_ways() {
    let at = Some(Timestamp(1_700_000_000_000));
    for text in ["2023-11-14 22:13:20", "2023-11-14T22:13:20", "2023-11-14T22:13:20+00:00"] {
        assert_eq!(read_rfc3339(text), at, "{text}");
    }
    for text in
        ["", "2023-11-14", "2023-02-30T00:00:00Z", "1969-12-31T23:59:59Z", "20231114T221320Z"]
    {
        assert_eq!(read_rfc3339(text), None, "{text}");
    }
}

#[test]
fn a_span_is_read_with_its_unit() {
    for (text, span_ms) in
        [("0", 0), ("1ms", 1), ("10m", 600_000), ("1h 30m", 5_400_000), (" 7d ", 604_800_000)]
    {
        assert_eq!(read_span(text), Some(Duration::from_millis(span_ms)), "{text}");
    }
    for text in ["", "10", "10 x", "-1s", "s"] {
        assert_eq!(read_span(text), None, "{text}");
    }
}
