use crate::Duration;

/// What is not a Go duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: use a number with a unit, such as `30s`, `10m` or `1h30m`")]
pub struct DurationError {
    text: String,
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration as Go's `time.ParseDuration` does.
pub fn parse_go_duration(text: &str) -> Result<Duration, DurationError> {
    parse(text).ok_or_else(|| DurationError {
        text: text.to_owned(),
    })
}

fn parse(text: &str) -> Option<Duration> {
    let (is_negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, tail) = after.split_at(unit_end);
        let (_, unit_nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(amount(number, u128::from(*unit_nanos))?)?;
        rest = tail;
    }
    let limit = i64::MAX.unsigned_abs() + u64::from(is_negative);
    let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos <= limit)?;
    let signed = if is_negative {
        0_i64.wrapping_sub_unsigned(nanos)
    } else {
        nanos.cast_signed()
    };
    Some(Duration::from_nanos(signed))
}

fn amount(number: &str, unit_nanos: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    // Go keeps as many digits of the fraction as fit; below a nanosecond they do not count.
    let digits = &fraction[..fraction.len().min(18)];
    let scaled = if digits.is_empty() {
        0
    } else {
        digits.parse::<u128>().ok()?
    };
    let divisor = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    Some(u128::from(whole) * unit_nanos + scaled * unit_nanos / divisor)
}

/// Writes a duration as Go's `Duration.String` does: `1h30m0s`, `1.5s`, `250ms`, `0s`.
pub fn format_go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let below_a_second = [("ns", 1_u128), ("\u{b5}s", 1_000), ("ms", 1_000_000)];
    if nanos < 1_000_000_000 {
        let (unit, size) = below_a_second
            .iter()
            .rev()
            .find(|(_, size)| nanos >= *size)
            .unwrap_or(&("ns", 1));
        return format!("{sign}{}{unit}", decimal(nanos, *size));
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, m) => format!("{sign}{m}m{seconds}s"),
        (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
    }
}

fn decimal(value: u128, size: u128) -> String {
    let fraction = value % size;
    if fraction == 0 {
        return (value / size).to_string();
    }
    let width = size.ilog10() as usize;
    let digits = format!("{fraction:0width$}");
    format!("{}.{}", value / size, digits.trim_end_matches('0'))
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
