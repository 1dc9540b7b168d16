use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// An amount of a resource, as Kubernetes writes it: `500m`, `2Gi`, `1e3`. Exact to the
/// billionth; equality and order are by value. Source: `k8s.io/apimachinery` `resource.Quantity`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: QuantityFormat,
}

/// The family of suffixes that a quantity was written with, and is printed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum QuantityFormat {
    /// `n`, `u`, `m`, none, `k`, `M`, `G`, `T`, `P`, `E`.
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`.
    BinarySi,
    /// `e3`, `E-3`.
    DecimalExponent,
}

/// What is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity: use a plain number or a suffix such as `m`, `Ki`, `Mi`, `Gi`")]
pub struct QuantityError {
    text: String,
}

const NANO: i128 = 1_000_000_000;
/// Go caps a quantity at the largest signed 64-bit integer.
const MOST: i128 = (i64::MAX as i128) * NANO;

const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: QuantityFormat::DecimalSi,
    };

    /// So many whole units, printed with decimal suffixes.
    pub fn from_units(units: i64) -> Self {
        Self {
            nanos: i128::from(units) * NANO,
            format: QuantityFormat::DecimalSi,
        }
    }

    /// So many thousandths.
    pub fn from_millis(millis: i64) -> Self {
        Self {
            nanos: i128::from(millis) * 1_000_000,
            format: QuantityFormat::DecimalSi,
        }
    }

    /// So many bytes, printed with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self {
            nanos: i128::from(bytes) * NANO,
            format: QuantityFormat::BinarySi,
        }
    }

    /// The value in whole units, rounded up (away from zero for what is left over); saturates.
    pub fn units_ceil(self) -> i64 {
        saturate(div_ceil(self.nanos, NANO))
    }

    /// The value in thousandths, rounded up; saturates.
    pub fn millis_ceil(self) -> i64 {
        saturate(div_ceil(self.nanos, 1_000_000))
    }

    /// Whether the value is zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether the value is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The exact sum, in this quantity's format (the other's, when this is zero); saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.nanos == 0 {
            other.format
        } else {
            self.format
        };
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
            format,
        }
    }

    /// The exact difference; saturates.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_sub(other.nanos),
            format: self.format,
        }
    }

    /// The larger of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if other.nanos > self.nanos {
            other
        } else {
            self
        }
    }
}

fn div_ceil(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    let rest = value % by;
    match rest.cmp(&0) {
        Ordering::Equal => quotient,
        Ordering::Greater => quotient + 1,
        Ordering::Less => quotient - 1,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the range of i64 just before"
)]
fn saturate(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text).ok_or_else(|| QuantityError {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Quantity> {
    let (is_negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let number_end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let (power_of_ten, power_of_two, format) = parse_suffix(suffix)?;
    let magnitude = scale(whole, fraction, power_of_ten, power_of_two);
    let nanos = if is_negative { -magnitude } else { magnitude };
    Some(Quantity { nanos, format })
}

fn parse_suffix(suffix: &str) -> Option<(i32, u32, QuantityFormat)> {
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((0, *power, QuantityFormat::BinarySi));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((*power, 0, QuantityFormat::DecimalSi));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let power = exponent.parse::<i32>().ok()?;
    Some((power, 0, QuantityFormat::DecimalExponent))
}

/// `whole.fraction` × 10^ten × 2^two in billionths, rounded up, capped at [`MOST`].
fn scale(whole: &str, fraction: &str, ten: i32, two: u32) -> i128 {
    let digits = whole
        .trim_start_matches('0')
        .chars()
        .chain(fraction.chars());
    let mut mantissa: i128 = 0;
    let mut exponent = i64::from(ten) + 9 - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let mut is_inexact = false;
    for digit in digits {
        if mantissa < 10_i128.pow(18) {
            mantissa = mantissa * 10 + i128::from(digit.to_digit(10).unwrap_or(0));
        } else {
            // More digits than any 64-bit value has: they only shift and round.
            exponent += 1;
            is_inexact |= digit != '0';
        }
    }
    if mantissa == 0 {
        return 0;
    }
    let mut value = mantissa.saturating_mul(1 << two);
    while exponent > 0 && value < MOST {
        value = value.saturating_mul(10);
        exponent -= 1;
    }
    while exponent < 0 {
        is_inexact |= value % 10 != 0;
        value /= 10;
        exponent += 1;
        if value == 0 {
            break;
        }
    }
    value.saturating_add(i128::from(is_inexact)).min(MOST)
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.nanos / NANO;
        let is_whole = self.nanos % NANO == 0;
        if self.format == QuantityFormat::BinarySi && is_whole && units.abs() >= 1024 {
            let (suffix, power) = BINARY
                .iter()
                .rev()
                .find(|(_, power)| units % (1_i128 << power) == 0)
                .map_or(("", 0), |(suffix, power)| (*suffix, *power));
            return write!(f, "{}{suffix}", units >> power);
        }
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let mut mantissa = self.nanos;
        let mut power = -9;
        while mantissa % 1000 == 0 && power < 18 {
            mantissa /= 1000;
            power += 3;
        }
        if self.format == QuantityFormat::DecimalExponent && power != 0 {
            return write!(f, "{mantissa}e{power}");
        }
        let suffix = DECIMAL
            .iter()
            .find(|(_, p)| *p == power)
            .map_or("", |(suffix, _)| *suffix);
        write!(f, "{mantissa}{suffix}")
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}
impl Eq for Quantity {}
impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn values_are_rounded_up_when_read() {
        assert_eq!(quantity("500u").millis_ceil(), 1);
        assert_eq!(quantity("500u").plus(quantity("500u")).millis_ceil(), 1);
        assert_eq!(quantity("0.5").units_ceil(), 1);
        assert_eq!(quantity("1.5Gi").units_ceil(), 1_610_612_736);
        assert_eq!(quantity("-1500m").units_ceil(), -2);
        assert_eq!(quantity("0.1n").millis_ceil(), 1);
    }

    #[test]
    fn suffixes_and_exponents_scale() {
        assert_eq!(quantity("2Ki").units_ceil(), 2048);
        assert_eq!(quantity("1e3"), quantity("1k"));
        assert_eq!(quantity("1E3"), quantity("1000"));
        assert_eq!(quantity("1E").units_ceil(), 1_000_000_000_000_000_000);
        assert_eq!(quantity(".5"), quantity("500m"));
        assert_eq!(quantity("5.").units_ceil(), 5);
        assert_eq!(quantity("100E").units_ceil(), i64::MAX);
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", "1x", "m", "1 Gi", "1.2.3", "--1", "1e", "1ki", "0x10", ".",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_canonical_form_is_printed() {
        for (text, printed) in [
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("2000", "2k"),
            ("1000m", "1"),
            ("0", "0"),
            ("512", "512"),
            ("1e3", "1e3"),
            ("100u", "100u"),
        ] {
            assert_eq!(quantity(text).to_string(), printed);
        }
    }
}
