//! Scripts of tests: `--- command` lines, each with the lines below it.

/// The commands of a script, each with the lines that follow it. What stands before the first is prose.
pub fn commands(script: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in script.strip_suffix('\n').unwrap_or(script).split('\n') {
        match line.strip_prefix("--- ") {
            Some(command) => commands.push((command.to_owned(), String::new())),
            None => {
                if let Some((_, body)) = commands.last_mut() {
                    body.push_str(line);
                    body.push('\n');
                }
            }
        }
    }
    commands
}
