//! Repeated measurements, told as their median and how far they were apart.

/// What the rounds came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value at `fraction`, 0 to 1, of the sorted values.
    pub(crate) fn quantile(&self, fraction: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0
            .get((fraction * last as f64).round() as usize)
            .copied()
            .unwrap_or(f64::NAN)
    }

    /// `median (least to most)`, each with `digits` decimals.
    pub(crate) fn show(&self, digits: usize) -> String {
        let (least, most) = (self.quantile(0.0), self.quantile(1.0));
        format!(
            "{:.digits$} ({least:.digits$} to {most:.digits$})",
            self.median()
        )
    }
}

impl FromIterator<f64> for Rounds {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut rounds = Self(values.into_iter().collect());
        rounds.0.sort_by(f64::total_cmp);
        rounds
    }
}

#[cfg(test)]
mod tests {
    use super::Rounds;

    #[test]
    fn rounds_are_told_as_median_and_range() {
        let rounds: Rounds = [3.0, 1.0, 2.04].into_iter().collect();
        assert_eq!(rounds.show(1), "2.0 (1.0 to 3.0)");
        assert!(Rounds::default().median().is_nan());
    }
}
