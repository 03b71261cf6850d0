//! A structured-field Item that is a string (RFC 9651 sections 4.2.3 and 4.2.5): `"8e03978e"`, with
//! parameters, which are read and passed by.

use std::iter::Peekable;
use std::str::Chars;

/// The string of a field without white space around it; none where it is anything else.
#[must_use]
pub fn string(field: &str) -> Option<String> {
    let mut rest = field.chars().peekable();
    let text = quoted(&mut rest)?;
    while rest.next_if_eq(&';').is_some() {
        some(&mut rest, |c| c == ' ');
        rest.next_if(|c| c.is_ascii_lowercase() || *c == '*')?;
        some(&mut rest, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c));
        if rest.next_if_eq(&'=').is_some() {
            value(&mut rest)?;
        }
    }
    rest.next().is_none().then_some(text)
}

type Rest<'a> = Peekable<Chars<'a>>;

fn quoted(rest: &mut Rest<'_>) -> Option<String> {
    let mut text = String::new();
    rest.next_if_eq(&'"')?;
    loop {
        match rest.next()? {
            '"' => return Some(text),
            '\\' => text.push(rest.next_if(|c| matches!(c, '"' | '\\'))?),
            c @ ' '..='~' => text.push(c),
            _ => return None,
        }
    }
}

/// Passes by a parameter's value.
fn value(rest: &mut Rest<'_>) -> Option<()> {
    match rest.peek()? {
        '"' => drop(quoted(rest)?),
        '?' => {
            rest.next();
            rest.next_if(|c| matches!(c, '0' | '1'))?;
        }
        ':' => {
            rest.next();
            some(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
            rest.next_if_eq(&':')?;
        }
        '@' => {
            rest.next();
            (!number(rest)?).then_some(())?;
        }
        '%' => display(rest)?,
        '-' | '0'..='9' => drop(number(rest)?),
        'a'..='z' | 'A'..='Z' | '*' => {
            some(rest, |c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c));
        }
        _ => return None,
    }
    Some(())
}

/// A number of at most 15 digits; whether it is a decimal, which has 12 of them before the point and 3 after.
fn number(rest: &mut Rest<'_>) -> Option<bool> {
    rest.next_if_eq(&'-');
    let whole = some(rest, |c| c.is_ascii_digit());
    let is_decimal = rest.next_if_eq(&'.').is_some();
    let fraction = some(rest, |c| c.is_ascii_digit());
    let fits = if is_decimal { whole <= 12 && (1..=3).contains(&fraction) } else { whole <= 15 };
    (whole > 0 && fits).then_some(is_decimal)
}

/// A display string: UTF-8 in which everything but visible ASCII is percent-encoded, in lower case.
fn display(rest: &mut Rest<'_>) -> Option<()> {
    let mut bytes = Vec::new();
    rest.next_if_eq(&'%')?;
    rest.next_if_eq(&'"')?;
    loop {
        match rest.next()? {
            '"' => return std::str::from_utf8(&bytes).is_ok().then_some(()),
            '%' => {
                let mut digit = || {
                    let digit = rest.next_if(|c| !c.is_ascii_uppercase())?.to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                bytes.push(digit()? * 16 + digit()?);
            }
            c @ ' '..='~' => bytes.extend(u8::try_from(c).ok()),
            _ => return None,
        }
    }
}

/// Passes by characters of a kind, and says how many.
fn some(rest: &mut Rest<'_>, kind: impl Fn(char) -> bool) -> usize {
    let mut count = 0;
    while rest.next_if(|c| kind(*c)).is_some() {
        count += 1;
    }
    count
}
