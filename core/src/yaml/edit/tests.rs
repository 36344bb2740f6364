//! One value set, and every other byte as it was.

use proptest::prelude::*;

use super::*;

fn edited(before: &str, path: &str, value: &str) -> Result<String, EditError> {
    let text = Text::new(&"x.yaml".into(), before.as_bytes()).expect("it is text");
    let value: Value = serde_yaml::from_str(value).expect("a value");
    set(&text, 0, &path.split('.').collect::<Vec<_>>(), &value)
}

fn check(before: &str, path: &str, value: &str, expected: &str) {
    assert_eq!(edited(before, path, value).as_deref(), Ok(expected), "{before}");
}

#[test]
fn a_value_that_is_there_is_replaced_in_its_line() {
    check("a: 1 # one\nb: 2\n", "a", "3", "a: 3 # one\nb: 2\n");
    check("a: \"1\"   # one\n", "a", "'2'", "a: \"2\"   # one\n");
    check("a: 'it''s' # one\n", "a", "x", "a: \"x\" # one\n");
    check("a: \"x\\\"y\" # one\n", "a", "7", "a: 7 # one\n");
    check("x: {a: 1, b: 2}\n", "x.a", "one", "x: {a: one, b: 2}\n");
    check("x:\n  a: 1\n\n  # two\n  b: 2\n", "x.a", "v1.2.3", "x:\n  a: v1.2.3\n\n  # two\n  b: 2\n");
    check("a: old\r\nb: 2\r\n", "a", "new", "a: new\r\nb: 2\r\n");
    check("ä: ö # ü\nb: é\n", "b", "x", "ä: ö # ü\nb: x\n");
    check(
        "a:\n  - one\n  - two # last\n# after\nb: 1\n",
        "a",
        "[three]",
        "a: [three] # last\n# after\nb: 1\n",
    );
    check("a: |\n  text\n  more\n\nb: 1\n", "a", "x", "a: x\n\nb: 1\n");
}

#[test]
fn a_value_that_is_missing_comes_after_the_last_of_its_mapping() {
    check("a: 1 # one\n", "b", "2", "a: 1 # one\nb: 2\n");
    check("x:\n    a: 1\n    # after\ny: 1\n", "x.b", "2", "x:\n    a: 1\n    b: 2\n    # after\ny: 1\n");
    check("x: {a: 1}\n", "x.b", "2", "x: {a: 1, b: 2}\n");
    check("x: {}\n", "x.b.c", "2", "x: {b: {c: 2}}\n");
    check("x:\n  a: 1\n", "x.b.c", "2", "x:\n  a: 1\n  b:\n    c: 2\n");
    check("x:\n  a:\ny: 1\n", "x.b", "2", "x:\n  a:\n  b: 2\ny: 1\n");
    check("x:\n  a: 1", "x.b", "2", "x:\n  a: 1\n  b: 2");
    check("x:\r\n  a: 1\r\n", "x.b", "2", "x:\r\n  a: 1\r\n  b: 2\r\n");
    check(
        "x:\n  a: >\n    folded\n    text\n\ny: 1\n",
        "x.b",
        "2",
        "x:\n  a: >\n    folded\n    text\n  b: 2\n\ny: 1\n",
    );
}

#[test]
fn a_mapping_with_nothing_in_it_gets_its_first_field() {
    check("x:\n  a: # nothing\n  b: 1\n", "x.a.c", "2", "x:\n  a: # nothing\n    c: 2\n  b: 1\n");
    check("x:\n    a:\n", "x.a.c.d", "2", "x:\n    a:\n        c:\n          d: 2\n");
    check("x: {a: , b: 1}\n", "x.a.c", "2", "x: {a: {c: 2} , b: 1}\n");
    check("x:\n  a: ~\n", "x.a", "1", "x:\n  a: 1\n");
}

#[test]
fn text_is_put_in_quotes_where_it_would_read_as_something_else() {
    for (text, expected) in [
        ("'1.10'", "\"1.10\""),
        ("'true'", "\"true\""),
        ("'no'", "\"no\""),
        ("'2026-01-31'", "\"2026-01-31\""),
        ("'a: b'", "\"a: b\""),
        ("'[x]'", "\"[x]\""),
        ("''", "\"\""),
        ("1.4.0", "1.4.0"),
        ("v1", "v1"),
        ("7", "7"),
        ("true", "true"),
        ("[a, '1']", "[a, \"1\"]"),
        ("\"a\\nb\\t\\\"\"", "\"a\\nb\\t\\\"\""),
    ] {
        check("a: x\n", "a", text, &format!("a: {expected}\n"));
    }
}

#[test]
fn what_cannot_be_changed_alone_is_left() {
    for (before, path) in [
        ("x: &all {a: 1}\ny: *all\n", "x.a"),
        ("x: &all\n  a: 1\ny:\n  <<: *all\n", "x.a"),
        ("x: &all {a: 1}\ny: *all\n", "y.a"),
        ("a: &one 1\nb: *one\n", "a"),
        ("a: !tag 1\n", "a"),
        ("a: [1]\n", "a.b"),
        ("a: text\n", "a.b"),
        ("", "a"),
    ] {
        assert!(edited(before, path, "2").is_err(), "{before}");
    }
}

#[test]
fn only_its_own_document_is_changed() {
    let text = Text::new(&"x".into(), b"a: 1\n---\na: 1\n").expect("it is text");
    assert_eq!(set(&text, 1, &["a"], &Value::from(2)).as_deref(), Ok("a: 1\n---\na: 2\n"));
}

proptest! {
    /// Whatever text is set, it reads back, or nothing is changed.
    #[test]
    fn any_text_reads_back(value in "\\PC{0,12}|[ -~\\n\\t]{0,12}") {
        let text = Text::new(&"x".into(), b"a:\n  b: 1 # c\n  d: {e: 2}\n").expect("it is text");
        for path in [&["a", "b"][..], &["a", "d", "e"], &["a", "d", "f"], &["a", "g"]] {
            if let Ok(edited) = set(&text, 0, path, &Value::from(value.as_str())) {
                let read = values(&edited).expect("it is YAML");
                let found = path.iter().try_fold(&read[0].1, |value, key| value.get(*key));
                prop_assert_eq!(found.and_then(Value::as_str), Some(value.as_str()));
                prop_assert!(edited.contains("# c"));
            }
        }
    }

    /// Whatever the file, an edit ends, and is right or refused.
    #[test]
    fn any_file_is_edited_or_left(text in "[ab:{}\\[\\], \\n#'\"|>*&!~-]{0,40}") {
        let text = Text::new(&"x".into(), text.as_bytes()).expect("it is text");
        let _ = set(&text, 0, &["a", "b"], &Value::from("x"));
    }
}

#[test]
fn a_text_that_is_too_deep_is_left() {
    assert!(edited(&format!("a: 1\nb:\n  {}x\n", "- ".repeat(100_000)), "a", "2").is_err());
}
