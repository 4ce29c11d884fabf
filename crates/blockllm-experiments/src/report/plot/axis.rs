//! Ranges and ticks: round numbers on linear axes, 1-2-5 steps on logarithmic ones.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// An axis that puts its ticks where it was told to.
pub(super) struct Axis {
    /// From the first value to the last.
    pub range: Range<f64>,
    /// Where the labels stand.
    pub ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        low + (share * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// The range of all finite values with a margin; `0..1` when there are none.
pub(super) fn padded_range(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        return 0.0..1.0;
    }
    // One value alone still needs a range around it.
    let width = if high > low {
        high - low
    } else {
        low.abs().max(1.0) * 0.1
    };
    let pad = if high > low { width * margin } else { width };
    low - pad..high + pad
}

/// About `wanted` round numbers within the range.
pub(super) fn ticks(range: &Range<f64>, wanted: usize) -> Vec<f64> {
    let step = round_step((range.end - range.start) / wanted.max(1) as f64);
    let first = (range.start / step).ceil() as i64;
    let last = (range.end / step).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

/// Ticks of a logarithmic axis whose range is given in powers of ten; so are the ticks.
pub(super) fn log_ticks(range: &Range<f64>, wanted: usize) -> Vec<f64> {
    let within = |multiples: &[f64]| -> Vec<f64> {
        let decades = range.start.floor() as i32..=range.end.ceil() as i32;
        let all = decades.flat_map(|decade| multiples.iter().map(move |m| m.log10() + f64::from(decade)));
        all.filter(|tick| range.contains(tick)).collect()
    };
    let fine = within(&[1.0, 2.0, 5.0]);
    match fine.len() {
        // Within one decade, round numbers tell more than powers do.
        0..=3 => {
            let values = 10f64.powf(range.start)..10f64.powf(range.end);
            ticks(&values, wanted)
                .into_iter()
                .filter(|value| *value > 0.0)
                .map(f64::log10)
                .collect()
        }
        count if count > 2 * wanted => within(&[1.0]),
        _ => fine,
    }
}

/// The step of 1, 2 or 5 times a power of ten that is nearest above.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let multiples = [1.0, 2.0, 5.0];
    multiples
        .into_iter()
        .map(|multiple| multiple * power)
        .find(|round| *round >= step * 0.999)
        .unwrap_or(10.0 * power)
}

/// A tick's label: no more decimals than it needs.
pub(super) fn label(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        _ if magnitude >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        _ if magnitude >= 1e4 => format!("{}K", trimmed(value / 1e3)),
        _ if magnitude > 0.0 && magnitude < 1e-3 => format!("{value:.0e}"),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(ticks(&(0.0..10.0), 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(&(-0.3..1.1), 3), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn logarithmic_ticks_are_powers_or_round_numbers() {
        let shown = |range| {
            log_ticks(&range, 6)
                .into_iter()
                .map(|tick| label(10f64.powf(tick)))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(0.9..3.1), ["10", "20", "50", "100", "200", "500", "1000"]);
        assert_eq!(shown(0.0..5.0).len(), 5);
        assert_eq!(shown(0.5..0.7), ["3.5", "4", "4.5", "5"]);
    }

    #[test]
    fn a_range_is_never_empty() {
        assert_eq!(padded_range([].into_iter(), 0.1), 0.0..1.0);
        let range = padded_range([5.0, f64::NAN].into_iter(), 0.1);
        assert!(range.start < 5.0 && range.end > 5.0);
    }

    #[test]
    fn labels_are_short() {
        let shown = [0.0, 0.25, 3000.0, 20_000.0, 1.5e6, 1e-4].map(label);
        assert_eq!(shown, ["0", "0.25", "3000", "20K", "1.5M", "1e-4"]);
    }
}
