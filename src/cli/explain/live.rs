//! What stands where, by the word of the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitops_core::fleet::{FleetStatus, NodeState};
use gitops_core::holders::Holders;
use gitops_core::name::NodeName;
use gitops_core::plan::NodePlan;

use crate::cli::client::Client;
use crate::cli::error::CliError;

/// What stands where by the newest plans, and which nodes are silent.
pub(super) async fn holders(client: &Client) -> Result<Holders, CliError> {
    let fleet: FleetStatus = client.get("/v1/status").await?;
    let mut plans: BTreeMap<NodeName, Arc<NodePlan>> = BTreeMap::new();
    for view in fleet.nodes.iter().filter(|view| view.plan.is_some()) {
        let plan: NodePlan = client.get(&format!("/v1/plans/{}", view.node)).await?;
        plans.insert(view.node.clone(), Arc::new(plan));
    }
    let silent = fleet.nodes.iter().filter(|view| view.state == NodeState::Stale);
    let offline: BTreeSet<NodeName> = silent.map(|view| view.node.clone()).collect();
    Ok(Holders::of_plans(Arc::new(plans)).with_offline(offline))
}

#[cfg(test)]
mod tests {
    use gitops_core::name::Generation;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request after another, and returns what was asked for.
    async fn daemon(listener: TcpListener, answers: Vec<Value>) -> Vec<String> {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().await.expect("a caller");
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                assert_ne!(connection.read_buf(&mut request).await.expect("a request"), 0);
            }
            let request = String::from_utf8(request).expect("UTF-8");
            asked.push(request.split(' ').nth(1).expect("a path").to_owned());
            let body = answer.to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(answer.as_bytes()).await.expect("a caller");
        }
        asked
    }

    fn node(name: &str, state: &str, plan: Option<&NodePlan>) -> Value {
        let plan = plan.map(|plan| json!({ "generation": plan.generation, "digest": plan.digest }));
        json!({
            "node": name, "state": state, "heard_at": null, "plan": plan, "accepted": null,
            "refused": null, "host": null, "agent": null, "instances": [],
        })
    }

    #[tokio::test]
    async fn the_plans_say_what_stands_and_the_status_who_is_silent() {
        let name: NodeName = "a".parse().expect("a name");
        let revision = "1".repeat(40).parse().expect("a revision");
        let plan = NodePlan::new(name, Generation(1), None, revision, Vec::new());
        let source = json!({
            "url": "/r", "branch": "main", "state": "ok", "deployed": null, "newest": null,
            "checked_at": null, "message": null,
        });
        let nodes = [node("a", "ok", Some(&plan)), node("b", "stale", None), node("c", "never", None)];
        let status = json!({ "source": source, "nodes": nodes, "diagnostics": [] });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = Client::of(&format!("http://{}", listener.local_addr().expect("bound")), "secret");
        let answers = vec![status, serde_json::to_value(&plan).expect("a plan is JSON")];
        let (asked, holders) = tokio::join!(daemon(listener, answers), holders(&client));
        assert_eq!(asked, ["/v1/status", "/v1/plans/a"]);
        let holders = holders.expect("the daemon answers");
        let is_offline = |name: &str| holders.is_offline(&name.parse().expect("a name"));
        // One that was never heard may be on its way; its plan waits for it.
        assert_eq!(["a", "b", "c"].map(is_offline), [false, true, false]);
        assert_eq!(holders.all().count(), 0);
    }
}
