//! What is to be said of each node for one deployment; and where nothing fits, the smallest change that would do.

use std::collections::BTreeMap;

use super::choose::Images;
use super::filter::{self, Misfit, Stand};
use super::score::{self, Facts, Score};
use super::{Code, Placed, Request, Reserved, Site, Sites, Verdict, standing};
use crate::holders::Holders;
use crate::name::NodeName;

/// What is to be said of every node.
pub fn verdicts(
    sites: &Sites<'_>,
    request: &Request,
    placed: &Placed,
    holders: &Holders,
) -> BTreeMap<NodeName, Verdict> {
    let told = |(node, judged): (&NodeName, Judged<'_>)| {
        let verdict = match judged {
            Judged::Chosen(score) => Verdict::Chosen(score),
            Judged::Fits(score) => Verdict::Fits(score),
            Judged::Out(misfits) => {
                Verdict::Excluded(misfits.iter().map(|misfit| misfit.told(node)).collect())
            }
        };
        (node.clone(), verdict)
    };
    judged(sites, request, placed, holders).map(told).collect()
}

/// How many nodes are out for each reason that comes first for them, the most first, with one of them and what is said
/// of it; and the smallest change that would make one more node fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// By reason.
    pub reasons: Vec<(Code, usize, NodeName, String)>,
    /// The least that would do; none where there is no node that could be changed.
    pub change: Option<String>,
}

/// Why a deployment gets no more nodes.
pub fn refusal(sites: &Sites<'_>, request: &Request, placed: &Placed, holders: &Holders) -> Refusal {
    let mut reasons: BTreeMap<Code, (usize, NodeName, String)> = BTreeMap::new();
    let mut best: Option<(Effort, String)> = None;
    for (node, judged) in judged(sites, request, placed, holders) {
        let Judged::Out(misfits) = judged else { continue };
        if let Some(first) = misfits.first().map(|misfit| misfit.told(node)) {
            reasons.entry(first.code).or_insert_with(|| (0, node.clone(), first.reason)).0 += 1;
        }
        let effort = effort(&misfits);
        if request.lost.contains(node) {
            continue;
        }
        if best.as_ref().is_none_or(|(least, _)| effort < *least) {
            let changes: Vec<String> = misfits.iter().map(|misfit| misfit.told(node).change).collect();
            best = Some((effort, changes.join(" and ")));
        }
    }
    let mut reasons: Vec<_> =
        reasons.into_iter().map(|(code, (count, node, reason))| (code, count, node, reason)).collect();
    reasons.sort_by_key(|(code, count, ..)| (std::cmp::Reverse(*count), *code));
    Refusal { reasons, change: best.map(|(_, change)| change) }
}

/// How much it takes to make a node fit: how many changes, how much each takes, how far it is.
type Effort = (usize, u32, u64);

fn effort(misfits: &[Misfit<'_>]) -> Effort {
    let shortage = misfits.iter().fold(0_u64, |sum, misfit| sum.saturating_add(misfit.shortage()));
    (misfits.len(), misfits.iter().map(Misfit::effort).sum(), shortage)
}

enum Judged<'a> {
    Chosen(Score),
    Fits(Score),
    Out(Vec<Misfit<'a>>),
}

/// Each node beside what all others hold.
fn judged<'a>(
    sites: &'a Sites<'a>,
    request: &'a Request,
    placed: &'a Placed,
    holders: &'a Holders,
) -> impl Iterator<Item = (&'a NodeName, Judged<'a>)> {
    let others = without(placed, request);
    let stands =
        standing::of(holders, std::iter::once(request)).remove(&request.id.service).unwrap_or_default();
    let (images, dearest, nothing) = (Images::new(holders), score::dearest(sites), Reserved::default());
    let chosen = placed.chosen.get(&request.id);
    let value = |site: &Site<'_>| {
        request.place.spread.as_deref().map(|label| site.node.label(label).unwrap_or_default().to_owned())
    };
    let mut crowds: BTreeMap<String, i64> = BTreeMap::new();
    for site in chosen.into_iter().flat_map(BTreeMap::keys).filter_map(|node| sites.get(node)) {
        *crowds.entry(value(site).unwrap_or_default()).or_default() += 1;
    }
    sites.iter().map(move |(node, site)| {
        let is_chosen = chosen.is_some_and(|chosen| chosen.contains_key(*node));
        let bound = stands.get(*node).map(Vec::as_slice);
        let reserved = others.get(*node).unwrap_or(&nothing);
        let stand = Stand { bound, is_patient: is_chosen, may_stand: is_chosen };
        let judged = match filter::fit(request, site, reserved, stand) {
            Ok(held) => {
                let has_image = images.has(request, node);
                let facts = Facts { reserved, held: &held, stands: bound.is_some(), has_image, dearest };
                let crowd = value(site).and_then(|value| crowds.get(&value).copied()).unwrap_or_default();
                let spread = i64::from(is_chosen && crowd > 0) - crowd;
                let score = Score { spread, ..score::score(request, site, &facts) };
                if is_chosen { Judged::Chosen(score) } else { Judged::Fits(score) }
            }
            Err(misfits) => Judged::Out(misfits),
        };
        (*node, judged)
    })
}

/// What all other deployments hold.
fn without(placed: &Placed, request: &Request) -> BTreeMap<NodeName, Reserved> {
    let mut reserved: BTreeMap<NodeName, Reserved> = BTreeMap::new();
    for (id, nodes) in placed.chosen.iter().filter(|(id, _)| **id != request.id) {
        for (node, held) in nodes {
            reserved.entry(node.clone()).or_default().add(id, held);
        }
    }
    reserved
}
