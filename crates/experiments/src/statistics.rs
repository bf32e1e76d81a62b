//! From sums over subjects to what may be said of an effect.
//!
//! A variation's side of a metric is an [`Arm`]; two of them make an [`Effect`], with its interval and p-value for a test that is looked at once ([`Effect::interval`]), for one that is looked
//! at as often as one likes ([`AlwaysValid`]), and as a [`Posterior`]. [`SampleRatio`] says whether any of it can be believed.
//!
//! Each function cites its formula. Where a number cannot be had (one subject, no variance, a control of zero) there is a reason instead, never a NaN.

mod arm;
mod bayes;
pub mod distribution;
mod effect;
mod many;
mod power;
mod quantile;
mod sample_ratio;
mod sequential;

pub use arm::{Adjusted, Arm, PairSums, Sums, adjusted};
pub use bayes::{Posterior, Prior};
pub use effect::{Effect, Interval, Scale, Undetermined};
pub use many::{benjamini_hochberg, holm};
pub use power::Plan;
pub use quantile::{QuantileEffect, Values, quantile_effect};
pub use sample_ratio::SampleRatio;
pub use sequential::AlwaysValid;
