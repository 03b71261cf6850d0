//! Numbers as RFC 8785 writes them, without a double being made: of a decimal of at most 15 significant
//! digits the shortest that names the same double is the decimal itself (IEEE 754 carries those), so all
//! that is left is where the point goes (ECMA-262, `Number::toString`).

/// The canonical text of a number; `None` where two readers may take it for two numbers: an integer beyond
/// 2^53, a decimal of more than 15 significant digits, and what comes near to the ends of the doubles.
pub(super) fn canonical(text: &str) -> Option<String> {
    let (sign, number) = text.strip_prefix('-').map_or(("", text), |number| ("-", number));
    if number.bytes().all(|b| b.is_ascii_digit()) {
        let integer = number.parse::<u64>().ok().filter(|integer| *integer <= INTEGER_MAX)?;
        return Some(signed(sign, &integer.to_string()));
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    if digits.len() > DIGITS_MAX {
        return None;
    }
    // The number is 0.DIGITS times ten to this.
    let leading =
        i32::try_from(whole.len()).ok()? - i32::try_from(all.len() - digits.len()).ok()?;
    let point = leading.checked_add(exponent.parse().ok()?)?;
    if !(-299..=300).contains(&point) {
        return None;
    }
    Some(signed(sign, &placed(digits.trim_end_matches('0'), point)))
}

fn signed(sign: &str, number: &str) -> String {
    if number == "0" { number.to_owned() } else { format!("{sign}{number}") }
}

fn placed(digits: &str, point: i32) -> String {
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let count = i32::try_from(digits.len()).unwrap_or_default();
    let at = if (1..count).contains(&point) { usize::try_from(point).unwrap_or(1) } else { 1 };
    let (before, after) = digits.split_at_checked(at).unwrap_or((digits, ""));
    match point {
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        1..=21 if point >= count => format!("{digits}{}", zeros(point - count)),
        1..=21 => format!("{before}.{after}"),
        _ => {
            let dot = if after.is_empty() { "" } else { "." };
            format!("{before}{dot}{after}e{:+}", point - 1)
        }
    }
}

/// 2^53: up to here every integer is a double.
const INTEGER_MAX: u64 = 1 << 53;
/// Significant digits that every double carries.
const DIGITS_MAX: usize = 15;
