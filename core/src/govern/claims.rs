//! What an instance takes of its node for itself, so that nothing else can have it there: a Compose project, names of
//! containers, volumes and networks, and ports of the host.
//!
//! Names are those that Docker will see: a volume `data` of the project `shop` is `shop_data`, a container `app` is
//! `shop-app-1`. What is `external` is used and not made, so it is nobody's. Where a port is any of a range, or any
//! free one, nothing is taken that could be known; nor with `network_mode: host`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::compose::Rendered;

/// One thing that is taken, and where the model says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) thing: Thing,
    /// Numbers of it: ports, or the containers of one name. 0 to 0 where there is just one.
    pub(super) first: u32,
    pub(super) last: u32,
    /// How many containers take it: more than one cannot.
    pub(super) takers: u32,
    /// In the model.
    pub(super) field: Vec<Arc<str>>,
}

/// What can be taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// The name of a Compose project.
    Project(Arc<str>),
    /// The name of containers, less their number.
    Container(Arc<str>),
    /// The name of a volume.
    Volume(Arc<str>),
    /// The name of a network.
    Network(Arc<str>),
    /// A port of the host, by protocol; on this address, or on all.
    Port(Arc<str>, Option<IpAddr>),
}

/// Everything that the instances of a render take.
pub(super) fn claims(rendered: &Rendered) -> Vec<Claim> {
    // What is valid for Compose has this form; what has not takes nothing that could be told.
    let model: Model<'_> = serde_json::from_str(rendered.model.as_str()).unwrap_or_default();
    let project = &rendered.project;
    let replicas = |name: &str| rendered.containers.get(name).map_or(1, |container| container.replicas);
    let mut claims = vec![Claim::of(Thing::Project(project.clone()), vec!["name".into()])];
    for (name, container) in &model.services {
        let takers = replicas(name);
        if takers > 0 {
            claims.extend(container.name(project, name, takers));
            claims.extend(container.ports(name, takers));
        }
    }
    let used = Used::by(&model);
    for (key, volume) in model.volumes.iter().filter(|(key, _)| used.volumes.contains(&***key)) {
        claims.extend(volume.claim(project, key, "volumes", Thing::Volume));
    }
    for (key, network) in model.networks.iter().filter(|(key, _)| used.networks.contains(&***key)) {
        claims.extend(network.claim(project, key, "networks", Thing::Network));
    }
    if used.networks.contains("default") && !model.networks.contains_key("default") {
        let claim = Resource::default().claim(project, "default", "networks", Thing::Network);
        claims.extend(claim);
    }
    claims
}

impl Claim {
    fn of(thing: Thing, field: Vec<Arc<str>>) -> Self {
        Self { thing, first: 0, last: 0, takers: 1, field }
    }
}

/// As much of a rendered model as takes something.
#[derive(Default, Deserialize)]
struct Model<'a> {
    #[serde(borrow, default)]
    services: BTreeMap<Cow<'a, str>, Container<'a>>,
    #[serde(borrow, default)]
    volumes: BTreeMap<Cow<'a, str>, Resource<'a>>,
    #[serde(borrow, default)]
    networks: BTreeMap<Cow<'a, str>, Resource<'a>>,
}

#[derive(Default, Deserialize)]
struct Container<'a> {
    #[serde(borrow)]
    container_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    network_mode: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    ports: Vec<Port<'a>>,
    #[serde(borrow)]
    networks: Option<BTreeMap<Cow<'a, str>, IgnoredAny>>,
    #[serde(borrow, default)]
    volumes: Vec<Mount<'a>>,
}

#[derive(Deserialize)]
struct Mount<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
}

/// A volume or a network.
#[derive(Default, Deserialize)]
struct Resource<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(default)]
    external: bool,
}

/// The volumes and networks that some container uses: Compose makes no others.
#[derive(Default)]
struct Used<'a> {
    volumes: BTreeSet<&'a str>,
    networks: BTreeSet<&'a str>,
}

impl<'a> Used<'a> {
    fn by(model: &'a Model<'_>) -> Self {
        let mut used = Self::default();
        for container in model.services.values() {
            let named = |mount: &&Mount<'_>| mount.r#type.as_deref() == Some("volume");
            used.volumes
                .extend(container.volumes.iter().filter(named).filter_map(|mount| mount.source.as_deref()));
            match (&container.networks, &container.network_mode) {
                (Some(networks), _) if !networks.is_empty() => {
                    used.networks.extend(networks.keys().map(|name| &**name))
                }
                (_, Some(_)) => {}
                (_, None) => _ = used.networks.insert("default"),
            }
        }
        used
    }
}

impl Resource<'_> {
    fn claim(&self, project: &str, key: &str, section: &str, thing: fn(Arc<str>) -> Thing) -> Option<Claim> {
        let (name, field): (Arc<str>, _) = match &self.name {
            Some(name) => ((**name).into(), vec![section.into(), key.into(), "name".into()]),
            None => (format!("{project}_{key}").into(), vec![section.into(), key.into()]),
        };
        (!self.external).then(|| Claim::of(thing(name), field))
    }
}

impl Container<'_> {
    /// Compose numbers the containers of a service from 1, unless it is told their name.
    fn name(&self, project: &str, service: &str, takers: u32) -> Option<Claim> {
        let Some(given) = &self.container_name else {
            let field = vec!["services".into(), service.into()];
            let thing = Thing::Container(format!("{project}-{service}").into());
            return Some(Claim { first: 1, last: takers, ..Claim::of(thing, field) });
        };
        let field = vec!["services".into(), service.into(), "container_name".into()];
        let (name, number) = numbered(given);
        Some(Claim { first: number, last: number, takers, ..Claim::of(Thing::Container(name.into()), field) })
    }

    fn ports(&self, service: &str, takers: u32) -> impl Iterator<Item = Claim> {
        let is_published = self.network_mode.as_deref() != Some("host");
        let ports = self.ports.iter().filter(move |_| is_published);
        ports.filter_map(move |port| port.claim(service, takers))
    }
}

/// `shop-app-1` as `shop-app` and 1; 0 for a name that no number follows.
fn numbered(name: &str) -> (&str, u32) {
    let parts = name.rsplit_once('-').filter(|(_, number)| !number.starts_with(['0', '+']));
    let parts = parts.and_then(|(name, number)| Some((name, number.parse().ok()?)));
    parts.unwrap_or((name, 0))
}

/// A port, in the long form or in the short one that ranges of very many keep.
enum Port<'a> {
    Long(LongPort<'a>),
    Short(String),
}

#[derive(Deserialize)]
struct LongPort<'a> {
    #[serde(borrow)]
    published: Option<Cow<'a, str>>,
    #[serde(borrow)]
    host_ip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    protocol: Option<Cow<'a, str>>,
}

impl Port<'_> {
    fn claim(&self, service: &str, takers: u32) -> Option<Claim> {
        let (host, published, protocol) = match self {
            Self::Long(port) => (
                port.host_ip.as_deref().unwrap_or_default(),
                port.published.as_deref()?,
                port.protocol.as_deref().unwrap_or("tcp"),
            ),
            Self::Short(text) => short(text)?,
        };
        let (first, last) = range(published)?;
        let is_fixed = first == last || matches!(self, Self::Short(_));
        // Any port of a range is enough for each of so many.
        if !is_fixed && u64::from(takers) <= u64::from(last - first) + 1 {
            return None;
        }
        let address = address(host);
        let field = ["services", service, "ports", published].map(Arc::from).to_vec();
        let thing = Thing::Port(protocol.into(), address);
        Some(Claim { thing, first, last, takers, field })
    }
}

/// `[host:]published:target[/protocol]`.
fn short(text: &str) -> Option<(&str, &str, &str)> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (head, _) = rest.rsplit_once(':')?;
    let (host, published) = head.rsplit_once(':').unwrap_or(("", head));
    Some((host, published, protocol))
}

/// Ports from 1; 0 stands for any that is free.
fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (1..=last).contains(&first).then_some((first, last))
}

/// None for all addresses of the host.
fn address(host: &str) -> Option<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

impl<'de: 'a, 'a> Deserialize<'de> for Port<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;

        impl<'de> Visitor<'de> for PortVisitor {
            type Value = Port<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Port::Short(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                LongPort::deserialize(MapAccessDeserializer::new(map)).map(Port::Long)
            }
        }

        deserializer.deserialize_any(PortVisitor)
    }
}
