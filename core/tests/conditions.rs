//! Conditions that are meant to do harm, conditions by chance, and the same conditions for another evaluation: whatever is
//! written, it is answered or refused in bounded time, and as CEL says.

#![allow(clippy::disallowed_methods, reason = "the test reads the clock to see that nothing takes long")]

use std::time::Instant;

use gitops_core::condition::{Condition, Failure, Mistake};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const VARIABLES: [&str; 2] = ["compose", "service"];

fn compose() -> Json {
    json!({
        "name": "web",
        "services": {
            "app": {"image": "nginx:1.27", "mem_limit": "268435456", "ports": [{"target": 80, "published": "80"}]},
            "db": {"image": "ghcr.io/our/db@sha256:abc", "environment": {"A": "b"}, "cpus": 1.5, "big": 18446744073709551615_u64},
        },
    })
}

fn service() -> Json {
    json!({"name": "web", "labels": {"tier": "gold"}, "features": ["log.audit"], "before": null, "count": 3})
}

fn read(text: &str) -> Result<Condition, Mistake> {
    Condition::read_all(&[text], &VARIABLES).pop().expect("one for one")
}

/// Longest texts of one kind, to a byte.
fn hostile() -> Vec<String> {
    let fill = |unit: &str| unit.repeat(Condition::MAX_BYTES / unit.len());
    let both = |open: &str, middle: &str, close: &str| {
        let times = (Condition::MAX_BYTES - middle.len()) / (open.len() + close.len());
        format!("{}{middle}{}", open.repeat(times), close.repeat(times))
    };
    let chains = [
        "a.",
        "1+",
        "1<",
        "a&&",
        "a||",
        "a?b:",
        "a?",
        "-",
        "!",
        ".",
        "?",
        "$%^&*",
        "([{",
        "a[",
        "{1:",
        "[",
        "(",
        "\\",
        "'",
        "\"\"\"",
        "r'",
        "0x",
        "9",
        "\u{1f600}",
        "//",
    ];
    let mut texts: Vec<String> = chains.iter().flat_map(|unit| [fill(unit), fill(unit) + "1"]).collect();
    texts.extend(
        [
            ("(", "true", ")"),
            ("!(", "true", ")"),
            ("[", "1", "]"),
            ("{'a':", "1", "}"),
            ("true?", "1", ":1"),
            ("[1].map(x,", "1", ")"),
            ("size(", "'a'", ")"),
            ("service[", "'a'", "]"),
            ("has(", "a.b", ")"),
        ]
        .map(|(open, middle, close)| both(open, middle, close)),
    );
    texts.extend(["service", "[1]", "'a'"].iter().flat_map(|start| {
        [".name", "[0]", ".map(x,x)", "+'a'", "==1"]
            .map(|unit| format!("{start}{}", unit.repeat((Condition::MAX_BYTES - 7) / unit.len())))
    }));
    texts
}

#[test]
fn no_text_is_read_for_long_or_overflows_the_stack() {
    for text in hostile() {
        let started = Instant::now();
        let read = read(&text).map(|_| ());
        // Some milliseconds where it is optimized; the limit allows for a busy machine and no optimization.
        assert!(started.elapsed().as_secs() < 3, "{:.40}: {:?}: {read:?}", text, started.elapsed());
    }
    let large = "true && ".repeat(1 << 17) + "true";
    assert_eq!(read(&large).map(|_| ()), Err(Mistake::TooLong { bytes: large.len() }));
}

#[test]
fn no_condition_takes_long_or_grows() {
    let items: Vec<Json> = (0..1_000).map(|number| json!(format!("item {number}"))).collect();
    let values = json!({"list": items, "text": "x".repeat(100_000), "deep": nested(60)});
    let doubled = format!("service.list{} == []", ".map(x, [x, x])".repeat(40));
    let grown = format!("[service.text]{} == []", ".map(x, x + x)".repeat(50));
    for text in [
        "service.list.all(a, service.list.all(b, service.list.all(c, a + b + c != '')))",
        "service.list.map(a, service.list.map(b, a + b)) == []",
        "service.list.filter(a, service.list.filter(b, service.list.exists_one(c, c == b)) == service.list) == []",
        "service.list.exists(a, service.list == service.list + [a])",
        "service.list.all(a, service == service)",
        "service.list.all(a, !service.text.matches('(x+x+)+y'))",
        "service.list.all(a, size(service.text) > 3 && service.text.contains('xxxxxxxxxxxxxy') == false)",
        "service.list.all(a, 'item 999' in service.list)",
        "service.list.all(a, string(service.text) + service.text != '')",
        "service.list.map(a, service.list + service.list) == [] || true",
        &doubled,
        &grown,
    ] {
        let condition = read(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
        let started = Instant::now();
        assert_eq!(condition.holds(&[&Json::Null, &values]), Err(Failure::OverBudget), "{text}");
        // Without optimization and on a busy machine; optimized, it is a millisecond or two.
        assert!(started.elapsed().as_millis() < 500, "{text}: {:?}", started.elapsed());
    }
    assert_eq!(
        read("service.deep == service.deep").expect("a condition").holds(&[&Json::Null, &values]),
        Ok(true)
    );
}

fn nested(depth: usize) -> Json {
    (0..depth).fold(json!("x"), |inner, _| json!({ "inner": [inner] }))
}

/// Parts of conditions, right and wrong.
const PARTS: [&str; 44] = [
    "service",
    "compose",
    ".name",
    ".labels",
    ".tier",
    ".count",
    ".features",
    ".services",
    "[0]",
    "['tier']",
    "true",
    "false",
    "null",
    "1",
    "-7",
    "2u",
    "1.5",
    "9223372036854775807",
    "'a'",
    "'tier'",
    "r'\\d'",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    ":",
    "?",
    " + ",
    " - ",
    " == ",
    " < ",
    " in ",
    " && ",
    " || ",
    "!",
    ".all(x, ",
    ".map(x, x",
    "has(",
    "size(",
    ".matches('a+')",
    "x",
];

/// The same expression, for the crate's own evaluation: what both answer, they answer alike.
fn crate_answer(text: &str, compose: &Json, service: &Json) -> Option<bool> {
    let program = cel::Program::compile(text).ok()?;
    let mut context = cel::Context::default();
    context.add_variable("compose", compose).ok()?;
    context.add_variable("service", service).ok()?;
    match program.execute(&context).ok()? {
        cel::Value::Bool(answer) => Some(answer),
        _ => None,
    }
}

/// Conditions that are mostly right, made from these rules by the numbers of a seed.
fn made(numbers: &mut impl Iterator<Item = usize>, depth: usize) -> String {
    let mut next = |below: usize| numbers.next().unwrap_or(0) % below;
    let leaves = [
        "service.count",
        "service.name",
        "service.labels.tier",
        "service.features",
        "service.labels",
        "1",
        "2.5",
        "3u",
        "'web'",
        "'gold'",
        "true",
        "false",
        "null",
        "[1, 2, 3]",
        "compose.services.app.ports",
        "compose.services",
        "service.before",
        "service.missing",
        "x",
    ];
    if depth == 0 {
        return leaves[next(leaves.len())].to_owned();
    }
    let kind = next(16);
    let mut part = || made(numbers, depth - 1);
    let (one, other) = (part(), part());
    match kind {
        0 => format!("({one} == {other})"),
        1 => format!("({one} != {other})"),
        2 => format!("({one} < {other})"),
        3 => format!("({one} >= {other})"),
        4 => format!("({one} && {other})"),
        5 => format!("({one} || {other})"),
        6 => format!("({one} + {other})"),
        7 => format!("({one} in {other})"),
        8 => format!("!({one})"),
        9 => format!("({one}).all(x, {other})"),
        10 => format!("({one}).exists(x, {other})"),
        11 => format!("({one}).map(x, {other})"),
        12 => format!("({one}).filter(x, {other})"),
        13 => format!("size({one})"),
        14 => format!("({one} ? {other} : {one})"),
        _ => format!("({one})[{other}]"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_has_an_answer_or_a_reason(numbers in prop::collection::vec(0..PARTS.len(), 1..30), noise in ".{0,12}", at in 0..30_usize) {
        let mut text: String = numbers.iter().map(|number| PARTS[*number]).collect();
        let middle = text.floor_char_boundary(at.min(text.len()));
        if at % 3 == 0 {
            text.insert_str(middle, &noise);
        }
        let (compose, service) = (compose(), service());
        let _ = read(&text).map(|condition| condition.holds(&[&compose, &service]));
    }

    #[test]
    fn what_the_crate_answers_is_answered_alike(numbers in prop::collection::vec(0..1_000_usize, 60)) {
        let text = format!("[1].exists(x, {})", made(&mut numbers.into_iter(), 4));
        let (compose, service) = (compose(), service());
        if let (Some(expected), Ok(condition)) = (crate_answer(&text, &compose, &service), read(&text)) {
            prop_assert_eq!(condition.holds(&[&compose, &service]), Ok(expected), "{}", text);
        }
    }
}
