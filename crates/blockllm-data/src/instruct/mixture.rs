//! A mixture of sources by weight: an endless order of examples, a function of (sizes, weights, seed) and a place.
//!
//! The next example is of the source that lags most behind its share, so any stretch of the order has the shares. Each source
//! goes through its own examples epoch after epoch, shuffled anew in each.

use crate::shuffle::{Purpose, permutation, source_rng};

/// The shares and the place in the order.
#[derive(Debug, Clone)]
pub(super) struct Mixture {
    sources: Vec<Source>,
    seed: u64,
}

#[derive(Debug, Clone)]
struct Source {
    examples: usize,
    share: f64,
    taken: u64,
    /// The epoch and its order, once it was asked for.
    order: Option<(u64, Vec<usize>)>,
}

impl Mixture {
    /// Sources of so many examples, at least one each, with these weights, which are above 0.
    pub fn new(sources: &[(usize, f64)], seed: u64) -> Self {
        let total: f64 = sources.iter().map(|(_, weight)| weight).sum();
        let source = |&(examples, weight): &(usize, f64)| Source {
            examples,
            share: weight / total,
            taken: 0,
            order: None,
        };
        Self {
            sources: sources.iter().map(source).collect(),
            seed,
        }
    }

    /// Examples that were taken of each source.
    pub fn taken(&self) -> Vec<u64> {
        self.sources.iter().map(|source| source.taken).collect()
    }

    /// Goes to a place that [`taken`](Self::taken) gave; `false` where it has another number of sources.
    pub fn seek(&mut self, taken: &[u64]) -> bool {
        for (source, &taken) in self.sources.iter_mut().zip(taken) {
            source.taken = taken;
        }
        taken.len() == self.sources.len()
    }

    /// The next example: its source, and its number there.
    pub fn next(&mut self) -> (usize, usize) {
        let sum = |all: &[Source]| all.iter().map(|source| source.taken as f64).sum::<f64>();
        let after = sum(&self.sources) + 1.0;
        let lag = |source: &Source| source.share * after - source.taken as f64;
        let mut chosen = 0;
        for at in 1..self.sources.len() {
            if lag(&self.sources[at]) > lag(&self.sources[chosen]) {
                chosen = at;
            }
        }
        let source = &mut self.sources[chosen];
        let (epoch, place) = (
            source.taken / source.examples as u64,
            source.taken % source.examples as u64,
        );
        source.taken = source.taken.saturating_add(1);
        if source.order.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let rng = source_rng(self.seed, epoch, Purpose::RowOrder, chosen as u64);
            source.order = Some((epoch, permutation(source.examples, rng)));
        }
        let order = &source.order.as_ref().expect("it was made above").1;
        (chosen, order[place as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_stretch_has_the_shares_and_a_place_continues(
            sizes in prop::collection::vec((1usize..20, 1u32..10), 1..4), at in 0usize..60,
        ) {
            let sources: Vec<(usize, f64)> = sizes.iter().map(|&(size, weight)| (size, f64::from(weight))).collect();
            let mut run = Mixture::new(&sources, 3);
            let mut resumed = Mixture::new(&sources, 3);
            let total: f64 = sources.iter().map(|(_, weight)| weight).sum();
            for step in 0..200 {
                if step == at {
                    prop_assert!(resumed.seek(&run.taken()));
                }
                let next = run.next();
                prop_assert!(next.1 < sources[next.0].0);
                if step >= at {
                    prop_assert_eq!(resumed.next(), next);
                }
                for (taken, (_, weight)) in run.taken().iter().zip(&sources) {
                    prop_assert!((*taken as f64 - weight / total * f64::from(step as u32 + 1)).abs() <= sources.len() as f64);
                }
            }
        }
    }

    #[test]
    fn a_source_gives_each_example_once_an_epoch_in_another_order() {
        let mut mixture = Mixture::new(&[(10, 1.0)], 0);
        let mut epoch = || (0..10).map(|_| mixture.next().1).collect::<Vec<_>>();
        let (first, second) = (epoch(), epoch());
        assert_ne!(first, second);
        for mut order in [first, second] {
            order.sort_unstable();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
    }
}
