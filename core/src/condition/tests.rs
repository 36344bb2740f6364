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
        ("service.features[3] == ''", "failure: the list has no such item"),
        ("service.features[-1] == ''", "failure: the list has no such item"),
        ("service.name > 3", "failure: `>` cannot be used on string and int"),
        ("service.name.tier", "failure: `.` cannot be used on string"),
        ("has(service.name.tier)", "failure: `has` cannot be used on string"),
        ("service.count.all(x, true)", "failure: `a loop` cannot be used on int"),
        ("size(1) == 1", "failure: `size` cannot be used on int"),
        ("1 + 1.0 == 2.0", "failure: `+` cannot be used on int and double"),
        // A value may be secret, so none is shown.
        ("int('12 MB') > 1", "failure: the text is no int"),
        ("uint(service.name) > 1u", "failure: the text is no uint"),
        ("double(service.name) > 1.0", "failure: the text is no double"),
        ("bool(service.name)", "failure: the text is no bool"),
        ("service.labels['cost'] == 'x'", "failure: there is no `cost`"),
        ("service.labels[service.name] == 'x'", "failure: there is no such key"),
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
