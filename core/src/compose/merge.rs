//! One Compose document over another, by Compose's own rules (specification, chapter "Merge").
//!
//! Both sides are in canonical form already, so that a list and a mapping of the same thing meet as mappings. Mappings
//! merge key by key; lists are appended, and where their items have an identity (the target of a volume, the path of an
//! environment file) the later item takes the place of the earlier. A few fields are replaced as a whole. `!reset` takes
//! a field away and `!override` replaces it, whatever its rule.

use std::collections::BTreeMap;

use serde_yaml::value::TaggedValue;
use serde_yaml::{Mapping, Value};

/// A field that is a list on one side and a mapping on the other: its path.
pub(super) type Clash = String;

/// Merges `over` into `base`, both of them whole documents.
pub(super) fn documents(base: &mut Mapping, over: Mapping, clashes: &mut Vec<Clash>) {
    let mut merge = Merge { path: Vec::new(), clashes };
    merge.mappings(base, over, |merge, key, base, over| match key {
        "services" => merge.each(base, over, Merge::service),
        "networks" => merge.each(base, over, |merge, base, over| {
            merge.each_field(base, over, |merge, key, base, over| match key {
                "ipam" => merge.each_field(base, over, |merge, key, base, over| match key {
                    "config" => ipam(base, over),
                    _ => merge.values(base, over),
                }),
                _ => merge.values(base, over),
            });
        }),
        _ => merge.values(base, over),
    });
}

/// Merges the service `over` into the one that it extends.
pub(super) fn services(base: &mut Value, over: Value, clashes: &mut Vec<Clash>) {
    Merge { path: Vec::new(), clashes }.service(base, over);
}

struct Merge<'c> {
    path: Vec<String>,
    clashes: &'c mut Vec<Clash>,
}

impl Merge<'_> {
    /// Key by key; `rule` merges what both sides have. Tags are obeyed here, before any rule.
    fn mappings(
        &mut self,
        base: &mut Mapping,
        over: Mapping,
        mut rule: impl FnMut(&mut Self, &str, &mut Value, Value),
    ) {
        for (key, value) in over {
            match (tag(&value), base.get_mut(&key)) {
                (Some(Tag::Reset), _) => drop(base.shift_remove(&key)),
                (Some(Tag::Override), _) | (None, None) => drop(base.insert(key, value)),
                (None, Some(place)) => {
                    let name = key.as_str().unwrap_or_default();
                    self.path.push(name.to_owned());
                    rule(self, name, place, value);
                    self.path.pop();
                }
            }
        }
    }

    /// The same for two values that ought to be mappings.
    fn each_field(
        &mut self,
        base: &mut Value,
        over: Value,
        rule: impl FnMut(&mut Self, &str, &mut Value, Value),
    ) {
        match (base, over) {
            (Value::Mapping(base), Value::Mapping(over)) => self.mappings(base, over, rule),
            (base, over) => self.values(base, over),
        }
    }

    fn each(&mut self, base: &mut Value, over: Value, mut rule: impl FnMut(&mut Self, &mut Value, Value)) {
        self.each_field(base, over, |merge, _, base, over| rule(merge, base, over));
    }

    fn service(&mut self, base: &mut Value, over: Value) {
        self.each_field(base, over, |merge, key, base, over| match key {
            "command" | "entrypoint" => *base = over,
            "healthcheck" => merge.each_field(base, over, |merge, key, base, over| match key {
                "test" => *base = over,
                _ => merge.values(base, over),
            }),
            "logging" => merge.logging(base, over),
            "ulimits" => merge.each(base, over, |_, base, over| *base = over),
            "extra_hosts" => append_new(base, over),
            "networks" => merge.each(base, over, |merge, base, over| {
                merge.each_field(base, over, |merge, key, base, over| match key {
                    "aliases" | "link_local_ips" => merge.listed(key, base, over),
                    _ => merge.values(base, over),
                });
            }),
            _ => merge.listed(key, base, over),
        });
    }

    /// A field of a service whose items may have an identity.
    fn listed(&mut self, field: &str, base: &mut Value, over: Value) {
        self.values(base, over);
        if let Value::Sequence(items) = base {
            keep_last_of_each(field, items);
        }
    }

    /// Options of one log driver mean nothing to another.
    fn logging(&mut self, base: &mut Value, over: Value) {
        let changed = match (base.get("driver"), over.get("driver")) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        };
        if changed {
            *base = over;
        } else {
            self.values(base, over);
        }
    }

    fn values(&mut self, base: &mut Value, over: Value) {
        match (base, over) {
            (_, Value::Null) => {}
            (Value::Mapping(base), Value::Mapping(over)) => {
                self.mappings(base, over, |merge, _, base, over| merge.values(base, over));
            }
            (Value::Sequence(base), Value::Sequence(over)) => base.extend(over),
            (Value::Tagged(base), over) => self.values(&mut base.value, over),
            (Value::Mapping(_) | Value::Sequence(_), _) if !self.is_extension() => {
                self.clashes.push(self.path.join("."));
            }
            (base, over) => *base = over,
        }
    }

    /// What is said of an extension has no kind that it must be.
    fn is_extension(&self) -> bool {
        let is = |key: Option<&String>| key.is_some_and(|key| key.starts_with("x-"));
        is(self.path.first()) || is(self.path.get(2)) && self.path[0] == "services"
    }
}

fn append_new(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Sequence(base), Value::Sequence(over)) => {
            for item in over {
                if !base.contains(&item) {
                    base.push(item);
                }
            }
        }
        (_, Value::Null) => {}
        (base, over) => *base = over,
    }
}

/// Address pools are told apart by their subnet.
fn ipam(base: &mut Value, over: Value) {
    let (Value::Sequence(base), Value::Sequence(over)) = (base, over) else { return };
    for pool in over {
        match base.iter_mut().find(|known| known.get("subnet") == pool.get("subnet")) {
            Some(Value::Mapping(known)) => {
                if let Value::Mapping(pool) = pool {
                    known.extend(pool);
                }
            }
            _ => base.push(pool),
        }
    }
}

/// Of the items of a list with the same identity only the last stays, in the place of the first.
pub(super) fn keep_last_of_each(field: &str, items: &mut Vec<Value>) {
    let Some(identity) = identity_of(field) else { return };
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<Value> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        match identity(&item).map(|key| (places.get(&key).copied(), key)) {
            Some((Some(place), _)) => kept[place] = item,
            Some((None, key)) => {
                places.insert(key, kept.len());
                kept.push(item);
            }
            None => kept.push(item),
        }
    }
    *items = kept;
}

type Identity = fn(&Value) -> Option<String>;

/// What makes two items of this list the same thing.
fn identity_of(field: &str) -> Option<Identity> {
    Some(match field {
        "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "expose" | "links" | "tmpfs"
        | "aliases" | "link_local_ips" | "profiles" => {
            |item| Some(item.as_str()?.split('=').next()?.to_owned())
        }
        "env_file" => |item| Some(item.as_str().or_else(|| item.get("path")?.as_str())?.to_owned()),
        "volumes" => |item| Some(item.get("target")?.as_str()?.to_owned()),
        "devices" => |item| {
            let parts: Vec<&str> = item.as_str()?.split(':').collect();
            Some((*parts.get(1).or(parts.first())?).to_owned())
        },
        "configs" => |item| mounted_at(item, ""),
        "secrets" => |item| mounted_at(item, "/run/secrets"),
        "ports" => |item| {
            let part = |name| item.get(name).map(super::scalar::text_of).unwrap_or_default();
            item.get("target")?;
            Some(["host_ip", "published", "target", "protocol"].map(part).join("|"))
        },
        _ => return None,
    })
}

fn mounted_at(item: &Value, folder: &str) -> Option<String> {
    match item.get("target") {
        Some(target) => Some(target.as_str()?.to_owned()),
        None => Some(format!("{folder}/{}", item.get("source")?.as_str()?)),
    }
}

enum Tag {
    Reset,
    Override,
}

fn tag(value: &Value) -> Option<Tag> {
    let Value::Tagged(tagged) = value else { return None };
    if tagged.tag == "!reset" {
        Some(Tag::Reset)
    } else if tagged.tag == "!override" {
        Some(Tag::Override)
    } else {
        None
    }
}

/// Whether a value says that there is none.
pub(super) fn is_reset(value: &Value) -> bool {
    matches!(tag(value), Some(Tag::Reset))
}

/// Obeys the tags that are left when there is nothing more to merge: those of fields that no earlier document has.
pub(super) fn settle(value: &mut Value) {
    while let Value::Tagged(tagged) = value {
        let TaggedValue { value: inner, .. } = &mut **tagged;
        *value = std::mem::take(inner);
    }
    match value {
        Value::Mapping(fields) => {
            fields.retain(|_, field| !is_reset(field));
            fields.values_mut().for_each(settle);
        }
        Value::Sequence(items) => {
            items.retain(|item| !is_reset(item));
            items.iter_mut().for_each(settle);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(base: &str, over: &str) -> String {
        let mut base: Mapping = serde_yaml::from_str(base).unwrap();
        let mut clashes = Vec::new();
        documents(&mut base, serde_yaml::from_str(over).unwrap(), &mut clashes);
        if !clashes.is_empty() {
            return format!("clash: {}", clashes.join(" "));
        }
        let mut value = Value::Mapping(base);
        settle(&mut value);
        serde_json::to_value(value).unwrap().to_string()
    }

    fn check(base: &str, over: &str, expected: &str) {
        let wrap = |service: &str| format!("services: {{a: {{{service}}}}}");
        let expected = format!(r#"{{"services":{{"a":{{{expected}}}}}}}"#);
        assert_eq!(merged(&wrap(base), &wrap(over)), expected, "{base} + {over}");
    }

    #[test]
    fn each_field_has_its_rule() {
        check("image: a", "image: b", r#""image":"b""#);
        check("image: a", "image: ", r#""image":"a""#);
        check("command: [a]", "command: [b]", r#""command":["b"]"#);
        check("environment: {A: 1, B: 2}", "environment: {B: 3}", r#""environment":{"A":1,"B":3}"#);
        check("cap_add: [A, B]", "cap_add: [B, C]", r#""cap_add":["A","B","C"]"#);
        check("security_opt: [A]", "security_opt: [A]", r#""security_opt":["A","A"]"#);
        check(
            "volumes: [{source: x, target: /t}]",
            "volumes: [{source: y, target: /t}, {target: /u}]",
            r#""volumes":[{"source":"y","target":"/t"},{"target":"/u"}]"#,
        );
        check(
            "healthcheck: {test: [A], retries: 1}",
            "healthcheck: {test: [B]}",
            r#""healthcheck":{"retries":1,"test":["B"]}"#,
        );
        check("logging: {driver: x, options: {a: 1}}", "logging: {driver: y}", r#""logging":{"driver":"y"}"#);
        check(
            "logging: {driver: x, options: {a: 1}}",
            "logging: {options: {b: 1}}",
            r#""logging":{"driver":"x","options":{"a":1,"b":1}}"#,
        );
        check("ulimits: {n: {soft: 1, hard: 2}}", "ulimits: {n: 3}", r#""ulimits":{"n":3}"#);
        check("extra_hosts: [a=1]", "extra_hosts: [a=2, a=1]", r#""extra_hosts":["a=1","a=2"]"#);
        check(
            "ports: [{target: 80, published: '1'}]",
            "ports: [{target: 80, published: '1', mode: host}, {target: 80, published: '2'}]",
            r#""ports":[{"mode":"host","published":"1","target":80},{"published":"2","target":80}]"#,
        );
    }

    #[test]
    fn tags_win_over_rules() {
        check("ports: [a], image: x", "ports: !reset []", r#""image":"x""#);
        check("cap_add: [A]", "cap_add: !override [B]", r#""cap_add":["B"]"#);
        check("environment: {A: 1, B: 2}", "environment: {A: !reset null}", r#""environment":{"B":2}"#);
        check("image: x", "ports: !reset [], cap_add: !override [A]", r#""cap_add":["A"],"image":"x""#);
    }

    #[test]
    fn a_list_over_a_mapping_is_named() {
        assert_eq!(
            merged("services: {a: {deploy: {}}}", "services: {a: {deploy: []}}"),
            "clash: services.a.deploy"
        );
    }

    #[test]
    fn address_pools_are_told_apart_by_subnet() {
        let found = merged(
            "networks: {n: {ipam: {config: [{subnet: s1, gateway: g}]}}}",
            "networks: {n: {ipam: {config: [{subnet: s1, gateway: h}, {subnet: s2}]}}}",
        );
        assert_eq!(
            found,
            r#"{"networks":{"n":{"ipam":{"config":[{"gateway":"h","subnet":"s1"},{"subnet":"s2"}]}}}}"#
        );
    }
}
