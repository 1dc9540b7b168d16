//! Kubernetes feature gates.

use std::collections::BTreeMap;

use crate::{
    flag::{BadValue, FlagValue, Kind},
    grammar::parse_bool,
};

/// Feature gates that were set, by name.
///
/// Names are not checked against a release's list: the gates of a linked Go library mean
/// nothing here, and a manifest that sets one shall start.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FeatureGates(BTreeMap<String, bool>);

impl FeatureGates {
    /// The gates in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0
            .iter()
            .map(|(name, enabled)| (name.as_str(), *enabled))
    }

    /// What the gate was set to.
    pub fn get(&self, name: &str) -> Option<bool> {
        self.0.get(name).copied()
    }
}

impl FlagValue for FeatureGates {
    const KIND: Kind = Kind::CommaList;
    const FORM: &'static str = "NAME=BOOL[,…]";
    const EXPECTED: &'static str = "pairs such as `SomeFeature=true`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        let mut gates = BTreeMap::new();
        for text in given {
            for pair in text
                .split(',')
                .map(str::trim)
                .filter(|pair| !pair.is_empty())
            {
                let (name, enabled) = pair
                    .split_once('=')
                    .ok_or_else(|| BadValue::new(text, format!("missing bool value for {pair}")))?;
                let enabled = parse_bool(enabled.trim()).map_err(|error| {
                    BadValue::new(text, format!("invalid value of {name}: {enabled}: {error}"))
                })?;
                gates.insert(name.trim().to_owned(), enabled);
            }
        }
        Ok(Self(gates))
    }

    fn show(&self) -> String {
        let pairs: Vec<String> = self
            .iter()
            .map(|(name, enabled)| format!("{name}={enabled}"))
            .collect();
        pairs.join(",")
    }
}
