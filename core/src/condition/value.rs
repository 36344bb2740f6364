//! The values of an evaluation: what was given is borrowed, what is made on the way is shared.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value as Json;

use super::Failure;
use super::eval::Budget;

/// A value. A copy of it is cheap, whatever its size.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    List(List<'a>),
    Map(Map<'a>),
    Type(&'static str),
}

#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Given(&'a str),
    Made(Arc<str>),
}

#[derive(Clone, Debug)]
pub(super) enum List<'a> {
    Given(&'a [Json]),
    Made(Arc<[Value<'a>]>),
}

#[derive(Clone, Debug)]
pub(super) enum Map<'a> {
    Given(&'a serde_json::Map<String, Json>),
    Made(Arc<BTreeMap<Text<'a>, Value<'a>>>),
}

impl<'a> Value<'a> {
    pub(super) fn given(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => {
                let int = number.as_i64().map(Self::Int).or_else(|| number.as_u64().map(Self::Uint));
                int.unwrap_or_else(|| Self::Double(number.as_f64().unwrap_or(f64::NAN)))
            }
            Json::String(text) => Self::Text(Text::Given(text)),
            Json::Array(items) => Self::List(List::Given(items)),
            Json::Object(fields) => Self::Map(Map::Given(fields)),
        }
    }

    /// The name of its type, in the words of CEL.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Type(_) => "type",
        }
    }

    /// Whether both are the same; numbers of different types are compared by what they amount to.
    pub(super) fn equals(&self, other: &Self, budget: &mut Budget) -> Result<bool, Failure> {
        budget.pay(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Type(one), Self::Type(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => {
                budget.pay_for_text(one.len().min(other.len()))?;
                **one == **other
            }
            (Self::List(one), Self::List(other)) => return lists_equal(one, other, budget),
            (Self::Map(one), Self::Map(other)) => return maps_equal(one, other, budget),
            _ => self.cmp_numbers(other) == Some(Some(Ordering::Equal)),
        })
    }

    /// How both numbers compare: nothing if one is none, and nothing within if one is not a number (`0.0 / 0.0`).
    pub(super) fn cmp_numbers(&self, other: &Self) -> Option<Option<Ordering>> {
        match (self.whole(), other.whole()) {
            (Some(one), Some(other)) => Some(Some(one.cmp(&other))),
            _ => Some(self.real()?.partial_cmp(&other.real()?)),
        }
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some((*value).into()),
            Self::Uint(value) => Some((*value).into()),
            _ => None,
        }
    }

    fn real(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Uint(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }
}

fn lists_equal<'a>(one: &List<'a>, other: &List<'a>, budget: &mut Budget) -> Result<bool, Failure> {
    if one.len() != other.len() {
        return Ok(false);
    }
    for (one, other) in one.iter().zip(other.iter()) {
        if !one.equals(&other, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps_equal<'a>(one: &Map<'a>, other: &Map<'a>, budget: &mut Budget) -> Result<bool, Failure> {
    if one.len() != other.len() {
        return Ok(false);
    }
    for key in one.keys() {
        budget.pay_for_text(key.len())?;
        let same = match (one.get(&key), other.get(&key)) {
            (Some(one), Some(other)) => one.equals(&other, budget)?,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

/// So that a map of texts can be asked without making one.
impl std::borrow::Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        self
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Given(items) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Given(items) => items.get(index).map(Value::given),
            Self::Made(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Value<'a>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Given(fields) => fields.len(),
            Self::Made(fields) => fields.len(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Self::Given(fields) => fields.get(key).map(Value::given),
            Self::Made(fields) => fields.get(key).cloned(),
        }
    }

    /// In their order.
    pub(super) fn keys(&self) -> Box<dyn Iterator<Item = Text<'a>> + '_> {
        match self {
            Self::Given(fields) => {
                let fields: &'a serde_json::Map<String, Json> = fields;
                Box::new(fields.keys().map(|key| Text::Given(key.as_str())))
            }
            Self::Made(fields) => Box::new(fields.keys().cloned()),
        }
    }
}
