//! What instances cost. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use windlass_model::MicroDollars;

/// The prices that are built in; the file says where they come from and when.
const TABLE: &str = include_str!("price/on_demand.txt");

static BUILT_IN: LazyLock<Prices> = LazyLock::new(|| Prices::read(TABLE).unwrap_or_default());

/// Prices by type, and by family for the sizes in proportion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    types: BTreeMap<String, f64>,
    families: BTreeMap<String, f64>,
    /// By type and zone.
    spot: BTreeMap<(String, String), f64>,
}

/// A line of a price file that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: `{text}` is none of `type NAME DOLLARS`, `family NAME DOLLARS` and \
     `spot NAME ZONE DOLLARS`"
)]
pub struct PriceFileError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

impl Prices {
    /// Reads a file in the form of the built-in one: `type m5.large 0.096`, `family m5 0.192` (the
    /// price of the family's `xlarge`) or `spot m5.large us-east-1a 0.035`; `#` begins a comment.
    pub fn read(text: &str) -> Result<Self, PriceFileError> {
        let mut prices = Self::default();
        for (index, line) in text.lines().enumerate() {
            let content = line.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let bad = || PriceFileError {
                line: index + 1,
                text: line.to_owned(),
            };
            let words: Vec<&str> = content.split_whitespace().collect();
            let Some((last, words)) = words.split_last() else {
                return Err(bad());
            };
            let price = last
                .parse::<f64>()
                .ok()
                .filter(|price| price.is_finite() && 0.0 <= *price)
                .ok_or_else(bad)?;
            match words {
                ["type", name] => prices.types.insert((*name).to_owned(), price),
                ["family", name] => prices.families.insert((*name).to_owned(), price),
                ["spot", name, zone] => prices
                    .spot
                    .insert(((*name).to_owned(), (*zone).to_owned()), price),
                _ => return Err(bad()),
            };
        }
        Ok(prices)
    }

    /// The price of an hour on demand: by these prices, else by the built-in ones.
    pub fn on_demand(&self, instance_type: &str) -> Option<MicroDollars> {
        self.given(instance_type)
            .or_else(|| Self::built_in(instance_type))
    }

    /// The price of an hour on demand by these prices alone.
    pub fn given(&self, instance_type: &str) -> Option<MicroDollars> {
        self.own(instance_type).map(MicroDollars::from_dollars)
    }

    /// The price of an hour on demand by the built-in prices.
    pub fn built_in(instance_type: &str) -> Option<MicroDollars> {
        BUILT_IN.own(instance_type).map(MicroDollars::from_dollars)
    }

    /// The spot price of an hour in a zone. None is built in: it changes by the hour, and what is
    /// not known is taken for the price on demand, which it hardly ever exceeds.
    pub fn spot(&self, instance_type: &str, zone: &str) -> Option<MicroDollars> {
        let key = (instance_type.to_owned(), zone.to_owned());
        self.spot.get(&key).copied().map(MicroDollars::from_dollars)
    }

    fn own(&self, instance_type: &str) -> Option<f64> {
        if let Some(price) = self.types.get(instance_type) {
            return Some(*price);
        }
        let (family, size) = instance_type.split_once('.')?;
        Some(self.families.get(family)? * xlarges(size)?)
    }
}

/// How many `xlarge` a size is.
fn xlarges(size: &str) -> Option<f64> {
    match size {
        "medium" => Some(0.25),
        "large" => Some(0.5),
        "xlarge" => Some(1.0),
        _ => size
            .strip_suffix("xlarge")?
            .parse::<u32>()
            .ok()
            .map(f64::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dollars(prices: &Prices, name: &str) -> Option<f64> {
        prices.on_demand(name).map(MicroDollars::as_dollars)
    }

    #[test]
    fn the_built_in_prices_are_read_and_scale_with_the_size() {
        assert!(Prices::read(TABLE).is_ok());
        let prices = Prices::default();
        for (name, price) in [
            ("m5.large", 0.096),
            ("m5.24xlarge", 4.608),
            ("c7g.medium", 0.03625),
            ("t3.micro", 0.0104),
            ("t3.medium", 0.0416),
            ("g5.12xlarge", 5.672),
            ("m7i-flex.8xlarge", 1.53216),
        ] {
            assert_eq!(dollars(&prices, name), Some(price), "{name}");
        }
        assert_eq!(dollars(&prices, "x99.large"), None);
        assert_eq!(dollars(&prices, "c6g.metal"), None);
    }

    #[test]
    fn a_file_of_one_s_own_comes_first() {
        let prices = Prices::read(
            "# ours\ntype m5.large 0.05 # agreed\nfamily c5 0.1\nspot m5.large us-east-1a 0.02\n",
        )
        .unwrap();
        let spot = |zone| prices.spot("m5.large", zone).map(MicroDollars::as_dollars);
        assert_eq!((spot("us-east-1a"), spot("us-east-1b")), (Some(0.02), None));
        assert_eq!(dollars(&prices, "m5.large"), Some(0.05));
        assert_eq!(dollars(&prices, "m5.xlarge"), Some(0.192));
        assert_eq!(dollars(&prices, "c5.2xlarge"), Some(0.2));
    }

    #[test]
    fn a_bad_line_is_named() {
        for text in [
            "type m5.large free",
            "spot m5.large 0.1",
            "type m5.large -1",
            "0.1",
        ] {
            assert_eq!(
                Prices::read(&format!("\n{text}\n"))
                    .unwrap_err()
                    .to_string(),
                format!(
                    "line 2: `{text}` is none of `type NAME DOLLARS`, `family NAME DOLLARS` and \
                     `spot NAME ZONE DOLLARS`"
                )
            );
        }
    }
}
