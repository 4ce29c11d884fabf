//! What a selection goes by: the signals that the policy asks for are measured and handed to the selector.
use super::BlockOptimizer;
use crate::grad_norm::{self, SumsOfSquares};
use crate::{NormKind, OptimError};
use blockllm_policy::Signal;
use burn::module::Module;
use std::collections::{BTreeMap, BTreeSet};

impl BlockOptimizer {
    /// Hands to the selector all that the policy asks for.
    pub(super) fn measure<M: Module>(&mut self, module: &M) -> Result<(), OptimError> {
        let mut of_weights = None;
        for signal in self.selector.signals().to_vec() {
            match signal {
                Signal::GradNorm => self.measure_gradients()?,
                Signal::GradNormAverage | Signal::Curvature => {
                    let [averages] = grad_norm::read_back([&self.averages])?;
                    let kind = self.config.norm;
                    self.record_of(signal, &averages, |sum, numel| match signal {
                        Signal::Curvature => sum / numel as f64,
                        _ => kind.of(sum, numel),
                    });
                }
                Signal::WeightNorm => {
                    let sums = &*of_weights.get_or_insert_with(|| self.sums_of_weights(module));
                    let [norms] = grad_norm::read_back([sums])?;
                    self.record_weights(signal, &norms);
                }
                Signal::WeightNormAverage => {
                    let sums = &*of_weights.get_or_insert_with(|| self.sums_of_weights(module));
                    let decay = self.selector.average_decay();
                    self.weight_averages.average_in(sums, sums.measured(), decay);
                    let [averages] = grad_norm::read_back([&self.weight_averages])?;
                    self.record_weights(signal, &averages);
                }
            }
        }
        Ok(())
    }

    /// Takes the latest norms of the parameters in `measured` into the moving averages, if the policy asks for any.
    pub(super) fn average(&mut self, measured: &BTreeSet<usize>) {
        let mut signals = self.selector.signals().iter();
        if signals.any(|signal| signal.is_average_of_gradients()) {
            let decay = self.selector.average_decay();
            self.averages.average_in(&self.sums, measured, decay);
        }
    }

    /// Hands the gradient norms to the selector, all read back with one transfer.
    fn measure_gradients(&mut self) -> Result<(), OptimError> {
        let mut processed = SumsOfSquares::new(self.parameters.len());
        if self.config.norm == NormKind::Processed {
            let selected = self.params_of(self.selector.selected()).collect();
            let rule = &*self.config.update;
            self.states.measure_processed(&selected, rule, &mut processed);
        }
        let [mut raw, processed] = grad_norm::read_back([&self.sums, &processed])?;
        let total = |sums: &mut dyn Iterator<Item = f64>| sums.sum::<f64>();
        let raw_total = total(&mut processed.keys().filter_map(|param| raw.get(param).copied()));
        let ratio = total(&mut processed.values().copied()) / raw_total;
        if ratio.is_finite() && ratio > 0.0 {
            for (param, sum) in &mut raw {
                *sum = processed.get(param).copied().unwrap_or(*sum * ratio);
            }
        }
        let kind = self.config.norm;
        self.record_of(Signal::GradNorm, &raw, |sum, numel| kind.of(sum, numel));
        Ok(())
    }

    /// The sums of squares of the candidates' weights.
    fn sums_of_weights<M: Module>(&self, module: &M) -> SumsOfSquares {
        let params = self.params_of(&self.selector.candidates()).collect();
        grad_norm::of_weights(module, &params, &self.index)
    }

    /// Hands norms of weights to the selector: L2, since the configured norm is that of gradients.
    fn record_weights(&mut self, signal: Signal, sums: &BTreeMap<usize, f64>) {
        self.record_of(signal, sums, |sum, numel| NormKind::Grad.of(sum, numel));
    }

    /// Hands to the selector what `measure` makes of the sum over a block's parameters and its number of entries.
    fn record_of(&mut self, signal: Signal, sums: &BTreeMap<usize, f64>, measure: impl Fn(f64, u64) -> f64) {
        for id in self.selector.candidates() {
            let block = self.selector.block(id);
            let sum: Option<f64> = block.params.iter().map(|param| sums.get(param)).sum();
            if let Some(sum) = sum {
                let value = measure(sum, block.numel);
                self.selector.record(signal, id, value);
            }
        }
    }
}
