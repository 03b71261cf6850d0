//! `released`: a copy of a claim that comes after its release is not granted.

use oncegate::lifecycle::ended_leases::{DELIVERY_MAX, EndedLeases};
use oncegate::time::Timestamp;

use crate::make::{instant, lease, ms_after};

#[test]
fn a_released_lease_is_remembered_for_as_long_as_a_call_may_be_under_way() {
    let mut released = EndedLeases::default();
    assert!(!released.has(lease(1), instant(1000)));
    released.remember(lease(1), instant(1000));
    released.remember(lease(2), instant(1001));
    let end = instant(1000).plus(DELIVERY_MAX);
    for (known, now, expected) in [
        (lease(1), instant(1000), true),
        (lease(1), end, true),
        (lease(1), ms_after(end), false),
        (lease(2), ms_after(end), true),
        (lease(3), instant(1000), false),
        // A clock that went back is no reason to grant.
        (lease(1), instant(1), true),
    ] {
        assert_eq!(released.has(known, now), expected, "{known:?} at {}", now.0);
    }
    released.remember(lease(1), instant(2000));
    assert!(released.has(lease(1), instant(2000)), "released again");
}

#[test]
fn the_memory_of_released_leases_is_bounded() {
    let mut released = EndedLeases::default();
    for number in 0..20_000_u64 {
        released.remember(oncegate::lifecycle::record::Lease(token_of(number)), Timestamp(number));
    }
    // The newest is remembered whatever was before it.
    assert!(released.has(oncegate::lifecycle::record::Lease(token_of(19_999)), Timestamp(19_999)));
    assert!(released.iter(Timestamp(19_999)).count() <= 10_240);
}

fn token_of(number: u64) -> [u8; 16] {
    let mut token = [0; 16];
    token[..8].copy_from_slice(&number.to_le_bytes());
    token
}
