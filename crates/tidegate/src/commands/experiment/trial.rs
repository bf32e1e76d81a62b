//! Experiments planned, and the statistics tried on experiments of which the truth is known.

use anyhow::Context as _;
use clap::Args;
use experiments::simulation::{Simulated, Simulation};
use experiments::statistics::{Arm, Plan};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::output::{self, Format};

#[derive(Debug, Args)]
pub(super) struct SizeArgs {
    /// The share of the control's subjects that do it, such as 0.08
    #[arg(long, value_name = "SHARE")]
    share: f64,
    /// The smallest relative effect that is worth finding, such as 0.05 for 5 % more
    #[arg(long, value_name = "LIFT")]
    lift: f64,
    /// How likely it is to be found if it is there
    #[arg(long, value_name = "POWER", default_value_t = 0.8)]
    power: f64,
    /// Of the interval that the result will be told with
    #[arg(long, value_name = "CONFIDENCE", default_value_t = 0.95)]
    confidence: f64,
    /// The share of subjects that get the treatment
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    treatment_share: f64,
    /// How many subjects come a day, to tell how long it takes
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    subjects_by_day: Option<u64>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// How many experiments
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    experiments: u32,
    /// How long each runs; it is looked at once a day
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    days: u32,
    /// How many subjects come a day, half of them in each variation
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(2..=1_000_000_000))]
    subjects_by_day: u64,
    /// The share of the control's subjects that do what is counted
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    share: f64,
    /// How much more of the treatment's do, such as 0.1 for 10 % more
    #[arg(long, value_name = "LIFT", default_value_t = 0.0, allow_negative_numbers = true)]
    lift: f64,
    /// Of the intervals
    #[arg(long, value_name = "CONFIDENCE", default_value_t = 0.95)]
    confidence: f64,
    /// With how many subjects the always-valid intervals are tightest
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    tightest_at_subjects: u64,
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    seed: u64,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn size(args: &SizeArgs) -> anyhow::Result<bool> {
    let &SizeArgs { share, lift, power, confidence, treatment_share, subjects_by_day, format } = args;
    let treated = share * (1.0 + lift);
    anyhow::ensure!(
        (0.0..=1.0).contains(&share) && (0.0..=1.0).contains(&treated),
        "the shares of both variations must be between 0 and 1"
    );
    let plan = Plan { control_variance: share * (1.0 - share), treatment_variance: treated * (1.0 - treated), treatment_share, confidence };
    let subjects = plan.subjects(treated - share, power)?;
    let mut rows = output::stdout(format, output::heads(format, ["subjects", "days", "finds lift", "with power"]))?;
    // What is asked for is in the middle; around it what others would find.
    for times in [0.25, 0.5, 1.0, 2.0, 4.0] {
        let subjects = (subjects * times).ceil() as u64;
        let smallest = plan.smallest_difference(subjects, power)? / share;
        let days = subjects_by_day.map(|by_day| subjects.div_ceil(by_day));
        if !rows.write(vec![json!(subjects), json!(days), rounded(smallest), json!(power)])? {
            break;
        }
    }
    rows.finish()?;
    Ok(true)
}

pub(super) fn simulate(args: &SimulateArgs) -> anyhow::Result<bool> {
    let &SimulateArgs { experiments, days, subjects_by_day, share, lift, confidence, tightest_at_subjects, seed, format } = args;
    let difference = share * lift;
    let simulation = Simulation {
        experiments,
        days,
        subjects_by_day: subjects_by_day / 2,
        control_share: share,
        difference,
        confidence,
        tightest_at_subjects,
        seed,
    };
    // Hidden by itself where there is no terminal.
    let bar = ProgressBar::new(experiments.into());
    let found = simulation.run(|done| bar.set_position(done.into()));
    bar.finish_and_clear();
    let found = found.context("the experiments cannot be made up")?;
    let mut rows = output::stdout(format, output::heads(format, ["what", "experiments", "share", "low", "high", "should be"]))?;
    for (what, number, should_be) in told(&found, lift, confidence) {
        let arm = Arm::proportion(found.experiments, number)?;
        let interval = arm.share_interval(0.95)?;
        if !rows.write(vec![
            json!(what),
            json!(number),
            rounded(arm.mean),
            rounded(interval.low),
            rounded(interval.high),
            json!(should_be),
        ])? {
            break;
        }
    }
    rows.finish()?;
    Ok(true)
}

/// What was counted, and what it should be.
fn told(found: &Simulated, lift: f64, confidence: f64) -> Vec<(&'static str, u64, String)> {
    let error = format!("{:.4}", 1.0 - confidence);
    let found_should_be = |of_none: String| if lift == 0.0 { of_none } else { "the more the better".to_owned() };
    vec![
        ("effect found at the end", found.found_at_the_end, found_should_be(error.clone())),
        ("effect found by the always-valid test on any day", found.found_at_any_time, found_should_be(format!("at most {error}"))),
        ("effect found by looking at the other test every day", found.found_by_peeking, "not used".to_owned()),
        ("interval at the end holds the truth", found.held_at_the_end, format!("{confidence}")),
        ("always-valid interval holds the truth on every day", found.held_at_all_times, format!("at least {confidence}")),
    ]
}

/// To six digits after the point.
fn rounded(number: f64) -> Value {
    json!((number * 1e6).round() / 1e6)
}
