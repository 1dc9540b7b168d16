//! The chain of expanders.

use std::fmt;

use crate::{
    flag::{BadValue, FlagValue, Kind},
    value::plain::read_last,
};

/// How one of several groups that could grow is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expander {
    /// Any.
    Random,
    /// The one that helps most pods.
    MostPods,
    /// The one that leaves least CPU and memory unused.
    LeastWaste,
    /// The one that needs fewest nodes.
    LeastNodes,
    /// The cheapest.
    Price,
    /// The one that a `ConfigMap` puts first.
    Priority,
    /// The one that a server of the user's chooses.
    Grpc,
}

impl Expander {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Random,
        Self::MostPods,
        Self::LeastWaste,
        Self::LeastNodes,
        Self::Price,
        Self::Priority,
        Self::Grpc,
    ];

    /// The name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::MostPods => "most-pods",
            Self::LeastWaste => "least-waste",
            Self::LeastNodes => "least-nodes",
            Self::Price => "price",
            Self::Priority => "priority",
            Self::Grpc => "grpc",
        }
    }

    /// Whether it always leaves exactly one group, so that nothing may follow it.
    const fn is_final(self) -> bool {
        matches!(self, Self::Random)
    }
}

impl fmt::Display for Expander {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Expanders in the order in which they narrow the choice. Never empty, no name twice, and
/// nothing behind one that leaves a single group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpanderChain(Vec<Expander>);

impl ExpanderChain {
    /// The default chain: least-waste alone.
    pub(crate) fn least_waste() -> Self {
        Self(vec![Expander::LeastWaste])
    }

    /// The expanders in their order.
    pub fn as_slice(&self) -> &[Expander] {
        &self.0
    }

    /// Whether the expander is part of the chain.
    pub fn contains(&self, expander: Expander) -> bool {
        self.0.contains(&expander)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut chain: Vec<Expander> = Vec::new();
        for name in text.split(',') {
            if chain.iter().any(|expander| expander.as_str() == name) {
                return Err(format!(
                    "Expander {name} was specified multiple times, each expander must not be \
                     specified more than once"
                ));
            }
            if let Some(previous) = chain.last().filter(|last| last.is_final()) {
                return Err(format!(
                    "Expander {name} came after an expander {previous} that will always return \
                     only one result, this is not allowed since {name} will never be used"
                ));
            }
            let expander = Expander::ALL
                .into_iter()
                .find(|expander| expander.as_str() == name)
                .ok_or_else(|| format!("Expander {name} not supported"))?;
            chain.push(expander);
        }
        Ok(Self(chain))
    }
}

impl FlagValue for ExpanderChain {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "EXPANDER[,…]";
    const EXPECTED: &'static str = "names out of `random`, `most-pods`, `least-waste`, \
                                    `least-nodes`, `price`, `priority`, `grpc`, with commas \
                                    and without blanks between them";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_last(given, Self::parse)
    }

    fn show(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|expander| expander.as_str()).collect();
        names.join(",")
    }
}
