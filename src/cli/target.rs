//! `SERVICE[@NODE]`, as several commands take it.

use std::str::FromStr;

use gitops_core::name::{NameError, NodeName, ServiceName};

/// `web` or `web@edge-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) service: ServiceName,
    pub(super) node: Option<NodeName>,
}

impl FromStr for Target {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (service, node) = match text.split_once('@') {
            Some((service, node)) => (service, Some(node.parse()?)),
            None => (text, None),
        };
        Ok(Self { service: service.parse()?, node })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_may_come_with_its_node() {
        let target = |text: &str| {
            text.parse::<Target>().map(|t| (t.service.to_string(), t.node.map(|n| n.to_string())))
        };
        assert_eq!(target("web"), Ok(("web".into(), None)));
        assert_eq!(target("web@edge-1"), Ok(("web".into(), Some("edge-1".into()))));
        for bad in ["", "web@", "@edge-1", "web@edge@1"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
