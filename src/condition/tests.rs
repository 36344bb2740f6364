use proptest::prelude::*;
use serde_json::json;

use super::*;

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

fn answer(text: &str) -> String {
    let (compose, service) = (compose(), service());
    match read(text) {
        Err(mistake) => format!("mistake: {mistake}"),
        Ok(condition) => match condition.holds(&[&compose, &service]) {
            Ok(answer) => answer.to_string(),
            Err(failure) => format!("failure: {failure}"),
        },
    }
}

#[test]
fn conditions_are_answered() {
    for (text, expected) in [
        ("true", "true"),
        ("compose.services.all(name, has(compose.services[name].mem_limit))", "false"),
        ("compose.services.all(name, has(compose.services[name].image))", "true"),
        ("compose.services.exists(name, compose.services[name].image.contains('@sha256:'))", "true"),
        ("compose.services.app.image.matches('^nginx:[0-9.]+$')", "true"),
        ("matches(compose.services.app.image, 'apache')", "false"),
        ("int(compose.services.app.mem_limit) <= 512 * 1024 * 1024", "true"),
        ("compose.services.app.ports.map(port, port.target) == [80]", "true"),
        ("compose.services.app.ports.map(port, port.target > 90, port.target) == []", "true"),
        ("compose.services.filter(name, name != 'db') == ['app']", "true"),
        ("compose.services.exists_one(name, name.startsWith('d')) && 'db'.endsWith('b')", "true"),
        ("'log.audit' in service.features && 'tier' in service.labels && !(7 in service.features)", "true"),
        ("service.before == null && type(service.before) == null_type", "true"),
        ("service.count == 3.0 && 3u == service.count && service.count < 3.5 && 2u < 3", "true"),
        (
            "compose.services.db.big > 9223372036854775807 && compose.services.db.big == 18446744073709551615u",
            "true",
        ),
        ("size('äö') == 2 && size([1, 2]) == 2 && service.labels.size() == 1", "true"),
        ("'a' + 'b' == 'ab' && [1] + [2] == [1, 2] && 7 / 2 == 3 && 7 % 2 == 1 && -7 / 2 == -3", "true"),
        ("{'a': 1}['a'] == 1 && [1, 2][1] == 2 && {'a': [1]} == {'a': [1.0]}", "true"),
        (
            "string(1) + string(true) == '1true' && double('1.5') == 1.5 && uint(3) == 3u && bool('true')",
            "true",
        ),
        ("(1 < 2 ? 'yes' : service.nothing) == 'yes'", "true"),
        // What is wrong on one side does not count where the other decides.
        ("service.nothing == 1 || true", "true"),
        ("service.nothing == 1 && false", "false"),
        ("['a', 'tier'].exists(key, service.labels[key] == 'gold')", "true"),
        ("['a', 'tier'].all(key, service.labels[key] != 'gold')", "false"),
        // A loop inside a loop sees the variables of both, and the inner one where they are called alike.
        ("[1, 2].all(a, [3, 4].all(b, a < b))", "true"),
        ("[1, 2].all(a, [3, 4].exists(a, a == 4))", "true"),
    ] {
        assert_eq!(answer(text), expected, "{text}");
    }
}

#[test]
fn what_has_no_answer_says_why() {
    for (text, expected) in [
        ("service.labels.cost == 'x'", "failure: there is no `cost`"),
        ("service.features[3] == ''", "failure: there is no item 3"),
        ("service.features[-1] == ''", "failure: there is no item -1"),
        ("service.name > 3", "failure: `>` cannot be used on string and int"),
        ("service.name.tier", "failure: `.` cannot be used on string"),
        ("has(service.name.tier)", "failure: `has` cannot be used on string"),
        ("service.count.all(x, true)", "failure: `a loop` cannot be used on int"),
        ("size(1) == 1", "failure: `size` cannot be used on int"),
        ("1 + 1.0 == 2.0", "failure: `+` cannot be used on int and double"),
        ("int('12 MB') > 1", "failure: `12 MB` is no int"),
        ("1 / 0 == 1", "failure: `/` has no result that is a number of 64 bits"),
        ("9223372036854775807 + 1 > 0", "failure: `+` has no result that is a number of 64 bits"),
        ("int(1e300) > 1", "failure: `int` has no result that is a number of 64 bits"),
        ("service.name", "failure: the answer is string, and must be true or false"),
        ("service.name && true", "failure: the answer is string, and must be true or false"),
    ] {
        assert_eq!(answer(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_condition_is_said_when_it_is_read() {
    for (text, expected) in [
        ("", "the expression is empty"),
        ("  \n ", "the expression is empty"),
        ("servce.name == 'x'", "there is no variable `servce`: there are `compose`, `service`"),
        ("service.all(x, y)", "there is no variable `y`: there are `compose`, `service`"),
        (
            "service.name.matches(service.name)",
            "`matches` is written `text.matches('pattern')` with the pattern written out, as in `image.matches('^ghcr.io/')`",
        ),
        ("service.name.matches('(')", "the pattern cannot be read: unclosed group"),
        (
            "service.name.matches('((a{1,100}){1,100}){1,100}')",
            "the pattern cannot be read: it is too large: use fewer or smaller repetitions",
        ),
        ("has(service)", "`has` is written `has(map.field)`"),
        ("service.all(x)", "`all` is written `list.all(item, condition)`"),
        ("size()", "`size` is written `size(x)`"),
        ("contains('a', 'b')", "`contains` is written `text.contains('part')`"),
        ("b'abc' == b'abc'", "bytes (`b'…'`) cannot be used here"),
        ("Rule{id: 1} == 1", "a message (`Name{…}`) cannot be used here"),
        (
            "service.name ==",
            "the expression cannot be read: mismatched input the end (line 1, column 16 of the expression)",
        ),
    ] {
        assert_eq!(answer(text), format!("mistake: {expected}"), "{text}");
    }
    let unknown = answer("now() > 1");
    assert!(unknown.starts_with("mistake: there is no function `now`: there are `size`, "), "{unknown}");
}

#[test]
fn what_it_reads_is_known() {
    let condition = read("service.labels.all(compose, compose != '')").expect("a condition");
    assert!(condition.reads(1) && !condition.reads(0), "the variable of a loop hides the other");
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
        let started = std::time::Instant::now();
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
    let doubled = format!("service.list{} == []", ".map(x, [x, x])".repeat(60));
    let grown = format!("[service.text]{} == []", ".map(x, x + x)".repeat(60));
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
        let started = std::time::Instant::now();
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

#[test]
fn the_deepest_condition_is_answered() {
    let chain = format!("0{} > 0", " + 1".repeat(Condition::MAX_DEPTH - 2));
    assert_eq!(answer(&chain), "true");
    let longer = format!("0{} > 0", " + 1".repeat(Condition::MAX_DEPTH));
    assert_eq!(answer(&longer), "mistake: the expression is nested too deep");
    let negated =
        format!("{}true{}", "!(!(".repeat(Condition::MAX_DEPTH / 2), "))".repeat(Condition::MAX_DEPTH / 2));
    assert!(!answer(&negated).contains("failure"));
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
        let _ = answer(&text);
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
