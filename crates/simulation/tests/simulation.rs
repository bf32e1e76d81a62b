//! Seeds that break no law, and bugs that are planted to see that they are found.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Mutex;
use std::thread::available_parallelism;

use simulation::{Outcome, Plant, Scenario, first_broken, play, play_many, shrink};

const SEEDS: u64 = 64;

fn jobs() -> usize {
    available_parallelism().map_or(1, std::num::NonZero::get)
}

#[test]
fn no_seed_breaks_a_law() {
    let broken = Mutex::new(Vec::new());
    let totals = Mutex::new((0, 0));
    let hear = |seed, outcome: &Outcome| {
        let mut totals = totals.lock().unwrap();
        (totals.0, totals.1) = (totals.0 + outcome.accepted, totals.1 + outcome.kills);
        broken.lock().unwrap().extend(outcome.violations.iter().map(|violation| format!("seed {seed}: {violation}")));
        true
    };
    let played = play_many(0..SEEDS, jobs(), None, &Scenario::of, &hear).unwrap();
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "play it again with `cargo xtask simulate --seed N`:\n{}", broken.join("\n"));
    // Nothing was found, and there was something in which to find it.
    let (accepted, kills) = totals.into_inner().unwrap();
    assert!(played == SEEDS && accepted > 5_000 && kills > 200, "{played} seeds, {accepted} events, {kills} kills");
}

#[test]
fn a_seed_is_the_same_history_again() {
    let rough = (0..).find(|seed| Scenario::of(*seed).steps.len() > 12).unwrap();
    for seed in [rough, 2, 3] {
        let (one, other) = (play(Scenario::of(seed), None, true).unwrap(), play(Scenario::of(seed), None, true).unwrap());
        assert!(one.turns > 100);
        let (one_story, other_story) = (one.story.unwrap(), other.story.unwrap());
        let differs = one_story.lines().zip(other_story.lines()).find(|(one, other)| one != other);
        assert_eq!((differs, one.digest), (None, other.digest), "seed {seed}");
    }
}

/// The first seed that finds a bug, and what comes of it.
fn find(plant: Plant) -> Option<(u64, Outcome)> {
    first_broken(0..SEEDS, 1, Some(plant), &Scenario::of).unwrap()
}

#[test]
fn planted_bugs_are_found() {
    for plant in Plant::ALL {
        let found = find(plant);
        assert!(found.is_some(), "{plant:?} is not found in {SEEDS} seeds");
    }
}

#[test]
fn what_does_not_matter_is_left_out() {
    let (seed, outcome) = find(Plant::DroppedDeadLetters).unwrap();
    let law = outcome.violations.first().unwrap().law;
    let scenario = Scenario::of(seed);
    let smallest = shrink(&scenario, Some(Plant::DroppedDeadLetters), law, outcome).unwrap();
    assert!(smallest.steps.len() < scenario.steps.len() / 2, "{:?}", smallest.steps);
    // It is told by the numbers of its steps, and so it can be played again.
    let again = smallest.without.iter().fold(scenario.only(&smallest.steps), |scenario, fault| scenario.without(*fault));
    let again = play(again, Some(Plant::DroppedDeadLetters), false).unwrap();
    assert_eq!(again.violations, smallest.outcome.violations);
}
