//! A run on paper: evaluation, sweep, and two steps, the first of which makes masks and state.

use super::ledger::Buffer;
use super::parts::{Moment, Part, PlanParts};
use super::scheme::Scheme;
use super::stack::{BatchSize, Place, Stack};
use super::state::{ParameterState, StateRule};
use super::tape::{Machine, Tape, Value};
use super::{BackwardMode, MemoryPlan, MomentPlan, Workload};
use crate::{Algorithm, TrainError, WeightType};
use blockllm_model::LossOptions;
use std::collections::BTreeMap;

/// Gradients of parameters that are live, by position.
type Gradients = BTreeMap<usize, Buffer>;

/// What becomes of a gradient when a backward pass has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It waits for the step.
    Held,
    /// It is measured and let go.
    Dropped,
    /// Its parameter is updated at once.
    Stepped,
}

/// Estimates what `workload` needs.
pub(super) fn run(workload: &Workload<'_>) -> Result<MemoryPlan, TrainError> {
    let tokens = workload.batch_size * workload.seq_len * workload.grad_accum_steps;
    let scheme = Scheme::new(workload.model, workload.method, &workload.selection, tokens)?;
    let mut run = Run::new(workload, &scheme);
    run.tape.ledger.enter(Moment::Rest);
    run.evaluate();
    for group in &scheme.sweep {
        let flags = scheme.flags(&[group]);
        for gradient in run.pass(&flags, &|_| Fate::Dropped, true).into_values() {
            run.tape.ledger.release(gradient);
        }
    }
    let after_loss = run.step(true);
    let rest = run.tape.ledger.live();
    run.step(false);
    Ok(run.plan(after_loss, rest))
}

struct Run<'a> {
    workload: &'a Workload<'a>,
    scheme: &'a Scheme,
    tape: Tape,
    stack: Stack<'a>,
    places: Vec<Place>,
    states: BTreeMap<usize, ParameterState>,
    /// What was live when the last pass had computed its loss.
    after_loss: PlanParts,
}

impl<'a> Run<'a> {
    fn new(workload: &'a Workload<'a>, scheme: &'a Scheme) -> Self {
        let half = workload.weights == WeightType::Bf16;
        let machine = Machine {
            on_host: workload.on_host,
            element_bytes: if half { 2 } else { 4 },
            workers: if workload.on_host { workers() } else { 0 },
        };
        let mut tape = Tape::new(
            machine,
            scheme.parameters.iter().map(|parameter| parameter.entries),
        );
        tape.ledger.take(workload.model.table_bytes(), Part::Weights);
        let positions = scheme.parameters.iter().enumerate();
        let rule = StateRule {
            method: workload.method,
            half,
            on_host: workload.on_host,
            masters: workload.masters,
        };
        let always = scheme
            .always
            .iter()
            .map(|param| (*param, scheme.parameters[*param].entries));
        let selected = scheme.kept.iter().map(|(param, kept)| (*param, *kept));
        Self {
            workload,
            scheme,
            tape,
            stack: Stack {
                shape: workload.model,
                batch: BatchSize {
                    rows: workload.batch_size,
                    tokens: workload.seq_len,
                },
                options: LossOptions::default(),
                positions: positions
                    .map(|(position, parameter)| (parameter.path.clone(), position))
                    .collect(),
            },
            places: scheme
                .parameters
                .iter()
                .map(|parameter| Place::of(&parameter.path))
                .collect(),
            states: always
                .chain(selected)
                .map(|(param, kept)| (param, rule.of(&scheme.parameters[param], kept)))
                .collect(),
            after_loss: PlanParts::default(),
        }
    }

    fn evaluate(&mut self) {
        self.tape.ledger.enter(Moment::Evaluation);
        self.tape.record(None);
        let hidden = self.forward();
        self.stack.loss(&mut self.tape, hidden);
    }

    /// One optimizer step, the first of a selection or a later one; returns what is live after its loss.
    fn step(&mut self, is_first: bool) -> PlanParts {
        let scheme = self.scheme;
        let trained = scheme.flags(&[&scheme.selected, &scheme.always]);
        let flags = scheme.flags(&[&scheme.selected, &scheme.always, &scheme.probed]);
        let layer_wise = self.workload.backward == BackwardMode::LayerWise;
        let waits = self.workload.clipped || is_first || self.workload.grad_accum_steps > 1;
        let fate = |param: usize| match (layer_wise, trained[param]) {
            (true, false) => Fate::Dropped,
            (true, true) if !waits => Fate::Stepped,
            _ => Fate::Held,
        };
        let mut gradients = self.pass(&flags, &fate, false);
        let after_loss = self.after_loss;
        for _ in 1..self.workload.grad_accum_steps {
            for (param, gradient) in self.pass(&flags, &fate, false) {
                // Added to what the batches before it gave, in their memory.
                let sum = *gradients.entry(param).or_insert(gradient);
                if sum != gradient {
                    self.tape.ledger.release(gradient);
                }
            }
        }
        let galore = matches!(self.workload.method.algorithm, Algorithm::GaLore(_));
        if is_first && !galore {
            self.tape.ledger.enter(Moment::Masks);
            for state in self.states.values() {
                for part in [Part::Moments, Part::Indices] {
                    self.tape.ledger.take(state.bytes.of(part), part);
                }
            }
        }
        self.tape.ledger.enter(Moment::Update);
        for (param, gradient) in gradients {
            if is_first && let Some(state) = self.states.get(&param) {
                let made_now: &[Part] = if galore {
                    &[Part::Moments]
                } else {
                    &[Part::Masters]
                };
                for part in made_now {
                    self.tape.ledger.take(state.bytes.of(*part), *part);
                }
            }
            self.update(param, gradient);
        }
        self.tape.ledger.enter(Moment::Rest);
        after_loss
    }

    fn update(&mut self, param: usize, gradient: Buffer) {
        if let Some(state) = self.states.get(&param) {
            self.tape.ledger.pass(state.update, Part::Update);
        }
        self.tape.ledger.release(gradient);
    }

    /// Forward and backward of one micro-batch; the gradients that are held.
    fn pass(&mut self, trainable: &[bool], fate: &dyn Fn(usize) -> Fate, is_sweep: bool) -> Gradients {
        let moments = if is_sweep {
            [Moment::Sweep; 2]
        } else {
            [Moment::Forward, Moment::Backward]
        };
        self.tape.ledger.enter(moments[0]);
        let ids = self.workload.batch_size * self.workload.seq_len;
        let ids = self.tape.ledger.take(3 * ids * 4, Part::Activations);
        let gradients = match self.workload.backward {
            BackwardMode::Whole => self.whole(trainable, moments[1]),
            BackwardMode::LayerWise => self.layer_wise(trainable, fate, moments[1]),
        };
        self.tape.ledger.release(ids);
        gradients
    }

    fn whole(&mut self, trainable: &[bool], backward: Moment) -> Gradients {
        self.tape.record(Some(trainable));
        let hidden = self.forward();
        let loss = self.stack.loss(&mut self.tape, hidden);
        self.after_loss = self.tape.ledger.live();
        self.tape.ledger.enter(backward);
        let made = self.tape.backward(loss, None);
        made.gradients.into_iter().collect()
    }

    /// Layer by layer: only the layers' inputs outlive the forward pass, and each layer is computed once more when its
    /// gradients are made.
    fn layer_wise(
        &mut self,
        trainable: &[bool],
        fate: &dyn Fn(usize) -> Fate,
        backward: Moment,
    ) -> Gradients {
        let lowest = (0..trainable.len())
            .filter(|param| trainable[*param])
            .map(|param| self.places[param])
            .min();
        let mut held = Gradients::new();
        self.tape.record(None);
        let mut inputs = Vec::new();
        let mut hidden = self.stack.embed(&mut self.tape);
        for layer in 0..self.workload.model.layers() {
            inputs.push(self.tape.share(hidden));
            hidden = self.stack.layer(&mut self.tape, layer, hidden);
        }
        self.tape.record(Some(trainable));
        let wanted = |place: Place| lowest.is_some_and(|lowest| lowest < place);
        let hidden = self.tape.as_input(hidden, wanted(Place::Above));
        let loss = self.stack.loss(&mut self.tape, hidden);
        self.after_loss = self.tape.ledger.live();
        self.tape.ledger.enter(backward);
        let made = self.tape.backward(loss, None);
        self.sort(made.gradients, fate, &mut held);
        let mut grad = made.input;
        for (layer, input) in inputs.into_iter().enumerate().rev() {
            let Some(above) = grad.take() else {
                self.tape.forget(input);
                continue;
            };
            self.tape.record(Some(trainable));
            let input = self.tape.as_input(input, wanted(Place::Layer(layer)));
            let output = self.stack.layer(&mut self.tape, layer, input);
            self.tape.forget(output);
            let made = self.tape.backward(output.node, Some(above));
            self.sort(made.gradients, fate, &mut held);
            grad = made.input;
        }
        if let Some(above) = grad {
            self.tape.record(Some(trainable));
            let hidden = self.stack.embed(&mut self.tape);
            self.tape.forget(hidden);
            let made = self.tape.backward(hidden.node, Some(above));
            self.sort(made.gradients, fate, &mut held);
        }
        held
    }

    fn sort(&mut self, made: Vec<(usize, Buffer)>, fate: &dyn Fn(usize) -> Fate, held: &mut Gradients) {
        for (param, gradient) in made {
            match (fate(param), held.contains_key(&param)) {
                // A tied head's gradient is there already: both are added up.
                (_, true) | (Fate::Dropped, _) => self.tape.ledger.release(gradient),
                (Fate::Held, _) => {
                    held.insert(param, gradient);
                }
                (Fate::Stepped, _) => self.update(param, gradient),
            }
        }
    }

    fn forward(&mut self) -> Value {
        let mut hidden = self.stack.embed(&mut self.tape);
        for layer in 0..self.workload.model.layers() {
            hidden = self.stack.layer(&mut self.tape, layer, hidden);
        }
        hidden
    }

    fn plan(&self, after_loss: PlanParts, rest: PlanParts) -> MemoryPlan {
        let moments: Vec<_> = self.tape.ledger.peaks().iter().collect();
        let (moment, peak) = moments
            .iter()
            .max_by_key(|(_, peak)| peak.total)
            .expect("a run has moments");
        let entries = |params: &[usize]| -> u64 {
            let entries = params.iter().map(|param| self.scheme.parameters[*param].entries);
            entries.sum()
        };
        MemoryPlan {
            parameters: self
                .scheme
                .parameters
                .iter()
                .map(|parameter| parameter.entries)
                .sum(),
            trained_entries: self.scheme.kept.values().sum::<u64>() + entries(&self.scheme.always),
            gradient_entries: self.scheme.selected_entries()
                + entries(&self.scheme.always)
                + entries(&self.scheme.probed),
            moment: **moment,
            peak: peak.parts,
            most: self.tape.ledger.most(),
            moments: moments
                .iter()
                .map(|(moment, peak)| MomentPlan {
                    moment: **moment,
                    parts: peak.parts,
                })
                .collect(),
            after_loss,
            rest,
        }
    }
}

/// Threads of the host's kernels.
fn workers() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
}
