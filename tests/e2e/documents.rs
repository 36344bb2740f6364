//! What documents show of a fleet: their blocks that are marked `norun=fleet` run here, beside a daemon and the two nodes of
//! `examples/repo` on real engines, once all that it defines is healthy.

use std::sync::PoisonError;

use super::support::{repository, session};
use super::world::{EXAMPLE, World};

fn check(document: &str, at_least: usize) {
    let _alone = EXAMPLE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut world) = World::example() else { return };
    world.start();
    world.sandbox.git("work", &["push", "--quiet", "origin", "HEAD:main"]);
    world.settle();
    let (url, token) = (world.url(), world.sandbox.path("control/operator.token"));
    world.sandbox.set("GITOPS_URL", url);
    world.sandbox.set("GITOPS_TOKEN_FILE", token.display().to_string());
    let folder = world.sandbox.path("work");
    let number =
        session::check(&world.sandbox, &folder, &repository().join(document), |marks| marks == "norun=fleet");
    let number = number.unwrap_or_else(|difference| panic!("\n{difference}"));
    assert!(number >= at_least, "only {number} commands were found in {document}");
}

#[test]
fn the_readme_shows_a_release_that_fails_as_it_happens() {
    check("README.md", 4);
}

#[test]
fn the_document_of_releases_shows_what_holds_them_as_it_happens() {
    check("docs/releases.md", 30);
}
