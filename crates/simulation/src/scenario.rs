//! What a seed stands for: how many processes there are, what is sent, what is done to them, and how often something fails.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// A way in which a request can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// It fails before it had an effect.
    Before,
    /// It fails after it had its effect: the answer is lost.
    After,
    /// It takes long.
    Slow,
    /// A part of it has an effect, and it fails: a torn object, half of a batch.
    Partly,
    /// A listing shows how things stood a while ago.
    Stale,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Before, Self::After, Self::Slow, Self::Partly, Self::Stale];
}

/// How often each fault strikes, of a thousand requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates([u32; Fault::ALL.len()]);

impl Rates {
    /// Whether it strikes now.
    pub(crate) fn draw(self, fault: Fault, random: &mut StdRng) -> bool {
        let rate = self.of(fault);
        rate > 0 && random.random_range(0..1_000) < rate
    }

    fn of(self, fault: Fault) -> u32 {
        let Self(rates) = self;
        Fault::ALL.iter().zip(rates).find(|(one, _)| **one == fault).map_or(0, |(_, rate)| rate)
    }

    /// The same, but for one that never strikes.
    #[must_use]
    pub fn without(self, fault: Fault) -> Self {
        let Self(mut rates) = self;
        for (one, rate) in Fault::ALL.iter().zip(&mut rates) {
            if *one == fault {
                *rate = 0;
            }
        }
        Self(rates)
    }
}

/// What an event is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A page view of a moment ago.
    Fresh,
    /// One of days ago.
    Late {
        /// How many.
        days: u8,
    },
    /// Its time lies ahead of the gate's.
    Ahead,
    /// An exposure to an experiment.
    Exposure,
    /// It breaks the tracking plan.
    Invalid,
    /// It is no event at all.
    Broken,
    /// The same as one that was sent before, again.
    Copy {
        /// Which.
        of: u16,
    },
    /// Another event under an id that was sent before.
    Conflict {
        /// Whose id.
        with: u16,
    },
}

/// An event to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Which it is: its id is made of it.
    pub number: u16,
    /// What it is like.
    pub shape: Shape,
}

/// Something that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Clients send a batch each to a gate, at once, until they get an answer or have had enough.
    Send {
        /// Which gate, to begin with.
        gate: usize,
        /// The events of each.
        batches: Vec<Vec<Sending>>,
    },
    /// A worker dies.
    KillWorker(usize),
    /// A worker starts, if it does not run.
    StartWorker(usize),
    /// A gate dies, and starts again.
    RestartGate(usize),
    /// The partitions are divided anew; for a while some may have two owners, or none.
    Rebalance,
    /// The object store is away, for one worker or for all.
    StoreAway {
        /// For which.
        worker: Option<usize>,
        /// How long.
        lasts: Duration,
    },
    /// The journal is away for all.
    JournalAway {
        /// Whether what is asked of it waits until then, in the place of failing.
        hangs: bool,
        /// How long.
        lasts: Duration,
    },
    /// The clock of a gate jumps.
    ClockJump {
        /// Which.
        gate: usize,
        /// By how much, in seconds.
        seconds: i64,
    },
    /// A worker dies, and its index of identities is lost.
    LoseIndex(usize),
    /// A worker dies, and its index of identities is that of an earlier death.
    OldIndex(usize),
    /// The books are made up.
    Audit,
}

/// What is done, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// After the one before it.
    pub after: Duration,
    /// What is done.
    pub act: Act,
}

/// All that a seed stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// Partitions of the journal.
    pub partitions: u32,
    /// Gates.
    pub gates: usize,
    /// Workers.
    pub workers: usize,
    /// Records that one commit of Bronze takes at most.
    pub batch_records_max: usize,
    /// Rows that one commit of Silver takes at most.
    pub silver_rows_max: u64,
    /// Identities in memory before they are written.
    pub memtable_entries_max: usize,
    /// Versions between two checkpoints.
    pub checkpoint_interval: u64,
    /// Whether small files are joined meanwhile.
    pub compacts: bool,
    /// Whether Gold is made too. It takes most of the time.
    pub gold: bool,
    /// How often something fails.
    pub rates: Rates,
    /// What is done.
    pub steps: Vec<Step>,
}

/// The rates of scenarios from quiet to rough, in the order of [`Fault::ALL`].
const RATES: [[u32; 5]; 5] = [[0, 0, 0, 0, 0], [5, 5, 10, 5, 5], [20, 20, 20, 20, 20], [60, 60, 20, 60, 60], [10, 120, 50, 10, 0]];

impl Scenario {
    /// What this seed stands for.
    pub fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0x5CE0_A210);
        let (gates, workers) = (random.random_range(1..=2), random.random_range(1..=3));
        let partitions = [1, 2, 3, 4, 6][random.random_range(0..5_usize)];
        let mut scenario = Self {
            seed,
            partitions,
            gates,
            workers,
            batch_records_max: random.random_range(8..60),
            silver_rows_max: random.random_range(8..80),
            memtable_entries_max: random.random_range(1..80),
            checkpoint_interval: random.random_range(3..40),
            compacts: random.random_bool(0.25),
            gold: random.random_bool(0.02),
            rates: Rates(RATES[random.random_range(0..RATES.len())]),
            steps: Vec::new(),
        };
        let mut sent = 0;
        for _ in 0..random.random_range(5..16) {
            let act = act(&mut random, &scenario, &mut sent);
            let after = Duration::from_millis(random.random_range(0..4_000));
            scenario.steps.push(Step { after, act });
        }
        scenario
    }
}

fn act(random: &mut StdRng, scenario: &Scenario, sent: &mut u16) -> Act {
    let gate = random.random_range(0..scenario.gates);
    let worker = random.random_range(0..scenario.workers);
    let lasts = Duration::from_millis(random.random_range(100..20_000));
    match random.random_range(0..100) {
        0..55 => {
            let clients = if random.random_bool(0.1) { random.random_range(8..20) } else { 1 };
            let mut batch = || (0..random.random_range(1..25)).map(|_| sending(random, sent)).collect();
            Act::Send { gate, batches: (0..clients).map(|_| batch()).collect() }
        }
        55..65 => Act::KillWorker(worker),
        65..72 => Act::StartWorker(worker),
        72..76 => Act::RestartGate(gate),
        76..81 => Act::Rebalance,
        81..85 => Act::StoreAway { worker: random.random_bool(0.5).then_some(worker), lasts },
        85..88 => Act::JournalAway { hangs: random.random_bool(0.5), lasts },
        88..91 => Act::ClockJump { gate, seconds: random.random_range(-90_000..90_000) },
        91..93 => Act::LoseIndex(worker),
        93..96 => Act::OldIndex(worker),
        _ => Act::Audit,
    }
}

fn sending(random: &mut StdRng, sent: &mut u16) -> Sending {
    let before = *sent;
    let mut new = || {
        *sent += 1;
        before
    };
    let shape = match random.random_range(0..100) {
        0..12 if before > 0 => return Sending { number: new(), shape: Shape::Copy { of: random.random_range(0..before) } },
        12..15 if before > 0 => return Sending { number: new(), shape: Shape::Conflict { with: random.random_range(0..before) } },
        15..25 => Shape::Late { days: random.random_range(1..40) },
        25..28 => Shape::Ahead,
        28..40 => Shape::Exposure,
        40..46 => Shape::Invalid,
        46..50 => Shape::Broken,
        _ => Shape::Fresh,
    };
    Sending { number: new(), shape }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_scenario() {
        assert_eq!(Scenario::of(7), Scenario::of(7));
        assert_ne!(Scenario::of(7).steps, Scenario::of(8).steps);
    }

    #[test]
    fn faults_are_left_out() {
        let rates = Rates(RATES[2]);
        assert_eq!((rates.of(Fault::After), rates.without(Fault::After).of(Fault::After)), (20, 0));
        assert_eq!(rates.without(Fault::After).of(Fault::Stale), 20);
    }
}
