use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

fn path() -> Arc<str> {
    "services/web/service.yaml".into()
}

/// One line for each diagnostic: `line:column+width code message | label | notes | help`.
fn show(diagnostics: &[Diagnostic]) -> String {
    let line = |d: &Diagnostic| {
        let place = format!("{}:{}+{}", d.place.line, d.place.column, d.place.width);
        let rest =
            [d.label.clone().unwrap_or_default(), d.notes.join(" / "), d.help.clone().unwrap_or_default()];
        format!("{place} {}: {} | {}\n", d.code, d.message, rest.join(" | "))
    };
    diagnostics.iter().map(line).collect()
}

fn values(source: &str) -> Result<Vec<Value>, String> {
    let text = Text::new(&path(), source.as_bytes()).map_err(|found| show(&found))?;
    let documents = text.documents().map_err(|found| show(&found))?;
    Ok(documents.into_iter().map(|document| document.value).collect())
}

fn json(source: &str) -> String {
    match values(source) {
        Ok(values) => serde_json::to_string(&values).unwrap(),
        Err(found) => found,
    }
}

#[test]
fn values_are_what_yaml_says() {
    let check = |source: &str, expected: &str| assert_eq!(json(source), expected, "{source:?}");
    check("", "[]");
    check("# nothing\n", "[]");
    check("---\n---\na: 1\n---\n", r#"[{"a":1}]"#);
    check("a: 1\n---\nb: 2\n", r#"[{"a":1},{"b":2}]"#);
    check("\u{feff}a: 1\r\nb: [x, 2]\r\n", r#"[{"a":1,"b":["x",2]}]"#);
    check("a: {no: yes, 080: 0o10, 1: ~}", r#"[{"a":{"no":"yes","080":8,"1":null}}]"#);
    check("1.10: true", r#"[{"1.10":true}]"#);
    check("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", r#"[{"a":{"x":1,"y":2},"b":{"y":3,"x":1}}]"#);
    check(
        "a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc:\n  <<: [*a, *b]\n",
        r#"[{"a":{"x":1},"b":{"x":2,"z":3},"c":{"x":1,"z":3}}]"#,
    );
}

#[test]
fn mistakes_of_the_text_have_a_place() {
    let check = |source: &str, expected: &str| {
        let found = json(source);
        assert!(found.contains(expected), "{source:?}\n{found}");
    };
    check("a: [1, 2\nb: 3", "yaml-syntax: this is not valid YAML: did not find expected ',' or ']'");
    check("a:\n\tb: 1", "2:1+1 yaml-syntax");
    check("a:\n\tb: 1", "indent with spaces");
    check("a: *b", "1:4+1 yaml-syntax: this is not valid YAML: unknown anchor");
    check("a: 1\na: 2\nb: {c: 1, c: 2}", "2:1+1 duplicate-key: the key `a` stands here a second time");
    check("a: 1\na: 2\nb: {c: 1, c: 2}", "3:11+1 duplicate-key: the key `c` stands here a second time");
    check("<<: {a: 1}\n<<: {b: 1}", "2:1+2 duplicate-key");
    check("<<: 1", "the merge key `<<` takes a mapping");
    check("a: \0", "yaml-syntax");
    check("[a]: 1", "yaml-syntax");
    check(&"[".repeat(10_000), "yaml-too-deep");
    check(&format!("{}{}", "[".repeat(101), "]".repeat(101)), "yaml-too-deep");
    check(&"- ".repeat(10_000), "yaml-too-deep");
    check(&format!("a: {}", "x".repeat(MAX_BYTES)), "yaml-too-large");
}

#[test]
fn text_that_is_not_utf8_is_refused_at_its_place() {
    let found = Text::new(&path(), b"a: 1\nb: \xc3\xa9 \xff\n").map(|_| ()).unwrap_err();
    assert_eq!(show(&found), "2:6+1 not-utf-8: the file is not text in UTF-8 |  |  | save it as UTF-8\n");
}

#[test]
fn an_alias_bomb_ends_early() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(json(&bomb).contains("yaml-too-large: the file holds too many values"), "{}", json(&bomb));
}

#[test]
fn every_value_and_key_has_its_place() {
    let source = "# head\nname: web\nlist:\n  - one\n  - {k: two}\n  -\n    deep: é x\nbase: &base\n  in: 1\nuse:\n  <<: *base\n  own: \"q\"\nref: *base\n---\nsecond: 2\n";
    let file = path();
    let text = Text::new(&file, source.as_bytes()).unwrap();
    let check = |document, way: &[Step<'_>], value: (u32, u32, u32), key: (u32, u32, u32)| {
        let at = |place: Place| (place.line, place.column, place.width);
        assert_eq!(at(text.place(document, way)), value, "value of {}", dotted(way));
        assert_eq!(at(text.key_place(document, way)), key, "key of {}", dotted(way));
    };
    use Step::{Item, Key};
    check(0, &[Key("name")], (2, 7, 3), (2, 1, 4));
    check(0, &[Key("list")], (3, 1, 4), (3, 1, 4));
    check(0, &[Key("list"), Item(0)], (4, 5, 3), (4, 5, 3));
    check(0, &[Key("list"), Item(1)], (5, 5, 8), (5, 5, 8));
    check(0, &[Key("list"), Item(1), Key("k")], (5, 9, 3), (5, 6, 1));
    check(0, &[Key("list"), Item(2), Key("deep")], (7, 11, 3), (7, 5, 4));
    check(0, &[Key("use"), Key("in")], (9, 7, 1), (9, 3, 2));
    check(0, &[Key("use"), Key("own")], (12, 8, 3), (12, 3, 3));
    check(0, &[Key("ref")], (13, 6, 5), (13, 1, 3));
    check(0, &[Key("ref"), Key("in")], (9, 7, 1), (9, 3, 2));
    check(0, &[Key("name"), Key("no")], (2, 7, 3), (2, 1, 4));
    check(0, &[Key("absent"), Key("no")], (2, 1, 1), (2, 1, 1));
    check(1, &[Key("second")], (15, 9, 1), (15, 1, 6));
    assert_eq!(text.place(0, &[Key("name")]).text.as_deref(), Some("name: web"));
    assert!(text.is_plain(0, &[Key("name")]) && !text.is_plain(0, &[Key("use"), Key("own")]));
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Form {
    service: crate::name::ServiceName,
    #[serde(default)]
    state: crate::plan::RunState,
    #[serde(default)]
    variables: BTreeMap<Arc<str>, Scalar>,
    #[serde(default)]
    place: Option<Nodes>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    health: Option<Health>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Nodes {
    nodes: Vec<crate::name::NodeName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Health {
    within: u32,
}

fn decoded(source: &str) -> String {
    let file = path();
    let text = Text::new(&file, source.as_bytes()).unwrap();
    let documents = text.documents().unwrap();
    match text.decode::<Form>(&documents[0]) {
        Ok(_) => "ok".to_owned(),
        Err(found) => show(&found),
    }
}

#[test]
fn a_form_is_read_with_all_its_mistakes() {
    let check = |source: &str, expected: &[&str]| {
        let found = decoded(source);
        for part in expected {
            assert!(found.contains(part), "{source}\nwants {part}\n{found}");
        }
        assert_eq!(found.lines().count(), expected.len(), "{source}\n{found}");
    };
    check("service: web\nvariables: {PORT: 8080, ON: true, A: text}", &["ok"]);
    check(
        "service: web\nserivce: x\nplaces: 1",
        &[
            "2:1+7 unknown-field: there is no field `serivce` here",
            "3:1+6 unknown-field: there is no field `places` here",
        ],
    );
    check("plaec: {}\nservice: web", &["did you mean `place`?"]);
    check("{}", &["1:1+2 missing-field: the field `service` is missing"]);
    check(
        "state: on\nhealth: {}",
        &[
            "missing-field: the field `service` is missing",
            "1:8+2 invalid-value: `state` cannot be `on`",
            "missing-field: the field `health.within` is missing",
        ],
    );
    check("service: ~", &["1:10+1 wrong-type: `service` must be text | this is nothing"]);
    check(
        "service: web\ndescription:\n",
        &["2:1+11 wrong-type: `description` must be text | this is nothing"],
    );
    check("service: Web_1", &["1:10+5 invalid-value: `Web_1` is not a valid service name"]);
    check(
        "service: web\nplace:\n  nodes: [a, B_, c, D_, {}, f]\nstate: [x]",
        &[
            "3:14+2 invalid-value: `B_`",
            "3:21+2 invalid-value: `D_`",
            "3:25+2 wrong-type: `place.nodes[4]` must be text",
            "4:8+3 ",
        ],
    );
    check(
        "service: web\nhealth: {within: soon, extra: 1}",
        &[
            "2:18+4 wrong-type: `health.within` must be a whole number, 0 or more | this is the text \"soon\"",
            "2:24+5 unknown-field",
        ],
    );
    check(
        "service: web\nvariables: {V: 1.10, N: }",
        &[
            "2:16+4 wrong-type: `variables.V` must be text: put the number in quotes",
            "wrong-type: `variables.N` must be text",
        ],
    );
    check("[1, 2]", &["1:1+6 wrong-type: the document must be a mapping | this is a list"]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let file = path();
        if let Ok(text) = Text::new(&file, &bytes) {
            let _ = text.documents();
        }
    }

    #[test]
    fn no_text_makes_it_panic(source in "[-a-c:*&!?<>|'\"\\[\\]{},#%@ \t\r\n\u{e9}]{0,80}") {
        let file = path();
        let text = Text::new(&file, source.as_bytes()).unwrap();
        let _ = text.index();
        if let Ok(documents) = text.documents() {
            for document in documents {
                let _ = text.decode::<Form>(&document);
            }
        }
    }
}
