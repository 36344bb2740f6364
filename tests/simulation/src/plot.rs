//! What happens in the story of a seed: who is in it, what people do, and what goes wrong when.
//!
//! A fault is a variant of [`Trouble`], a line of [`TROUBLES`] that says how often and with what numbers it comes, and an
//! arm of `World::befall`. Whatever it breaks is mended in `World::calm`, when the trouble is over.

use crate::clock::Millis;
use crate::defects::Defect;
use crate::dice::Dice;
use crate::docker::Edit;
use crate::network::Line;
use crate::storage::StoreFault;

/// The story of a seed.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The seed.
    pub(crate) seed: u64,
    /// How many daemons share the store.
    pub(crate) daemons: usize,
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// The store is a SQLite file.
    pub(crate) is_file: bool,
    /// What goes wrong, and when.
    pub(crate) beats: Vec<(Millis, Trouble)>,
    /// From when on nothing goes wrong any more.
    pub(crate) calm_at: Millis,
    /// For how long nothing may be done when all is as it should be.
    pub(crate) quiet: Millis,
    /// Repositories say how releases go, and people decide things.
    pub(crate) is_gated: bool,
    /// When all is as it should be, a release comes that fails.
    pub(crate) is_spoiled: bool,
    /// What is wrong with the product on purpose.
    pub(crate) defect: Option<Defect>,
}

/// Something that happens, by numbers that are taken modulo who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A commit.
    Push,
    /// The branch is set to a commit beside the last ones.
    ForcePush(usize),
    /// An operator deploys what is held.
    Accept(usize),
    /// The forge does not answer for so long.
    GitDown(Millis),
    /// It serves the branch as it was so many commits ago, for so long.
    GitBehind(usize, Millis),
    /// A daemon is killed and comes back after so long.
    KillDaemon(usize, Millis),
    /// A daemon is killed after so many effects.
    DoomDaemon(usize, u32),
    /// The database is backed up.
    BackUp,
    /// All daemons stop, the backup is put in place, and they start.
    Restore,
    /// The next calls of the store go wrong.
    Store(Vec<StoreFault>),
    /// An agent is killed and comes back after so long; its calls of Compose die with it or not.
    KillAgent(usize, Millis, bool),
    /// An agent is killed after so many effects.
    DoomAgent(usize, u32),
    /// The disk of an agent is lost.
    WipeDisk(usize),
    /// The disk of an agent is full for so long.
    FillDisk(usize, Millis),
    /// Another machine starts an agent for the same node, with an id of its own, for so long.
    Rival(usize, Millis),
    /// Another machine starts an agent from a copy of the disk of one, for so long: with its containers, or without.
    Clone(usize, bool, Millis),
    /// A machine is cut off until another one speaks for its node, and then comes back, with something to heal.
    Usurp(usize),
    /// A machine stands still for so long.
    Freeze(usize, Millis),
    /// The clock of a daemon is set, by so many seconds.
    DaemonClock(usize, i64),
    /// The clock of a daemon stands still for so long.
    FreezeClock(usize, Millis),
    /// The clock of a machine is set, by so many seconds.
    MachineClock(usize, i64),
    /// The line of a machine is bad for so long.
    Line(usize, Line, Millis),
    /// Docker does not answer for so long.
    DockerAway(usize, Millis),
    /// The next so many calls of Compose fail.
    ComposeFails(usize, u32),
    /// Docker shows what was, or nothing at all, for so long.
    DockerLies(usize, bool, Millis),
    /// A person does something by hand.
    Edit(usize, Edit),
    /// A container is lost.
    Loss(usize),
    /// An operator agrees to everything that waits for that.
    Approve(usize),
}

type Maker = fn(&mut Dice) -> Trouble;

/// What goes wrong, and how often: the first number is a weight.
pub(crate) const TROUBLES: [(u64, Maker); 27] = [
    (30, |_| Trouble::Push),
    (3, |dice| Trouble::ForcePush(dice.below(3))),
    (2, |dice| Trouble::Accept(who(dice))),
    (4, |dice| Trouble::GitDown(while_(dice))),
    (3, |dice| Trouble::GitBehind(1 + dice.below(2), while_(dice))),
    (6, |dice| Trouble::KillDaemon(who(dice), while_(dice))),
    (8, |dice| Trouble::DoomDaemon(who(dice), few(dice))),
    (4, |_| Trouble::BackUp),
    (3, |_| Trouble::Restore),
    (8, |dice| Trouble::Store(store_faults(dice))),
    (6, |dice| Trouble::KillAgent(who(dice), while_(dice), dice.chance(500))),
    (8, |dice| Trouble::DoomAgent(who(dice), few(dice))),
    (3, |dice| Trouble::WipeDisk(who(dice))),
    (3, |dice| Trouble::FillDisk(who(dice), while_(dice))),
    (4, |dice| Trouble::Rival(who(dice), while_(dice))),
    (4, |dice| Trouble::Clone(who(dice), dice.chance(500), while_(dice))),
    (3, |dice| Trouble::Usurp(who(dice))),
    (3, |dice| Trouble::Freeze(who(dice), while_(dice))),
    (4, |dice| Trouble::DaemonClock(who(dice), jump(dice))),
    (2, |dice| Trouble::FreezeClock(who(dice), while_(dice))),
    (2, |dice| Trouble::MachineClock(who(dice), jump(dice))),
    (8, |dice| Trouble::Line(who(dice), line(dice), while_(dice))),
    (4, |dice| Trouble::DockerAway(who(dice), while_(dice))),
    (4, |dice| Trouble::ComposeFails(who(dice), few(dice) % 4 + 1)),
    (3, |dice| Trouble::DockerLies(who(dice), dice.chance(500), while_(dice))),
    (6, |dice| Trouble::Edit(who(dice), edit(dice))),
    (3, |dice| Trouble::Loss(who(dice))),
];

/// What else happens where repositories say how releases go.
const GATED: [(u64, Maker); 2] = [(12, |dice| Trouble::Approve(who(dice))), (20, |_| Trouble::Push)];

fn who(dice: &mut Dice) -> usize {
    dice.below(60)
}

fn few(dice: &mut Dice) -> u32 {
    u32::try_from(dice.below(30)).expect("a small number")
}

fn while_(dice: &mut Dice) -> Millis {
    match dice.below(3) {
        0 => dice.between(100, 3_000),
        1 => dice.between(3_000, 30_000),
        _ => dice.between(30_000, 90_000),
    }
}

fn jump(dice: &mut Dice) -> i64 {
    let by = i64::try_from(match dice.below(3) {
        0 => dice.between(1, 60),
        1 => dice.between(60, 7_200),
        _ => dice.between(7_200, 40 * 86_400),
    });
    let by = by.expect("less than a year");
    if dice.chance(500) { by } else { -by }
}

fn line(dice: &mut Dice) -> Line {
    Line {
        lost: dice.pick(&[0, 100, 500, 1000]),
        twice: dice.pick(&[0, 200, 500]),
        slowest: dice.pick(&[100, 2_000, 30_000]),
    }
}

fn edit(dice: &mut Dice) -> Edit {
    dice.pick(&[Edit::Stop, Edit::Remove, Edit::Replace, Edit::Pause, Edit::Restart])
}

fn store_faults(dice: &mut Dice) -> Vec<StoreFault> {
    let one = |dice: &mut Dice| {
        dice.pick(&[StoreFault::Fails, StoreFault::Unknown, StoreFault::Conflict, StoreFault::Half])
    };
    (0..dice.between(1, 4)).map(|_| one(dice)).collect()
}

/// One seed in so many is played over a SQLite file.
const FILES: u64 = 500;
/// One seed in so many stays quiet for a thousand looks of each agent.
const QUIET: u64 = 5_000;
/// So many stories in a thousand are long.
const LONG: u64 = 50;

/// How much there is of everything.
struct Size {
    nodes: &'static [usize],
    calm_at: (Millis, Millis),
    troubles: (u64, u64),
    quiet: Millis,
}

/// All that may come together, and in full length.
const LONG_STORY: Size =
    Size { nodes: &[2, 2, 2, 3, 3, 4, 5, 6], calm_at: (60_000, 240_000), troubles: (4, 16), quiet: 60_000 };

/// A few things in a small world: what goes wrong at all mostly does so there, and many times as many can be played.
const SHORT_STORY: Size =
    Size { nodes: &[2, 2, 2, 3], calm_at: (10_000, 50_000), troubles: (2, 8), quiet: 20_000 };

impl Plot {
    /// The story of a seed.
    pub fn new(seed: u64) -> Self {
        let is_long = Dice::new(seed).fork(4).chance(LONG);
        if is_long { Self::long(seed) } else { Self::of(seed, &SHORT_STORY) }
    }

    /// The long story of a seed.
    pub fn long(seed: u64) -> Self {
        Self::of(seed, &LONG_STORY)
    }

    fn of(seed: u64, size: &Size) -> Self {
        let mut dice = Dice::new(seed).fork(1);
        let daemons = dice.pick(&[1, 1, 1, 1, 1, 1, 2, 2, 2, 3]);
        let nodes = dice.pick(size.nodes);
        let calm_at = dice.between(size.calm_at.0, size.calm_at.1);
        let is_gated = matches!(seed % 5, 1 | 2);
        let more = if is_gated { &GATED[..] } else { &[] };
        let troubles: Vec<(u64, Maker)> = TROUBLES.iter().chain(more).copied().collect();
        let count = dice.between(size.troubles.0, size.troubles.1);
        let mut beats: Vec<(Millis, Trouble)> =
            (0..count).map(|_| (dice.between(2_000, calm_at), trouble(&troubles, &mut dice))).collect();
        beats.sort_by_key(|(at, _)| *at);
        let is_quiet = seed % QUIET == QUIET / 2;
        Self {
            seed,
            daemons,
            nodes,
            is_file: seed % FILES == FILES - 1,
            beats,
            calm_at,
            quiet: if is_quiet { 10_000_000 } else { size.quiet },
            is_gated,
            is_spoiled: is_gated && seed.is_multiple_of(2),
            defect: None,
        }
    }

    /// The same story with something wrong on purpose.
    #[must_use]
    pub fn with(self, defect: Defect) -> Self {
        Self { defect: Some(defect), ..self }
    }
}

fn trouble(troubles: &[(u64, Maker)], dice: &mut Dice) -> Trouble {
    let all: u64 = troubles.iter().map(|(weight, _)| weight).sum();
    let mut left = dice.between(0, all - 1);
    for (weight, make) in troubles {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return make(dice),
        }
    }
    unreachable!("the weights are those that were summed")
}
