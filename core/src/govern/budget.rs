//! `[budget]`: what all nodes may cost together in a month.
//!
//! A node costs its price whether anything runs on it or not, so the sum is over every node that is defined. It needs no
//! service to be seen. A node without a price is not counted, and that is said.

use std::cmp::Reverse;

use crate::catalog::{Catalog, MAX_OF_A_KIND};
use crate::definition::{Budget, Money};
use crate::diagnostic::Diagnostic;
use crate::name::NodeName;
use crate::yaml::Step;

/// The per cent from which on there is a warning, where nothing is written.
const WARN_AT: [u32; 1] = [80];

/// What amounts are shown in, where nothing is written.
pub(crate) const CURRENCY: &str = "EUR";

/// How many of the largest are named.
pub(super) const LARGEST: usize = 3;

/// What is to be said of the budget.
pub(super) fn check_ground(catalog: &Catalog) -> Vec<Diagnostic> {
    let budget = &catalog.settings.budget;
    let mut found = bad_thresholds(catalog, budget);
    found.extend(budget.monthly.and_then(|monthly| against(catalog, budget, monthly)));
    found
}

fn bad_thresholds(catalog: &Catalog, budget: &Budget) -> Vec<Diagnostic> {
    let thresholds = budget.warn_at.iter().flatten().enumerate();
    let bad = thresholds.filter(|(_, per_cent)| !(1..=100).contains(*per_cent));
    let (items, bad): (Vec<usize>, Vec<&u32>) = bad.take(MAX_OF_A_KIND).unzip();
    let field = |item: &usize| vec![Step::Key("budget"), Step::Key("warn_at"), Step::Item(*item)];
    let places = catalog.settings_places(&items.iter().map(field).collect::<Vec<_>>());
    let finding = |(per_cent, place): (&u32, _)| {
        let message = format!("`warn_at` is in per cent of `monthly`, and {per_cent} is not from 1 to 100");
        Diagnostic::error("bad-threshold", place, message).help("write, for example, `warn_at = [80, 95]`")
    };
    bad.into_iter().zip(places).map(finding).collect()
}

fn against(catalog: &Catalog, budget: &Budget, monthly: Money) -> Option<Diagnostic> {
    let mut prices: Vec<(&NodeName, Money)> = Vec::new();
    for (name, node) in catalog.nodes.iter() {
        prices.extend(node.value.price.map(|price| (name, price)));
    }
    let sum = Money(prices.iter().fold(0, |sum: u64, (_, price)| sum.saturating_add(price.0)));
    let currency = budget.currency.as_deref().unwrap_or(CURRENCY);
    let place = || catalog.settings_place(&[Step::Key("budget"), Step::Key("monthly")]);
    let cost = format!("the nodes cost {sum} {currency} a month");
    let diagnostic = if sum > monthly {
        let over = Money(sum.0 - monthly.0);
        Diagnostic::error("budget-exceeded", place(), format!("{cost}, {over} more than the budget"))
            .help("take a node out, or let the budget grow: `monthly` of `[budget]` in gitops.toml")
    } else {
        let reached = reached(budget, sum, monthly)?;
        let share = u128::from(sum.0) * 100 / u128::from(monthly.0.max(1));
        let message = format!("{cost}, {share} % of the budget of {monthly} {currency}");
        Diagnostic::warning("budget-near", place(), message)
            .label(format!("warned from {reached} % on"))
            .help("let the budget grow before the next node comes: `monthly` of `[budget]` in gitops.toml")
    };
    prices.sort_by_key(|(name, price)| (Reverse(*price), *name));
    let largest = prices.iter().take(LARGEST).filter_map(|(name, price)| {
        let place = catalog.place(catalog.nodes.get(*name)?, &[Step::Key("price")]);
        Some(format!("{price} for `{name}` ({}:{})", place.path, place.line))
    });
    let noted = largest.fold(diagnostic, Diagnostic::note);
    let unpriced = catalog.nodes.len() - prices.len();
    let rest = prices.len().saturating_sub(LARGEST);
    let noted = if rest > 0 { noted.note(format!("and {}", nodes(rest, "more"))) } else { noted };
    Some(match unpriced {
        0 => noted,
        number => noted.note(format!("{} no `price`, which is not counted", nodes(number, "with"))),
    })
}

fn nodes(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    match word {
        "more" => format!("{number} more node{plural}"),
        _ => format!("{number} node{plural} {}", if number == 1 { "has" } else { "have" }),
    }
}

/// The highest threshold that the sum has come to.
fn reached(budget: &Budget, sum: Money, monthly: Money) -> Option<u32> {
    let thresholds = budget.warn_at.as_deref().unwrap_or(&WARN_AT);
    let is_reached = |per_cent: &&u32| {
        (1..=100).contains(*per_cent)
            && sum > Money(0)
            && u128::from(sum.0) * 100 >= u128::from(monthly.0) * u128::from(**per_cent)
    };
    thresholds.iter().filter(is_reached).max().copied()
}
