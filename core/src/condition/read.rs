//! From text to a checked condition: the crate reads it, and here every name is resolved and everything that is not
//! known is refused.

use std::collections::BTreeSet;
use std::thread;

use cel::Env;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::functions::Function;
use super::pattern::Pattern;
use super::{Condition, Loop, Mistake, Node, Operator};

/// Reads all of them. The crate's reader wants a great deal of stack for brackets in brackets, more than threads have: so
/// this is done on one that has enough for as many as [`MAX_OPENED`] lets through.
pub(super) fn conditions(texts: &[&str], variables: &[&str]) -> Vec<Result<Condition, Mistake>> {
    let read = || texts.iter().map(|text| condition(text, variables)).collect();
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read);
        let thread = thread.expect("a system that can start no thread runs nothing else of this program");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Opening brackets and `?` that a text may have, also in its strings: no more can be open at a time, whatever the crate
/// makes of a text with mistakes.
const MAX_OPENED: usize = 100;

/// Without optimization, the crate takes some 200 kilobytes for each; what is not used is not taken.
const STACK: usize = 32 << 20;

fn condition(text: &str, variables: &[&str]) -> Result<Condition, Mistake> {
    if text.trim().is_empty() {
        return Err(Mistake::Empty);
    }
    if text.len() > Condition::MAX_BYTES {
        return Err(Mistake::TooLong { bytes: text.len() });
    }
    if text.bytes().filter(|byte| b"([{?".contains(byte)).count() > MAX_OPENED {
        return Err(Mistake::TooDeep);
    }
    // Without macros: loops are evaluated as such, and need not be found again in what they would be expanded to.
    let parser = Env::default().with_optional_support(false).parser();
    let expression = parser.parse(text).map_err(|errors| syntax(&errors))?;
    let mut reader = Reader { variables, locals: Vec::new(), reads: BTreeSet::new(), depth: 0 };
    let root = reader.node(&expression)?;
    Ok(Condition { root, reads: reader.reads })
}

/// The first thing that the crate says, which draws pictures and lists every word that it would rather have seen.
fn syntax(errors: &cel::ParseErrors) -> Mistake {
    if errors.errors.iter().any(|error| error.msg.contains("Recursion limit")) {
        return Mistake::TooDeep;
    }
    let Some(first) = errors.errors.first() else { return Mistake::Syntax(String::new()) };
    let message = first.msg.trim_start_matches("Syntax error: ");
    let message = message.split(" expecting {").next().unwrap_or(message);
    let message = message.replace("'<EOF>'", "the end").replace('\n', " ");
    let short: String = message.chars().take(120).collect();
    let (line, column) = first.pos;
    Mistake::Syntax(format!("{short} (line {line}, column {} of the expression)", column.max(1)))
}

struct Reader<'a> {
    variables: &'a [&'a str],
    locals: Vec<&'a str>,
    reads: BTreeSet<usize>,
    depth: usize,
}

type Read = Result<Node, Mistake>;

impl<'a> Reader<'a> {
    fn node(&mut self, expression: &'a IdedExpr) -> Read {
        self.depth += 1;
        if self.depth > Condition::MAX_DEPTH {
            return Err(Mistake::TooDeep);
        }
        let node = match &expression.expr {
            Expr::Literal(literal) => constant(literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) if !select.test => {
                Ok(Node::Select(self.boxed(&select.operand)?, select.field.clone()))
            }
            Expr::Select(select) => Ok(Node::Has(self.boxed(&select.operand)?, select.field.clone())),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.nodes(&list.elements).map(Node::List),
            Expr::Map(map) => {
                let entries = map.entries.iter().map(|entry| self.entry(&entry.expr));
                entries.collect::<Result<_, _>>().map(Node::Map)
            }
            Expr::Struct(_) => Err(Mistake::Unsupported("a message (`Name{…}`)")),
            Expr::Comprehension(_) | Expr::Unspecified => Err(Mistake::Unsupported("this form")),
        };
        self.depth -= 1;
        node
    }

    fn boxed(&mut self, expression: &'a IdedExpr) -> Result<Box<Node>, Mistake> {
        self.node(expression).map(Box::new)
    }

    fn nodes(&mut self, expressions: &'a [IdedExpr]) -> Result<Vec<Node>, Mistake> {
        expressions.iter().map(|expression| self.node(expression)).collect()
    }

    fn entry(&mut self, entry: &'a EntryExpr) -> Result<(Node, Node), Mistake> {
        match entry {
            EntryExpr::MapEntry(entry) => Ok((self.node(&entry.key)?, self.node(&entry.value)?)),
            EntryExpr::StructField(_) => Err(Mistake::Unsupported("a field of a message")),
        }
    }

    fn name(&mut self, name: &str) -> Read {
        let name = name.trim_start_matches('.');
        if let Some(number) = self.locals.iter().rposition(|local| *local == name) {
            return Ok(Node::Local(number));
        }
        if let Some(number) = self.variables.iter().position(|known| *known == name) {
            self.reads.insert(number);
            return Ok(Node::Variable(number));
        }
        match TYPES.iter().find(|known| **known == name) {
            Some(known) => Ok(Node::Type(known)),
            None => Err(self.unknown_variable(name)),
        }
    }

    fn unknown_variable(&self, name: &str) -> Mistake {
        let known: Vec<String> = self.variables.iter().map(|name| format!("`{name}`")).collect();
        Mistake::UnknownVariable { name: short(name), known: known.join(", ") }
    }

    fn call(&mut self, call: &'a CallExpr) -> Read {
        let CallExpr { func_name: name, target, args } = call;
        match (name.as_str(), target, args.as_slice()) {
            (operators::LOGICAL_NOT, None, [inner]) => self.boxed(inner).map(Node::Not),
            (operators::NEGATE, None, [inner]) => self.boxed(inner).map(Node::Negate),
            (operators::LOGICAL_AND, None, [one, other]) => {
                Ok(Node::And(self.boxed(one)?, self.boxed(other)?))
            }
            (operators::LOGICAL_OR, None, [one, other]) => Ok(Node::Or(self.boxed(one)?, self.boxed(other)?)),
            (operators::INDEX, None, [of, index]) => Ok(Node::Index(self.boxed(of)?, self.boxed(index)?)),
            (operators::CONDITIONAL, None, [condition, then, otherwise]) => {
                Ok(Node::If(Box::new([self.node(condition)?, self.node(then)?, self.node(otherwise)?])))
            }
            (operators::HAS, None, arguments) => self.has(arguments),
            ("matches", Some(text), [pattern]) => self.matches(text, pattern),
            ("matches", None, [text, pattern]) => self.matches(text, pattern),
            ("matches", ..) => Err(form(name, MATCHES)),
            (name, target, arguments) => match (operator(name), loop_of(name), target, arguments) {
                (Some(operator), _, None, [one, other]) => {
                    Ok(Node::Binary(operator, self.boxed(one)?, self.boxed(other)?))
                }
                (_, Some((kind, form)), Some(over), arguments) => {
                    self.each(kind, name, form, over, arguments)
                }
                (_, Some((_, written)), None, _) => Err(form(name, written)),
                _ => self.function(name, target.as_deref(), arguments),
            },
        }
    }

    fn has(&mut self, arguments: &'a [IdedExpr]) -> Read {
        match arguments {
            [IdedExpr { expr: Expr::Select(select), .. }] => {
                Ok(Node::Has(self.boxed(&select.operand)?, select.field.clone()))
            }
            _ => Err(form("has", "has(map.field)")),
        }
    }

    fn matches(&mut self, text: &'a IdedExpr, pattern: &IdedExpr) -> Read {
        let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else {
            return Err(form("matches", MATCHES));
        };
        let pattern = Pattern::read(pattern.inner())?;
        Ok(Node::Matches(self.boxed(text)?, Box::new(pattern)))
    }

    fn each(
        &mut self,
        kind: Loop,
        name: &str,
        written: &'static str,
        over: &'a IdedExpr,
        arguments: &'a [IdedExpr],
    ) -> Read {
        let over = self.boxed(over)?;
        let (variable, bodies) = match arguments {
            [IdedExpr { expr: Expr::Ident(variable), .. }, bodies @ ..] => (variable, bodies),
            _ => return Err(form(name, written)),
        };
        self.locals.push(variable);
        let node = match (kind, bodies) {
            (Loop::Map, [condition, body]) => {
                Ok(Node::MapWhere(Box::new([*over, self.node(condition)?, self.node(body)?])))
            }
            (kind, [body]) => self.boxed(body).map(|body| Node::Loop(kind, over, body)),
            _ => Err(form(name, written)),
        };
        self.locals.pop();
        node
    }

    fn function(&mut self, name: &str, target: Option<&'a IdedExpr>, arguments: &'a [IdedExpr]) -> Read {
        let Some((function, written)) = Function::named(name) else {
            return Err(Mistake::UnknownFunction { name: short(name) });
        };
        if !function.takes(target.is_some(), arguments.len() + usize::from(target.is_some())) {
            return Err(form(name, written));
        }
        let all = target.into_iter().chain(arguments).map(|argument| self.node(argument));
        all.collect::<Result<_, _>>().map(|arguments| Node::Call(function, arguments))
    }
}

const MATCHES: &str =
    "text.matches('pattern')` with the pattern written out, as in `image.matches('^ghcr.io/')";

/// The types that `type(…)` can be compared with.
const TYPES: [&str; 8] = ["bool", "int", "uint", "double", "string", "list", "map", "null_type"];

fn constant(literal: &LiteralValue) -> Read {
    Ok(match literal {
        LiteralValue::Null => Node::Null,
        LiteralValue::Boolean(value) => Node::Bool(*value.inner()),
        LiteralValue::Int(value) => Node::Int(*value.inner()),
        LiteralValue::UInt(value) => Node::Uint(*value.inner()),
        LiteralValue::Double(value) => Node::Double(*value.inner()),
        LiteralValue::String(value) => Node::Text(value.inner().to_owned()),
        LiteralValue::Bytes(_) => return Err(Mistake::Unsupported("bytes (`b'…'`)")),
    })
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        operators::EQUALS => Operator::Equal,
        operators::NOT_EQUALS => Operator::NotEqual,
        operators::LESS => Operator::Less,
        operators::LESS_EQUALS => Operator::LessOrEqual,
        operators::GREATER => Operator::Greater,
        operators::GREATER_EQUALS => Operator::GreaterOrEqual,
        operators::IN => Operator::In,
        operators::ADD => Operator::Add,
        operators::SUBSTRACT => Operator::Subtract,
        operators::MULTIPLY => Operator::Multiply,
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Modulo,
        _ => return None,
    })
}

fn loop_of(name: &str) -> Option<(Loop, &'static str)> {
    Some(match name {
        operators::ALL => (Loop::All, "list.all(item, condition)"),
        operators::EXISTS => (Loop::Exists, "list.exists(item, condition)"),
        operators::EXISTS_ONE | "existsOne" => (Loop::ExistsOne, "list.exists_one(item, condition)"),
        operators::MAP => (Loop::Map, "list.map(item, result)"),
        operators::FILTER => (Loop::Filter, "list.filter(item, condition)"),
        _ => return None,
    })
}

fn form(name: &str, written: &'static str) -> Mistake {
    Mistake::Form { function: short(name), form: written }
}

fn short(name: &str) -> String {
    name.chars().take(80).collect()
}
