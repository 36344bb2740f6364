use std::collections::BTreeMap;

use gitops_core::plan::Step;
use gitops_core::status::ContainerState;
use serde_json::json;

use super::*;
use crate::testing::{container, ensure};

fn step() -> Ensure {
    match ensure("web", "1").step() {
        Step::Ensure(ensure) => ensure,
        Step::Remove(_) => unreachable!("it is made here"),
    }
}

/// One container of `web`, as it is shown.
struct Shown {
    container: Container,
    fields: BTreeMap<String, Value>,
}

impl Shown {
    fn new() -> Self {
        let fields =
            [("image", json!("busybox")), ("restart", json!("always")), ("networks.web_default", json!({}))];
        let fields = fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
        Self { container: container("web", "1"), fields }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn seen(&self) -> Seen {
        let Container { id, service, name, .. } = &self.container;
        [(id.clone(), Arc::new(Picture::new(service, name, self.fields.clone())))].into()
    }
}

fn taken() -> Pictures {
    let (shown, step) = (Shown::new(), step());
    let mut pictures = Pictures::default();
    assert_eq!(
        pictures.take(&step.service, step.digest, std::slice::from_ref(&shown.container), &shown.seen()),
        Some(true)
    );
    pictures
}

#[test]
fn what_undoes_a_change_disturbs_as_little_as_can_be() {
    let check = |shown: Shown, expected: &[(&str, &str)]| {
        let findings = taken().findings(&step(), std::slice::from_ref(&shown.container), &shown.seen());
        let words = |undo: &Undo| match undo {
            Undo::Call { call, .. } => format!("{call:?}").split('(').next().unwrap_or_default().to_owned(),
            Undo::Recreate(service) => format!("new {service}"),
            Undo::Up => "up".to_owned(),
        };
        let found: Vec<_> =
            findings.iter().map(|found| (found.difference.field.to_string(), words(&found.undo))).collect();
        let found: Vec<_> = found.iter().map(|(field, undo)| (field.as_str(), undo.as_str())).collect();
        assert_eq!(found, expected);
    };
    let field = |field: &'static str, value: Value| {
        Shown::new().with(|shown| drop(shown.fields.insert(field.to_owned(), value)))
    };
    check(Shown::new(), &[]);
    check(field("restart", json!("no")), &[("restart", "Update")]);
    check(field("resources.memory", json!(5)), &[("resources.memory", "Update")]);
    check(field("networks.other", json!({})), &[("networks.other", "Disconnect")]);
    check(field("networks.web_default", json!({"Aliases": ["x"]})), &[("networks.web_default", "new app")]);
    check(field("image", json!("other")), &[("image", "new app")]);
    let gone = Shown::new().with(|shown| drop(shown.fields.remove("networks.web_default")));
    check(gone, &[("networks.web_default", "Connect")]);
    check(Shown::new().with(|shown| shown.container.name = "x".into()), &[("name", "Rename")]);
    check(Shown::new().with(|shown| shown.container.state = ContainerState::Paused), &[("state", "Unpause")]);
    // It ended, and nobody is known to have asked for that.
    check(Shown::new().with(|shown| shown.container.state = ContainerState::Exited), &[]);
}

#[test]
fn a_container_that_is_made_anew_by_hand_is_compared_by_name_and_any_other_is_surplus() {
    let check = |shown: Shown, expected: &[&str]| {
        let findings = taken().findings(&step(), std::slice::from_ref(&shown.container), &shown.seen());
        let lines: Vec<_> = findings.iter().map(|found| found.difference.line()).collect();
        assert_eq!(lines, expected);
    };
    let anew = || Shown::new().with(|shown| shown.container.id = "other".into());
    check(anew(), &[]);
    check(
        anew().with(|shown| drop(shown.fields.insert("restart".to_owned(), json!("no")))),
        &["web-app-1 restart always → no"],
    );
    check(
        anew().with(|shown| shown.container.name = "web-app-2".into()),
        &["web-app-1 container busybox → none", "web-app-2 container none → busybox"],
    );
}

#[test]
fn pictures_are_kept_of_what_is_the_same_and_taken_of_what_is_new() {
    let (mut pictures, step) = (taken(), step());
    let changed = Shown::new().with(|shown| drop(shown.fields.insert("restart".to_owned(), json!("no"))));
    let (digest, observed) = (Digest::of("2"), std::slice::from_ref(&changed.container));
    assert!(!pictures.has(&step.service, digest));
    assert_eq!(pictures.take(&step.service, digest, observed, &changed.seen()), Some(true));
    let findings = pictures.findings(&step, observed, &changed.seen());
    assert_eq!(findings.len(), 1, "what others changed of it is still to be undone");
    assert_eq!(pictures.take(&step.service, digest, observed, &changed.seen()), Some(false));
    let unseen = Shown::new().with(|shown| shown.container.id = "unseen".into());
    assert_eq!(
        pictures.take(&step.service, digest, std::slice::from_ref(&unseen.container), &Seen::new()),
        None
    );
    assert!(!pictures.keep_only(|service| *service == step.service));
    assert!(pictures.keep_only(|_| false) && pictures == Pictures::default());
}
