use proptest::prelude::*;

use super::*;
use crate::journal::Change;
use crate::testing::{ensure, node, plan, remove};

fn id(generation: u64, digest: &str) -> PlanId {
    PlanId { generation: Generation(generation), digest: Digest::of(digest) }
}

#[test]
fn a_plan_is_judged_by_generation_and_digest_and_refused_by_name() {
    let offered = plan(5, vec![ensure("web", "1").step()]);
    let same = PlanId::of(&offered);
    let check = |held: Option<PlanId>, change: fn(&mut NodePlan), expected: Result<Verdict, &str>| {
        let mut offered = offered.clone();
        change(&mut offered);
        let verdict = judge(&node(), held, &offered).map_err(|refused| refused.rule());
        assert_eq!(verdict, expected, "held {held:?}, offered {offered:?}");
    };
    let as_is: fn(&mut NodePlan) = |_| {};
    check(None, as_is, Ok(Verdict::Accept));
    check(Some(id(4, "other")), as_is, Ok(Verdict::Accept));
    check(Some(id(1, "far behind")), as_is, Ok(Verdict::Accept));
    check(Some(same), as_is, Ok(Verdict::AlreadyHeld));
    check(Some(id(5, "other")), as_is, Err("changed-plan"));
    check(Some(id(6, "other")), as_is, Err("older-generation"));
    check(None, |plan| plan.steps.clear(), Err("bad-digest"));
    check(None, |plan| plan.generation = Generation(9), Err("bad-digest"));
    check(None, |plan| plan.schema = SCHEMA + 1, Err("newer-schema"));
    let elsewhere: fn(&mut NodePlan) = |plan| {
        plan.node = "edge-2".parse().unwrap();
        plan.digest = plan.content_digest();
    };
    check(None, elsewhere, Err("wrong-node"));
    let twice: fn(&mut NodePlan) = |plan| {
        plan.steps.push(remove("web"));
        plan.digest = plan.content_digest();
    };
    check(None, twice, Err("two-steps"));
}

#[test]
fn what_is_saved_is_loaded_and_replaced_whole() {
    let temp = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(temp.path());
    assert!(matches!(ledger.load(&node()), Ok(Loaded::Missing)));
    assert_eq!(ledger.read().unwrap(), None);
    for generation in 1..4 {
        let plan = Arc::new(plan(generation, vec![ensure("web", "1").step(), remove("old")]));
        ledger.save(&plan).unwrap();
        assert_eq!(ledger.read().unwrap(), Some(plan.clone()));
        assert!(matches!(ledger.load(&node()), Ok(Loaded::Found(found)) if found == plan));
    }
    for step in [None, Some(Arc::new(ensure("web", "1").0))] {
        let record = Record::from([("web".parse().unwrap(), Applied { digest: Digest::of("1"), step })]);
        ledger.save_record(&record).unwrap();
        assert!(matches!(ledger.load_record(), Ok(Loaded::Found(found)) if found == record));
    }
}

#[test]
fn a_record_is_read_as_the_first_versions_wrote_it() {
    let temp = tempfile::tempdir().unwrap();
    let digest = Digest::of("1");
    let text = format!(r#"{{"version":1,"instances":{{"web":{{"digest":"{digest}"}}}}}}"#);
    std::fs::write(temp.path().join("applied.json"), text).unwrap();
    let expected = Record::from([("web".parse().unwrap(), Applied { digest, step: None })]);
    assert!(matches!(Ledger::at(temp.path()).load_record(), Ok(Loaded::Found(found)) if found == expected));
}

#[test]
fn a_damaged_file_is_kept_aside_and_the_agent_goes_on_without_it() {
    let good = {
        let temp = tempfile::tempdir().unwrap();
        Ledger::at(temp.path()).save(&Arc::new(plan(1, vec![ensure("web", "1").step()]))).unwrap();
        std::fs::read_to_string(temp.path().join("ledger.json")).unwrap()
    };
    let check = |content: &str| {
        let temp = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(temp.path());
        std::fs::write(temp.path().join("ledger.json"), content).unwrap();
        let Ok(Loaded::Corrupt { aside, problem }) = ledger.load(&node()) else {
            panic!("{content} was not found to be corrupt")
        };
        assert!(!problem.is_empty());
        assert_eq!(std::fs::read_to_string(aside).unwrap(), content);
        assert!(matches!(ledger.load(&node()), Ok(Loaded::Missing)));
    };
    check("");
    check(&good[..good.len() / 2]);
    check(&good.replace("\"generation\":1", "\"generation\":2"));
    check(&good.replace("{\"version\":1", "{\"version\":99"));
}

#[test]
fn a_file_that_is_cut_at_any_byte_is_kept_aside_and_never_half_believed() {
    let temp = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(temp.path());
    let step = ensure("web", "1");
    ledger.save(&Arc::new(plan(1, vec![remove("web")]))).unwrap();
    ledger
        .save_record(&Record::from([(
            "web".parse().unwrap(),
            Applied { digest: step.0.digest, step: Some(Arc::new(step.0.clone())) },
        )]))
        .unwrap();
    ledger.save_journal(&Journal::from([("web".parse().unwrap(), Change::to(&step.0))])).unwrap();
    ledger.save_pictures(&Pictures::default()).unwrap();
    let check = |name: &str, load: &dyn Fn() -> Option<PathBuf>| {
        let path = temp.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(load(), None, "{name} as it was written");
        // All but its last newline is all of it.
        for cut in 0..whole.len() - 1 {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let aside = load().unwrap_or_else(|| panic!("{name} cut at {cut} was believed"));
            assert!(!path.exists());
            std::fs::remove_file(aside).unwrap();
        }
    };
    check("ledger.json", &|| aside(ledger.load(&node())));
    check("applied.json", &|| aside(ledger.load_record()));
    check("journal.json", &|| aside(ledger.load_journal()));
    check("pictures.json", &|| aside(ledger.load_pictures()));
}

/// Where a damaged file is now.
fn aside<T>(loaded: Result<Loaded<T>, DiskError>) -> Option<PathBuf> {
    match loaded.unwrap() {
        Loaded::Corrupt { aside, .. } => Some(aside),
        Loaded::Found(_) => None,
        Loaded::Missing => panic!("it is gone"),
    }
}

proptest! {
    /// Whatever is offered, in whatever order: the generation never falls, one generation is one digest for ever,
    /// and offering an accepted plan again changes nothing.
    #[test]
    fn the_ledger_only_moves_forward(offers in prop::collection::vec((1_u64..6, 0_u8..3), 0..40)) {
        let mut held: Option<PlanId> = None;
        let mut seen = BTreeMap::new();
        for (generation, content) in offers {
            let plan = plan(generation, vec![ensure("web", &content.to_string()).step()]);
            let offered = PlanId::of(&plan);
            match judge(&node(), held, &plan) {
                Ok(Verdict::Accept) => {
                    prop_assert!(held.is_none_or(|held| held.generation < offered.generation));
                    prop_assert_eq!(*seen.entry(generation).or_insert(offered.digest), offered.digest);
                    held = Some(offered);
                    prop_assert_eq!(judge(&node(), held, &plan), Ok(Verdict::AlreadyHeld));
                }
                Ok(Verdict::AlreadyHeld) => prop_assert_eq!(held, Some(offered)),
                Err(refused) => {
                    let held = held.expect("an empty ledger refuses no good plan");
                    let rule = if offered.generation < held.generation { "older-generation" } else { "changed-plan" };
                    prop_assert_eq!(refused.rule(), rule);
                }
            }
        }
    }
}
