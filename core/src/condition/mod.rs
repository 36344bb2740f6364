//! A condition that people write in CEL, read once and asked many times, under a budget.
//!
//! The `cel` crate reads the text; what comes out of it is checked and evaluated here. That is so for three reasons.
//! A repository may come from anyone, so the time and the memory of an evaluation must have a bound, and every step of
//! this evaluation is paid from a [budget](eval). A condition is asked of thousands of services, so it reads what is
//! given without a copy. And whatever can be wrong with it but for the data (a variable that does not exist, a function
//! with too many arguments) is said when it is read, once, and not for each service.
//!
//! What it knows of CEL: literals but bytes; lists and maps with text for keys; all operators; `has`, `all`, `exists`,
//! `exists_one`, `map` and `filter`; `size`, `contains`, `startsWith`, `endsWith`, `matches` with a pattern that is
//! written out; and the conversions between simple types. As in CEL, an error beside `&&` or `||` does not count where the
//! other side decides.

mod eval;
mod functions;
mod pattern;
mod read;
mod value;

use std::collections::BTreeSet;

use serde_json::Value as Json;

use functions::Function;
use pattern::Pattern;

/// A condition over named values.
#[derive(Debug)]
pub struct Condition {
    root: Node,
    reads: BTreeSet<usize>,
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// There is nothing.
    #[error("the expression is empty")]
    Empty,
    /// Longer than [`Condition::MAX_BYTES`].
    #[error("the expression has {bytes} bytes, and at most {} are allowed", Condition::MAX_BYTES)]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// Brackets in brackets in brackets, or too many operators in a row.
    #[error("the expression is nested too deep")]
    TooDeep,
    /// It is not CEL.
    #[error("the expression cannot be read: {0}")]
    Syntax(String),
    /// A name that stands for nothing.
    #[error("there is no variable `{name}`: there are {known}")]
    UnknownVariable {
        /// As written.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A function that there is not.
    #[error("there is no function `{name}`: there are {}", Function::names())]
    UnknownFunction {
        /// As written.
        name: String,
    },
    /// Too many arguments or too few, or one that must be otherwise.
    #[error("`{function}` is written `{form}`")]
    Form {
        /// Its name.
        function: String,
        /// How it is written.
        form: &'static str,
    },
    /// A part of CEL that is not known here.
    #[error("{0} cannot be used here")]
    Unsupported(&'static str),
    /// What stands in `matches` is no pattern.
    #[error("the pattern cannot be read: {0}")]
    Pattern(String),
}

/// Why a condition has no answer. It names what is written in the condition, never what that was asked of: a value may
/// be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A map has no such key, which is written in the condition.
    #[error("there is no `{0}`")]
    NoKey(String),
    /// A map has no such key, which was computed.
    #[error("there is no such key")]
    NoSuchKey,
    /// A list is not that long.
    #[error("the list has no such item")]
    NoItem,
    /// An operator or function on what it is not for.
    #[error("`{what}` cannot be used on {on}")]
    Type {
        /// The operator or function.
        what: &'static str,
        /// The types of what it was used on.
        on: String,
    },
    /// A number that is too large, or a division by zero.
    #[error("`{0}` has no result that is a number of 64 bits")]
    Arithmetic(&'static str),
    /// A text that is not what it should be converted to.
    #[error("the text is no {0}")]
    Conversion(&'static str),
    /// The answer is neither true nor false.
    #[error("the answer is {0}, and must be true or false")]
    NotBool(&'static str),
    /// It takes more work than one evaluation may.
    #[error("it takes more than {} steps", eval::MAX_STEPS)]
    OverBudget,
}

impl Condition {
    /// Longer texts are refused.
    pub const MAX_BYTES: usize = 2048;
    /// Deeper conditions are refused; none that a person can read is.
    pub const MAX_DEPTH: usize = 64;

    /// Reads conditions over the `variables`, each by itself: what comes out is in their order, with the first mistake of
    /// each that has one.
    pub fn read_all(texts: &[&str], variables: &[&str]) -> Vec<Result<Self, Mistake>> {
        if texts.is_empty() { Vec::new() } else { read::conditions(texts, variables) }
    }

    /// Whether it looks at the variable with this number.
    pub fn reads(&self, variable: usize) -> bool {
        self.reads.contains(&variable)
    }

    /// Whether it holds for these values of the variables, in their order. Equal values give an equal answer.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub fn holds(&self, values: &[&Json]) -> Result<bool, Failure> {
        eval::holds(&self.root, values)
    }
}

/// A condition or a part of it, checked: every name stands for something.
#[derive(Debug)]
enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    /// The name of a type, as a value to compare with `type(…)`.
    Type(&'static str),
    /// A variable by its number.
    Variable(usize),
    /// The variable of a loop, by the number of loops around it.
    Local(usize),
    Select(Box<Node>, String),
    Has(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    If(Box<[Node; 3]>),
    Binary(Operator, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Box<Pattern>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Loop(Loop, Box<Node>, Box<Node>),
    /// `map` with a condition: which items, and what of them.
    MapWhere(Box<[Node; 3]>),
}

/// What is done with the items of a list or the keys of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loop {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

/// An operator between two values, both of which are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operator {
    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

#[cfg(test)]
mod tests;
