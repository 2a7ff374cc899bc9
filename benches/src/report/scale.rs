//! From values to places along an axis, and the values worth a line across the plot; [`plain`] names them.

/// An axis from `start` to `end` in the units of the drawing.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    ticks: Vec<f64>,
    is_log: bool,
}

impl Scale {
    /// From 0 to a round number not below `max`.
    pub(super) fn from_zero(max: f64, (start, end): (f64, f64)) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = round_up(max / 5.0, &[1.0, 2.0, 2.5, 5.0, 10.0]);
        let steps = (max / step - 1e-9).ceil();
        let ticks = (0..=steps as u32).map(|n| f64::from(n) * step).collect();
        Self { from: 0.0, to: steps * step, start, end, ticks, is_log: false }
    }

    /// From 0 exactly to `max`, with round ticks.
    pub(super) fn until(max: f64, room: (f64, f64)) -> Self {
        let round = Self::from_zero(max, room);
        let max = if max > 0.0 { max } else { round.to };
        let ticks = round.ticks.into_iter().filter(|tick| *tick <= max).collect();
        Self::between(0.0, max, ticks, room)
    }

    /// Exactly from `from` to `to`, with these ticks.
    pub(super) fn between(from: f64, to: f64, ticks: Vec<f64>, (start, end): (f64, f64)) -> Self {
        Self { from, to: if to > from { to } else { from + 1.0 }, start, end, ticks, is_log: false }
    }

    /// Logarithmic, from a round number not above `min` to one not below `max`.
    pub(super) fn log(min: f64, max: f64, (start, end): (f64, f64)) -> Self {
        let min = if min.is_finite() && min > 0.0 { min } else { 1.0 };
        let max = if max.is_finite() { max.max(min * 1.001) } else { min * 10.0 };
        let (from, to) = (1.0 / round_up(1.0 / min, &STEPS), round_up(max, &STEPS));
        let mut ticks = Vec::new();
        let mut decade = 10f64.powf(from.log10().floor());
        // With many decades the tenths are enough.
        let within: &[f64] = if to / from > 2000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        while decade <= to * 1.000_001 {
            ticks.extend(within.iter().map(|n| n * decade));
            decade *= 10.0;
        }
        ticks.retain(|tick| *tick >= from * 0.999_999 && *tick <= to * 1.000_001);
        Self { from, to, start, end, ticks, is_log: true }
    }

    /// Where a value is; at the nearer end when it is beyond the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Values worth a line.
    pub(super) fn ticks(&self) -> &[f64] {
        &self.ticks
    }
}

/// A tick in words.
pub(super) fn plain(number: f64) -> String {
    if number >= 10_000.0 { format!("{} k", number / 1000.0) } else { number.to_string() }
}

const STEPS: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

/// The smallest of `steps` times a power of ten that is not below a positive number.
fn round_up(number: f64, steps: &[f64]) -> f64 {
    let power = 10f64.powf(number.log10().floor());
    let fits = |step: &&f64| **step * power >= number * 0.999_999_999;
    steps.iter().find(fits).map_or(10.0 * power, |step| step * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_from_zero_ends_at_a_round_number() {
        for (max, end, ticks) in [(13.8, 15.0, 4), (100.0, 100.0, 6), (0.9, 1.0, 6), (62_126.0, 80_000.0, 5)]
        {
            let scale = Scale::from_zero(max, (0.0, 1.0));
            let last = *scale.ticks().last().unwrap();
            assert!((last / end - 1.0).abs() < 1e-9, "{max}: {last}");
            assert_eq!(scale.ticks().len(), ticks, "{max}: {:?}", scale.ticks());
            assert!((scale.at(end) - 1.0).abs() < 1e-9 && scale.at(0.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_logarithmic_axis_gives_equal_room_to_equal_factors() {
        let scale = Scale::log(130.0, 45_000.0, (0.0, 100.0));
        let steps = [100.0, 1000.0, 10_000.0].map(|value| scale.at(value));
        assert!(steps[0].abs() < 1e-9, "{steps:?}");
        assert!((steps[2] - 2.0 * steps[1]).abs() < 1e-6, "{steps:?}");
        assert!((scale.at(50_000.0) - 100.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_to_show_is_still_an_axis() {
        for scale in [Scale::from_zero(0.0, (0.0, 1.0)), Scale::from_zero(f64::NAN, (0.0, 1.0))] {
            assert!(scale.at(5.0).is_finite());
        }
        for (min, max) in [(0.0, 0.0), (f64::NAN, f64::INFINITY), (3.0, 3.0)] {
            let scale = Scale::log(min, max, (0.0, 1.0));
            assert!([0.0, 1.0, 1e9].iter().all(|value| scale.at(*value).is_finite()), "{min} {max}");
            assert!(scale.ticks().len() < 10);
        }
    }
}
