//! What instances cost. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use windlass_model::MicroDollars;

/// The prices that are built in; the file says where they come from and of when. Made by
/// `cargo xtask gen` from `data/on-demand-prices.csv`, which is a record of AWS's price list.
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

    /// The record in the shorter form: where a family's sizes cost in proportion, the price of its
    /// `xlarge` says all, and sizes yet to come besides.
    fn table_of(record: &str) -> String {
        let mut table: Vec<String> = record
            .lines()
            .filter(|line| line.starts_with('#') && *line != "# name,dollars")
            .map(str::to_owned)
            .collect();
        let prices: BTreeMap<&str, f64> = record
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (name, price) = line.split_once(',').unwrap();
                (name, price.parse().unwrap())
            })
            .collect();
        table.push(
            "# Made by `cargo xtask gen` from data/on-demand-prices.csv.\n\
             # `family F P`: F.xlarge costs P, and other sizes in proportion (large a half, 2xlarge\n\
             # twice, and so on). `type T P`: this type costs P; comes before its family."
                .to_owned(),
        );
        let family = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let mut told = String::new();
        for (name, price) in &prices {
            let xlarge = prices.get(format!("{}.xlarge", family(name)).as_str());
            if let Some(xlarge) = xlarge.filter(|_| told != family(name)) {
                told = family(name);
                table.push(format!("family {told} {xlarge}"));
            }
            let in_proportion = name
                .split_once('.')
                .and_then(|(_, size)| Some(xlarge? * xlarges(size)?))
                .is_some_and(|expected| (expected - price).abs() < 1e-6 * price);
            if !in_proportion {
                table.push(format!("type {name} {price}"));
            }
        }
        table.join("\n") + "\n"
    }

    /// `cargo xtask gen`.
    #[test]
    fn generated_table_of_prices_is_up_to_date() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        let record = std::fs::read_to_string(format!("{root}data/on-demand-prices.csv")).unwrap();
        let table = table_of(&record);
        let path = format!("{root}src/price/on_demand.txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, table).unwrap();
        } else {
            assert!(
                table == TABLE,
                "the prices are stale: run `cargo xtask gen`"
            );
        }
        // Nothing is lost on the way.
        let read = Prices::read(&table_of(&record)).unwrap();
        for line in record.lines().filter(|line| !line.starts_with('#')) {
            let (name, price) = line.split_once(',').unwrap();
            let price: f64 = price.parse().unwrap();
            let told = read.own(name).unwrap();
            assert!((told - price).abs() < 1e-6 * price.max(1.0), "{name}");
        }
    }

    #[test]
    fn the_built_in_prices_are_read_and_scale_with_the_size() {
        assert!(Prices::read(TABLE).is_ok());
        let prices = Prices::default();
        for (name, price) in [
            ("m5.large", 0.096),
            ("m5.24xlarge", 4.608),
            ("c7g.medium", 0.0363),
            ("c6g.metal", 2.3066),
            ("t3.micro", 0.0104),
            ("t3.medium", 0.0416),
            ("g5.12xlarge", 5.672),
            ("m7i-flex.8xlarge", 1.53216),
        ] {
            assert_eq!(dollars(&prices, name), Some(price), "{name}");
        }
        assert_eq!(dollars(&prices, "x99.large"), None);
        assert_eq!(dollars(&prices, "a1.metal-48xl"), None);
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
