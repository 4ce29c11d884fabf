//! GLUE's metrics, equal to scikit-learn's and `SciPy`'s; where a denominator is zero the score is 0.
use super::{GlueLabel, GlueTask, Metric, Score};

impl GlueTask {
    /// The task's metrics over predictions and what was to be predicted, in the order of [`metrics`](Self::metrics).
    ///
    /// # Panics
    /// When there are not as many predictions as labels: that is a mistake of the caller's.
    pub fn score(self, predicted: &[GlueLabel], labels: &[GlueLabel]) -> Vec<Score> {
        assert_eq!(predicted.len(), labels.len(), "one prediction for each label");
        let classes = |labels: &[GlueLabel]| labels.iter().map(|label| class(*label)).collect::<Vec<_>>();
        let scores = |labels: &[GlueLabel]| labels.iter().map(|label| score(*label)).collect::<Vec<_>>();
        let value = |metric: Metric| match metric {
            Metric::Accuracy => accuracy(&classes(predicted), &classes(labels)),
            Metric::F1 => f1(&classes(predicted), &classes(labels)),
            Metric::Matthews => matthews_correlation(&classes(predicted), &classes(labels)),
            Metric::Pearson => pearson(&scores(predicted), &scores(labels)),
            Metric::Spearman => spearman(&scores(predicted), &scores(labels)),
        };
        let one = |metric: &Metric| Score {
            metric: *metric,
            value: value(*metric),
        };
        self.metrics().iter().map(one).collect()
    }
}

fn class(label: GlueLabel) -> usize {
    match label {
        GlueLabel::Class(class) => class,
        GlueLabel::Score(score) => score.round().max(0.0) as usize,
    }
}

fn score(label: GlueLabel) -> f64 {
    match label {
        GlueLabel::Class(class) => class as f64,
        GlueLabel::Score(score) => f64::from(score),
    }
}

/// Share of equal classes.
pub fn accuracy(predicted: &[usize], labels: &[usize]) -> f64 {
    let right = predicted.iter().zip(labels).filter(|(a, b)| a == b).count();
    ratio(right as f64, labels.len() as f64)
}

/// F1 of class 1.
pub fn f1(predicted: &[usize], labels: &[usize]) -> f64 {
    let count = |wanted: (bool, bool)| {
        let pairs = predicted.iter().zip(labels).map(|(a, b)| (*a == 1, *b == 1));
        pairs.filter(|pair| *pair == wanted).count() as f64
    };
    let hits = count((true, true));
    ratio(
        2.0 * hits,
        2.0 * hits + count((true, false)) + count((false, true)),
    )
}

/// Matthews correlation over any number of classes (Gorodkin's `R_K`).
pub fn matthews_correlation(predicted: &[usize], labels: &[usize]) -> f64 {
    let classes = predicted.iter().chain(labels).max().map_or(0, |most| most + 1);
    let counts = |of: &[usize]| {
        let mut counts = vec![0.0; classes];
        for class in of {
            counts[*class] += 1.0;
        }
        counts
    };
    let (predicted_counts, label_counts) = (counts(predicted), counts(labels));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let total = labels.len() as f64;
    let right = accuracy(predicted, labels) * total;
    let spread = |counts: &[f64]| total * total - dot(counts, counts);
    let covariance = right * total - dot(&predicted_counts, &label_counts);
    ratio(
        covariance,
        (spread(&predicted_counts) * spread(&label_counts)).sqrt(),
    )
}

/// Pearson correlation.
pub fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let centred = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        values.iter().map(|value| value - mean).collect::<Vec<_>>()
    };
    let (a, b) = (centred(a), centred(b));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    ratio(dot(&a, &b), (dot(&a, &a) * dot(&b, &b)).sqrt())
}

/// Spearman's rank correlation.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    pearson(&ranks(a), &ranks(b))
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut ranks, mut done) = (vec![0.0; values.len()], 0usize);
    for tied in order.chunk_by(|a, b| values[*a].total_cmp(&values[*b]).is_eq()) {
        let below = done;
        done += tied.len();
        let rank = below as f64 + (tied.len() + 1) as f64 / 2.0;
        for index in tied {
            ranks[*index] = rank;
        }
    }
    ranks
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
