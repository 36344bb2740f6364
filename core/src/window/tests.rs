//! Windows by example, and against a reading of them that asks every minute.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// The windows of a `gitops.toml`.
fn windows(toml: &str) -> Vec<Window> {
    #[derive(serde::Deserialize)]
    struct Form {
        window: Vec<Window>,
    }
    toml::from_str::<Form>(toml).expect("the windows can be read").window
}

fn window(kind: &str, name: &str, times: &str) -> String {
    format!("[[window]]\nkind = \"{kind}\"\nname = \"{name}\"\n{times}\nreason = \"because\"\n")
}

/// What concerns everything.
fn hours<'a>(calendar: &'a Calendar<'a>) -> Hours<'a> {
    let service: ServiceName = "web".parse().expect("a name");
    calendar.hours(&Subject { service: &service, labels: None, environment: None, node: None })
}

fn shown(spans: &[Span]) -> Vec<String> {
    spans.iter().map(|span| format!("{}/{}", span.from, span.until)).collect()
}

#[test]
fn a_change_may_begin_where_it_is_allowed_and_not_denied() {
    let nights = window("allow", "nights", "cron = '0 22 * * 1-5'\nduration = '8h'");
    let freeze = window("deny", "freeze", "cron = '0 0 24 12 *'\nduration = '4d'");
    let check = |toml: &str, now: &str, expected: &[&str]| {
        let windows = windows(toml);
        let calendar = Calendar::new(&windows, at(now));
        let spans = hours(&calendar).spans();
        assert_eq!(&shown(&spans)[..expected.len()], expected, "{now}");
    };
    // 2026-12-23 is a Wednesday.
    let wednesday = "2026-12-23T22:00:00Z/2026-12-24T06:00:00Z";
    check(&nights, "2026-12-23T12:00:00Z", &[wednesday, "2026-12-24T22:00:00Z/2026-12-25T06:00:00Z"]);
    check(&nights, "2026-12-24T05:00:00Z", &["2026-12-24T05:00:00Z/2026-12-24T06:00:00Z"]);
    let both = format!("{nights}{freeze}");
    let after = "2026-12-28T22:00:00Z/2026-12-29T06:00:00Z";
    check(&both, "2026-12-23T12:00:00Z", &["2026-12-23T22:00:00Z/2026-12-24T00:00:00Z", after]);
    check(
        &freeze,
        "2026-12-23T12:00:00Z",
        &["2026-12-23T12:00:00Z/2026-12-24T00:00:00Z", "2026-12-28T00:00:00Z/2027-01-06T12:00:00Z"],
    );
    // Open all the time, and still said: a later plan may say otherwise.
    check(&freeze, "2026-06-01T00:00:00Z", &["2026-06-01T00:00:00Z/2026-06-15T00:00:00Z"]);
}

#[test]
fn what_keeps_it_closed_is_named() {
    let toml = window("allow", "nights", "cron = '0 22 * * *'\nduration = '8h'")
        + &window("allow", "noon", "cron = '0 12 * * *'\nduration = '1h'")
        + &window("deny", "backup", "cron = '0 23 * * *'\nduration = '30m'")
        + &window("deny", "audit", "cron = '0 23 * * *'\nduration = '45m'");
    let windows = windows(&toml);
    let check = |now: &str, expected: (&str, Option<&str>)| {
        let calendar = Calendar::new(&windows, at(now));
        let (name, until) = match hours(&calendar).state() {
            State::Open { until } => ("open", until),
            State::Closed { until, by } => (&*by.name, until),
        };
        let until = until.map(|until| until.to_string());
        assert_eq!((name, until.as_deref()), expected, "{now}");
    };
    check("2026-11-01T08:00:00Z", ("noon", Some("2026-11-01T12:00:00Z")));
    check("2026-11-01T12:00:00Z", ("open", Some("2026-11-01T13:00:00Z")));
    check("2026-11-01T13:00:00Z", ("nights", Some("2026-11-01T22:00:00Z")));
    check("2026-11-01T23:10:00Z", ("audit", Some("2026-11-01T23:45:00Z")));
    check("2026-11-01T23:50:00Z", ("open", Some("2026-11-02T06:00:00Z")));
}

#[test]
fn what_is_never_open_has_a_span_that_nothing_is_in() {
    let toml = window("deny", "always", "cron = '* * * * *'\nduration = '60d'");
    let now = at("2026-11-01T08:00:00Z");
    let windows = windows(&toml);
    let calendar = Calendar::new(&windows, now);
    let hours = hours(&calendar);
    let spans = hours.spans();
    assert!(matches!(hours.state(), State::Closed { until: None, .. }));
    assert_eq!(spans.len(), 1);
    assert!((0..60).all(|day| !Span::allow(&spans, now + SignedDuration::from_hours(24 * day))));
    let nothing = Calendar::new(&[], now);
    let free = self::hours(&nothing);
    assert_eq!((free.is_free(), free.spans(), free.state()), (true, vec![], State::Open { until: None }));
}

#[test]
fn a_window_concerns_what_all_of_its_selectors_fit() {
    let check = |selectors: &str, expected: bool| {
        let windows =
            windows(&window("deny", "w", &format!("cron = '0 0 * * *'\nduration = '1h'\n{selectors}")));
        let service: ServiceName = "web".parse().expect("a name");
        let environment: EnvironmentName = "production".parse().expect("a name");
        let node: Node = serde_yaml::from_str("{node: edge, labels: {region: eu}}").expect("a node");
        let labels = BTreeMap::from([("tier".into(), Scalar("gold".into()))]);
        let (labels, environment) = (Some(&labels), Some(&environment));
        let subject = Subject { service: &service, labels, environment, node: Some(&node) };
        assert_eq!(concerns(&windows[0], &subject), expected, "{selectors}");
        let unknown = Subject { labels: None, node: None, ..subject };
        let names_another = selectors.contains("services = ['db']");
        assert_eq!(concerns(&windows[0], &unknown), !names_another, "{selectors}, of what is gone");
    };
    check("", true);
    check("services = ['db', 'web']", true);
    check("services = ['db']", false);
    check("environments = ['production']", true);
    check("environments = ['staging']", false);
    check("nodes = { region = 'eu' }", true);
    check("nodes = { node = 'edge' }", true);
    check("nodes = { region = 'us' }", false);
    check("labels = { tier = ['gold', 'silver'] }", true);
    check("labels = { tier = 'bronze' }", false);
    check("services = ['web']\nenvironments = ['staging']", false);
}

/// For each minute from `start` on, whether a window is open: the clock on the wall showed one of its times not long ago.
fn minutes_open(window: &Window, start: Timestamp, count: i64) -> Vec<bool> {
    let zone = window.timezone.clone().unwrap_or_else(Zone::utc);
    let length = window.duration.duration().as_mins();
    let mut of_day = None;
    let mut left = 0;
    let shows = |minute: i64| {
        let clock = zone.clock(start + SignedDuration::from_mins(minute));
        let date = clock.date();
        if of_day.as_ref().is_none_or(|(day, _)| *day != date) {
            let times = window.cron.times(date).filter(|_| window.cron.is_on(date));
            of_day = Some((date, times.collect::<BTreeSet<_>>()));
        }
        left =
            if of_day.as_ref().is_some_and(|(_, times)| times.contains(&clock)) { length } else { left - 1 };
        left > 0
    };
    (-length..count).map(shows).skip(usize::try_from(length).expect("a length")).collect()
}

fn any_window() -> impl Strategy<Value = String> {
    let part = |choices: &'static [&'static str]| prop::sample::select(choices);
    (
        part(&["allow", "allow", "deny"]),
        part(&["0", "30", "*/20", "*", "15,45"]),
        part(&["*", "2", "22", "*/6", "1-3"]),
        part(&["*", "*/3", "1,28,31"]),
        part(&["*", "1-5", "sun"]),
        part(&["1m", "10m", "45m", "2h", "9h", "1d", "3d"]),
        part(&["UTC", "Asia/Kathmandu", "America/St_Johns"]),
    )
        .prop_map(|(kind, minute, hour, day, weekday, duration, zone)| {
            let times = format!(
                "cron = '{minute} {hour} {day} * {weekday}'\nduration = '{duration}'\ntimezone = '{zone}'"
            );
            window(kind, "w", &times)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In months in which no clock is turned, so that the minutes of the wall are those of time.
    #[test]
    fn spans_say_what_a_look_at_every_minute_says(
        texts in prop::collection::vec(any_window(), 1..4),
        start in 0_i64..60 * 24 * 20,
    ) {
        let now = at("2027-01-10T00:00:00Z") + SignedDuration::from_mins(start);
        let windows = windows(&texts.concat());
        let calendar = Calendar::new(&windows, now);
        let hours = hours(&calendar);
        let spans = hours.spans();
        let open: Vec<_> = windows.iter().map(|one| (one.kind, minutes_open(one, now, 48 * 60))).collect();
        let may = |minute: usize| {
            let is = |wanted| open.iter().any(|(kind, open)| *kind == wanted && open[minute]);
            let is_limited = windows.iter().any(|one| one.kind == WindowKind::Allow);
            (!is_limited || is(WindowKind::Allow)) && !is(WindowKind::Deny)
        };
        prop_assert!(spans.len() <= MAX_SPANS && spans.is_sorted());
        // What comes after the last of eight is left for a later plan.
        let end = if spans.len() == MAX_SPANS { spans[MAX_SPANS - 1].until } else { hours.end() };
        for minute in 0..48 * 60 {
            let moment = now + SignedDuration::from_mins(minute);
            let expected = may(usize::try_from(minute).expect("a minute"));
            if moment < end {
                prop_assert_eq!(Span::allow(&spans, moment), expected, "{} {:?}", moment, spans);
            }
        }
        prop_assert_eq!(matches!(hours.state(), State::Open { .. }), may(0));
    }

    #[test]
    fn whatever_is_written_is_answered_in_bounded_work(
        fields in prop::collection::vec("[0-9*,/-]{1,6}", 5),
        days in 1_u32..60,
    ) {
        let cron = fields.join(" ");
        if cron.parse::<crate::definition::Cron>().is_ok() {
            let windows = windows(&window("allow", "w", &format!("cron = '{cron}'\nduration = '{days}d'")));
            let now = at("2027-01-10T00:00:00Z");
            prop_assert!(Calendar::new(&windows, now).windows[0].spans.len() <= MAX_OPENINGS + 1);
        }
    }
}

#[test]
fn a_night_whose_clock_is_turned_has_its_window() {
    let toml = window("allow", "w", "cron = '30 2 * * *'\nduration = '30m'\ntimezone = 'Europe/Berlin'");
    let check = |now: &str, expected: &[&str]| {
        let windows = windows(&toml);
        let calendar = Calendar::new(&windows, at(now));
        assert_eq!(&shown(&hours(&calendar).spans())[..expected.len()], expected);
    };
    check(
        "2027-10-31T00:00:00Z",
        &[
            "2027-10-31T00:30:00Z/2027-10-31T01:00:00Z",
            "2027-10-31T01:30:00Z/2027-10-31T02:00:00Z",
            "2027-11-01T01:30:00Z/2027-11-01T02:00:00Z",
        ],
    );
    check("2027-03-28T00:00:00Z", &["2027-03-28T01:30:00Z/2027-03-28T02:00:00Z"]);
}
