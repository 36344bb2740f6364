//! `gitops-agent`: pulls the plan of one node, makes it true, and says so.

fn main() {}
