//! `extends`: a service over another one, of the same file or of another in the service's folder.

use std::rc::Rc;
use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use super::places::Origin;
use super::resolve::{MAX_CHAIN, Pass};
use super::{Layer, merge, paths};
use crate::yaml::{Trail, suggestion};

/// The services of a file that others extend.
pub(super) struct Pool {
    /// Tells files apart.
    id: String,
    base: String,
    origins: Vec<Origin>,
    services: Mapping,
}

impl Pass<'_, '_, '_> {
    pub(super) fn extend_services(&mut self, layer: &Layer, model: &mut Mapping) {
        let Some(Value::Mapping(services)) = model.get_mut("services") else { return };
        if !services.values().any(|service| service.get("extends").is_some()) {
            return;
        }
        let pool = Rc::new(Pool {
            id: format!("{}#{}", layer.origin.path, layer.origin.document),
            base: layer.base.clone(),
            origins: vec![layer.origin.clone()],
            services: std::mem::take(services),
        });
        let mut resolved = Mapping::with_capacity(pool.services.len());
        for (name, service) in &pool.services {
            let service = match service.get("extends") {
                Some(_) => self.extended(&pool, name.as_str().unwrap_or_default(), &mut Vec::new()),
                None => Some(service.clone()),
            };
            if let Some(service) = service {
                resolved.insert(name.clone(), service);
            }
        }
        *services = resolved;
    }

    /// A service over all those that it extends. `chain` holds those that lead here.
    fn extended(&mut self, pool: &Rc<Pool>, name: &str, chain: &mut Vec<(String, String)>) -> Option<Value> {
        let mut service = pool.services.get(name)?.clone();
        if !self.grow(&pool.origins[0], nodes(&service)) {
            return None;
        }
        let Some(extends) = service.as_mapping_mut().and_then(|fields| fields.shift_remove("extends")) else {
            return Some(service);
        };
        let services = Trail::ROOT.to("services");
        let field = services.to(name);
        let trail = field.to("extends");
        let layer = pool.layer();
        let Some(target) = extends.get("service").and_then(Value::as_str) else {
            self.error(&layer.origin, &trail, "wrong-type", "`extends` names a service, or has a `service`");
            return None;
        };
        chain.push((pool.id.clone(), name.to_owned()));
        let base_pool = match extends.get("file").and_then(Value::as_str) {
            None => pool.clone(),
            Some(path) => {
                let file = self.compose_file(&layer, &trail, path)?;
                self.pool(&layer, &trail, &file)?
            }
        };
        if chain.contains(&(base_pool.id.clone(), target.to_owned())) {
            let way =
                chain.iter().map(|(_, name)| name.as_str()).chain([target]).collect::<Vec<_>>().join(" → ");
            let message = format!("services extend each other: {way}");
            self.error_with_help(&layer.origin, &trail, "extends-cycle", message, "take one `extends` out");
            return None;
        }
        if chain.len() >= MAX_CHAIN {
            let message =
                format!("`{}` extends more than {MAX_CHAIN} services, one through the other", chain[0].1);
            self.error_with_help(&layer.origin, &trail, "extends-too-deep", message, "extend fewer");
            return None;
        }
        if !base_pool.services.contains_key(target) {
            let message =
                format!("there is no service `{target}` to extend in {}", base_pool.origins[0].path);
            let names = base_pool.services.keys().filter_map(Value::as_str);
            let help = suggestion(target, names, "name a service of that file");
            self.error_with_help(&layer.origin, &trail, "unknown-service", message, help);
            return None;
        }
        let root = chain[0].1.clone();
        let mut merged = self.extended(&base_pool, target, chain)?;
        chain.pop();
        for origin in &base_pool.origins {
            let service = Some((target.into(), root.as_str().into()));
            self.origins.push(Origin { service, ..origin.clone() });
        }
        let mut clashes = Vec::new();
        merge::services(&mut merged, service, &mut clashes);
        let prefixed = clashes.into_iter().map(|clash| format!("services.{name}.{clash}")).collect();
        self.clashes(prefixed, &layer.origin);
        Some(merged)
    }

    /// The services of another file, for `extends`.
    fn pool(&mut self, layer: &Layer, trail: &Trail<'_>, file: &str) -> Option<Rc<Pool>> {
        if let Some(known) = self.pools.get(file) {
            return known.clone();
        }
        let pool = self.read_file(layer, trail, file).map(|documents| {
            let base = paths::parent(file);
            let mut model = Mapping::new();
            let mut origins = Vec::new();
            for document in documents.iter() {
                let layer = self.source.layer(file, base, document);
                let Some(mut document) = self.prepared(&layer) else { continue };
                self.normalise(&layer, &mut document);
                self.merge(&mut model, document, &layer.origin);
                origins.push(layer.origin);
            }
            if origins.is_empty() {
                origins.push(self.source.layer(file, base, &(0, Arc::new(Value::Null))).origin);
            }
            let services = match model.shift_remove("services") {
                Some(Value::Mapping(services)) => services,
                _ => Mapping::new(),
            };
            Rc::new(Pool { id: file.to_owned(), base: base.to_owned(), origins, services })
        });
        self.pools.insert(file.to_owned(), pool.clone());
        pool
    }
}

impl Pool {
    /// The file as something that names other files.
    fn layer(&self) -> Layer {
        let (origin, base) = (self.origins[0].clone(), self.base.clone());
        Layer { origin, base, is_overlay: false, value: Arc::new(Value::Null) }
    }
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Sequence(items) => items.iter().map(nodes).sum(),
        Value::Mapping(fields) => fields.values().map(nodes).sum(),
        Value::Tagged(tagged) => nodes(&tagged.value),
        _ => 0,
    }
}
