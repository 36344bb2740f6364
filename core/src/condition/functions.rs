//! The functions of a condition: what they are called, how many arguments they take, and what they do.

use super::Failure;
use super::eval::Budget;
use super::value::{Text, Value};

/// A function of values. `matches` and the loops are none: they need more than values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Uint,
    Double,
    String,
    Bool,
    Dyn,
    Type,
}

/// Each function with its name, whether it is written behind a value (`x.contains(y)`), and how it is written.
const FUNCTIONS: [(Function, &str, Style, &str); 11] = [
    (Function::Size, "size", Style::Either, "size(x)"),
    (Function::Contains, "contains", Style::Member, "text.contains('part')"),
    (Function::StartsWith, "startsWith", Style::Member, "text.startsWith('start')"),
    (Function::EndsWith, "endsWith", Style::Member, "text.endsWith('end')"),
    (Function::Int, "int", Style::Global, "int(x)"),
    (Function::Uint, "uint", Style::Global, "uint(x)"),
    (Function::Double, "double", Style::Global, "double(x)"),
    (Function::String, "string", Style::Global, "string(x)"),
    (Function::Bool, "bool", Style::Global, "bool(x)"),
    (Function::Dyn, "dyn", Style::Global, "dyn(x)"),
    (Function::Type, "type", Style::Global, "type(x)"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Global,
    Member,
    Either,
}

impl Function {
    /// The function of a name, and how it is written.
    pub(super) fn named(name: &str) -> Option<(Self, &'static str)> {
        let found = FUNCTIONS.iter().find(|(_, known, ..)| *known == name);
        found.map(|(function, .., form)| (*function, *form))
    }

    /// All that can be called, for people.
    pub(super) fn names() -> String {
        let names = FUNCTIONS.iter().map(|(_, name, ..)| *name);
        let others = ["matches", "has", "all", "exists", "exists_one", "map", "filter"];
        let names: Vec<String> = names.chain(others).map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }

    /// Whether it is called rightly: with a target before the dot or without, and with so many arguments in all.
    pub(super) fn takes(self, has_target: bool, arguments: usize) -> bool {
        let style = FUNCTIONS.iter().find(|(function, ..)| *function == self).map(|(_, _, style, _)| *style);
        match style {
            Some(Style::Member) => has_target && arguments == 2,
            Some(Style::Global) => !has_target && arguments == 1,
            Some(Style::Either) => arguments == 1,
            None => false,
        }
    }

    fn as_str(self) -> &'static str {
        FUNCTIONS.iter().find(|(function, ..)| *function == self).map_or("", |(_, name, ..)| name)
    }

    /// Its result.
    pub(super) fn of<'a>(self, arguments: &[Value<'a>], budget: &mut Budget) -> Result<Value<'a>, Failure> {
        match (self, arguments) {
            (Self::Dyn, [value]) => Ok(value.clone()),
            (Self::Type, [value]) => Ok(Value::Type(value.kind())),
            (Self::Size, [value]) => size(value, budget),
            (Self::Contains, [Value::Text(text), Value::Text(part)]) => {
                budget.pay_for_text(text.len() + part.len())?;
                Ok(Value::Bool(text.contains(&**part)))
            }
            (Self::StartsWith, [Value::Text(text), Value::Text(start)]) => {
                budget.pay_for_text(start.len())?;
                Ok(Value::Bool(text.starts_with(&**start)))
            }
            (Self::EndsWith, [Value::Text(text), Value::Text(end)]) => {
                budget.pay_for_text(end.len())?;
                Ok(Value::Bool(text.ends_with(&**end)))
            }
            (Self::Bool | Self::Int | Self::Uint | Self::Double, [Value::Text(text)]) => {
                budget.pay_for_text(text.len())?;
                read(self, text)
            }
            (Self::Bool, [Value::Bool(value)]) => Ok(Value::Bool(*value)),
            (Self::String, [value]) => text(value, budget),
            (Self::Int, [value]) => int(value),
            (Self::Uint, [value]) => uint(value),
            (Self::Double, [value]) => double(value),
            (function, arguments) => Err(unfit(function, arguments)),
        }
    }
}

fn unfit(function: Function, arguments: &[Value<'_>]) -> Failure {
    let kinds: Vec<&str> = arguments.iter().map(Value::kind).collect();
    Failure::Type { what: function.as_str(), on: kinds.join(" and ") }
}

fn size<'a>(value: &Value<'a>, budget: &mut Budget) -> Result<Value<'a>, Failure> {
    let count = match value {
        Value::Text(text) => {
            budget.pay_for_text(text.len())?;
            text.chars().count()
        }
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        other => return Err(unfit(Function::Size, std::slice::from_ref(other))),
    };
    Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// What a text stands for, by the function that converts it.
fn read<'a>(function: Function, text: &str) -> Result<Value<'a>, Failure> {
    let value = match (function, text) {
        (Function::Bool, "true" | "True" | "TRUE" | "t" | "1") => Some(Value::Bool(true)),
        (Function::Bool, "false" | "False" | "FALSE" | "f" | "0") => Some(Value::Bool(false)),
        (Function::Int, text) => text.parse().map(Value::Int).ok(),
        (Function::Uint, text) => text.parse().map(Value::Uint).ok(),
        (Function::Double, text) => text.parse().map(Value::Double).ok(),
        _ => None,
    };
    value.ok_or(Failure::Conversion(function.as_str()))
}

fn text<'a>(value: &Value<'a>, budget: &mut Budget) -> Result<Value<'a>, Failure> {
    let made = match value {
        Value::Text(_) => return Ok(value.clone()),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        other => return Err(unfit(Function::String, std::slice::from_ref(other))),
    };
    budget.pay_for_text(made.len())?;
    Ok(Value::Text(Text::Made(made.into())))
}

fn int<'a>(value: &Value<'a>) -> Result<Value<'a>, Failure> {
    let too_large = Failure::Arithmetic("int");
    match value {
        Value::Int(value) => Ok(Value::Int(*value)),
        Value::Uint(value) => i64::try_from(*value).map(Value::Int).map_err(|_| too_large),
        // The whole numbers strictly between the powers are exact; the powers themselves need not fit.
        Value::Double(value) if value.abs() < 2f64.powi(63) => Ok(Value::Int(value.trunc() as i64)),
        Value::Double(_) => Err(too_large),
        other => Err(unfit(Function::Int, std::slice::from_ref(other))),
    }
}

fn uint<'a>(value: &Value<'a>) -> Result<Value<'a>, Failure> {
    let too_large = Failure::Arithmetic("uint");
    match value {
        Value::Uint(value) => Ok(Value::Uint(*value)),
        Value::Int(value) => u64::try_from(*value).map(Value::Uint).map_err(|_| too_large),
        Value::Double(value) if *value >= 0.0 && *value < 2f64.powi(64) => {
            Ok(Value::Uint(value.trunc() as u64))
        }
        Value::Double(_) => Err(too_large),
        other => Err(unfit(Function::Uint, std::slice::from_ref(other))),
    }
}

fn double<'a>(value: &Value<'a>) -> Result<Value<'a>, Failure> {
    match value {
        Value::Double(value) => Ok(Value::Double(*value)),
        Value::Int(value) => Ok(Value::Double(*value as f64)),
        Value::Uint(value) => Ok(Value::Double(*value as f64)),
        other => Err(unfit(Function::Double, std::slice::from_ref(other))),
    }
}
