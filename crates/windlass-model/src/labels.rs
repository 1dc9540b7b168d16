use crate::SmolStr;

/// Labels or annotations: key and value pairs, sorted by key, keys unique.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Vec<(SmolStr, SmolStr)>);

impl Labels {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&SmolStr> {
        self.0
            .binary_search_by(|(k, _)| k.as_str().cmp(key))
            .ok()
            .map(|i| &self.0[i].1)
    }

    /// Whether `key` is there, with whatever value.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets `key`, replacing an earlier value.
    pub fn insert(&mut self, key: impl Into<SmolStr>, value: impl Into<SmolStr>) {
        let key = key.into();
        match self.0.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(i) => self.0[i].1 = value.into(),
            Err(i) => self.0.insert(i, (key, value.into())),
        }
    }

    /// Takes `key` away and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<SmolStr> {
        let i = self.0.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
        Some(self.0.remove(i).1)
    }

    /// The same with each key as `share` gives it, which must be equal: keys that many objects have
    /// can lie in memory once.
    #[must_use]
    pub fn with_shared_keys(&self, mut share: impl FnMut(&SmolStr) -> SmolStr) -> Self {
        let pairs = self.0.iter().map(|(k, v)| (share(k), v.clone()));
        Self(pairs.collect())
    }

    /// The pairs, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&SmolStr, &SmolStr)> {
        self.0.iter().map(|(k, v)| (k, v))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<SmolStr>, V: Into<SmolStr>> FromIterator<(K, V)> for Labels {
    /// Of a key given twice the last value counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut sorted: Vec<(SmolStr, SmolStr)> = pairs
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.reverse();
        sorted.dedup_by(|a, b| a.0 == b.0);
        sorted.reverse();
        Self(sorted)
    }
}

/// Whether `value` may be a label's value: empty, or at most 63 characters of `[A-Za-z0-9._-]`
/// that begin and end with an alphanumeric one. Source: `k8s.io/apimachinery` validation.
pub fn valid_label_value(value: &str) -> bool {
    value.is_empty() || valid_name_part(value)
}

/// Whether `name` is a qualified name: an optional DNS subdomain and `/`, then a name part.
/// Source: `k8s.io/apimachinery` validation.
pub fn valid_qualified_name(name: &str) -> bool {
    match name.split_once('/') {
        None => valid_name_part(name),
        Some((prefix, part)) => valid_dns_subdomain(prefix) && valid_name_part(part),
    }
}

fn valid_name_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    bytes.len() <= 63
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn valid_dns_subdomain(name: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let label = |part: &str| {
        let bytes = part.as_bytes();
        matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if edge(a) && edge(z))
            && bytes.iter().all(|b| edge(b) || *b == b'-')
    };
    !name.is_empty() && name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_counts() {
        let labels: Labels = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(labels.get("b").map(SmolStr::as_str), Some("3"));
        assert_eq!(labels.len(), 2);
    }

    #[test]
    fn names_are_judged_as_the_api_server_does() {
        assert!(valid_label_value("") && valid_label_value("a-b_c.D9"));
        assert!(!valid_label_value("-a") && !valid_label_value("+1") && !valid_label_value("a b"));
        assert!(valid_qualified_name("example.com/a_b") && valid_qualified_name("zone"));
        assert!(!valid_qualified_name("/a") && !valid_qualified_name("A.com/a"));
        assert!(!valid_qualified_name("a/b/c") && !valid_qualified_name(""));
    }
}
