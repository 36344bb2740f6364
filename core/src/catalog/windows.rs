//! What is wrong with the windows in which changes may begin: names that lead nowhere, selectors that choose nothing.

use std::collections::BTreeSet;

use super::{Catalog, MAX_OF_A_KIND, environments, references};
use crate::definition::{Selector, Window};
use crate::diagnostic::{Diagnostic, Place};
use crate::name::{EnvironmentName, ServiceName};
use crate::yaml::Step;

/// What can be said of windows without a look at services.
pub(super) fn check_ground(catalog: &Catalog) -> Vec<Diagnostic> {
    let windows = &catalog.settings.window;
    let mut found: Vec<Diagnostic> = too_many(catalog).into_iter().collect();
    let mut names = BTreeSet::new();
    for (number, window) in windows.iter().enumerate().take(Window::MAX) {
        if !names.insert(&window.name) {
            let message = format!("there are two windows `{}`", window.name);
            let diagnostic =
                Diagnostic::error("named-twice", place(catalog, number, &[Step::Key("name")]), message);
            found.push(diagnostic.help("give each its own name: it is told where something waits for it"));
        }
        found.extend(selects_nothing(catalog, number, window));
        let is_unknown = |name: &EnvironmentName| !catalog.settings.environments.contains_key(name);
        let named = window.environments.iter().flatten().enumerate();
        for (item, name) in named.filter(|(_, name)| is_unknown(name)).take(MAX_OF_A_KIND) {
            let place = place(catalog, number, &[Step::Key("environments"), Step::Item(item)]);
            found.push(references::unknown_environment(catalog, name, place));
        }
    }
    found
}

/// Services that windows name and that there are not.
pub(super) fn check(catalog: &Catalog) -> Vec<Diagnostic> {
    let windows = catalog.settings.window.iter().enumerate().take(Window::MAX);
    let named = windows.flat_map(|(number, window)| {
        window.services.iter().flatten().enumerate().map(move |(item, name)| (number, item, name))
    });
    let is_unknown = |name: &ServiceName| !references::has_service(catalog, name);
    let unknown = named.filter(|(.., name)| is_unknown(name)).take(MAX_OF_A_KIND);
    let diagnostic = |(number, item, name): (usize, usize, &ServiceName)| {
        let place = place(catalog, number, &[Step::Key("services"), Step::Item(item)]);
        references::unknown_service(catalog, name, place)
    };
    unknown.map(diagnostic).collect()
}

fn place(catalog: &Catalog, number: usize, field: &[Step<'_>]) -> Place {
    let steps: Vec<Step<'_>> =
        [Step::Key("window"), Step::Item(number)].into_iter().chain(field.iter().cloned()).collect();
    environments::place(&catalog.tree, &steps)
}

fn too_many(catalog: &Catalog) -> Option<Diagnostic> {
    let count = catalog.settings.window.len();
    (count > Window::MAX).then(|| {
        let message = format!("there are {count} windows, and at most {} are looked at", Window::MAX);
        Diagnostic::error("too-many-windows", place(catalog, Window::MAX, &[]), message)
            .help("let one window concern several services, by their labels")
    })
}

/// A selector or a list that is there and has nothing in it.
fn selects_nothing(catalog: &Catalog, number: usize, window: &Window) -> Vec<Diagnostic> {
    let is_empty = |selector: &Option<Selector>| selector.as_ref().is_some_and(Selector::is_empty);
    let fields = [
        ("services", window.services.as_ref().is_some_and(Vec::is_empty)),
        ("environments", window.environments.as_ref().is_some_and(Vec::is_empty)),
        ("nodes", is_empty(&window.nodes)),
        ("labels", is_empty(&window.labels)),
    ];
    let empty = fields.into_iter().filter(|(_, is_empty)| *is_empty);
    let diagnostic = |(field, _): (&'static str, bool)| {
        let message = format!("`{field}` is empty, so window `{}` concerns nothing", window.name);
        let help = format!("name something, or remove `{field}`: without it the window concerns all");
        Diagnostic::error("empty-selector", place(catalog, number, &[Step::Key(field)]), message).help(help)
    };
    empty.map(diagnostic).collect()
}
