use crate::Duration;

/// A text that is no Go duration; told in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a sequence of numbers with units, or out of range (about 292 years).
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit other than `ns`, `us`, `µs`, `ms`, `s`, `m`, `h`.
    #[error("time: unknown unit {} in duration {}", quote(.unit), quote(.text))]
    UnknownUnit {
        /// The unit that was found.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// One past the largest magnitude: durations are 64-bit nanoseconds, so the most negative one
/// has exactly this magnitude.
const LIMIT: u64 = 1 << 63;

/// Reads a duration as Go's `time.ParseDuration` does: `1h2m3.5s`, `-90s`, `.5m` or `0`.
pub fn parse_go_duration(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_length = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        let whole = leading_integer(whole).ok_or_else(invalid)?;
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let nanos_per_unit = nanoseconds(unit).ok_or_else(|| DurationError::UnknownUnit {
            unit: unit.to_owned(),
            text: text.to_owned(),
        })?;
        total = whole
            .checked_mul(nanos_per_unit)
            .filter(|&nanos| nanos <= LIMIT)
            .and_then(|nanos| nanos.checked_add(fraction_nanoseconds(fraction, nanos_per_unit)))
            .filter(|&nanos| nanos <= LIMIT)
            .and_then(|nanos| nanos.checked_add(total))
            .filter(|&nanos| nanos <= LIMIT)
            .ok_or_else(invalid)?;
        rest = after;
    }
    if negative {
        return Ok(Duration::from_nanos(0i64.wrapping_sub_unsigned(total)));
    }
    i64::try_from(total)
        .map(Duration::from_nanos)
        .map_err(|_| invalid())
}

/// Writes a duration as Go's `Duration.String` does: `1h0m0s`, `1.5s`, `20ms`, `0s`.
pub fn format_go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let body = if nanos < 1_000 {
        format!("{nanos}ns")
    } else if nanos < 1_000_000 {
        format!("{}µs", decimal(nanos, 3))
    } else if nanos < 1_000_000_000 {
        format!("{}ms", decimal(nanos, 6))
    } else {
        let seconds = decimal(nanos % 60_000_000_000, 9);
        let minutes = nanos / 60_000_000_000;
        match (minutes / 60, minutes % 60) {
            (0, 0) => format!("{seconds}s"),
            (0, minutes) => format!("{minutes}m{seconds}s"),
            (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
        }
    };
    format!("{sign}{body}")
}

/// `amount` divided by ten to the power `places`, without zeros at the end.
fn decimal(amount: u128, places: u32) -> String {
    let unit = 10u128.pow(places);
    let (whole, fraction) = (amount / unit, amount % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = places as usize;
    let digits = format!("{fraction:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// The digits as a number; none is 0. `None` above the limit.
fn leading_integer(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        return Some(0);
    }
    digits.parse().ok().filter(|&number: &u64| number <= LIMIT)
}

/// The nanoseconds of the digits behind the point. Digits beyond what 63 bits hold are
/// dropped, and the product is a float's, as in Go: `.333…h` ends on the same nanosecond.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and less than one unit: at most an hour of nanoseconds"
)]
fn fraction_nanoseconds(digits: &str, nanos_per_unit: u64) -> u64 {
    let mut number: u64 = 0;
    let mut scale: f64 = 1.0;
    for digit in digits.bytes() {
        let next = number
            .checked_mul(10)
            .and_then(|n| n.checked_add(u64::from(digit - b'0')))
            .filter(|&n| number <= (LIMIT - 1) / 10 && n <= LIMIT);
        let Some(next) = next else { break };
        number = next;
        scale *= 10.0;
    }
    (number as f64 * (nanos_per_unit as f64 / scale)) as u64
}

fn nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Quotes as Go's `time` package does: bytes outside printable ASCII as `\x` escapes.
fn quote(text: &str) -> String {
    let escaped: String = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, printed) in [
            ("0", "0s"),
            ("10m", "10m0s"),
            ("1h30m", "1h30m0s"),
            ("1.5h", "1h30m0s"),
            ("90s", "1m30s"),
            ("250ms", "250ms"),
            ("1.5s", "1.5s"),
            ("-2m", "-2m0s"),
            ("87600h", "87600h0m0s"),
            ("100us", "100\u{b5}s"),
        ] {
            assert_eq!(
                format_go_duration(parse_go_duration(text).unwrap()),
                printed
            );
        }
    }

    #[test]
    fn bare_numbers_and_unknown_units_are_refused() {
        for text in [
            "",
            "10",
            "1d",
            "s",
            "1.2.3s",
            "h1",
            "-",
            ".s",
            "9999999999999h",
        ] {
            assert!(parse_go_duration(text).is_err(), "{text:?}");
        }
    }
}
