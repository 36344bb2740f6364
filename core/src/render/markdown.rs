//! Text from outside as Markdown that does nothing: what a name, a commit message or a file holds is shown on a pull
//! request letter for letter, and neither forms it, links from it, nor calls anyone.
//!
//! A forge reads a comment twice. First as Markdown and HTML: against that, punctuation is written as character
//! references, which no parser takes for markup, in a paragraph, in a table and within HTML such as `<summary>` alike. Then
//! it looks through the finished text for what it links by itself (`@someone`, `#1`, `!1`, `https://…`, `:tada:`), where it
//! makes no difference how a character was written, not even with a backslash. Against that an invisible break stands
//! within such a word. Forges look for neither within code, so what must be copied exactly goes through [`code`].
//!
//! GitLab obeys a third thing, lines that begin with `/merge` and the like, before it reads any Markdown. No text that
//! comes out of here begins a line with `/`, but within a fence that GitLab knows for one.

/// A zero-width space: breaks a word for a program, and is not seen by people.
const BREAK: &str = "&#8203;";

/// `text` as a code span, also within a table.
///
/// In a table `|` ends a cell even within a code span, and what would hide it there shows outside of a table; so a text
/// with `|` becomes `<code>`, which is the same everywhere.
pub fn code(text: &str) -> String {
    let text = &visible(text, "");
    if text.is_empty() || text.contains('|') {
        return html_code(text);
    }
    let fence = "`".repeat(longest_fence(text) + 1);
    // One space on each side is taken off again by every parser, so that a text may begin and end with anything.
    let is_stripped = text.starts_with(' ') && text.ends_with(' ') && !text.trim().is_empty();
    let pad = if is_stripped || text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// `text` as code where no Markdown is read, such as within `<summary>`.
pub fn html_code(text: &str) -> String {
    let mut html = String::from("<code>");
    for char in visible(text, "").chars() {
        push(&mut html, char, char.is_ascii_punctuation());
        // An address is linked by parsers, which do not know that they are within code.
        html.push_str(if char == '@' { BREAK } else { "" });
    }
    html + "</code>"
}

/// `text` as plain text on one line, wherever it stands: at the start of a line, in a sentence, a table or a `<summary>`.
pub fn escaped(text: &str) -> String {
    let text = &visible(text, "");
    let number = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let mut markdown = String::with_capacity(text.len() * 2);
    for (at, char) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + char.len_utf8()..]);
        // A list begins with `-` or `1.`, a heading is underlined with `=`, and spaces at both ends are dropped.
        let begins_block = at == 0 || (at == number && matches!(char, '.' | ')'));
        let is_edge = (begins_block && char.is_ascii_punctuation())
            || (char == ' ' && (before.is_empty() || after.is_empty()));
        push(&mut markdown, char, is_edge || is_markup(before, char));
        markdown.push_str(if begins_reference(before, char, after) { BREAK } else { "" });
    }
    markdown
}

/// `text` as a code block of its own lines.
pub fn fenced(text: &str, language: &str) -> String {
    let text = visible(text, "\n\t");
    let fence = "`".repeat(longest_fence(&text).max(2) + 1);
    let text = if fence.len() > 3 { without_orders(&text) } else { text };
    let is_plain = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '#');
    let language: String = language.chars().filter(is_plain).collect();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{text}{end}{fence}\n")
}

/// GitLab knows only a fence of three for one, and so would obey a line that begins with `/` within a longer one.
fn without_orders(text: &str) -> String {
    let broken = |line| if str::starts_with(line, '/') { format!("\u{200b}{line}") } else { line.to_owned() };
    text.split_inclusive('\n').map(broken).collect()
}

/// `text` with a sign in the place of each character that is obeyed or hides something instead of being seen, such as
/// the ones that turn the order of letters around; but for those in `keep`.
fn visible(text: &str, keep: &str) -> String {
    let sign = |char: char| match char {
        _ if keep.contains(char) => char,
        // The pictures of control characters stand in the order of these.
        '\0'..='\x1f' => char::from_u32(u32::from(char) + 0x2400).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}' => '\u{fffd}',
        '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
            '\u{fffd}'
        }
        _ => char,
    };
    text.chars().map(sign).collect()
}

/// Appends `char`, as a character reference where it must not be markup.
fn push(text: &mut String, char: char, referred: bool) {
    match char {
        _ if !referred => text.push(char),
        '&' => text.push_str("&amp;"),
        '<' => text.push_str("&lt;"),
        '>' => text.push_str("&gt;"),
        _ => text.push_str(&format!("&#{};", u32::from(char))),
    }
}

/// Whether some forge reads the character as markup in the middle of a line: some only where they are doubled.
fn is_markup(before: &str, char: char) -> bool {
    "\\`*_[]{}<>&#!|~@$^\"".contains(char) || ("+=".contains(char) && before.ends_with(char))
}

/// Whether what stands here may be linked by a forge, and is not any more if it is broken after `char`.
fn begins_reference(before: &str, char: char, after: &str) -> bool {
    match char {
        // People, issues, merge requests, snippets, milestones, labels, epics, alerts, iterations and tables of contents.
        '@' | '#' | '!' | '$' | '%' | '~' | '&' | '^' | '*' | '[' | '{' => {
            after.starts_with(|next: char| !next.is_whitespace())
        }
        ':' => after.starts_with("//") || is_rest_of_emoji(after),
        // `www.` is an address also without a scheme. It is broken before the dot, which ends what parsers look for.
        'w' | 'W' => after.starts_with('.') && ends_with_ignoring_case(before, "ww"),
        '-' => after.starts_with(|next: char| next.is_ascii_digit()) && ends_with_project(before),
        _ => false,
    }
}

/// `tada:` of `:tada:`.
fn is_rest_of_emoji(after: &str) -> bool {
    let is_in_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '+' | '-');
    let rest = after.trim_start_matches(is_in_name);
    rest.len() < after.len() && rest.starts_with(':')
}

/// `OPS` of `OPS-1`, an issue elsewhere; `GH` and `GL` are the forge itself, and may be small. Our own names never have
/// a capital, so `web-1` stays whole.
fn ends_with_project(before: &str) -> bool {
    let start = before.trim_end_matches(|char: char| char.is_ascii_alphanumeric() || char == '_').len();
    let word = &before[start..];
    let last = word.rsplit('_').next().unwrap_or_default();
    word.contains(|char: char| char.is_ascii_uppercase()) || matches!(last, "gh" | "gl")
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    let at = text.len().checked_sub(end.len());
    at.and_then(|at| text.get(at..)).is_some_and(|found| found.eq_ignore_ascii_case(end))
}

/// The length of the longest run of backticks.
fn longest_fence(text: &str) -> usize {
    text.split(|char| char != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
