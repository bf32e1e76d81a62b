//! Many metrics and many variations: of twenty tests without an effect one is significant. Each p-value is adjusted, so that it can be compared with the same error as before.

/// Holm's adjustment (Holm 1979): with it, no false discovery at all is made in all but `error` of experiments. In the order of what was given.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let number = p_values.len() as f64;
    let mut largest: f64 = 0.0;
    adjusted(p_values, |order| {
        order
            .into_iter()
            .enumerate()
            .map(|(rank, (place, p))| {
                largest = largest.max(((number - rank as f64) * p).min(1.0));
                (place, largest)
            })
            .collect()
    })
}

/// Benjamini's and Hochberg's adjustment (1995): with it, at most `error` of the discoveries are false on average. In the order of what was given.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let number = p_values.len() as f64;
    let mut smallest: f64 = 1.0;
    adjusted(p_values, |order| {
        order
            .into_iter()
            .enumerate()
            .rev()
            .map(|(rank, (place, p))| {
                smallest = smallest.min(number / (rank as f64 + 1.0) * p);
                (place, smallest)
            })
            .collect()
    })
}

/// Hands over the p-values in their order with their places, and puts what comes back in these places.
fn adjusted(p_values: &[f64], adjust: impl FnOnce(Vec<(usize, f64)>) -> Vec<(usize, f64)>) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = p_values.iter().copied().enumerate().collect();
    order.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let mut found = adjust(order);
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, p)| p).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &[f64], expect: &[f64]) {
        assert_eq!(found.len(), expect.len());
        assert!(found.iter().zip(expect).all(|(one, other)| (one - other).abs() < 1e-15), "{found:?}");
    }

    /// As `statsmodels.stats.multitest.multipletests` has them.
    #[test]
    fn adjustments() {
        let p_values = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04];
        near(&holm(&p_values), &[0.05, 0.12, 0.12, 0.03, 0.5, 0.12]);
        near(&benjamini_hochberg(&p_values), &[0.03, 0.048, 0.048, 0.03, 0.5, 0.048]);
        for adjust in [holm, benjamini_hochberg] {
            near(&adjust(&[]), &[]);
            near(&adjust(&[0.3]), &[0.3]);
            near(&adjust(&[1.0, 1.0]), &[1.0, 1.0]);
        }
    }
}
