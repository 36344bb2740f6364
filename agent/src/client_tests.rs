use super::*;
use crate::testing::{ensure, plan};

#[test]
fn plain_http_goes_to_this_machine_only() {
    for good in ["https://control.example", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
        assert!(check_address(&good.parse().unwrap()).is_ok(), "{good}");
    }
    for bad in ["http://control.example", "http://10.0.0.1", "ftp://localhost", "http://localhost.example"] {
        assert!(check_address(&bad.parse().unwrap()).is_err(), "{bad}");
    }
}

#[test]
fn a_plan_of_a_newer_schema_is_named_without_being_understood() {
    let mut text = serde_json::to_value(plan(7, vec![ensure("web", "1").step()])).unwrap();
    assert!(matches!(offer(text.to_string().as_bytes()), Ok(Offer::Plan(_))));
    text["schema"] = 2.into();
    text["steps"] = "in some other form".into();
    let Ok(Offer::Newer { plan, schema: 2 }) = offer(text.to_string().as_bytes()) else {
        panic!("not newer")
    };
    assert_eq!(plan.generation, Generation(7));
    assert!(offer(b"<html>").is_err());
}
