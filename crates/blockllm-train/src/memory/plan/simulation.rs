//! A run on paper: evaluation, sweep, and two steps, the first of which makes masks and state.

use super::ledger::Buffer;
use super::memory_plan::MemoryPlan;
use super::parts::{Moment, Part, PlanParts};
use super::scheme::{PlannedParameter, PlannedStep, Scheme};
use super::stack::{BatchSize, Place, Stack};
use super::state::{ParameterState, StatePlace};
use super::tape::{Machine, Tape, Value};
use super::workload::{BackwardMode, Workload};
use crate::{TrainError, WeightType};
use blockllm_model::LossOptions;
use std::collections::{BTreeMap, BTreeSet};

/// Gradients of parameters that are live, by position.
pub(super) type Gradients = BTreeMap<usize, Buffer>;

/// Micro-batches that are not like the one before: the gradients of the first meet no sum, those of the second one in the
/// weights' type, those of the third one in f32, and so do all others.
pub(super) const UNLIKE: u64 = 3;

/// What becomes of a gradient when a backward pass has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits for the step.
    Held,
    /// It is measured and let go.
    Dropped,
    /// Its parameter is updated at once.
    Stepped,
}

/// Estimates what `workload` needs.
pub(super) fn run(workload: &Workload<'_>) -> Result<MemoryPlan, TrainError> {
    replay(workload, true)
}

/// The same, where `abridged` says whether what is like the one before it is counted only.
pub(super) fn replay(workload: &Workload<'_>, abridged: bool) -> Result<MemoryPlan, TrainError> {
    let scheme = scheme(workload)?;
    let mut run = Run::new(workload, &scheme);
    run.tape.abridged = abridged;
    run.tape.ledger.enter(Moment::Rest);
    run.evaluate();
    run.sweep();
    let after_loss = run.step(true);
    let rest = run.tape.ledger.live();
    run.step(false);
    if run.tape.ledger.has_overflowed() {
        return Err(too_much(workload));
    }
    Ok(run.plan(after_loss, rest))
}

fn too_much(workload: &Workload<'_>) -> TrainError {
    TrainError::Setting {
        field: "batch_size",
        value: format!("{} with rows of {} tokens", workload.batch_size, workload.seq_len),
        mend: "a step would need more than 2^64 bytes; lower --batch, --seq or --grad-accum-steps".into(),
    }
}

/// What the workload's method trains of its model.
fn scheme(workload: &Workload<'_>) -> Result<Scheme, TrainError> {
    let parameters = workload.model.parameters().into_iter();
    let parameters = parameters.map(|shape| PlannedParameter {
        entries: shape.numel(),
        path: shape.path,
        shape: shape.shape,
        kind: shape.kind,
        free: true,
    });
    let step = PlannedStep {
        assumed: &workload.selection,
        tokens: workload
            .batch_size
            .saturating_mul(workload.seq_len)
            .saturating_mul(workload.grad_accum_steps),
        is_tied: workload.model.is_tied(),
    };
    workload.method.algorithm.plan(parameters.collect(), &step)
}

pub(super) struct Run<'a> {
    pub(super) workload: &'a Workload<'a>,
    pub(super) scheme: &'a Scheme,
    pub(super) tape: Tape,
    pub(super) stack: Stack<'a>,
    pub(super) places: Vec<Place>,
    states: BTreeMap<usize, ParameterState>,
    /// Parameters that were updated before.
    updated: BTreeSet<usize>,
    /// What was live when the last pass had computed its loss.
    pub(super) after_loss: PlanParts,
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
        tape.ledger
            .take(workload.model.table_bytes(workload.seq_len), Part::Weights);
        let positions = scheme.parameters.iter().enumerate();
        let place = StatePlace {
            half,
            on_host: workload.on_host,
        };
        let state = |(param, kept): (usize, u64)| {
            let parameter = &scheme.parameters[param];
            (
                param,
                workload.method.algorithm.planned_state(parameter, kept, place),
            )
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
            states: always.chain(selected).map(state).collect(),
            updated: BTreeSet::new(),
            after_loss: PlanParts::default(),
        }
    }

    fn evaluate(&mut self) {
        self.tape.ledger.enter(Moment::Evaluation);
        self.tape.record(None);
        let hidden = self.forward();
        self.stack.loss(&mut self.tape, hidden);
    }

    /// The first measurement of gradients: group by group, or layer by layer in one pass.
    fn sweep(&mut self) {
        let scheme = self.scheme;
        let drop_all = |_| Fate::Dropped;
        if self.is_layer_wise() {
            let groups: Vec<&[usize]> = scheme.sweep.iter().map(Vec::as_slice).collect();
            if !groups.is_empty() {
                let batches = self.workload.grad_accum_steps;
                self.pass(&scheme.flags(&groups), &drop_all, Gradients::new(), batches, true);
            }
            return;
        }
        for group in self.groups() {
            let flags = scheme.flags(&[group]);
            let mut sum = Gradients::new();
            for _ in 0..self.passes(self.workload.grad_accum_steps) {
                sum = self.pass(&flags, &drop_all, sum, 1, true);
            }
            for gradient in sum.into_values() {
                self.tape.ledger.release(gradient);
            }
        }
    }

    /// The groups that a sweep with whole passes goes through. Abridged, of those that have the same parameters of other layers
    /// only the lowest one, whose pass keeps what theirs do and more.
    fn groups(&self) -> Vec<&'a [usize]> {
        let scheme = self.scheme;
        let mut seen = BTreeSet::new();
        let groups = scheme.sweep.iter().map(Vec::as_slice);
        groups
            .filter(|group| !self.tape.abridged || seen.insert(self.likeness(group)))
            .collect()
    }

    /// What a group has in common with those of other layers: its parameters, with their layers counted from its lowest one.
    fn likeness(&self, group: &[usize]) -> Vec<(Option<usize>, &'a str, u64)> {
        let layer = |param: &usize| match self.places[*param] {
            Place::Layer(layer) => Some(layer),
            Place::Below | Place::Above => None,
        };
        let lowest = group.iter().filter_map(layer).min().unwrap_or(0);
        let scheme = self.scheme;
        let of = |param: &usize| {
            let parameter = &scheme.parameters[*param];
            let layer = layer(param).map(|layer| layer - lowest);
            (layer, Place::within(&parameter.path), parameter.entries)
        };
        group.iter().map(of).collect()
    }

    /// How many of `passes` with one micro-batch each are gone through: abridged, those that are not like the one before.
    fn passes(&self, passes: u64) -> u64 {
        if self.tape.abridged {
            passes.min(UNLIKE)
        } else {
            passes
        }
    }

    /// One optimizer step, the first of a selection or a later one; returns what is live after its loss.
    fn step(&mut self, is_first: bool) -> PlanParts {
        let scheme = self.scheme;
        let trained = scheme.flags(&[&scheme.selected, &scheme.always]);
        let flags = scheme.flags(&[&scheme.selected, &scheme.always, &scheme.probed]);
        let waits = self.waits_for_all(is_first);
        let fate = |param: usize| match (trained[param], waits) {
            (false, _) => Fate::Dropped,
            (true, false) => Fate::Stepped,
            (true, true) => Fate::Held,
        };
        let batches = self.workload.grad_accum_steps;
        let at_once = self.is_layer_wise() && !waits;
        let mut sum = Gradients::new();
        for _ in 0..self.passes(if at_once { 0 } else { batches.saturating_sub(1) }) {
            sum = self.pass(&flags, &|_| Fate::Held, sum, 1, false);
        }
        sum = self.pass(&flags, &fate, sum, if at_once { batches } else { 1 }, false);
        let after_loss = self.after_loss;
        if is_first && !scheme.state_with_update {
            self.tape.ledger.enter(Moment::Masks);
            self.tape.ledger.take(scheme.momenta, Part::Moments);
            for state in self.states.values() {
                for part in [Part::Moments, Part::Indices] {
                    self.tape.ledger.take(state.bytes.of(part), part);
                }
            }
        }
        self.tape.ledger.enter(Moment::Update);
        for (param, gradient) in sum {
            self.update(param, gradient);
        }
        self.tape.ledger.enter(Moment::Rest);
        self.tape.ledger.sample();
        after_loss
    }

    /// Whether no trained parameter can be updated before all gradients are there.
    fn waits_for_all(&self, is_first: bool) -> bool {
        let method = &self.workload.method.algorithm;
        self.workload.clipped || method.waits_for_all(self.scheme, is_first)
    }

    fn is_layer_wise(&self) -> bool {
        self.workload.backward == BackwardMode::LayerWise
    }

    /// Updates a parameter; what the first update makes of its state is made here.
    pub(super) fn update(&mut self, param: usize, gradient: Buffer) {
        if let Some(state) = self.states.get(&param).copied() {
            let made_here: &[Part] = if self.scheme.state_with_update {
                &[Part::Moments, Part::Indices, Part::Masters]
            } else {
                &[Part::Masters]
            };
            if self.updated.insert(param) {
                for part in made_here {
                    self.tape.ledger.take(state.bytes.of(*part), *part);
                }
            }
            self.tape.ledger.pass(state.update, Part::Update);
        }
        if let Some(bytes) = self.scheme.scratch.get(&param) {
            self.tape.ledger.pass(*bytes, Part::Update);
        }
        self.tape.ledger.release(gradient);
    }

    /// Adds gradients to a sum, which is in f32 from the second summand on.
    pub(super) fn add(&mut self, sum: &mut Gradients, made: Gradients) {
        for (param, gradient) in made {
            let Some(before) = sum.insert(param, gradient) else {
                continue;
            };
            if self.tape.machine.element_bytes == 4 {
                self.tape.ledger.release(before);
                continue;
            }
            let bytes = 4 * self.scheme.parameters[param].entries;
            let precise = self.tape.ledger.take(bytes, Part::Gradients);
            self.tape.ledger.release(before);
            self.tape.ledger.release(gradient);
            sum.insert(param, precise);
        }
    }

    /// Forward and backward of `batches` micro-batches together, which only a layer-wise pass does with more than one; the
    /// gradients that are `held` then. Only a layer-wise pass knows another fate than to be held.
    fn pass(
        &mut self,
        trainable: &[bool],
        fate: &dyn Fn(usize) -> Fate,
        held: Gradients,
        batches: u64,
        is_sweep: bool,
    ) -> Gradients {
        let moments = if is_sweep {
            [Moment::Sweep; 2]
        } else {
            [Moment::Forward, Moment::Backward]
        };
        self.tape.ledger.enter(moments[0]);
        let ids = batches
            .saturating_mul(self.workload.batch_size)
            .saturating_mul(self.workload.seq_len);
        let ids = self
            .tape
            .ledger
            .take(ids.saturating_mul(3 * 4), Part::Activations);
        let gradients = match self.workload.backward {
            BackwardMode::Whole => self.whole(trainable, held, moments[1]),
            BackwardMode::LayerWise => self.layer_wise(trainable, fate, held, batches, moments[1]),
        };
        self.tape.ledger.release(ids);
        gradients
    }

    fn whole(&mut self, trainable: &[bool], mut held: Gradients, backward: Moment) -> Gradients {
        self.tape.record(Some(trainable));
        let hidden = self.forward();
        let loss = self.stack.loss(&mut self.tape, hidden);
        self.after_loss = self.tape.ledger.live();
        self.tape.ledger.sample();
        self.tape.ledger.enter(backward);
        let made = self.tape.backward(loss, None);
        self.add(&mut held, made.gradients.into_iter().collect());
        if self.workload.grad_accum_steps > 1 {
            self.tape.ledger.sample();
        }
        held
    }

    fn forward(&mut self) -> Value {
        let mut hidden = self.stack.embed(&mut self.tape);
        for layer in 0..self.workload.model.layers() {
            hidden = self.stack.layer(&mut self.tape, layer, hidden);
        }
        hidden
    }
}

/// Threads of the host's kernels.
fn workers() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
}
