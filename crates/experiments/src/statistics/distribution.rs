//! The distributions that the statistics need, precise in their tails, where p-values are.

use statrs::function::beta::beta_reg;
use statrs::function::erf::erfc_inv;
use statrs::function::gamma::{gamma_ur, ln_gamma};

/// From so many degrees of freedom on, Hill's series has 12 digits everywhere; the incomplete beta function, whose gamma functions grow large, has fewer and fewer.
const HILL_FROM_DEGREES: f64 = 1e4;

/// How much of the standard normal distribution is beyond `z`.
pub fn normal_upper(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

/// The density of the standard normal distribution.
pub fn normal_density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Beyond which `z` there is so much of the standard normal distribution; `share` is in (0, 1).
pub fn normal_upper_quantile(share: f64) -> f64 {
    let start = std::f64::consts::SQRT_2 * erfc_inv(2.0 * share);
    improved(start, share, normal_upper, normal_density)
}

/// How much of Student's t distribution is further from 0 than `t`, on both sides together (Abramowitz and Stegun, 26.7.1). 10 digits or more.
pub fn student_both_tails(t: f64, degrees: f64) -> f64 {
    let square = t * t;
    if square.is_infinite() {
        0.0
    } else if degrees >= HILL_FROM_DEGREES {
        2.0 * normal_upper(hill(square, degrees))
    } else if square < 1.0 {
        // Near the middle the rest is what is known exactly.
        1.0 - beta_reg(0.5, degrees / 2.0, square / (degrees + square))
    } else {
        beta_reg(degrees / 2.0, 0.5, degrees / (degrees + square))
    }
}

/// Beyond which `z` there is as much of the normal distribution as of Student's t beyond the root of `square` (Hill 1970, *Algorithm 395: Student's t-distribution*).
fn hill(square: f64, degrees: f64) -> f64 {
    let a = degrees - 0.5;
    let b = 48.0 * a * a;
    let y = a * (square / degrees).ln_1p();
    let correction = (((-0.4 * y - 3.3) * y - 24.0) * y - 85.5) / (0.8 * y * y + 100.0 + b);
    ((correction + y + 3.0) / b + 1.0) * y.sqrt()
}

/// How far from 0 one has to go so that so much of Student's t distribution is further away, on both sides together; `share` is in (0, 1).
pub fn student_both_tails_quantile(share: f64, degrees: f64) -> f64 {
    let start = normal_upper_quantile(share / 2.0);
    // The tail is monotone: a bracket is found, and halved to the last digit.
    let (mut low, mut high) = (0.0, start.max(1.0));
    while student_both_tails(high, degrees) > share && high < f64::MAX / 2.0 {
        low = high;
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if student_both_tails(middle, degrees) > share {
            low = middle;
        } else {
            high = middle;
        }
    }
    let density = |t: f64| 2.0 * student_density(t, degrees);
    improved(low + (high - low) / 2.0, share, |t| student_both_tails(t, degrees), density)
}

/// How much of the chi-square distribution is beyond `x` (Abramowitz and Stegun, 26.4.19).
pub fn chi_square_upper(x: f64, degrees: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma_ur(degrees / 2.0, x / 2.0) }
}

fn student_density(t: f64, degrees: f64) -> f64 {
    let scale = ln_gamma((degrees + 1.0) / 2.0) - ln_gamma(degrees / 2.0) - 0.5 * (degrees * std::f64::consts::PI).ln();
    (scale - (degrees + 1.0) / 2.0 * (t * t / degrees).ln_1p()).exp()
}

/// Two steps of Newton's method towards where the tail is as large as `share`.
fn improved(start: f64, share: f64, tail: impl Fn(f64) -> f64, density: impl Fn(f64) -> f64) -> f64 {
    let mut at = start;
    for _ in 0..2 {
        let step = (tail(at) - share) / density(at);
        if !step.is_finite() {
            break;
        }
        at += step;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats` 1.17, and mpmath with 40 digits, say the same.
    #[test]
    fn tails() {
        let check = |found: f64, expect: f64| assert!((found / expect - 1.0).abs() < 1e-10, "{found:e} {expect:e}");
        check(normal_upper(-1.0), 0.841_344_746_068_542_9);
        check(normal_upper(1.96), 0.024_997_895_148_220_435);
        check(normal_upper(10.0), 7.619_853_024_160_47e-24);
        check(normal_upper(37.0), 5.725_571_222_524_577e-300);
        check(student_both_tails(1.0, 1.0), 0.5);
        check(student_both_tails(1e-6, 97.3), 0.999_999_204_162_834_8);
        check(student_both_tails(1.7, 97.3), 0.092_325_540_038_126_36);
        check(student_both_tails(0.001, 1000.0), 0.999_202_315_018_452_8);
        check(student_both_tails(12.0, 1000.0), 4.324_057_386_774_527e-31);
        check(student_both_tails(-37.0, 9999.0), 5.644_892_618_950_105e-281);
        check(student_both_tails(37.0, 1e4), 5.622_631_235_279_597e-281);
        check(student_both_tails(5.0, 123_456.7), 5.740_863_328_054_128e-7);
        check(student_both_tails(1.96, 1e9), 0.049_995_790_573_729_625);
        check(chi_square_upper(3.841_458_820_694_124, 1.0), 0.05);
        check(chi_square_upper(1000.0, 99.0), 7.2296079024912631e-149);
        assert_eq!((student_both_tails(0.0, 5.0), student_both_tails(f64::INFINITY, 5.0), chi_square_upper(0.0, 3.0)), (1.0, 0.0, 1.0));
    }

    #[test]
    fn quantiles_undo_tails() {
        for share in [1e-12, 1e-6, 0.001, 0.01, 0.05, 0.1, 0.3, 0.7, 0.99] {
            let z = normal_upper_quantile(share);
            assert!((normal_upper(z) / share - 1.0).abs() < 1e-12, "{share}: {z}");
            for degrees in [1.0, 1.5, 2.0, 10.0, 97.3, 1e3, 9_999.0, 1e4, 1e6, 1e12] {
                let t = student_both_tails_quantile(share, degrees);
                assert!((student_both_tails(t, degrees) / share - 1.0).abs() < 1e-9, "{share} {degrees}: {t}");
            }
        }
    }
}
