//! `${VAR}` and its kin, by Compose's own rules, over a given map of variables and nothing else.
//!
//! The syntax is that of the Compose specification, chapter "Interpolation": `$VAR`, `${VAR}`, the operators `:-` `-`
//! `:?` `?` `:+` `+` whose right side may hold variables itself, and `$$` for a dollar sign. A dollar sign in front of
//! anything else stays as it is. Unlike Compose, a variable that is not there is a mistake and no empty text.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_yaml::Value;

use super::Variables;
use crate::yaml::Trail;

/// How deep defaults may hold variables with defaults. Nobody reads three.
const MAX_DEPTH: usize = 20;
/// Bytes that all variables of one model may add up to where they are used: so that a long variable in many places
/// cannot fill the memory.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// What interpolation sees, and what it has looked at.
pub(super) struct Scope<'v> {
    variables: &'v Variables,
    /// Compose itself gives every file the name of its project as `COMPOSE_PROJECT_NAME`.
    pub(super) project: Option<Arc<str>>,
    /// Every name that was looked up.
    pub(super) used: BTreeSet<Arc<str>>,
    room: usize,
}

/// Why a text cannot be interpolated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No such variable, and no default.
    Missing(String),
    /// `${VAR:?message}` of a variable that is missing or empty.
    Required(String, String),
    /// Not the syntax of a variable: what stands there.
    Syntax(String),
    /// Over a limit.
    TooLarge,
}

impl Fault {
    /// What of a text to underline for it, best first.
    pub(super) fn pieces(&self) -> Vec<String> {
        match self {
            Self::Missing(name) | Self::Required(name, _) => {
                vec![format!("${{{name}}}"), format!("${{{name}"), format!("${name}")]
            }
            Self::Syntax(text) => vec![text.clone()],
            Self::TooLarge => Vec::new(),
        }
    }
}

impl<'v> Scope<'v> {
    pub(super) fn new(variables: &'v Variables) -> Self {
        Self { variables, project: None, used: BTreeSet::new(), room: MAX_BYTES }
    }

    /// One text over these variables, whose value takes from `room`.
    pub(super) fn expand_within(
        variables: &'v Variables,
        text: &str,
        room: &mut usize,
    ) -> Result<String, Fault> {
        let mut scope = Self { room: *room, ..Scope::new(variables) };
        let expanded = scope.expand(text);
        *room = scope.room;
        expanded
    }

    /// The value of a variable, noted as used.
    pub(super) fn look_up(&mut self, name: &str) -> Option<Arc<str>> {
        let known = self.variables.get_key_value(name);
        if !self.used.contains(name) {
            self.used.insert(known.map_or_else(|| name.into(), |(name, _)| name.clone()));
        }
        let project = || self.project.clone().filter(|_| name == "COMPOSE_PROJECT_NAME");
        known.map(|(_, value)| value.clone()).or_else(project)
    }

    /// The names there are, for suggestions.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(|name| &**name)
    }

    /// Every text below `value`, keys excepted, as Compose does.
    pub(super) fn interpolate(
        &mut self,
        value: &mut Value,
        trail: &Trail<'_>,
        report: &mut dyn FnMut(&Trail<'_>, Fault),
    ) {
        match value {
            Value::String(text) if text.contains('$') => match self.expand(text) {
                Ok(expanded) => *text = expanded,
                Err(fault) => report(trail, fault),
            },
            Value::Sequence(items) => {
                for (number, item) in items.iter_mut().enumerate() {
                    self.interpolate(item, &trail.to(number), report);
                }
            }
            Value::Mapping(fields) => {
                for (key, field) in fields.iter_mut() {
                    self.interpolate(field, &trail.to(key.as_str().unwrap_or_default()), report);
                }
            }
            Value::Tagged(tagged) => self.interpolate(&mut tagged.value, trail, report),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// One text.
    pub(super) fn expand(&mut self, text: &str) -> Result<String, Fault> {
        self.expand_nested(text, 0)
    }

    fn expand_nested(&mut self, text: &str, depth: usize) -> Result<String, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::TooLarge);
        }
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            expanded.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            let (value, used) = self.expand_one(after, depth)?;
            self.room = self.room.checked_sub(value.len()).ok_or(Fault::TooLarge)?;
            expanded.push_str(&value);
            rest = &after[used..];
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// What stands after a dollar sign: its value, and how many bytes of it are used.
    fn expand_one(&mut self, after: &str, depth: usize) -> Result<(Arc<str>, usize), Fault> {
        if after.starts_with('$') {
            return Ok(("$".into(), 1));
        }
        if let Some(braced) = after.strip_prefix('{') {
            let end = closing_brace(braced).ok_or_else(|| Fault::Syntax(shortened(&format!("${after}"))))?;
            let value = self.expand_braced(&braced[..end], depth)?;
            return Ok((value, end + 2));
        }
        match name_length(after) {
            0 => Ok(("$".into(), 0)),
            length => Ok((self.required(&after[..length])?, length)),
        }
    }

    fn expand_braced(&mut self, inside: &str, depth: usize) -> Result<Arc<str>, Fault> {
        let (name, operation) = inside.split_at(name_length(inside));
        let syntax = || Fault::Syntax(shortened(&format!("${{{inside}}}")));
        if name.is_empty() {
            return Err(syntax());
        }
        if operation.is_empty() {
            return self.required(name);
        }
        let (or_empty, operation) = match operation.strip_prefix(':') {
            Some(operation) => (true, operation),
            None => (false, operation),
        };
        let mut characters = operation.chars();
        let operator = characters.next();
        let word = characters.as_str();
        let value = self.look_up(name).filter(|value| !(or_empty && value.is_empty()));
        match (operator, value) {
            (Some('-' | '?'), Some(value)) => Ok(value),
            (Some('-'), None) => Ok(self.expand_nested(word, depth + 1)?.into()),
            (Some('?'), None) => {
                let message = self.expand_nested(word, depth + 1)?;
                Err(Fault::Required(name.to_owned(), shortened(&message)))
            }
            (Some('+'), Some(_)) => Ok(self.expand_nested(word, depth + 1)?.into()),
            (Some('+'), None) => Ok("".into()),
            _ => Err(syntax()),
        }
    }

    fn required(&mut self, name: &str) -> Result<Arc<str>, Fault> {
        self.look_up(name).ok_or_else(|| Fault::Missing(name.to_owned()))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// How many bytes at the start are a variable's name: a letter or `_`, then letters, digits and `_`.
fn name_length(text: &str) -> usize {
    let name = |(at, byte): &(usize, u8)| {
        byte.is_ascii_alphabetic() || *byte == b'_' || (*at > 0 && byte.is_ascii_digit())
    };
    text.bytes().enumerate().take_while(name).count()
}

/// Where the brace that was opened before `text` closes. Braces inside count; if they do not match, the last one of the
/// text is meant.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    text.rfind('}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(text: &str) -> Result<String, Fault> {
        let pairs = [("A", "a"), ("EMPTY", ""), ("_x1", "under"), ("DOLLAR", "$A")];
        let variables = pairs.map(|(name, value)| (name.into(), value.into())).into_iter().collect();
        Scope::new(&variables).expand(text)
    }

    #[test]
    fn variables_are_replaced_as_compose_does() {
        let check = |text: &str, expected: &str| assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        check("plain", "plain");
        check("$A-${A}.$_x1", "a-a.under");
        check("$$A $${A} $$$A", "$A ${A} $a");
        check("$1 $ $. 100$", "$1 $ $. 100$");
        check("${B:-x}${B-y}${B:-}", "xy");
        check("${EMPTY:-x}|${EMPTY-y}|${EMPTY}", "x||");
        check("${A:+set}${B:+set}${EMPTY:+set}", "set");
        check("${A+set}${B+set}${EMPTY+set}", "setset");
        check("${A:?no}${EMPTY?no}", "a");
        check("${B:-${C:-${A}}}", "a");
        check("${B:-{\"k\": {}}}", "{\"k\": {}}");
        check("${B:-$$x}", "$x");
        check("${DOLLAR}", "$A");
        check("${B:-a-b:-c?d}", "a-b:-c?d");
    }

    #[test]
    fn what_is_missing_or_malformed_is_said() {
        let check = |text: &str, expected: Fault| assert_eq!(expand(text), Err(expected), "{text}");
        let missing = |name: &str| Fault::Missing(name.to_owned());
        let syntax = |text: &str| Fault::Syntax(text.to_owned());
        check("$B", missing("B"));
        check("${B}", missing("B"));
        check("${B:-${C}}", missing("C"));
        check("${B:?give ${A}}", Fault::Required("B".into(), "give a".into()));
        check("${EMPTY:?}", Fault::Required("EMPTY".into(), String::new()));
        check("${", syntax("${"));
        check("${}", syntax("${}"));
        check("${1}", syntax("${1}"));
        check("${A.b}", syntax("${A.b}"));
        check("${A:}", syntax("${A:}"));
        check("${A:=x}", syntax("${A:=x}"));
        check(&format!("{}{}", "${B:-".repeat(30), "}".repeat(30)), Fault::TooLarge);
    }

    #[test]
    fn a_long_variable_in_many_places_ends_early() {
        let variables = [("A".into(), "x".repeat(1 << 20).into())].into_iter().collect();
        assert_eq!(Scope::new(&variables).expand(&"$A".repeat(100)), Err(Fault::TooLarge));
    }

    #[test]
    fn every_name_that_was_looked_at_is_noted() {
        let variables = [("A".into(), "a".into())].into_iter().collect();
        let mut scope = Scope::new(&variables);
        scope.expand("${A:-$B} ${C-$D} ${E+$F}").unwrap_err();
        assert_eq!(scope.used.iter().map(|name| &**name).collect::<Vec<_>>(), ["A", "C", "D"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[$A{}:?+\u{e9}\n-]{0,40}|.{0,40}") {
            let _ = expand(&text);
        }

        #[test]
        fn doubled_dollars_come_back_as_they_were(text in ".{0,60}") {
            prop_assert_eq!(expand(&text.replace('$', "$$")), Ok(text));
        }
    }
}
