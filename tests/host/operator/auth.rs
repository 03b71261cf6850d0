//! Who is let in.

use oncegate::operator::auth::{Auth, SESSION, WRONG_MAX, WRONG_WITHIN, Wrong, unhex};

use crate::make::{instant, ms_after, ms_before, s};

const NONCE: [u8; 16] = [7; 16];

fn door() -> Auth {
    Auth::new("correct horse").unwrap()
}

#[test]
fn the_token_opens_and_nothing_else_does() {
    let door = door();
    for header in ["Bearer correct horse", "bearer correct horse", "BEARER  correct horse "] {
        assert!(door.is_borne(header), "{header}");
    }
    for header in
        ["", "Bearer", "Bearer ", "Bearer correct", "Bearer correct horses", "Basic correct horse"]
    {
        assert!(!door.is_borne(header), "{header}");
    }
}

#[test]
fn without_a_token_there_is_no_door() {
    assert!(Auth::new("").is_none());
    assert!(Auth::new(" \n").is_none());
}

#[test]
fn a_session_admits_until_it_is_over() {
    let (door, now) = (door(), instant(1000));
    let session = door.session(NONCE, now);
    assert!(door.admits(&session, now));
    assert!(door.admits(&session, ms_before(now.plus(SESSION))));
    assert!(!door.admits(&session, now.plus(SESSION)));
}

#[test]
fn a_session_that_was_tampered_with_admits_nobody() {
    let (door, now) = (door(), instant(1000));
    let session = door.session(NONCE, now);
    let later = session.replacen('4', "5", 1);
    assert_ne!(later, session);
    assert!(!door.admits(&later, now), "a longer life");
    for at in 0..session.len() {
        let mut bytes = session.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let tampered = String::from_utf8(bytes).unwrap();
        assert!(!door.admits(&tampered, now), "{tampered}");
        assert!(!door.admits(&session[..at], now), "cut at {at}");
    }
}

#[test]
fn another_token_ends_every_session() {
    let session = door().session(NONCE, instant(1000));
    assert!(!Auth::new("another").unwrap().admits(&session, instant(1000)));
}

#[test]
fn a_form_belongs_to_its_session() {
    let door = door();
    let (mine, other) = (door.session(NONCE, instant(1000)), door.session([8; 16], instant(1000)));
    let token = door.form_token(&mine);
    assert!(door.is_form_token(&mine, &token));
    assert!(!door.is_form_token(&other, &token));
    assert!(!door.is_form_token(&mine, ""));
    assert!(!door.admits(&format!("{}.{token}", mine.rsplit_once('.').unwrap().0), instant(1000)));
}

#[test]
fn an_address_with_too_many_wrong_tokens_is_not_heard_for_a_minute() {
    let mut wrong = Wrong::default();
    let now = instant(1000);
    for _ in 0..WRONG_MAX {
        assert_eq!(wrong.shut_for_s("a", now), None);
        wrong.note("a", now);
    }
    assert_eq!(wrong.shut_for_s("a", now), Some(60));
    assert_eq!(wrong.shut_for_s("a", now.plus(s(59))), Some(1));
    assert_eq!(wrong.shut_for_s("b", now), None, "others are heard");
    assert_eq!(wrong.shut_for_s("a", now.plus(WRONG_WITHIN)), None);
    wrong.note("a", ms_after(now.plus(WRONG_WITHIN)));
    assert_eq!(wrong.shut_for_s("a", ms_after(now.plus(WRONG_WITHIN))), None, "counted anew");
}

#[test]
fn hexadecimal_is_read_to_the_digit() {
    assert_eq!(unhex::<2>("00fF"), Some([0, 255]));
    for wrong in ["", "0", "00f", "00fff", "00fg", "+0ff", "0 ff", "é0ff"] {
        assert_eq!(unhex::<2>(wrong), None, "{wrong}");
    }
}
