//! What keeps services away from a node, and who may run there all the same.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::written::{Written, written_form};

/// A mark on a node that keeps services away which do not tolerate it: `key=value:NoSchedule`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint {
    /// What it is about.
    pub key: Arc<str>,
    /// Which of several; empty where the key says it all.
    pub value: Arc<str>,
    /// What it does.
    pub effect: TaintEffect,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaintEffect {
    /// A service that does not tolerate it never comes here.
    NoSchedule,
    /// A service that does not tolerate it comes here only if it fits nowhere else.
    PreferNoSchedule,
}

impl TaintEffect {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
        }
    }
}

/// Which taints a service may live with: `key`, `key=value`, or either with `:EFFECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toleration {
    key: Arc<str>,
    value: Option<Arc<str>>,
    effect: Option<TaintEffect>,
}

impl Toleration {
    /// Whether the taint is one that it speaks of.
    pub fn covers(&self, taint: &Taint) -> bool {
        self.key == taint.key
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
            && self.effect.is_none_or(|effect| effect == taint.effect)
    }
}

/// Why a text is no taint or toleration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct TaintError {
    text: String,
    expected: &'static str,
}

impl Written for Taint {
    const EXPECTED: &'static str = "a taint such as `gpu=true:NoSchedule` or `old:PreferNoSchedule`";
}

impl Written for Toleration {
    const EXPECTED: &'static str = "a toleration such as `gpu`, `gpu=true` or `gpu=true:NoSchedule`";
}

written_form!(Taint, "string", ["gpu=true:NoSchedule"]);
written_form!(Toleration, "string", ["gpu", "gpu=true"]);

type Parts<'a> = (&'a str, Option<&'a str>, Option<TaintEffect>);

/// `key`, `key=value` and their effects.
fn parts(text: &str) -> Option<Parts<'_>> {
    let (what, effect) = match text.rsplit_once(':') {
        Some((what, "NoSchedule")) => (what, Some(TaintEffect::NoSchedule)),
        Some((what, "PreferNoSchedule")) => (what, Some(TaintEffect::PreferNoSchedule)),
        Some(_) => return None,
        None => (text, None),
    };
    let (key, value) = match what.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (what, None),
    };
    let is_word = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
    };
    (is_word(key) && value.is_none_or(is_word)).then_some((key, value, effect))
}

fn refused<T: Written>(text: &str) -> TaintError {
    TaintError { text: text.chars().take(80).collect(), expected: T::EXPECTED }
}

impl FromStr for Taint {
    type Err = TaintError;

    fn from_str(text: &str) -> Result<Self, TaintError> {
        match parts(text) {
            Some((key, value, Some(effect))) => {
                Ok(Self { key: key.into(), value: value.unwrap_or_default().into(), effect })
            }
            _ => Err(refused::<Self>(text)),
        }
    }
}

impl FromStr for Toleration {
    type Err = TaintError;

    fn from_str(text: &str) -> Result<Self, TaintError> {
        let (key, value, effect) = parts(text).ok_or_else(|| refused::<Self>(text))?;
        Ok(Self { key: key.into(), value: value.map(Arc::from), effect })
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, effect } = self;
        let equals = if value.is_empty() { "" } else { "=" };
        f.pad(&format!("{key}{equals}{value}:{}", effect.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_covers_what_it_names() {
        let check = |toleration: &str, taint: &str, expected: bool| {
            let toleration: Toleration = toleration.parse().expect("a toleration");
            let taint: Taint = taint.parse().expect("a taint");
            assert_eq!(toleration.covers(&taint), expected, "{taint}");
        };
        check("gpu", "gpu=true:NoSchedule", true);
        check("gpu=true", "gpu=true:PreferNoSchedule", true);
        check("gpu=true:NoSchedule", "gpu=true:PreferNoSchedule", false);
        check("gpu=false", "gpu=true:NoSchedule", false);
        check("old", "old:NoSchedule", true);
        check("gpu", "old:NoSchedule", false);
    }

    #[test]
    fn a_taint_names_its_effect() {
        for bad in ["", "gpu", "gpu=true", "gpu=true:Never", "=x:NoSchedule", "a b:NoSchedule", ":NoSchedule"]
        {
            assert!(bad.parse::<Taint>().is_err(), "{bad}");
        }
        assert_eq!("old:NoSchedule".parse::<Taint>().expect("a taint").to_string(), "old:NoSchedule");
    }
}
