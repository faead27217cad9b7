//! Medians and the table.

use std::time::Duration;

/// Milliseconds of several rounds.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// Adds a round.
    pub fn push(&mut self, value: Duration) {
        self.0.push(value.as_secs_f64() * 1000.0);
    }

    /// Rounds so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there was no round yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The middle value; of two middle ones, their mean. NaN without rounds.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    fn bounds(&self) -> (f64, f64) {
        self.0
            .iter()
            .fold((f64::INFINITY, 0.0), |(low, high), value| {
                (low.min(*value), high.max(*value))
            })
    }

    /// One row: name, rounds, min, median, max.
    pub fn row(&self, name: &str) -> String {
        let (low, high) = self.bounds();
        format!(
            "{name:<28} {:>6} {low:>10.0} {:>10.0} {high:>10.0}",
            self.len(),
            self.median()
        )
    }
}

/// Heading of [`Series::row`].
pub fn heading() -> String {
    format!(
        "{:<28} {:>6} {:>10} {:>10} {:>10}",
        "", "rounds", "min ms", "median ms", "max ms"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even() {
        let mut series = Series::default();
        for ms in [30, 10, 20] {
            series.push(Duration::from_millis(ms));
        }
        assert!((series.median() - 20.0).abs() < 1e-9);
        series.push(Duration::from_millis(40));
        assert!((series.median() - 25.0).abs() < 1e-9);
    }
}
