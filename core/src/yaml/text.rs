//! Small things about text: scalars that stand for text, and the name that was probably meant.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Unexpected, Visitor};

/// Text that people may write without quotes: `8080` and `true` are taken as they stand.
///
/// Numbers with a fraction are refused, because YAML reads `1.10` as `1.1` and nobody means that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(with = "String")]
pub struct Scalar(pub Arc<str>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.into()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar(truth.to_string().into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string().into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string().into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Scalar, E> {
        Err(E::invalid_type(Unexpected::Float(number), &"a string: put the number in quotes"))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Scalar, E> {
        Err(E::invalid_type(Unexpected::Unit, &self))
    }
}

/// What to do about a `word` that is not among `known`: the one that was probably meant, or else what is said.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    closest(word, known).map_or_else(|| otherwise.to_owned(), |meant| format!("did you mean `{meant}`?"))
}

/// The candidate that was probably meant by `word`: the one with the fewest wrong letters, if those are few.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        .take(MAX_CANDIDATES)
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= allowed && distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// A guess is not worth more than this many comparisons.
const MAX_CANDIDATES: usize = 2_000;
/// Longer words are compared by their first characters.
const MAX_WORD: usize = 100;

/// How many letters must be put in, left out, replaced or swapped with their neighbour to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(MAX_WORD).collect();
    let to: Vec<char> = to.chars().take(MAX_WORD).collect();
    let mut before = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut row = before.clone();
    for (i, &a) in from.iter().enumerate() {
        row[0] = i + 1;
        for (j, &b) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == to[j - 1] && from[i - 1] == b {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        // The oldest row is written over: a file of mistakes compares millions of words.
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_found_and_far_ones_are_not() {
        let names = ["image", "environment", "volumes", "ports", "web"];
        let check = |word, expected| assert_eq!(closest(word, names), expected, "{word}");
        check("imgae", Some("image"));
        check("enviroment", Some("environment"));
        check("volume", Some("volumes"));
        check("wbe", Some("web"));
        check("deploy", None);
        check("x", None);
        check("", None);
    }
}
