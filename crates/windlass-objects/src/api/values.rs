use std::fmt;
use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use windlass_model::{Labels, Quantity, ResourceList, SmolStr};

/// A quantity: a string, or a bare number as people write it in YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Amount(pub Quantity);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;
        impl Visitor<'_> for AmountVisitor {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as `500m` or `2Gi`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map(Amount).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, units: i64) -> Result<Amount, E> {
                Ok(Amount(Quantity::from_units(units)))
            }
            fn visit_u64<E: Error>(self, units: u64) -> Result<Amount, E> {
                Ok(Amount(Quantity::from_units(
                    i64::try_from(units).unwrap_or(i64::MAX),
                )))
            }
            fn visit_f64<E: Error>(self, units: f64) -> Result<Amount, E> {
                self.visit_str(&units.to_string())
            }
        }
        deserializer.deserialize_any(AmountVisitor)
    }
}

/// Quantities by resource name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Amounts(pub ResourceList);

impl<'de> Deserialize<'de> for Amounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountsVisitor;
        impl<'de> Visitor<'de> for AmountsVisitor {
            type Value = Amounts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("quantities by resource name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Amounts, A::Error> {
                let mut amounts = ResourceList::default();
                while let Some((name, Amount(amount))) = map.next_entry::<SmolStr, Amount>()? {
                    amounts.insert(name, amount);
                }
                Ok(Amounts(amounts))
            }
        }
        deserializer.deserialize_map(AmountsVisitor)
    }
}

/// Labels, annotations, a node selector: strings by string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Strings(pub Labels);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringsVisitor;
        impl<'de> Visitor<'de> for StringsVisitor {
            type Value = Strings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("strings by string")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(0).min(256));
                while let Some(pair) = map.next_entry::<SmolStr, SmolStr>()? {
                    pairs.push(pair);
                }
                Ok(Strings(pairs.into_iter().collect()))
            }
        }
        deserializer.deserialize_map(StringsVisitor)
    }
}

/// A field that is there in the API and deliberately not looked at, not even for the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_ignored_any(IgnoredAny)?;
        Ok(Self)
    }
}

/// A digest of whatever was found. An absent value, null and an empty collection are the same; the
/// order of a map's keys does not count. Equal digests stand for equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Digest(pub u64);

fn digest_of(value: impl Hash) -> Digest {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    // An odd constant apart from 0, which stands for nothing there.
    Digest(hasher.finish() | 1)
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DigestVisitor;
        impl<'de> Visitor<'de> for DigestVisitor {
            type Value = Digest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Digest, E> {
                Ok(digest_of(value))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Digest, E> {
                Ok(digest_of(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Digest, E> {
                Ok(digest_of(value.cast_signed()))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Digest, E> {
                Ok(digest_of(value.to_bits()))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Digest, E> {
                Ok(digest_of(value))
            }
            fn visit_unit<E: Error>(self) -> Result<Digest, E> {
                Ok(Digest::default())
            }
            fn visit_none<E: Error>(self) -> Result<Digest, E> {
                Ok(Digest::default())
            }
            fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Digest, D::Error> {
                Digest::deserialize(inner)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Digest, A::Error> {
                let mut hasher = FxHasher::default();
                let mut is_empty = true;
                while let Some(item) = seq.next_element::<Digest>()? {
                    item.hash(&mut hasher);
                    is_empty = false;
                }
                Ok(if is_empty {
                    Digest::default()
                } else {
                    digest_of(hasher.finish())
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Digest, A::Error> {
                let mut sum = 0_u64;
                while let Some((key, value)) = map.next_entry::<SmolStr, Digest>()? {
                    if value != Digest::default() {
                        sum = sum.wrapping_add(digest_of((key, value)).0);
                    }
                }
                Ok(Digest(sum))
            }
        }
        deserializer.deserialize_any(DigestVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(value: &serde_json::Value) -> Digest {
        Digest::deserialize(value).unwrap()
    }

    #[test]
    fn a_digest_tells_values_apart_and_not_their_spelling() {
        let a = digest(&json!({"x": 1, "y": ["a", "b"], "z": {}, "w": null}));
        assert_eq!(a, digest(&json!({"y": ["a", "b"], "x": 1})));
        assert_ne!(a, digest(&json!({"y": ["b", "a"], "x": 1})));
        assert_ne!(a, digest(&json!({"y": ["a", "b"], "x": 2})));
        assert_ne!(digest(&json!({"a": "b"})), digest(&json!({"b": "a"})));
    }

    #[test]
    fn amounts_are_strings_or_numbers() {
        for value in [json!("500m"), json!(0.5)] {
            assert_eq!(Amount::deserialize(&value).unwrap().0.millis_ceil(), 500);
        }
        assert!(Amount::deserialize(&json!("1x")).is_err());
        assert!(Amount::deserialize(&json!(true)).is_err());
    }
}
