//! The functions of this crate for programs in other languages: a JSON object a line comes in, and one goes out. What is compared with other packages is asked here.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::io::{self, BufRead as _};

use experiments::assignment::{HashVersion, Namespace, choose, hash, ranges};
use experiments::statistics::{
    AlwaysValid, Arm, Effect, PairSums, Plan, Posterior, Prior, SampleRatio, Scale, Sums, Undetermined, adjusted, benjamini_hochberg, holm,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
enum Question {
    /// Of counts of subjects and of successes.
    Proportion(Compared<[u64; 2]>),
    /// Of subjects, sum, and sum of squares.
    Mean(Compared<(u64, f64, f64)>),
    /// Of subjects, and the sums of two quantities.
    Ratio(Compared<Pair>),
    /// The same; the second quantity is that of before.
    Adjusted(Compared<Pair>),
    SampleRatio {
        subjects: Vec<u64>,
        weights: Vec<f64>,
    },
    Many {
        p_values: Vec<f64>,
    },
    Power {
        control_variance: f64,
        treatment_variance: f64,
        treatment_share: f64,
        confidence: f64,
        difference: f64,
        subjects: u64,
        power: f64,
    },
    Assignment {
        seed: String,
        subject: String,
        version: u32,
        variations: usize,
        weights: Option<Vec<f64>>,
        coverage: f64,
        namespace: Option<(String, f64, f64)>,
    },
}

/// Subjects; sum and sum of squares of one quantity, and of another; sum of products.
type Pair = (u64, f64, f64, f64, f64, f64);

#[derive(Debug, Deserialize)]
struct Compared<T> {
    control: T,
    treatment: T,
    relative: bool,
    confidence: f64,
    tightest_at_subjects: u64,
    /// Mean and standard deviation; flat without.
    prior: Option<(f64, f64)>,
}

fn main() -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(question) => answer(question).unwrap_or_else(|why| json!({"undetermined": why.to_string()})),
            Err(error) => json!({"error": error.to_string()}),
        };
        println!("{answer}");
    }
    Ok(())
}

fn answer(question: Question) -> Result<Value, Undetermined> {
    Ok(match question {
        Question::Proportion(asked) => {
            let arm = |[subjects, successes]: [u64; 2]| Arm::proportion(subjects, successes);
            compared(&asked, arm(asked.control)?, arm(asked.treatment)?)?
        }
        Question::Mean(asked) => {
            let arm = |(subjects, sum, sum_of_squares): (u64, f64, f64)| Arm::mean(Sums { subjects, sum, sum_of_squares });
            compared(&asked, arm(asked.control)?, arm(asked.treatment)?)?
        }
        Question::Ratio(asked) => compared(&asked, Arm::ratio(pair(asked.control))?, Arm::ratio(pair(asked.treatment))?)?,
        Question::Adjusted(asked) => {
            let found = adjusted(pair(asked.control), pair(asked.treatment))?;
            let mut told = compared(&asked, found.control, found.treatment)?;
            told["variance_reduction"] = json!(found.variance_reduction);
            told
        }
        Question::SampleRatio { subjects, weights } => {
            let found = SampleRatio::of(&subjects, &weights)?;
            json!({"chi_square": found.chi_square, "p_value": found.p_value})
        }
        Question::Many { p_values } => json!({"holm": holm(&p_values), "benjamini_hochberg": benjamini_hochberg(&p_values)}),
        Question::Power { control_variance, treatment_variance, treatment_share, confidence, difference, subjects, power } => {
            let plan = Plan { control_variance, treatment_variance, treatment_share, confidence };
            json!({
                "power": plan.power(difference, subjects)?, "subjects": plan.subjects(difference, power)?,
                "smallest_difference": plan.smallest_difference(subjects, power)?,
            })
        }
        Question::Assignment { seed, subject, version, variations, weights, coverage, namespace } => {
            let version = if version == 1 { HashVersion::One } else { HashVersion::Two };
            let is_in = namespace.is_none_or(|(id, start, end)| Namespace { id, range: start..end }.contains(&subject));
            let number = hash(&seed, &subject, version);
            json!({"hash": number, "variation": choose(number, &ranges(variations, weights.as_deref(), coverage)).filter(|_| is_in)})
        }
    })
}

fn pair((subjects, sum, sum_of_squares, other_sum, other_sum_of_squares, sum_of_products): Pair) -> PairSums {
    PairSums { subjects, sum, sum_of_squares, other_sum, other_sum_of_squares, sum_of_products }
}

fn compared<T>(asked: &Compared<T>, control: Arm, treatment: Arm) -> Result<Value, Undetermined> {
    let scale = if asked.relative { Scale::Relative } else { Scale::Difference };
    let effect = Effect::of(&control, &treatment, scale)?;
    let interval = effect.interval(asked.confidence)?;
    let always = AlwaysValid::of(effect, asked.confidence, asked.tightest_at_subjects)?;
    let prior = asked.prior.map_or(Prior::Flat, |(mean, standard_deviation)| Prior::Normal { mean, standard_deviation });
    let posterior = Posterior::of(&effect, prior)?;
    let credible = posterior.interval(asked.confidence)?;
    Ok(json!({
        "control": [control.mean, control.variance], "treatment": [treatment.mean, treatment.variance],
        "estimate": effect.estimate, "standard_error": effect.standard_error, "p_value": effect.p_value(0.0), "interval": [interval.low, interval.high],
        "always_valid": {"p_value": always.p_value(0.0), "interval": [always.interval().low, always.interval().high]},
        "posterior": {
            "mean": posterior.mean, "standard_deviation": posterior.standard_deviation, "chance_to_win": posterior.chance_to_win(),
            "expected_loss": posterior.expected_loss(), "expected_loss_of_control": posterior.expected_loss_of_control(),
            "interval": [credible.low, credible.high],
        },
    }))
}
