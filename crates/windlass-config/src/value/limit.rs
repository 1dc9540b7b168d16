//! Limits on the cluster's size: `min:max`.

use std::fmt;

use crate::{
    flag::{BadValue, FlagValue, Kind},
    value::plain::{read_items, read_last, show_items},
};

/// The least and the most of something, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinMax {
    /// Scale-down stops here.
    pub min: i64,
    /// Scale-up stops here.
    pub max: i64,
}

impl MinMax {
    fn parse(text: &str) -> Result<Self, String> {
        let (min, max) = text
            .split_once(':')
            .ok_or("no `:` between minimum and maximum")?;
        let integer = |name: &str, text: &str| {
            text.parse::<i64>()
                .map_err(|_| format!("the {name} `{text}` is not an integer"))
        };
        let range = Self {
            min: integer("minimum", min)?,
            max: integer("maximum", max)?,
        };
        if range.min < 0 {
            return Err(format!("the minimum {min} is below 0"));
        }
        if range.max < range.min {
            return Err(format!("the maximum {max} is below the minimum {min}"));
        }
        Ok(range)
    }

    /// Both ends times `factor`, at most the largest `i64`.
    #[must_use]
    pub fn saturating_mul(self, factor: i64) -> Self {
        Self {
            min: self.min.saturating_mul(factor),
            max: self.max.saturating_mul(factor),
        }
    }
}

impl fmt::Display for MinMax {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.min, self.max)
    }
}

impl FlagValue for MinMax {
    const KIND: Kind = Kind::Scalar;
    const FORM: &'static str = "MIN:MAX";
    const EXPECTED: &'static str = "two integers as `0:320`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_last(given, Self::parse)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// The least and the most GPUs of one type in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuLimit {
    /// Value of the provider's GPU label on the nodes counted.
    pub gpu_type: String,
    /// How many.
    pub count: MinMax,
}

impl fmt::Display for GpuLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.gpu_type, self.count)
    }
}

impl FlagValue for Vec<GpuLimit> {
    const KIND: Kind = Kind::List;
    const FORM: &'static str = "TYPE:MIN:MAX";
    const EXPECTED: &'static str = "a GPU type and two integers as `nvidia-tesla-k80:0:4`";

    fn read(given: &[&str]) -> Result<Self, BadValue> {
        read_items(given, |text| {
            let parts: Vec<&str> = text.split(':').collect();
            let [gpu_type, _, _] = parts[..] else {
                return Err(format!("{} parts instead of three", parts.len()));
            };
            let count = MinMax::parse(&text[gpu_type.len() + 1..])?;
            Ok(GpuLimit {
                gpu_type: gpu_type.to_owned(),
                count,
            })
        })
    }

    fn show(&self) -> String {
        self.show_each().join(" ")
    }

    fn show_each(&self) -> Vec<String> {
        show_items(self)
    }
}
