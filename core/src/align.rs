//! Two sorted maps side by side: what only one has, what both have.
//!
//! Comparing two revisions key by key costs a look-up for each key; walking along both costs one step.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

/// Every key of either map in order, with its value in each.
pub(crate) fn aligned<'a, K: Ord, V>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = order.is_le().then(|| old.next()).flatten();
        let new = order.is_ge().then(|| new.next()).flatten();
        let key = old.or(new)?.0;
        Some((key, old.map(|(_, value)| value), new.map(|(_, value)| value)))
    })
}

/// The keys whose values are not the very same: those of one map alone included.
pub(crate) fn differing<'a, K: Ord, V>(
    old: &'a BTreeMap<K, Arc<V>>,
    new: &'a BTreeMap<K, Arc<V>>,
) -> impl Iterator<Item = (&'a K, Option<&'a Arc<V>>, Option<&'a Arc<V>>)> {
    aligned(old, new).filter(|(_, old, new)| old.map(Arc::as_ptr) != new.map(Arc::as_ptr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(keys: &str) -> BTreeMap<char, usize> {
        keys.chars().map(|key| (key, 0)).collect()
    }

    #[test]
    fn every_key_comes_once_with_what_each_map_has() {
        let check = |old: &str, new: &str, expected: &str| {
            let (old, new) = (map(old), map(new));
            let side = |value: Option<&usize>, mark: &'static str| value.map_or("", |_| mark);
            let shown: String = aligned(&old, &new)
                .map(|(key, old, new)| format!("{key}{}{} ", side(old, "-"), side(new, "+")))
                .collect();
            assert_eq!(shown.trim_end(), expected);
        };
        check("", "", "");
        check("ac", "", "a- c-");
        check("", "b", "b+");
        check("ac", "bc", "a- b+ c-+");
        check("abd", "bcd", "a- b-+ c+ d-+");
    }

    #[test]
    fn values_differ_by_identity() {
        let [one, two] = [Arc::new(1), Arc::new(1)];
        let old = BTreeMap::from([('a', one.clone()), ('b', one.clone()), ('c', one.clone())]);
        let new = BTreeMap::from([('a', one), ('b', two)]);
        assert_eq!(differing(&old, &new).map(|(key, ..)| *key).collect::<String>(), "bc");
    }
}
