//! Authentication: the token, sessions, CSRF tokens, failed log-ins.

use oncegate::operator::auth::{Auth, FAILED_MAX, FAILED_WITHIN, FailedLogins, NoAuth, SESSION};

use crate::make::{instant, ms_after, ms_before, s};

const NONCE: [u8; 16] = [7; 16];

fn auth() -> Auth {
    Auth::new("correct horse battery").unwrap()
}

#[test]
fn the_token_opens_and_nothing_else_does() {
    let auth = auth();
    for header in [
        "Bearer correct horse battery",
        "bearer correct horse battery",
        "BEARER  correct horse battery ",
    ] {
        assert!(auth.verify_authorization(header), "{header}");
    }
    for header in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer correct",
        "Bearer correct horse batteries",
        "Basic correct horse battery",
    ] {
        assert!(!auth.verify_authorization(header), "{header}");
    }
}

#[test]
fn without_a_token_there_is_no_operators_part() {
    assert_eq!(Auth::new("").err(), Some(NoAuth::Blank));
    assert_eq!(Auth::new(" \n").err(), Some(NoAuth::Blank));
}

#[test]
fn a_token_that_could_be_guessed_opens_nothing() {
    for short in ["x", "123456789012345", " 123456789012345 ", "üüüüüüüüüüüüüüü"] {
        assert_eq!(Auth::new(short).err(), Some(NoAuth::TooShort), "{short}");
    }
    assert!(Auth::new("1234567890123456").is_ok_and(|auth| auth.verify_token("1234567890123456")));
}

#[test]
fn a_session_is_valid_until_it_is_over() {
    let (auth, now) = (auth(), instant(1000));
    let session = auth.new_session(NONCE, now);
    assert!(auth.verify_session(&session, now));
    assert!(auth.verify_session(&session, ms_before(now.plus(SESSION))));
    assert!(!auth.verify_session(&session, now.plus(SESSION)));
}

#[test]
fn a_session_that_was_tampered_with_is_not_valid() {
    let (auth, now) = (auth(), instant(1000));
    let session = auth.new_session(NONCE, now);
    let later = session.replacen('4', "5", 1);
    assert_ne!(later, session);
    assert!(!auth.verify_session(&later, now), "a longer life");
    for at in 0..session.len() {
        let mut bytes = session.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let tampered = String::from_utf8(bytes).unwrap();
        assert!(!auth.verify_session(&tampered, now), "{tampered}");
        assert!(!auth.verify_session(&session[..at], now), "cut at {at}");
    }
}

#[test]
fn another_token_ends_every_session() {
    let session = auth().new_session(NONCE, instant(1000));
    assert!(
        !Auth::new("another token of 28 characters")
            .unwrap()
            .verify_session(&session, instant(1000))
    );
}

#[test]
fn a_form_belongs_to_its_session() {
    let auth = auth();
    let (mine, other) =
        (auth.new_session(NONCE, instant(1000)), auth.new_session([8; 16], instant(1000)));
    let token = auth.csrf_token(&mine);
    assert!(auth.verify_csrf_token(&mine, &token));
    assert!(!auth.verify_csrf_token(&other, &token));
    assert!(!auth.verify_csrf_token(&mine, ""));
    assert!(
        !auth.verify_session(
            &format!("{}.{token}", mine.rsplit_once('.').unwrap().0),
            instant(1000)
        )
    );
}

#[test]
fn an_address_with_too_many_wrong_tokens_is_blocked_for_a_minute() {
    let mut wrong = FailedLogins::default();
    let now = instant(1000);
    for _ in 0..FAILED_MAX {
        assert_eq!(wrong.blocked_for_s("a", now), None);
        wrong.note("a", now);
    }
    assert_eq!(wrong.blocked_for_s("a", now), Some(60));
    assert_eq!(wrong.blocked_for_s("a", now.plus(s(59))), Some(1));
    assert_eq!(wrong.blocked_for_s("b", now), None, "others are heard");
    assert_eq!(wrong.blocked_for_s("a", now.plus(FAILED_WITHIN)), None);
    wrong.note("a", ms_after(now.plus(FAILED_WITHIN)));
    assert_eq!(wrong.blocked_for_s("a", ms_after(now.plus(FAILED_WITHIN))), None, "counted anew");
}
