//! The comparison over time, as an SVG that reads on light and dark ground.
//!
//! Drawn by hand: the chart crates that were looked at write colours into each element, so that a picture is either for
//! light ground or for dark.

use std::fmt::Write as _;
use std::time::Duration;

use super::Comparison;
use super::facts::Slot;
use super::trial::Trial;

const WIDTH: f64 = 860.0;
/// Of one strategy.
const ROW: f64 = 150.0;
const HEAD: f64 = 58.0;
const FOOT: f64 = 34.0;
/// Of both panels: left edges, width, and height.
const PANELS: [f64; 2] = [110.0, 510.0];
const PANEL: (f64, f64) = (320.0, 110.0);
/// Waits from the shortest that loopback has to the longest that a client has, in ms.
const WAITS: [f64; 6] = [0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0];

const STYLE: &str = "\
svg{background:#fff;font:12px system-ui,sans-serif}\
text{fill:#222}.quiet{fill:#666}.end{text-anchor:end}.middle{text-anchor:middle}.title{font-weight:600}\
.grid{stroke:#ddd}.fault{fill:#b3261e;opacity:.1}.kill{stroke:#b3261e}\
.line{fill:none;stroke-width:1.6;stroke-linejoin:round}\
.answers,.p99{stroke:#0b57d0}.p50{stroke:#1b7f4d}.failed{stroke:#b3261e;stroke-dasharray:3 2}\
@media(prefers-color-scheme:dark){svg{background:#15171a}text{fill:#e6e6e6}.quiet{fill:#a0a0a0}\
.grid{stroke:#383c42}.fault{fill:#ff8a80;opacity:.14}.kill,.failed{stroke:#ff8a80}\
.answers,.p99{stroke:#8ab4f8}.p50{stroke:#7fd1a3}}";

/// The whole picture: for each strategy answers a second on the left, and how long they took on the right.
pub(crate) fn svg(comparison: &Comparison) -> String {
    let height = HEAD + ROW * comparison.rows.len() as f64 + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Four ways to count, with a fault in the middle</title>\n<style>{STYLE}</style>\n"
    );
    legend(&mut svg);
    let most = comparison
        .rows
        .iter()
        .filter_map(|row| row.outcome.as_ref().ok());
    let most = most.flat_map(|trial| trial.facts.timeline.iter().map(|slot| slot.part.per_second));
    let most = round_up(most.fold(1.0, f64::max));
    let length = comparison.workload.length();
    for (number, row) in comparison.rows.iter().enumerate() {
        let top = HEAD + ROW * number as f64;
        text(&mut svg, (14.0, top + 60.0), "title", row.strategy.name());
        match &row.outcome {
            Ok(trial) => panels(&mut svg, top, trial, length, most),
            Err(why) => text(
                &mut svg,
                (PANELS[0], top + 60.0),
                "quiet",
                &format!("not compared: {why}"),
            ),
        }
    }
    for left in PANELS {
        let foot = height - FOOT + 2.0;
        let (seconds, middle) = (comparison.workload.seconds, left + PANEL.0 / 2.0);
        text(&mut svg, (left, foot), "quiet middle", "0");
        text(&mut svg, (middle, foot), "quiet middle", "seconds");
        text(
            &mut svg,
            (left + PANEL.0, foot),
            "quiet middle",
            &seconds.to_string(),
        );
    }
    svg + "</svg>\n"
}

fn legend(svg: &mut String) {
    text(svg, (PANELS[0], 20.0), "title", "Answers a second");
    text(svg, (PANELS[1], 20.0), "title", "Time to an answer, ms");
    let entries = [
        (PANELS[0], "answers", "answers"),
        (PANELS[0] + 90.0, "failed", "failed hits"),
        (PANELS[1], "p50", "p50"),
        (PANELS[1] + 90.0, "p99", "p99"),
    ];
    for (left, class, words) in entries {
        line(svg, class, &[(left, 36.0), (left + 22.0, 36.0)]);
        text(svg, (left + 28.0, 40.0), "quiet", words);
    }
    text(
        svg,
        (PANELS[0] + 205.0, 40.0),
        "quiet",
        "shaded: killed, not yet",
    );
    text(svg, (PANELS[0] + 205.0, 53.0), "quiet", "started again");
}

fn panels(svg: &mut String, top: f64, trial: &Trial, length: Duration, most: f64) {
    let (width, height) = PANEL;
    let share = |time: Duration| time.as_secs_f64() / length.as_secs_f64();
    let up = |part: f64| top + height * (1.0 - part.clamp(0.0, 1.0));
    let per_second = |number: f64| up(number / most);
    let decades = (WAITS[WAITS.len() - 1] / WAITS[0]).log10();
    let wait = |ms: f64| up((ms / WAITS[0]).log10() / decades);
    let slots = &trial.facts.timeline;
    let slot_s = length.as_secs_f64() / slots.len().max(1) as f64;
    let [left, right] = PANELS;
    for number in [0.0, most / 2.0, most] {
        grid(svg, left, per_second(number), &number.to_string());
    }
    for ms in WAITS {
        grid(svg, right, wait(ms), &ms.to_string());
    }
    for left in PANELS {
        let from = left + width * share(trial.moments.killed);
        let to = left + width * share(trial.moments.restarted);
        let _ = writeln!(
            svg,
            "<rect class=\"fault\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
            to - from
        );
        line(svg, "kill", &[(from, top), (from, top + height)]);
    }
    let x = |left: f64, slot: &Slot| left + width * (share(slot.start) + 0.5 / slots.len() as f64);
    let rates = slots
        .iter()
        .map(|slot| (x(left, slot), per_second(slot.part.per_second)));
    line(svg, "answers", &rates.collect::<Vec<_>>());
    let failed = |slot: &Slot| slot.failed as f64 / slot_s;
    // A stroke along the ground would say that something failed.
    for run in slots.chunk_by(|a, b| (0 < a.failed) == (0 < b.failed)) {
        let points = run.iter().filter(|slot| 0 < slot.failed);
        let points = points.map(|slot| (x(left, slot), per_second(failed(slot))));
        let ends = |slot: &Slot, by: f64| (x(left, slot) + by, per_second(0.0));
        let half = width / slots.len() as f64 / 2.0;
        if let ([first, ..], [.., last]) = (run, run)
            && 0 < first.failed
        {
            let points = std::iter::once(ends(first, -half)).chain(points);
            let points: Vec<_> = points.chain([ends(last, half)]).collect();
            line(svg, "failed", &points);
        }
    }
    type Percentile = fn(&Slot) -> Option<Duration>;
    let percentiles: [(&str, Percentile); 2] =
        [("p99", |slot| slot.part.p99), ("p50", |slot| slot.part.p50)];
    for (class, percentile) in percentiles {
        // Without answers there is a gap.
        for run in slots.chunk_by(|a, b| percentile(a).is_some() == percentile(b).is_some()) {
            let points = run.iter().filter_map(|slot| {
                let ms = percentile(slot)?.as_secs_f64() * 1e3;
                Some((x(right, slot), wait(ms)))
            });
            line(svg, class, &points.collect::<Vec<_>>());
        }
    }
}

fn grid(svg: &mut String, left: f64, y: f64, label: &str) {
    line(svg, "grid", &[(left, y), (left + PANEL.0, y)]);
    text(svg, (left - 8.0, y + 4.0), "quiet end", label);
}

fn line(svg: &mut String, class: &str, points: &[(f64, f64)]) {
    if points.is_empty() {
        return;
    }
    let points: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let _ = writeln!(
        svg,
        "<polyline class=\"line {class}\" points=\"{}\"/>",
        points.join(" ")
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>"
    );
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_up(number: f64) -> f64 {
    let power = 10_f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| number <= *step)
        .unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::super::tests::comparison;
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let ends = [1.0, 1.1, 430.0, 9_999.0, 10_000.0].map(round_up);
        assert_eq!(ends, [1.0, 2.0, 500.0, 10_000.0, 10_000.0]);
    }

    #[test]
    fn the_fault_is_marked_where_it_was_and_who_is_missing_is_named() {
        let svg = svg(&comparison());
        // Killed after one of three seconds, started again after two.
        let third = PANEL.0 / 3.0;
        let (from, width) = (PANELS[0] + third, third);
        let band = format!("class=\"fault\" x=\"{from:.1}\" y=\"{HEAD:.1}\" width=\"{width:.1}\"");
        assert!(svg.contains(&band), "{band} in\n{svg}");
        assert!(svg.contains("not compared: redis-server is away"));
        assert!(svg.contains("prefers-color-scheme:dark"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn words_cannot_end_an_element() {
        let mut svg = String::new();
        text(&mut svg, (0.0, 0.0), "quiet", "a<b & c");
        assert!(svg.contains(">a&lt;b &amp; c<"), "{svg}");
    }
}
