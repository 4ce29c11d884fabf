//! Which of several choices a model takes, by the likelihood of each.
use super::likelihood::Likelihood;
use serde::Serialize;

/// The likelihoods of an item's choices, and which is the likeliest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chosen {
    /// The right one, counted from 0.
    pub gold: usize,
    /// The one that the model takes.
    pub predicted: usize,
    /// The one that it takes when every log-likelihood is divided by the length of its choice in characters (Unicode's, without
    /// the delimiter): the harness' `acc_norm`.
    pub predicted_norm: usize,
    /// Of every choice.
    pub likelihoods: Vec<Likelihood>,
}

impl Chosen {
    /// Of as many likelihoods as there are choices.
    pub fn new(likelihoods: Vec<Likelihood>, choices: &[String], gold: usize) -> Self {
        let plain = likelihoods.iter().map(|one| one.log_likelihood);
        let lengths = choices.iter().map(|choice| choice.chars().count() as f64);
        let normed = plain.clone().zip(lengths).map(|(sum, length)| sum / length);
        Self {
            gold,
            predicted: first_largest(plain),
            predicted_norm: first_largest(normed),
            likelihoods,
        }
    }

    /// 1 where the model takes the right one, else 0.
    pub fn acc(&self) -> f64 {
        f64::from(u8::from(self.predicted == self.gold))
    }

    /// The same by [`predicted_norm`](Self::predicted_norm).
    pub fn acc_norm(&self) -> f64 {
        f64::from(u8::from(self.predicted_norm == self.gold))
    }
}

/// Where the largest value stands first.
fn first_largest(values: impl Iterator<Item = f64>) -> usize {
    let largest = |best: (usize, f64), (at, value): (usize, f64)| {
        if value > best.1 { (at, value) } else { best }
    };
    values.enumerate().fold((0, f64::NEG_INFINITY), largest).0
}
