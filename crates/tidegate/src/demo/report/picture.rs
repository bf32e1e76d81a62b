//! Small pictures in text.

/// How wide the picture of an interval is, in characters.
pub(super) const WIDTH: usize = 44;

/// An interval with its middle on an axis from `from` to `to`: `   ├────●────┤  `.
pub(super) fn interval(low: f64, middle: f64, high: f64, (from, to): (f64, f64)) -> String {
    let place = |value: f64| {
        let share = if to > from { (value - from) / (to - from) } else { 0.0 };
        // Casting saturates, so what lies outside is shown at the edge.
        ((share * (WIDTH - 1) as f64).round() as usize).min(WIDTH - 1)
    };
    let (low, middle, high) = (place(low), place(middle), place(high));
    let sign = |at: usize| match at {
        at if at == middle => '●',
        at if at == low => '├',
        at if at == high => '┤',
        at if low < at && at < high => '─',
        _ => ' ',
    };
    (0..WIDTH).map(sign).collect::<String>().trim_end().to_owned()
}

/// Numbers as a row of columns, the greatest one full.
pub(super) fn sparkline(numbers: &[u64]) -> String {
    const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let greatest = numbers.iter().copied().max().unwrap_or_default().max(1);
    let column = |number: &u64| COLUMNS[(number.saturating_mul(7) / greatest) as usize];
    numbers.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_lies_where_it_should() {
        let check = |low, middle, high, expect: &str| {
            let drawn = interval(low, middle, high, (0.0, 43.0));
            assert_eq!(drawn, expect, "{low} {middle} {high}");
        };
        check(2.0, 5.0, 9.0, "  ├──●───┤");
        check(0.0, 0.0, 0.0, "●");
        check(3.0, 3.0, 5.0, "   ●─┤");
        check(-9.0, 1.0, 99.0, "├●─────────────────────────────────────────┤");
        assert_eq!(interval(1.0, 1.0, 1.0, (1.0, 1.0)), "●");
    }

    #[test]
    fn the_greatest_column_is_full() {
        assert_eq!(sparkline(&[0, 4, 8, 7]), "▁▄█▇");
        assert_eq!(sparkline(&[0, 0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
    }
}
