//! What the daemon counts, in the OpenMetrics text format that Prometheus reads.
//!
//! Counters are kept as things happen; how many nodes and instances are in which state is counted from the fleet's
//! picture when somebody asks, so it is never behind.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use gitops_core::fleet::FleetStatus;
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

/// The counters, and the registry that names them.
pub struct Metrics {
    registry: Registry,
    /// Requests answered.
    pub requests: Family<Answered, Counter>,
    /// Requests that were read and have no answer yet.
    pub requests_in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Long polls that wait for a plan.
    pub polls: Gauge,
    /// Finished passes.
    pub passes: Counter,
    /// How long a pass took, without its publication.
    pub pass_seconds: Histogram,
    /// Plans made durable.
    pub plans_published: Counter,
    /// Publications that another daemon was ahead of.
    pub publish_conflicts: Counter,
    /// Looks at the source.
    pub fetches: Family<Ended, Counter>,
    /// How long a look at the source took.
    pub fetch_seconds: Histogram,
    /// Reports made durable, heartbeats included.
    pub reports: Counter,
    /// Failed calls of the store.
    pub store_failures: Counter,
    nodes: Family<InState, Gauge>,
    instances: Family<InState, Gauge>,
    source: Family<InState, Gauge>,
    source_age: Gauge<f64, AtomicU64>,
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answered {
    /// The path of the route table, never of the request: a caller must not make up labels.
    pub route: &'static str,
    /// HTTP status.
    pub status: u16,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ended {
    /// `ok` or `failed`.
    pub result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: Word,
}

/// A state in the word that it has in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Word(String);

impl Word {
    fn of(state: impl Serialize) -> Self {
        match serde_json::to_value(state) {
            Ok(serde_json::Value::String(word)) => Self(word),
            _ => Self("unknown".to_owned()),
        }
    }
}

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.0.as_str(), encoder)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        // 1 ms to 8 s: a pass of the reference workload takes tens of milliseconds, a remote fetch some seconds.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let mut metrics = Self {
            registry: Registry::with_prefix("gitops"),
            requests: Family::default(),
            requests_in_flight: Gauge::default(),
            connections: Gauge::default(),
            polls: Gauge::default(),
            passes: Counter::default(),
            pass_seconds: seconds(),
            plans_published: Counter::default(),
            publish_conflicts: Counter::default(),
            fetches: Family::default(),
            fetch_seconds: seconds(),
            reports: Counter::default(),
            store_failures: Counter::default(),
            nodes: Family::default(),
            instances: Family::default(),
            source: Family::default(),
            source_age: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("http_requests", "Requests answered", self.requests.clone());
        r.register("requests_in_flight", "Requests without an answer yet", self.requests_in_flight.clone());
        r.register("connections", "Open connections", self.connections.clone());
        r.register("plan_polls", "Agents that wait for a plan", self.polls.clone());
        r.register("passes", "Finished passes", self.passes.clone());
        r.register_with_unit("pass", "How long a pass took", Unit::Seconds, self.pass_seconds.clone());
        r.register("plans_published", "Plans made durable", self.plans_published.clone());
        let help = "Publications that another daemon was ahead of";
        r.register("publish_conflicts", help, self.publish_conflicts.clone());
        r.register("fetches", "Looks at the source", self.fetches.clone());
        r.register_with_unit("fetch", "How long a look took", Unit::Seconds, self.fetch_seconds.clone());
        r.register("reports", "Reports of agents made durable", self.reports.clone());
        r.register("store_failures", "Failed calls of the store", self.store_failures.clone());
        r.register("nodes", "Nodes by state", self.nodes.clone());
        r.register("instances", "Instances by state", self.instances.clone());
        r.register("source_state", "1 for the state that the source is in", self.source.clone());
        let help = "Time since the repository last answered";
        r.register_with_unit("source_age", help, Unit::Seconds, self.source_age.clone());
    }

    /// Counts a look at the source.
    pub fn fetched(&self, ok: bool, took: Duration) {
        self.fetches.get_or_create(&Ended { result: if ok { "ok" } else { "failed" } }).inc();
        self.fetch_seconds.observe(took.as_secs_f64());
    }

    /// Everything, with the fleet as it stands.
    pub fn text(&self, fleet: &FleetStatus, now: Timestamp) -> String {
        self.count(fleet, now);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }

    fn count(&self, fleet: &FleetStatus, now: Timestamp) {
        for family in [&self.nodes, &self.instances, &self.source] {
            family.clear();
        }
        let add = |family: &Family<InState, Gauge>, state: Word| {
            family.get_or_create(&InState { state }).inc();
        };
        add(&self.source, Word::of(fleet.source.state));
        for node in &fleet.nodes {
            add(&self.nodes, Word::of(node.state));
            node.instances.iter().for_each(|instance| add(&self.instances, Word::of(instance.state)));
        }
        let age =
            fleet.source.checked_at.map_or(f64::INFINITY, |at| now.duration_since(at).as_secs_f64().max(0.0));
        self.source_age.set(age);
    }
}

/// Counts itself for as long as it lives: a caller that hangs up is counted out too.
pub(super) struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    pub(super) fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
