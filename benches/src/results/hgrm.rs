//! The percentile distribution as text, as HdrHistogram writes it and its plotters read it (`.hgrm`); values in milliseconds.

use std::fmt::Write as _;

use super::Distribution;

/// The text.
#[must_use]
pub fn text(latency: &Distribution) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for point in &latency.curve {
        let _infallible = write!(text, "{:12.3} {:2.12} {:10}", point.us / 1e3, point.share, point.count);
        let _infallible = match point.share {
            share if share < 1.0 => writeln!(text, " {:14.2}", 1.0 / (1.0 - share)),
            _ => writeln!(text),
        };
    }
    let (mean, stdev) = (latency.mean_us / 1e3, latency.stdev_us / 1e3);
    let (max, count) = (latency.max_us / 1e3, latency.count);
    let _infallible = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {stdev:12.3}]");
    let _infallible = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    text
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    #[test]
    fn the_last_line_of_the_curve_is_the_longest_of_all() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1000u64).for_each(|n| histogram.record(n * 1_000_000).unwrap());
        let text = text(&Distribution::of(&histogram));
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        let last = rows.last().unwrap();
        assert!(
            (last[0] - 1000.0).abs() < 1.0 && (last[1] - 1.0).abs() < 1e-9 && last[2] == 1000.0,
            "{last:?}"
        );
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2]));
        assert!(text.contains("Total count    =         1000]"));
    }
}
