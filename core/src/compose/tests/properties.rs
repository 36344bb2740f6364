//! What holds for every document.

use proptest::prelude::*;

use super::*;

/// Any YAML value that a Compose file may hold somewhere.
fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-3_i64..70_000).prop_map(Into::into),
        "[a-z$A{}:./=0-9 ~-]{0,12}".prop_map(Into::into),
        "\\PC{0,8}".prop_map(Into::into),
    ];
    let key = prop_oneof![
        prop::sample::select(
            &[
                "services",
                "networks",
                "volumes",
                "configs",
                "secrets",
                "name",
                "include",
                "extends",
                "service",
                "file",
                "environment",
                "env_file",
                "path",
                "ports",
                "target",
                "image",
                "deploy",
                "depends_on",
                "healthcheck",
                "labels",
                "external",
                "extra_hosts",
                "ulimits",
                "source",
                "type",
                "a",
                "b",
            ][..]
        )
        .prop_map(str::to_owned),
        "[a-z]{1,3}",
    ];
    leaf.prop_recursive(5, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(key.clone(), inner, 0..5)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(services in any_value(), rest in any_value(), over in any_value()) {
        let mut document = serde_json::json!({"services": services});
        if let (Some(document), Some(rest)) = (document.as_object_mut(), rest.as_object()) {
            document.extend(rest.clone());
        }
        let text = format!("== compose.yaml\n{document}\n== compose.override.yaml\n{over}\n== a\nx\n");
        if let Ok(rendered) = render(&text) {
            let _ = labelled(&rendered.model, &BTreeMap::new());
        }
    }

    #[test]
    fn the_canonical_form_is_its_own_canonical_form(service in any_value()) {
        let text = format!("== compose.yaml\n{{\"services\": {{\"a\": {service}}}}}\n== a\nx\n");
        if let Ok(first) = render(&text) {
            let again = render(&format!("== compose.yaml\n{}\n== a\nx\n", labelled(&first.model, &BTreeMap::new())));
            let again = again.map(|again| again.model.as_str().to_owned());
            prop_assert_eq!(again.as_deref(), Ok(first.model.as_str()));
        }
    }
}
