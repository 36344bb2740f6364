//! What a policy has against an image, and that two of them together allow no more than either.

use proptest::prelude::*;

use super::*;

fn policy(toml: &str) -> Policy {
    toml::from_str(toml).expect("a policy")
}

#[test]
fn a_policy_objects_to_what_it_names() {
    use Objection::{Digest, Source, Tag};
    let check = |toml: &str, image: &str, expected: &[Objection]| {
        assert_eq!(objections(&policy(toml), &ImageName::of(image)), expected, "{toml} {image}");
    };
    check("", "nginx", &[]);
    let team = "images_from = ['ghcr.io/our-team', 'nginx']";
    check(team, "ghcr.io/our-team/x:1", &[]);
    check(team, "ghcr.io/our-team-evil/x:1", &[Source]);
    check(team, "nginx:1", &[]);
    check(team, "redis:7", &[Source]);
    check("images_from = []", "nginx", &[Source]);
    let tags = "tags_forbidden = ['latest', 'edge']";
    check(tags, "nginx", &[Tag]);
    check(tags, "nginx:latest", &[Tag]);
    check(tags, "nginx:edge", &[Tag]);
    check(tags, "nginx:1.27", &[]);
    check(tags, "nginx:latest@sha256:ab", &[]);
    check(tags, "localhost:5000/nginx", &[Tag]);
    check("digest_required = true", "nginx:1.27", &[Digest]);
    check("digest_required = true", "nginx@sha256:ab", &[]);
    check("digest_required = false", "nginx", &[]);
    check(
        "images_from = ['ghcr.io']\ntags_forbidden = ['latest']\ndigest_required = true",
        "nginx",
        &[Source, Tag, Digest],
    );
}

#[test]
fn the_variables_of_a_line_are_named() {
    let check = |line: &str, expected: &[&str]| {
        let (column, width) = (8, u32::try_from(line.len()).expect("a short line") - 7);
        let place = Place { path: "x".into(), line: 1, column, width, text: Some(line.into()) };
        assert_eq!(variables(&place), expected, "{line}");
    };
    check("image: nginx:1", &[]);
    check("image: nginx:${TAG}", &["TAG"]);
    check("image: \"${NAME:-nginx}:$TAG\"", &["NAME", "TAG"]);
    check("image: nginx:$${TAG}", &[]);
}

#[test]
fn what_would_loosen_is_found_field_by_field() {
    let here = "features_must_be_implemented = true\ncontrols = 'advisory'\nimages_from = ['ghcr.io/our-team/']\n\
                tags_forbidden = ['latest', 'edge']\ndigest_required = true\nhost_port_floor = 2000\n";
    let check = |env: &str, expected: &[&str]| {
        let found: Vec<&str> = policy(here).loosened_by(&policy(env)).iter().map(|one| one.field()).collect();
        assert_eq!(found, expected, "{env}");
    };
    check("", &[]);
    check(here, &[]);
    check("features_must_be_implemented = false", &["features_must_be_implemented"]);
    check("digest_required = false", &["digest_required"]);
    check("controls = 'informative'", &["controls"]);
    check("controls = 'strict'", &[]);
    check(
        "images_from = ['ghcr.io/our-team/web', 'ghcr.io/our-team-2', 'ghcr.io']",
        &["images_from", "images_from"],
    );
    check("tags_forbidden = ['latest']", &["tags_forbidden"]);
    check("tags_forbidden = ['latest', 'edge', 'beta']", &[]);
    check("host_port_floor = 1024", &["host_port_floor"]);
    check("host_port_floor = 3000", &[]);
    assert_eq!(Policy::default().loosened_by(&policy("host_port_floor = 80")).len(), 1, "the default counts");
    assert_eq!(Policy::default().loosened_by(&policy("digest_required = false\nimages_from = ['x']")), []);
}

/// Few enough parts that policies and images often meet.
fn any_policy() -> impl Strategy<Value = Policy> {
    let source = prop::sample::select(vec![
        "ghcr.io",
        "ghcr.io/a",
        "ghcr.io/a/b",
        "ghcr.io/ab",
        "docker.io",
        "docker.io/library/",
        "nginx",
        "bitnami/",
    ]);
    let tag = prop::sample::select(vec!["latest", "edge", "1"]);
    let truth = || prop::option::of(any::<bool>());
    let enforcement = prop::option::of(prop::sample::select(vec!["strict", "advisory", "informative"]));
    let floor = prop::option::of(any::<u16>());
    let lists = (
        prop::option::of(prop::collection::vec(source, 0..4)),
        prop::option::of(prop::collection::vec(tag, 0..3)),
    );
    (truth(), truth(), enforcement, floor, lists).prop_map(
        |(features, digest, controls, floor, (from, tags))| Policy {
            sensitive: None,
            features_must_be_implemented: features,
            digest_required: digest,
            controls: controls.map(|word| serde_json::from_value(word.into()).expect("an enforcement")),
            images_from: from.map(|all| all.iter().map(|source| source.parse().expect("a source")).collect()),
            tags_forbidden: tags.map(|all| all.into_iter().map(Into::into).collect()),
            host_port_floor: floor,
        },
    )
}

fn any_image() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "ghcr.io/a/b/c",
        "ghcr.io/a/b",
        "ghcr.io/ab/c",
        "nginx",
        "docker.io/library/nginx",
        "bitnami/redis",
        "x.io/y",
    ]);
    let end = prop::sample::select(vec!["", ":latest", ":edge", ":1", "@sha256:ab", ":latest@sha256:ab"]);
    (name, end).prop_map(|(name, end)| format!("{name}{end}"))
}

proptest! {
    #[test]
    fn an_environment_never_allows_what_the_repository_denies(here in any_policy(), env in any_policy(), image in any_image()) {
        let together = here.tightened(&env);
        let name = ImageName::of(&image);
        let all: BTreeSet<Objection> = [&here, &env].into_iter().flat_map(|policy| objections(policy, &name)).collect();
        let found: BTreeSet<Objection> = objections(&together, &name).into_iter().collect();
        prop_assert_eq!(found, all, "exactly what either denies is denied: {:?}", together);
        prop_assert!(together.host_port_floor() >= here.host_port_floor());
        prop_assert!(here.controls.is_none_or(|least| together.controls.is_some_and(|other| other <= least)));
        prop_assert!(here.features_must_be_implemented != Some(true) || together.features_must_be_implemented == Some(true));
    }

    #[test]
    fn tightening_again_changes_nothing_and_what_is_tighter_loosens_nothing(here in any_policy(), env in any_policy()) {
        let together = here.tightened(&env);
        let twice = together.tightened(&env);
        prop_assert_eq!(twice.tightened(&env), twice);
        prop_assert_eq!(here.loosened_by(&together), []);
        prop_assert_eq!(here.tightened(&Policy::default()), here);
    }
}
