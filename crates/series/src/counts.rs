//! What is gathered while hits are decided.

/// Steps of a span that doubles. A time is told within an eighth of itself.
const PER_OCTAVE: u32 = 4;
/// From a microsecond to some 16 s: beyond, a hit has been answered by its deadline.
const OCTAVES: u32 = 24;
const STEPS: usize = (PER_OCTAVE * OCTAVES) as usize;

/// How long decisions took, in microseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latency {
    /// How many took as long as each step.
    steps: [u32; STEPS],
}

impl Default for Latency {
    fn default() -> Self {
        Self { steps: [0; STEPS] }
    }
}

/// The step of a span: its octave, and the two bits below the first.
fn step_of(micros: u32) -> usize {
    let octave = micros.max(1).ilog2();
    let within = match octave {
        0 => 0,
        1 => (micros & 1) << 1,
        _ => micros >> (octave - 2) & 3,
    };
    let step = octave * PER_OCTAVE + within;
    (step as usize).min(STEPS - 1)
}

/// The middle of what a step stands for.
fn middle_of(step: usize) -> u32 {
    let step = u32::try_from(step).expect("there are few steps");
    let (octave, within) = (step / PER_OCTAVE, step % PER_OCTAVE);
    let eighths = (1 << octave) * (2 * (PER_OCTAVE + within) + 1);
    eighths / (2 * PER_OCTAVE)
}

impl Latency {
    fn add(&mut self, micros: u32, decisions: u32) {
        let step = &mut self.steps[step_of(micros)];
        *step = step.saturating_add(decisions);
    }

    fn add_all(&mut self, other: &Self) {
        for (step, others) in self.steps.iter_mut().zip(other.steps) {
            *step = step.saturating_add(others);
        }
    }

    /// What as many hundredths of the decisions took at most, within an eighth. 0 where there are none.
    #[must_use]
    pub fn percentile(&self, hundredths: u64) -> u32 {
        let all: u64 = self
            .steps
            .iter()
            .map(|&decisions| u64::from(decisions))
            .sum();
        let wanted = (all * hundredths).div_ceil(100);
        let mut seen = 0;
        for (step, &decisions) in self.steps.iter().enumerate() {
            seen += u64::from(decisions);
            if 0 < decisions && wanted <= seen {
                return middle_of(step);
            }
        }
        0
    }
}

/// What was decided while it was gathered.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Decisions that allowed.
    pub allowed: u32,
    /// Decisions that denied.
    pub denied: u32,
    /// How long they took.
    pub latency: Latency,
}

impl Counts {
    /// So many more were decided, which took as long each.
    pub fn add(&mut self, allowed: u32, denied: u32, micros: u32) {
        self.allowed = self.allowed.saturating_add(allowed);
        self.denied = self.denied.saturating_add(denied);
        self.latency.add(micros, allowed.saturating_add(denied));
    }

    /// Whether nothing was decided.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.allowed == 0 && self.denied == 0
    }

    /// All of the others, too.
    pub fn add_all(&mut self, others: &Self) {
        self.allowed = self.allowed.saturating_add(others.allowed);
        self.denied = self.denied.saturating_add(others.denied);
        self.latency.add_all(&others.latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_within_an_eighth_of_itself() {
        for micros in (1_u32..5_000).chain([65_535, 65_536, 1_000_000, 9_999_999]) {
            let told = middle_of(step_of(micros));
            let off = f64::from(told.abs_diff(micros)) / f64::from(micros);
            assert!(
                off <= 0.125 || told.abs_diff(micros) <= 1,
                "{micros}: {told}"
            );
        }
        assert_eq!(step_of(0), step_of(1));
        assert_eq!(step_of(u32::MAX), STEPS - 1);
    }

    #[test]
    fn steps_never_fall() {
        let steps = (0..200_000).map(step_of);
        assert!(steps.is_sorted());
        assert!((0..STEPS).map(middle_of).is_sorted());
    }

    #[test]
    fn percentiles_are_of_decisions() {
        let mut counts = Counts::default();
        assert_eq!(counts.latency.percentile(99), 0);
        counts.add(98, 0, 100);
        counts.add(0, 2, 10_000);
        let near = |told: u32, micros: u32| told.abs_diff(micros) <= micros / 8;
        assert!(near(counts.latency.percentile(50), 100));
        assert!(near(counts.latency.percentile(98), 100));
        assert!(near(counts.latency.percentile(99), 10_000));
        assert_eq!((counts.allowed, counts.denied), (98, 2));
        let mut twice = counts.clone();
        twice.add_all(&counts);
        assert_eq!((twice.allowed, twice.denied), (196, 4));
        assert_eq!(twice.latency.percentile(99), counts.latency.percentile(99));
    }
}
