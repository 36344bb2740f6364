//! The answer of a condition, paid for step by step.
//!
//! **Invariant:** all that can take long or grow is paid before it is done: every part that is evaluated, every item of a
//! loop, every pair that is compared, every sixteenth byte of text that is read or made, every item of a list that is
//! made. So no condition takes more than [`MAX_STEPS`] steps of some tens of nanoseconds, nor more than some megabytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::value::{List, Map, Text, Value};
use super::{Failure, Loop, Node, Operator};

/// What one evaluation may take. A loop over a hundred containers with ten fields each takes some thousand steps.
pub(super) const MAX_STEPS: usize = 50_000;

/// Text is read and made by the machine many bytes at a time.
const BYTES_PER_STEP: usize = 16;

/// What is left of [`MAX_STEPS`].
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn pay(&mut self, steps: usize) -> Result<(), Failure> {
        self.left = self.left.checked_sub(steps).ok_or(Failure::OverBudget)?;
        Ok(())
    }

    pub(super) fn pay_for_text(&mut self, bytes: usize) -> Result<(), Failure> {
        self.pay(bytes / BYTES_PER_STEP)
    }
}

type Evaluated<'a> = Result<Value<'a>, Failure>;

/// The answer for these values of the variables.
pub(super) fn holds(root: &Node, variables: &[&Json]) -> Result<bool, Failure> {
    let mut evaluation = Evaluation { variables, locals: Vec::new(), budget: Budget { left: MAX_STEPS } };
    evaluation.truth(root)
}

struct Evaluation<'a> {
    variables: &'a [&'a Json],
    /// The variables of the loops around the current part, outermost first.
    locals: Vec<Value<'a>>,
    budget: Budget,
}

impl<'a> Evaluation<'a> {
    fn value(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.budget.pay(1)?;
        match node {
            Node::Null => Ok(Value::Null),
            Node::Bool(value) => Ok(Value::Bool(*value)),
            Node::Int(value) => Ok(Value::Int(*value)),
            Node::Uint(value) => Ok(Value::Uint(*value)),
            Node::Double(value) => Ok(Value::Double(*value)),
            Node::Text(text) => Ok(Value::Text(Text::Given(text))),
            Node::Type(name) => Ok(Value::Type(name)),
            Node::Variable(number) => Ok(Value::given(self.variables[*number])),
            Node::Local(number) => Ok(self.locals[*number].clone()),
            Node::Select(of, key) => self.value(of).and_then(|of| select(&of, key)),
            Node::Has(of, key) => self.value(of).and_then(|of| has(&of, key)),
            Node::Index(of, index) => self.index(of, index),
            Node::Not(inner) => Ok(Value::Bool(!self.truth(inner)?)),
            Node::Negate(inner) => self.value(inner).and_then(|value| negate(&value)),
            Node::And(one, other) => self.decided_by(false, one, other),
            Node::Or(one, other) => self.decided_by(true, one, other),
            Node::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                if self.truth(condition)? { self.value(then) } else { self.value(otherwise) }
            }
            Node::Binary(operator, one, other) => {
                let (one, other) = (self.value(one)?, self.value(other)?);
                self.binary(*operator, &one, &other)
            }
            Node::Call(function, arguments) => {
                let values: Vec<_> = self.values(arguments)?;
                function.of(&values, &mut self.budget)
            }
            Node::Matches(text, pattern) => match self.value(text)? {
                Value::Text(text) => {
                    self.budget.pay(text.len().saturating_mul(pattern.weight))?;
                    Ok(Value::Bool(pattern.is_in(&text)))
                }
                other => Err(Failure::Type { what: "matches", on: other.kind().to_owned() }),
            },
            Node::List(items) => Ok(list(self.values(items)?)),
            Node::Map(entries) => self.map(entries),
            Node::Loop(kind, over, body) => self.each(*kind, over, body),
            Node::MapWhere(parts) => self.map_where(parts),
        }
    }

    fn values(&mut self, nodes: &'a [Node]) -> Result<Vec<Value<'a>>, Failure> {
        nodes.iter().map(|node| self.value(node)).collect()
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, Failure> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(Failure::NotBool(other.kind())),
        }
    }

    /// `&&` and `||`: the side that is `deciding` decides, whatever is wrong with the other.
    fn decided_by(&mut self, deciding: bool, one: &'a Node, other: &'a Node) -> Evaluated<'a> {
        let first = match self.truth(one) {
            Ok(value) if value == deciding => return Ok(Value::Bool(deciding)),
            Err(Failure::OverBudget) => return Err(Failure::OverBudget),
            first => first,
        };
        match self.truth(other) {
            Ok(value) if value == deciding => Ok(Value::Bool(deciding)),
            Err(Failure::OverBudget) => Err(Failure::OverBudget),
            second => first.and(second).map(Value::Bool),
        }
    }

    fn index(&mut self, of: &'a Node, index_node: &'a Node) -> Evaluated<'a> {
        let (of, index) = (self.value(of)?, self.value(index_node)?);
        match (&of, &index) {
            (Value::Map(map), Value::Text(key)) => {
                self.budget.pay_for_text(key.len())?;
                // A key that was computed may hold what nobody should see.
                let is_written = matches!(index_node, Node::Text(_));
                map.get(key).ok_or_else(|| if is_written { no_key(key) } else { Failure::NoSuchKey })
            }
            (Value::List(list), Value::Int(at)) => item(list, (*at).into()),
            (Value::List(list), Value::Uint(at)) => item(list, (*at).into()),
            _ => Err(Failure::Type { what: "[…]", on: format!("{} and {}", of.kind(), index.kind()) }),
        }
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Evaluated<'a> {
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            match self.value(key)? {
                Value::Text(key) => _ = map.insert(key, self.value(value)?),
                other => {
                    return Err(Failure::Type {
                        what: "{…: …}",
                        on: format!("a key that is {}", other.kind()),
                    });
                }
            }
        }
        Ok(Value::Map(Map::Made(Arc::new(map))))
    }

    fn binary(&mut self, operator: Operator, one: &Value<'a>, other: &Value<'a>) -> Evaluated<'a> {
        match operator {
            Operator::Equal => one.equals(other, &mut self.budget).map(Value::Bool),
            Operator::NotEqual => one.equals(other, &mut self.budget).map(|same| Value::Bool(!same)),
            Operator::Less => self.ordered(operator, one, other, |order| order == Ordering::Less),
            Operator::LessOrEqual => self.ordered(operator, one, other, |order| order != Ordering::Greater),
            Operator::Greater => self.ordered(operator, one, other, |order| order == Ordering::Greater),
            Operator::GreaterOrEqual => self.ordered(operator, one, other, |order| order != Ordering::Less),
            Operator::In => self.is_in(one, other),
            Operator::Add => self.add(one, other),
            Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                arithmetic(operator, one, other)
            }
        }
    }

    fn ordered(
        &mut self,
        operator: Operator,
        one: &Value<'a>,
        other: &Value<'a>,
        is: impl Fn(Ordering) -> bool,
    ) -> Evaluated<'a> {
        let order = match (one, other) {
            (Value::Text(one), Value::Text(other)) => {
                self.budget.pay_for_text(one.len().min(other.len()))?;
                Some((**one).cmp(&**other))
            }
            (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
            _ => one.cmp_numbers(other).ok_or_else(|| unfit(operator, one, other))?,
        };
        Ok(Value::Bool(order.is_some_and(is)))
    }

    fn is_in(&mut self, item: &Value<'a>, of: &Value<'a>) -> Evaluated<'a> {
        match of {
            Value::List(list) => {
                for one in list.iter() {
                    if item.equals(&one, &mut self.budget)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Value::Map(map) => Ok(Value::Bool(match item {
                Value::Text(key) => {
                    self.budget.pay_for_text(key.len())?;
                    map.get(key).is_some()
                }
                _ => false,
            })),
            _ => Err(unfit(Operator::In, item, of)),
        }
    }

    fn add(&mut self, one: &Value<'a>, other: &Value<'a>) -> Evaluated<'a> {
        match (one, other) {
            (Value::Text(one), Value::Text(other)) => {
                self.budget.pay_for_text(one.len() + other.len())?;
                Ok(Value::Text(Text::Made([&**one, &**other].concat().into())))
            }
            (Value::List(one), Value::List(other)) => {
                self.budget.pay(one.len() + other.len())?;
                Ok(list(one.iter().chain(other.iter()).collect()))
            }
            _ => arithmetic(Operator::Add, one, other),
        }
    }

    /// The items that a loop goes over.
    fn items(&mut self, over: &'a Node) -> Result<Vec<Value<'a>>, Failure> {
        let over = self.value(over)?;
        let items: Vec<Value<'a>> = match &over {
            Value::List(list) => {
                self.budget.pay(list.len())?;
                list.iter().collect()
            }
            Value::Map(map) => {
                self.budget.pay(map.len())?;
                map.keys().map(Value::Text).collect()
            }
            other => return Err(Failure::Type { what: "a loop", on: other.kind().to_owned() }),
        };
        Ok(items)
    }

    /// The body of a loop with `item` for its variable.
    fn with<R>(&mut self, item: Value<'a>, body: impl FnOnce(&mut Self) -> R) -> R {
        self.locals.push(item);
        let result = body(self);
        self.locals.pop();
        result
    }

    fn each(&mut self, kind: Loop, over: &'a Node, body: &'a Node) -> Evaluated<'a> {
        let items = self.items(over)?;
        match kind {
            Loop::All => self.decided_by_one(false, items, body),
            Loop::Exists => self.decided_by_one(true, items, body),
            Loop::ExistsOne => {
                let mut count = 0_usize;
                for item in items {
                    count += usize::from(self.with(item, |inner| inner.truth(body))?);
                }
                Ok(Value::Bool(count == 1))
            }
            Loop::Map => {
                let values: Result<Vec<_>, _> =
                    items.into_iter().map(|item| self.with(item, |inner| inner.value(body))).collect();
                Ok(list(values?))
            }
            Loop::Filter => {
                let mut kept = Vec::new();
                for item in items {
                    if self.with(item.clone(), |inner| inner.truth(body))? {
                        kept.push(item);
                    }
                }
                Ok(list(kept))
            }
        }
    }

    /// `all` and `exists`: the first item that is `deciding` decides, whatever is wrong with others.
    fn decided_by_one(&mut self, deciding: bool, items: Vec<Value<'a>>, body: &'a Node) -> Evaluated<'a> {
        let mut first_failure = None;
        for item in items {
            match self.with(item, |inner| inner.truth(body)) {
                Ok(value) if value == deciding => return Ok(Value::Bool(deciding)),
                Ok(_) => {}
                Err(Failure::OverBudget) => return Err(Failure::OverBudget),
                Err(failure) => _ = first_failure.get_or_insert(failure),
            }
        }
        first_failure.map_or(Ok(Value::Bool(!deciding)), Err)
    }

    fn map_where(&mut self, [over, condition, body]: &'a [Node; 3]) -> Evaluated<'a> {
        let mut values = Vec::new();
        for item in self.items(over)? {
            let value = self.with(item, |inner| match inner.truth(condition) {
                Ok(true) => inner.value(body).map(Some),
                Ok(false) => Ok(None),
                Err(failure) => Err(failure),
            });
            values.extend(value?);
        }
        Ok(list(values))
    }
}

fn list(items: Vec<Value<'_>>) -> Value<'_> {
    Value::List(List::Made(items.into()))
}

fn select<'a>(of: &Value<'a>, key: &str) -> Evaluated<'a> {
    match of {
        Value::Map(map) => map.get(key).ok_or_else(|| no_key(key)),
        other => Err(Failure::Type { what: ".", on: other.kind().to_owned() }),
    }
}

fn has<'a>(of: &Value<'a>, key: &str) -> Evaluated<'a> {
    match of {
        Value::Map(map) => Ok(Value::Bool(map.get(key).is_some())),
        other => Err(Failure::Type { what: "has", on: other.kind().to_owned() }),
    }
}

fn no_key(key: &str) -> Failure {
    Failure::NoKey(key.chars().take(80).collect())
}

fn item<'a>(list: &List<'a>, at: i128) -> Evaluated<'a> {
    let found = usize::try_from(at).ok().and_then(|at| list.get(at));
    found.ok_or(Failure::NoItem)
}

fn negate<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(Failure::Arithmetic("-")),
        Value::Double(value) => Ok(Value::Double(-value)),
        other => Err(Failure::Type { what: "-", on: other.kind().to_owned() }),
    }
}

fn arithmetic<'a>(operator: Operator, one: &Value<'a>, other: &Value<'a>) -> Evaluated<'a> {
    let overflow = Failure::Arithmetic(operator.as_str());
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => {
            let result = match operator {
                Operator::Add => one.checked_add(*other),
                Operator::Subtract => one.checked_sub(*other),
                Operator::Multiply => one.checked_mul(*other),
                Operator::Divide => one.checked_div(*other),
                _ => one.checked_rem(*other),
            };
            result.map(Value::Int).ok_or(overflow)
        }
        (Value::Uint(one), Value::Uint(other)) => {
            let result = match operator {
                Operator::Add => one.checked_add(*other),
                Operator::Subtract => one.checked_sub(*other),
                Operator::Multiply => one.checked_mul(*other),
                Operator::Divide => one.checked_div(*other),
                _ => one.checked_rem(*other),
            };
            result.map(Value::Uint).ok_or(overflow)
        }
        (Value::Double(one), Value::Double(other)) if operator != Operator::Modulo => {
            Ok(Value::Double(match operator {
                Operator::Add => one + other,
                Operator::Subtract => one - other,
                Operator::Multiply => one * other,
                _ => one / other,
            }))
        }
        _ => Err(unfit(operator, one, other)),
    }
}

fn unfit(operator: Operator, one: &Value<'_>, other: &Value<'_>) -> Failure {
    Failure::Type { what: operator.as_str(), on: format!("{} and {}", one.kind(), other.kind()) }
}
