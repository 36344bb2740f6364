//! When changes may begin: the windows of `gitops.toml`, for each instance.
//!
//! What an `allow` window concerns changes within such windows only, and what a `deny` window concerns does not change
//! within it, whatever is allowed. A [`Calendar`] knows for some time from now on when each window is open; what concerns
//! one instance are its [`Hours`]: whether it may change now, and the [`Span`]s that travel in the plan, so that an agent
//! that was away does not begin an old plan inside a freeze.
//!
//! **Invariant:** the work is bounded, whatever people write: of each window so many openings are looked at, and beyond them
//! nothing is said to be open.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, ToSpan as _};

use crate::catalog::Catalog;
use crate::definition::{Node, Selector, Window, WindowKind, Zone};
use crate::desired::Instance;
use crate::name::{EnvironmentName, NodeName, ServiceName};
use crate::plan::Span;
use crate::yaml::Scalar;

/// So far ahead it is looked: an agent that hears nothing for longer begins nothing that a window concerns.
pub const HORIZON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// So many spans travel in a plan: by their end there is a newer one, or nobody who makes any.
pub const MAX_SPANS: usize = 8;
/// So many openings of one window are looked at: a window every ten minutes, for two weeks.
const MAX_OPENINGS: usize = 2_016;
/// No clock is turned back by more.
const TURNED: SignedDuration = SignedDuration::from_hours(3);

/// When each window is open, from one moment on.
#[derive(Clone, Debug)]
pub struct Calendar<'a> {
    now: Timestamp,
    windows: Vec<Openings<'a>>,
}

/// When a window is open: in order, none touching the next.
#[derive(Clone, Debug)]
struct Openings<'a> {
    window: &'a Window,
    spans: Vec<Span>,
    /// Nothing is known from then on.
    until: Timestamp,
}

/// What windows look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The service.
    pub service: &'a ServiceName,
    /// Its labels; none where it is not defined any more. What is not known fits every selector.
    pub labels: Option<&'a BTreeMap<Arc<str>, Scalar>>,
    /// The environment of the node.
    pub environment: Option<&'a EnvironmentName>,
    /// The node; none where it is not defined any more.
    pub node: Option<&'a Node>,
}

impl<'a> Subject<'a> {
    /// A service on a node: the instance that it is to be there; none where it goes, and may not be defined any more.
    pub fn of(
        catalog: &'a Catalog,
        node: &NodeName,
        service: &'a ServiceName,
        instance: Option<&'a Instance>,
    ) -> Self {
        let entry = instance.map(|instance| &*instance.entry);
        let entry = entry.or_else(|| catalog.services.get(service).map(|entry| &**entry));
        let labels = entry.map(|entry| &entry.service().labels);
        let environment = catalog.environment_of(node);
        Self { service, labels, environment, node: catalog.nodes.get(node).map(|node| &node.value) }
    }
}

impl<'a> Calendar<'a> {
    /// Whether there is no window at all.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// When the windows of these definitions are open.
    pub fn new(windows: &'a [Window], now: Timestamp) -> Self {
        let windows = windows.iter().take(Window::MAX).map(|window| Openings::new(window, now));
        Self { now, windows: windows.collect() }
    }

    /// What concerns an instance.
    pub fn hours(&self, subject: &Subject<'_>) -> Hours<'_> {
        let concerning = self.windows.iter().filter(|openings| concerns(openings.window, subject));
        Hours { now: self.now, windows: concerning.collect() }
    }
}

/// Whether all selectors of a window fit.
fn concerns(window: &Window, subject: &Subject<'_>) -> bool {
    let Subject { service, labels, environment, node } = *subject;
    let is_there = |node: &Node| {
        let is_in = |names: &Vec<EnvironmentName>| environment.is_some_and(|name| names.contains(name));
        let fits = |selector: &Selector| selector.matches(|label| node.label(label));
        window.environments.as_ref().is_none_or(is_in) && window.nodes.as_ref().is_none_or(fits)
    };
    let is_labelled = |labels: &BTreeMap<Arc<str>, Scalar>| {
        let fits = |selector: &Selector| selector.matches(|label| Some(&*labels.get(label)?.0));
        window.labels.as_ref().is_none_or(fits)
    };
    window.services.as_ref().is_none_or(|names| names.contains(service))
        && node.is_none_or(is_there)
        && labels.is_none_or(is_labelled)
}

impl<'a> Openings<'a> {
    fn new(window: &'a Window, now: Timestamp) -> Self {
        let horizon = now.saturating_add(HORIZON).unwrap_or(Timestamp::MAX);
        let (moments, until) = openings(window, now, horizon);
        let length = window.duration.duration();
        let end = |from: Timestamp| from.saturating_add(length).unwrap_or(Timestamp::MAX);
        let span = |from: Timestamp| Span { from: from.max(now), until: end(from) };
        Self { window, spans: union(moments.into_iter().map(span)), until }
    }

    /// The opening that a moment is in.
    fn open_at(&self, at: Timestamp) -> Option<Span> {
        let begun = self.spans.partition_point(|span| span.from <= at);
        self.spans[..begun].last().copied().filter(|span| span.contains(at))
    }

    /// The first opening that begins after a moment.
    fn after(&self, at: Timestamp) -> Option<Span> {
        self.spans.get(self.spans.partition_point(|span| span.from <= at)).copied()
    }
}

/// When a window opened last, if that is near enough to matter, and when it opens until the horizon, in order; and from when
/// on more of that is not known.
fn openings(window: &Window, now: Timestamp, horizon: Timestamp) -> (Vec<Timestamp>, Timestamp) {
    let zone = window.timezone.clone().unwrap_or_else(Zone::utc);
    let today = zone.clock(now).date();
    let on_day = |day: i64| {
        let date = today.checked_add(day.days()).ok().filter(|date| window.cron.is_on(*date));
        let clocks = date.into_iter().flat_map(|date| window.cron.times(date));
        clocks.flat_map(|clock| zone.moments(clock))
    };
    // Where clocks are turned, the openings of one day do not come in order; those of two days do.
    let past = (-1..=window.duration.duration().as_hours() / 24 + 1).map(|day| -day);
    let last = past.filter_map(|day| on_day(day).filter(|moment| *moment <= now).max()).next();
    let coming = (-1..=HORIZON.as_hours() / 24 + 1).flat_map(on_day);
    let coming: Vec<Timestamp> =
        coming.filter(|moment| (now..=horizon).contains(moment)).take(MAX_OPENINGS).collect();
    let until = match coming.last() {
        Some(last) if coming.len() == MAX_OPENINGS => *last - TURNED,
        _ => horizon,
    };
    let mut moments: Vec<Timestamp> = last.into_iter().chain(coming).collect();
    moments.sort();
    (moments, until)
}

/// What concerns one instance: when it may change.
#[derive(Clone, Debug)]
pub struct Hours<'a> {
    now: Timestamp,
    windows: Vec<&'a Openings<'a>>,
}

/// Whether a change may begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State<'a> {
    /// It may.
    Open {
        /// Until then; none where no end is known.
        until: Option<Timestamp>,
    },
    /// It may not.
    Closed {
        /// Until then; none where that is too far ahead to be known.
        until: Option<Timestamp>,
        /// What keeps it closed: a window that denies, or one that will allow.
        by: &'a Window,
    },
}

impl<'a> Hours<'a> {
    /// Whether no window concerns it: it may change at any time.
    pub fn is_free(&self) -> bool {
        self.windows.is_empty()
    }

    /// Whether a change may begin now.
    pub fn state(&self) -> State<'a> {
        let end = self.end();
        let known = |moment: Timestamp| Some(moment).filter(|moment| *moment < end);
        match (self.open().next(), self.closing()) {
            (Some(span), _) if span.contains(self.now) => State::Open { until: known(span.until) },
            (_, None) => State::Open { until: None },
            (first, Some(by)) => State::Closed { until: first.map(|span| span.from), by },
        }
    }

    /// When a change may begin, from now on, as a plan says it: none where it may at any time. Where it never may for as long
    /// as is known, one span without length.
    pub fn spans(&self) -> Vec<Span> {
        if self.is_free() {
            return Vec::new();
        }
        let mut spans: Vec<Span> = self.open().take(MAX_SPANS).collect();
        if spans.is_empty() {
            spans.push(Span { from: self.end(), until: self.end() });
        }
        spans
    }

    /// From when on nothing is known.
    fn end(&self) -> Timestamp {
        self.windows.iter().map(|openings| openings.until).min().unwrap_or(Timestamp::MAX)
    }

    /// When a change may begin, as far as is known: in order, none touching the next. Only what is taken is looked for.
    fn open(&self) -> impl Iterator<Item = Span> + '_ {
        let (mut from, end) = (self.now, self.end());
        let is_free = self.of(WindowKind::Allow).next().is_none();
        iter::from_fn(move || {
            while from < end {
                if let Some(denied_until) = self.through(WindowKind::Deny, from) {
                    from = denied_until;
                    continue;
                }
                let allowed_until = if is_free { Some(end) } else { self.through(WindowKind::Allow, from) };
                let Some(allowed_until) = allowed_until else {
                    from = self.next(WindowKind::Allow, from).unwrap_or(end);
                    continue;
                };
                let denied_from = self.next(WindowKind::Deny, from).unwrap_or(end);
                let span = Span { from, until: allowed_until.min(denied_from).min(end) };
                from = span.until;
                return Some(span);
            }
            None
        })
    }

    /// Until when windows of a kind are open without a gap, where one is open at a moment.
    fn through(&self, kind: WindowKind, at: Timestamp) -> Option<Timestamp> {
        let longest = |at| self.of(kind).filter_map(|one| Some(one.open_at(at)?.until)).max();
        iter::successors(longest(at), |until| longest(*until)).last()
    }

    /// When the first window of a kind opens after a moment.
    fn next(&self, kind: WindowKind, at: Timestamp) -> Option<Timestamp> {
        self.of(kind).filter_map(|one| Some(one.after(at)?.from)).min()
    }

    fn of(&self, kind: WindowKind) -> impl Iterator<Item = &'a Openings<'a>> + '_ {
        self.windows.iter().copied().filter(move |openings| openings.window.kind == kind)
    }

    /// What keeps it closed now: of what denies that which does so longest, and else what allows next.
    fn closing(&self) -> Option<&'a Window> {
        let now =
            |openings: &Openings<'_>| openings.spans.first().copied().filter(|span| span.contains(self.now));
        let denying = self.of(WindowKind::Deny).filter_map(|one| Some((now(one)?.until, one.window)));
        let next = |openings: &Openings<'_>| openings.spans.first().map_or(Timestamp::MAX, |span| span.from);
        let allowing = || self.of(WindowKind::Allow).min_by_key(|one| next(one)).map(|one| one.window);
        denying.max_by_key(|(until, _)| *until).map(|(_, window)| window).or_else(allowing)
    }
}

/// The same moments in spans that are in order and do not touch.
fn union(spans: impl Iterator<Item = Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.filter(|span| span.from < span.until).collect();
    spans.sort();
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.from <= last.until => last.until = last.until.max(span.until),
            _ => joined.push(span),
        }
    }
    joined
}

#[cfg(test)]
mod tests;
