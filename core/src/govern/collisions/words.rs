//! What people are told of a collision: who, over what, where both say so, and what to change.

use super::{Collision, Taker};
use crate::catalog::Catalog;
use crate::diagnostic::{Diagnostic, Place};
use crate::govern::claims::Thing;

pub(super) fn diagnostic(catalog: &Catalog, collision: &Collision<'_>) -> Diagnostic {
    let place = place(catalog, &collision.other);
    let mut diagnostic =
        Diagnostic::error(code(collision), place.clone(), message(collision)).help(help(collision));
    if !collision.is_alone() {
        let first = self::place(catalog, &collision.one);
        diagnostic = diagnostic.note(first_at(collision, &first, &place));
        // An overlay of a feature says it for both.
        if first == place {
            diagnostic =
                diagnostic.help("let a variable of each service give it, or place them on different nodes");
        }
    }
    match collision.nodes.len() - 1 {
        0 => diagnostic,
        1 => diagnostic.note("the same on 1 more node"),
        more => diagnostic.note(format!("the same on {more} more nodes")),
    }
}

fn code(collision: &Collision<'_>) -> &'static str {
    match collision.one.claim.thing {
        Thing::Project(_) => "shared-project",
        Thing::Container(_) => "container-name-collision",
        Thing::Volume(_) => "volume-collision",
        Thing::Network(_) => "network-collision",
        Thing::Port(..) => "port-collision",
    }
}

fn message(collision: &Collision<'_>) -> String {
    let (first, second) = collision.services();
    let what = what(collision);
    let node = collision.nodes.first().map(|node| format!(" on node `{node}`")).unwrap_or_default();
    if collision.is_alone() {
        let (container, number) = (container(&collision.one), collision.one.claim.takers);
        return format!(
            "service `{first}` has {number} replicas of `{container}`, and each would {what}{node}"
        );
    }
    match first == second {
        true => format!("two containers of service `{first}` would both {what}{node}"),
        false => format!("services `{first}` and `{second}` would both {what}{node}"),
    }
}

/// What both would do.
fn what(collision: &Collision<'_>) -> String {
    match &collision.one.claim.thing {
        Thing::Project(name) => format!("be Compose project `{name}`"),
        Thing::Container(_) => format!("have a container `{}`", container_name(collision)),
        Thing::Volume(name) => format!("make the volume `{name}`"),
        Thing::Network(name) => format!("make the network `{name}`"),
        Thing::Port(protocol, _) => format!("publish {}", ports(collision, protocol)),
    }
}

/// `port 80/tcp`, or the first with how many more there are.
fn ports(collision: &Collision<'_>, protocol: &str) -> String {
    let all: u64 =
        collision.numbers.iter().map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1).sum();
    let first = collision.numbers.first().map_or(0, |(first, _)| *first);
    match all {
        0 | 1 => format!("port {first}/{protocol}"),
        all => format!("port {first}/{protocol} and {} more", all - 1),
    }
}

/// As Docker would know it.
fn container_name(collision: &Collision<'_>) -> String {
    let (_, base) = collision.one.claim.thing.name();
    match collision.numbers.first() {
        Some((number, _)) if *number > 0 => format!("{base}-{number}"),
        _ => base.to_owned(),
    }
}

fn first_at(collision: &Collision<'_>, first: &Place, second: &Place) -> String {
    let at = match first.line {
        0 => first.path.to_string(),
        line => format!("{}:{line}:{}", first.path, first.column),
    };
    match first == second {
        true => "both have it from this line".to_owned(),
        false => format!("`{}` does so at {at}", collision.one.service()),
    }
}

fn place(catalog: &Catalog, taker: &Taker<'_>) -> Place {
    let field: Vec<&str> = taker.claim.field.iter().map(|key| &**key).collect();
    let place = taker.instance.rendered.places_in(&catalog.tree)(&field);
    place.unwrap_or_else(|| Place::file(taker.instance.entry.path().clone()))
}

/// The Compose service that takes it.
fn container<'a>(taker: &Taker<'a>) -> &'a str {
    taker.claim.field.get(1).map_or("", |name| name)
}

fn help(collision: &Collision<'_>) -> String {
    let (first, second) = collision.services();
    match (&collision.one.claim.thing, collision.is_alone()) {
        (Thing::Port(..), true) => {
            "give a range of as many ports, leave out the port of the host so that each gets a free one, or run one replica".to_owned()
        }
        (_, true) => {
            "remove `container_name`, so that each gets a name of its own, or run one replica".to_owned()
        }
        (Thing::Port(..), false) if first == second => {
            "give one of them another port of the host, or bind them to different addresses of it".to_owned()
        }
        (Thing::Port(..), false) => {
            "give one of them another port of the host, bind them to different addresses of it, \
                                     or place them on different nodes"
                .to_owned()
        }
        (Thing::Project(_), false) => "give one of them another `name:` in its Compose file".to_owned(),
        (Thing::Container(_), false) => "give one of them another `container_name:`, or none".to_owned(),
        (Thing::Volume(_) | Thing::Network(_), false) => {
            format!("if `{second}` only uses it, write `external: true` there; otherwise give it another `name:`")
        }
    }
}
