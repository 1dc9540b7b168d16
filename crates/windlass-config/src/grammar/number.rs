//! Numbers and booleans as Go's `strconv` reads them for flags.

/// Why a text is not the number asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not written as one.
    #[error("invalid syntax")]
    Syntax,
    /// One, but larger than the type holds.
    #[error("value out of range")]
    Range,
}

/// Reads a boolean: `1`, `t`, `T`, `TRUE`, `true`, `True` and their opposites, nothing else.
pub fn parse_bool(text: &str) -> Result<bool, NumberError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(NumberError::Syntax),
    }
}

/// Reads a signed integer with its base told by its prefix, as `strconv.ParseInt(text, 0, 64)`:
/// `0x`, `0o`, `0b`, a leading `0` for octal, and underscores between digits.
pub fn parse_int(text: &str) -> Result<i64, NumberError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = parse_uint(digits)?;
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
    .ok_or(NumberError::Range)
}

/// Reads an unsigned integer as `strconv.ParseUint(text, 0, 64)`: as [`parse_int`], without
/// sign.
pub fn parse_uint(text: &str) -> Result<u64, NumberError> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', _, ..] => (16, &lower[2..]),
        [b'0', b'o', _, ..] => (8, &lower[2..]),
        [b'0', b'b', _, ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let without_underscores = digits.replace('_', "");
    let is_number = !without_underscores.is_empty()
        && without_underscores.chars().all(|c| c.is_digit(radix))
        && (digits.len() == without_underscores.len() || underscores_separate_digits(text));
    if !is_number {
        return Err(NumberError::Syntax);
    }
    u64::from_str_radix(&without_underscores, radix).map_err(|_| NumberError::Range)
}

/// Reads a 64-bit float as `strconv.ParseFloat`: decimal or (`0x…p…`) hexadecimal, underscores
/// between digits, `inf` and `infinity`.
///
/// `nan` is refused, unlike in Go: every comparison with it is false, which no setting means.
pub fn parse_float(text: &str) -> Result<f64, NumberError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        let infinity = f64::INFINITY;
        return Ok(if text.starts_with('-') {
            -infinity
        } else {
            infinity
        });
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(NumberError::Syntax);
    }
    if text.contains('_') && !underscores_separate_digits(unsigned) {
        return Err(NumberError::Syntax);
    }
    let digits = unsigned.replace('_', "").to_ascii_lowercase();
    let magnitude = match digits.strip_prefix("0x") {
        Some(digits) => parse_hexadecimal(digits)?,
        None => digits.parse::<f64>().map_err(|_| NumberError::Syntax)?,
    };
    if magnitude.is_infinite() {
        return Err(NumberError::Range);
    }
    Ok(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

/// Prints a float as Go's `%g`: shortest digits that read back the same, an exponent below
/// 1e-4 and from 1e6.
pub fn show_float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return number.to_string();
    }
    let scientific = format!("{number:e}");
    match scientific.split_once("e-") {
        Some((digits, exponent)) => format!("{digits}e-{exponent:0>2}"),
        None => scientific.replacen('e', "e+", 1),
    }
}

/// The value of `<hex>[.<hex>]p<exponent>`; the exponent is required, as in Go.
fn parse_hexadecimal(text: &str) -> Result<f64, NumberError> {
    let (mantissa, exponent) = text.split_once('p').ok_or(NumberError::Syntax)?;
    let exponent: i64 = {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NumberError::Syntax);
        }
        // More digits than an i64 holds: any mantissa over- or underflows.
        let magnitude = digits.parse().unwrap_or(i64::from(i32::MAX));
        if exponent.starts_with('-') {
            -magnitude
        } else {
            magnitude
        }
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(NumberError::Syntax);
    }
    let mut bits: u64 = 0;
    let mut dropped: i64 = 0;
    for digit in whole.chars().chain(fraction.chars()) {
        let digit = digit.to_digit(16).ok_or(NumberError::Syntax)?;
        if bits >> 60 == 0 {
            bits = bits << 4 | u64::from(digit);
        } else {
            // A last bit that is set keeps the rounding of what is dropped to one side.
            bits |= u64::from(digit != 0);
            dropped += 4;
        }
    }
    let fraction_bits = i64::try_from(fraction.len()).map_or(i64::MAX, |length| length * 4);
    let exponent = exponent
        .saturating_add(dropped)
        .saturating_sub(fraction_bits)
        .clamp(-2_200, 2_200);
    let exponent = i32::try_from(exponent).expect("clamped to a few thousand");
    // In two steps, so that neither factor leaves the range while the product is in it.
    let half = exponent / 2;
    Ok(bits as f64 * 2f64.powi(half) * 2f64.powi(exponent - half))
}

/// Go's rule for underscores: only between digits, or between a base prefix and a digit.
fn underscores_separate_digits(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    let has_prefix = ["0b", "0o", "0x"]
        .iter()
        .any(|prefix| lower.starts_with(prefix));
    let is_hexadecimal = lower.starts_with("0x");
    let rest = if has_prefix { &lower[2..] } else { &lower[..] };
    // What stood before: a prefix counts as a digit.
    let mut before_is_digit = has_prefix;
    let mut before_is_underscore = false;
    for c in rest.chars() {
        let is_digit = c.is_ascii_digit() || (is_hexadecimal && c.is_ascii_hexdigit());
        if c == '_' {
            if !before_is_digit {
                return false;
            }
        } else if before_is_underscore && !is_digit {
            return false;
        }
        before_is_underscore = c == '_';
        before_is_digit = is_digit;
    }
    !before_is_underscore
}
