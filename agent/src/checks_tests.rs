use super::*;
use crate::ledger::Applied;
use crate::testing::{check, container, ensure, plan};

fn at(seconds: u64) -> Moment {
    let wall = Timestamp::from_second(1_000_000).unwrap();
    Moment { elapsed: Duration::from_secs(seconds), wall, dice: 0 }
}

fn seen(container: &Container) -> Observation {
    let instances = [("web".parse().unwrap(), vec![container.clone()])];
    Observation { instances: instances.into(), ..Default::default() }
}

/// One check, of one container, as it is after these answers.
fn after(answers: &[Answer]) -> String {
    let checks = vec![check("api", Probe::Tcp { port: 80 })];
    let step = ensure("web", "1").with(|step| step.terms.checks = checks).0;
    let container = container("web", "1");
    let record = Record::from([("web".parse().unwrap(), Applied { digest: step.digest, step: None })]);
    let plan = plan(1, vec![gitops_core::plan::Step::Ensure(step.clone())]);
    let mut checks = Checks::default();
    for (round, answer) in (0_u64..).zip(answers) {
        let now = at(20 * round);
        checks.follow(&plan, &seen(&container), &record, now);
        let asked = checks.ask(now);
        assert_eq!((asked.len(), checks.ask(now).len()), (1, 0), "once at a time");
        assert_eq!(asked[0].within, Duration::from_secs(2));
        checks.answered(asked[0].number, answer.clone(), now);
        assert_eq!(checks.wake_at(), Some(now.elapsed + Duration::from_secs(9)));
    }
    match checks.gate(&step, &[container]) {
        Gate::Healthy => "healthy".to_owned(),
        Gate::Unhealthy(trouble) | Gate::Pending { trouble, .. } => trouble.message,
        other => format!("{other:?}"),
    }
}

#[test]
fn so_many_answers_in_a_row_decide() {
    let (good, none) = (Answer::Good, Answer::NotAsked);
    let bad = |why: &str| Answer::Bad(why.to_owned());
    let check = |answers: &[Answer], expected: &str| assert_eq!(after(answers), expected, "{answers:?}");
    let (good, none) = (|| good.clone(), || none.clone());
    check(&[], "container web-app-1 has not passed check api yet");
    check(&[good()], "container web-app-1 has not passed check api yet");
    check(&[bad("x"), good()], "container web-app-1 has not passed check api yet: x");
    check(&[good(), none(), good()], "healthy");
    check(&[good(), bad("x"), good()], "container web-app-1 has not passed check api yet: x");
    check(&[bad("x"), bad("y"), bad("z")], "container web-app-1 fails check api: z");
    check(&[bad("x"), bad("y"), bad("z"), good()], "container web-app-1 fails check api: z");
    check(&[bad("x"), bad("y"), bad("z"), good(), good()], "healthy");
    check(&[good(), good(), bad("x"), bad("y")], "healthy");
    check(&[good(), good(), bad("x"), bad("y"), good(), bad("z")], "healthy");
}

#[test]
fn an_answer_to_what_is_not_asked_any_more_says_nothing() {
    let with = |interval| {
        let checks =
            vec![HealthCheck { interval, healthy_after: 1, ..check("api", Probe::Tcp { port: 80 }) }];
        ensure("web", "1").with(|step| step.terms.checks = checks).0
    };
    let container = container("web", "1");
    let record = Record::from([("web".parse().unwrap(), Applied { digest: with(1).digest, step: None })]);
    let mut checks = Checks::default();
    let follow = |checks: &mut Checks, step: &Ensure, container: &Container| {
        let plan = plan(1, vec![gitops_core::plan::Step::Ensure(step.clone())]);
        checks.follow(&plan, &seen(container), &record, at(5));
    };
    let is_healthy = |checks: &Checks, step: &Ensure, container: &Container| {
        checks.gate(step, std::slice::from_ref(container)) == Gate::Healthy
    };
    follow(&mut checks, &with(1), &container);
    let first = checks.ask(at(5))[0].number;
    // Another form of the check, and then another run of the container.
    follow(&mut checks, &with(2), &container);
    checks.answered(first, Answer::Good, at(5));
    assert!(!is_healthy(&checks, &with(2), &container));
    let second = checks.ask(at(5))[0].number;
    let restarted = Container { restarts: 1, ..container.clone() };
    follow(&mut checks, &with(2), &restarted);
    checks.answered(second, Answer::Good, at(5));
    assert!(!is_healthy(&checks, &with(2), &restarted));
    let third = checks.ask(at(5))[0].number;
    checks.answered(third, Answer::Good, at(5));
    assert!(is_healthy(&checks, &with(2), &restarted));
}

#[test]
fn what_is_not_in_place_is_not_asked() {
    let checks = vec![check("api", Probe::Tcp { port: 80 })];
    let step = ensure("web", "2").with(|step| step.terms.checks = checks).step();
    let record =
        Record::from([("web".parse().unwrap(), Applied { digest: ensure("web", "1").0.digest, step: None })]);
    let mut checks = Checks::default();
    checks.follow(&plan(1, vec![step]), &seen(&container("web", "1")), &record, at(0));
    assert_eq!((checks.ask(at(60)), checks.wake_at()), (vec![], None));
}
