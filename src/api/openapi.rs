//! The OpenAPI document, made from the route table and the schemas of the types that the handlers read and write.

use axum::Json;
use gitops_core::protocol::Problem;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::access::Access;
use super::routes::{Reply, Route, SchemaOf, table};

/// `GET /v1/openapi.json`.
pub(super) async fn document() -> Json<Value> {
    Json(build())
}

/// The document.
pub(super) fn build() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for route in table() {
        let operation = operation(&route, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "gitops", "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0" } },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": { "problem": {
                "description": "Refused, with a stable `code`",
                "content": { "application/problem+json": { "schema": problem } },
            } },
        },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let mut responses: Map<String, Value> = route
        .answers
        .iter()
        .map(|reply| (reply.status.as_str().to_owned(), response(reply, schemas)))
        .collect();
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/problem" }));
    let mut operation = json!({
        "summary": route.summary,
        "description": who(route.access),
        "parameters": parameters(route, schemas),
        "responses": responses,
    });
    if let Some(schema) = route.body {
        let content = json!({ "application/json": { "schema": schema(schemas) } });
        operation["requestBody"] = json!({ "content": content });
    }
    if route.access != Access::Anyone {
        operation["security"] = json!([{ "token": [] }]);
    }
    operation
}

fn who(access: Access) -> &'static str {
    match access {
        Access::Anyone => "Needs no token.",
        Access::Known => "Needs any token.",
        Access::Agent => {
            "Needs the token of a node, and the headers `gitops-protocol`, `gitops-agent`, `gitops-agent-version` and `gitops-agent-host`."
        }
        Access::Operator => "Needs the operator's token.",
        Access::Hook => {
            "Needs the operator's token, or proof of the hook secret: `X-Hub-Signature-256`, `X-Gitea-Signature`, `X-Gitlab-Token` or a bearer."
        }
    }
}

fn response(reply: &Reply, schemas: &mut SchemaGenerator) -> Value {
    let mut response = json!({ "description": reply.says });
    if let Some((media, schema)) = reply.content {
        let schema = schema.map_or_else(|| json!({}), |schema: SchemaOf| schema(schemas).to_value());
        response["content"] = json!({ media: { "schema": schema } });
    }
    response
}

/// Those in the path, then the fields of the query type.
fn parameters(route: &Route, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path =
        |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    let mut parameters: Vec<Value> = names.map(in_path).collect();
    let Some(query) = route.query else { return parameters };
    let reference = query(schemas).to_value();
    let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let fields = schemas.definitions().get(name).and_then(|schema| schema["properties"].as_object());
    parameters.extend(
        fields.into_iter().flatten().map(
            |(name, schema)| json!({ "name": name, "in": "query", "required": false, "schema": schema }),
        ),
    );
    parameters
}
