//! Each form is read back by the parser that GitLab uses, with all its extensions, and must be nothing but the text.

use comrak::nodes::{NodeValue, TableAlignment};
use comrak::{Arena, Options, parse_document};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::{prop_assert, prop_assert_eq, proptest};
use regex::Regex;

use super::*;

/// All that some forge reads as markup, so as to see more than any one of them does.
fn options() -> Options<'static> {
    let mut options = Options::default();
    let on = &mut options.extension;
    (on.strikethrough, on.table, on.autolink, on.tasklist) = (true, true, true, true);
    (on.superscript, on.subscript, on.underline, on.spoiler) = (true, true, true, true);
    (on.highlight, on.insert, on.footnotes, on.inline_footnotes) = (true, true, true, true);
    (on.description_lists, on.multiline_block_quotes, on.alerts) = (true, true, true);
    (on.math_dollars, on.math_latex, on.math_code) = (true, true, true);
    (on.wikilinks_title_after_pipe, on.greentext, on.subtext) = (true, true, true);
    (on.block_directive, on.cjk_friendly_emphasis) = (true, true);
    on.front_matter_delimiter = Some("---".to_owned());
    (options.parse.relaxed_autolinks, options.parse.relaxed_tasklist_matching) = (true, true);
    options
}

/// What a Markdown text is made of, each piece as one line: `Text hello`. Pieces of text that touch are one.
fn parsed(markdown: &str) -> Vec<String> {
    let arena = Arena::new();
    let mut pieces: Vec<String> = Vec::new();
    for node in parse_document(&arena, markdown, &options()).descendants() {
        let piece = match &node.data.borrow().value {
            NodeValue::Document => continue,
            NodeValue::Text(text) => match pieces.last_mut().filter(|last| last.starts_with("Text ")) {
                Some(last) => {
                    last.push_str(text);
                    continue;
                }
                None => format!("Text {text}"),
            },
            NodeValue::Code(code) => format!("Code {}", code.literal),
            NodeValue::CodeBlock(block) => format!("CodeBlock {} {}", block.info, block.literal),
            NodeValue::HtmlInline(html) => format!("Html {html}"),
            NodeValue::Table(table) => format!("Table {}", table.alignments == [TableAlignment::None; 2]),
            other => format!("{other:?}").split(['(', ' ']).next().unwrap_or_default().to_owned(),
        };
        pieces.push(piece);
    }
    pieces
}

/// What forges link in the text that people see.
fn linked() -> Vec<Regex> {
    let patterns = [
        "@[!-~é]",
        "[#!$%~&^*][A-Za-z0-9\"]",
        "[a-z]://",
        "(?i:www)[.][a-z]",
        ":[A-Za-z0-9_+-]+:",
        "(^|[^A-Za-z0-9])[A-Z][A-Z0-9_]*-[0-9]",
        "(^|[^A-Za-z0-9])(?i:gh|gl)-[0-9]",
        r"[\[{][+_\[A-Za-z-]",
    ];
    patterns.iter().map(|pattern| Regex::new(pattern).expect("a pattern")).collect()
}

fn seen(text: &str) -> String {
    text.replace('\u{200b}', "")
}

#[test]
fn plain_text_stays_readable_where_it_has_no_meaning_to_a_forge() {
    let check = |text, expected| assert_eq!(escaped(text), expected);
    check("", "");
    check("Plan: 2 to create, 1 to update", "Plan: 2 to create, 1 to update");
    check("nginx:1.27 → 1.28 (web-2)", "nginx:1.27 → 1.28 (web-2)");
    check("services/web/compose.yaml:4", "services/web/compose.yaml:4");
    check("it's half-done; 3 - 2 = 1?", "it's half-done; 3 - 2 = 1?");
}

#[test]
fn what_forges_link_is_broken() {
    let check = |text, expected: &str| assert_eq!(escaped(text), expected.replace('~', BREAK), "{text}");
    check("cc @root", "cc &#64;~root");
    check("fixes #1 and GH-12, O_1-3, !4", "fixes &#35;~1 and GH-~12, O&#95;1-~3, &#33;~4");
    check("see https://a.example", "see https:~//a.example");
    check("WWW.example.org", "WWW~.example.org");
    check("done :tada:", "done :~tada:");
    check("100% sure", "100% sure");
    check("a@b.example", "a&#64;~b.example");
}

#[test]
fn markup_is_written_as_references() {
    let check = |text, expected: &str| assert_eq!(escaped(text).replace(BREAK, ""), expected, "{text}");
    check("<img src=x>", "&lt;img src=x&gt;");
    check("[a](b)", "&#91;a&#93;(b)");
    check("**b** _c_ ~~d~~", "&#42;&#42;b&#42;&#42; &#95;c&#95; &#126;&#126;d&#126;&#126;");
    check("- a", "&#45; a");
    check("12. a", "12&#46; a");
    check("1) a", "1&#41; a");
    check("a|b", "a&#124;b");
    check("/merge", "&#47;merge");
    check(" a ", "&#32;a&#32;");
    check("&lt;", "&amp;lt;");
}

#[test]
fn code_is_a_span_that_no_backtick_ends() {
    let check = |text, expected| assert_eq!(code(text), expected, "{text}");
    check("a", "`a`");
    check("a`b", "``a`b``");
    check("`", "`` ` ``");
    check(" a ", "`  a  `");
    check(" ", "` `");
    check("<b>@x", "`<b>@x`");
    check("a|b", "<code>a&#124;b</code>");
    check("", "<code></code>");
    check("a\nb\u{1b}[0m", "`a␊b␛[0m`");
    check("a\u{202e}b", "`a\u{fffd}b`");
}

#[test]
fn a_block_keeps_its_lines_and_ends_where_it_should() {
    let check = |text, expected| assert_eq!(fenced(text, "diff"), expected, "{text}");
    check("", "```diff\n```\n");
    check("-a\n+b", "```diff\n-a\n+b\n```\n");
    check("-a\n\t+b\r\n", "```diff\n-a\n\t+b␍\n```\n");
    check("```\n/close", "````diff\n```\n\u{200b}/close\n````\n");
    assert_eq!(fenced("a", "x\n`evil` y"), "```xevily\na\n```\n");
}

/// Text that means as much harm as it can: pieces of markup, and characters of all kinds, in any order.
fn hostile() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "`",
        "``",
        "```",
        "~~~",
        "<b>",
        "</code>",
        "<!--",
        "-->",
        "<script>",
        "&lt;",
        "&#64;",
        "&",
        "@root",
        "@",
        "#1",
        "# ",
        "!1",
        "GH-1",
        "OPS-2",
        "**",
        "__",
        "_",
        "*",
        "~~",
        "[",
        "]",
        "](",
        "](http://a.example)",
        "![",
        "[^1]",
        "[x] ",
        "[[a]]",
        "[[_TOC_]]",
        "{+",
        "+}",
        "[-",
        "http://",
        "https://a.example/b",
        "ftp://c.example",
        "www.",
        "WWW.d.example",
        "a@b.example",
        "mailto:a@b.example",
        "xmpp:a@b.example/c",
        ":tada:",
        ":",
        "::include{file=a}",
        "1. ",
        "2) ",
        "- ",
        "+ ",
        "> ",
        ">>>",
        "[!NOTE]",
        "---",
        "===",
        "***",
        "|",
        "|-|-|",
        "\\",
        "\\|",
        "$a$",
        "$$",
        "$`a`$",
        "%1",
        "~bug",
        "~\"a\"",
        "&1",
        "^alert#1",
        "*iteration:1",
        "/merge",
        "/",
        " ",
        "    ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\n\n",
        "\u{1b}[31m",
        "\u{200b}",
        "\u{202e}",
        "\0",
        "a",
        "b",
        "é",
        "w",
        "ww",
        "=",
        "\"",
        "'",
        ".",
        ")",
        "==",
        "++",
        "||",
        ": ",
        "-# ",
    ];
    let char = any::<char>().prop_map(String::from);
    vec(prop_oneof![8 => select(PIECES).prop_map(str::to_owned), 1 => char], 0..24)
        .prop_map(|all| all.concat())
}

/// A cell of a table, as the parser gives it back.
fn table(cell: &str) -> Vec<String> {
    let pieces = parsed(&format!("| a | b |\n|---|---|\n| {cell} | c |\n"));
    let around =
        ["Table true", "TableRow", "TableCell", "Text a", "TableCell", "Text b", "TableRow", "TableCell"];
    assert_eq!(pieces[..8], around, "{cell}");
    assert_eq!(pieces[pieces.len() - 2..], ["TableCell", "Text c"], "{cell}");
    pieces[8..pieces.len() - 2].to_vec()
}

/// What a browser shows of text with character references in HTML.
fn shown(html: &str) -> String {
    let reference = Regex::new("&(amp|lt|gt|#([0-9]+));").expect("a pattern");
    let char = |found: &regex::Captures<'_>| match (&found[1], found.get(2)) {
        ("amp", _) => '&',
        ("lt", _) => '<',
        (_, Some(number)) => number.as_str().parse().ok().and_then(char::from_u32).expect("a character"),
        _ => '>',
    };
    reference.replace_all(html, |found: &regex::Captures<'_>| char(found).to_string()).into_owned()
}

proptest! {
    #[test]
    fn plain_text_is_read_as_itself(text in hostile()) {
        let (markdown, expected) = (escaped(&text), visible(&text, ""));
        let text = format!("Text {expected}");
        let text = if expected.is_empty() { vec![] } else { vec![text.as_str()] };
        for (before, around) in [
            ("", &["Paragraph"][..]), ("a ", &["Paragraph"]), ("- ", &["List", "Item", "Paragraph"]),
            ("## ", &["Heading"]), ("a\n", &["Paragraph", "Text a", "SoftBreak"]), ("> ", &["BlockQuote", "Paragraph"]),
        ] {
            if expected.is_empty() { continue; }
            let pieces: Vec<_> = parsed(&format!("{before}{markdown}")).iter().map(|piece| seen(piece)).collect();
            let start = if before == "a " { format!("Text a {expected}") } else { text[0].to_owned() };
            prop_assert_eq!(&pieces, &[around, &[start.as_str()]].concat(), "{}{}", before, markdown);
        }
        let cell: Vec<_> = table(&markdown).iter().map(|piece| seen(piece)).collect();
        prop_assert_eq!(cell, text);
        prop_assert_eq!(seen(&shown(&markdown)), expected);
    }

    #[test]
    fn plain_text_holds_nothing_that_a_parser_or_a_forge_looks_for(text in hostile()) {
        let markdown = escaped(&text);
        prop_assert!(!markdown.contains(['<', '>', '@', '[', ']', '*', '_', '`', '|', '\\', '\n', '"', '$']), "{}", markdown);
        prop_assert!(!markdown.starts_with(['/', '-', '+', '=', ' ', ':', '#']), "{}", markdown);
        let shown = shown(&markdown);
        for pattern in linked() {
            prop_assert!(!pattern.is_match(&shown), "{} finds {:?}", pattern, shown);
        }
    }

    #[test]
    fn code_is_read_as_itself(text in hostile()) {
        let (markdown, expected) = (code(&text), visible(&text, ""));
        for (before, around) in [("", "Paragraph"), ("## ", "Heading")] {
            let pieces: Vec<_> = parsed(&format!("{before}{markdown}")).iter().map(|piece| seen(piece)).collect();
            prop_assert_eq!(&pieces[0], around);
            is_code(&pieces[1..], &expected);
        }
        is_code(&table(&markdown).iter().map(|piece| seen(piece)).collect::<Vec<_>>(), &expected);
        let html = html_code(&text);
        let inside = html.strip_prefix("<code>").and_then(|html| html.strip_suffix("</code>")).expect("code");
        prop_assert!(!inside.contains(['<', '>', '"', '\'', '@']));
        prop_assert_eq!(seen(&shown(inside)), expected);
    }

    #[test]
    fn a_block_is_read_as_itself(text in hostile()) {
        let expected = visible(&text, "\n\t");
        let end = if expected.is_empty() || expected.ends_with('\n') { "" } else { "\n" };
        let pieces = parsed(&format!("a\n\n{}\nb", fenced(&text, "diff")));
        let block = format!("CodeBlock diff {expected}{end}");
        prop_assert_eq!(pieces.iter().map(|piece| seen(piece)).collect::<Vec<_>>(),
            ["Paragraph", "Text a", &block, "Paragraph", "Text b"]);
    }

    #[test]
    fn no_line_is_an_order_to_gitlab(text in hostile()) {
        let block = fenced(&text, "diff");
        let is_order = |line: &str| line.starts_with('/');
        prop_assert!(!escaped(&text).lines().any(is_order) && !code(&text).lines().any(is_order));
        prop_assert!(block.starts_with("```diff\n") || !block.lines().any(is_order));
    }
}

/// Code is a span, or where it must be, text within the one tag.
fn is_code(pieces: &[String], expected: &str) {
    let text = format!("Text {expected}");
    let html = ["Html <code>", &text, "Html </code>"];
    match expected {
        "" => assert_eq!(pieces, ["Html <code>", "Html </code>"]),
        _ if expected.contains('|') => assert_eq!(pieces, html),
        _ => assert_eq!(pieces, [format!("Code {expected}")]),
    }
}
