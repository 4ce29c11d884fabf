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
    let scheme = scheme(workload)?;
    let mut run = Run::new(workload, &scheme);
    run.tape.ledger.enter(Moment::Rest);
    run.evaluate();
    run.sweep();
    let after_loss = run.step(true);
    let rest = run.tape.ledger.live();
    run.step(false);
    Ok(run.plan(after_loss, rest))
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
        tokens: workload.batch_size * workload.seq_len * workload.grad_accum_steps,
        is_tied: workload.model.is_tied(),
    };
    workload.method.algorithm.plan(parameters.collect(), &step)
}

pub(super) struct Run<'a> {
    workload: &'a Workload<'a>,
    pub(super) scheme: &'a Scheme,
    pub(super) tape: Tape,
    stack: Stack<'a>,
    places: Vec<Place>,
    states: BTreeMap<usize, ParameterState>,
    /// Parameters that were updated before.
    updated: BTreeSet<usize>,
    /// What was live when the last pass had computed its loss.
    after_loss: PlanParts,
}

/// One micro-batch on its way through the layers.
struct Way {
    /// What goes into each layer from the lowest trained one on, and last what goes into the head.
    inputs: Vec<Value>,
    /// The gradient of what the next part gives out.
    gradient: Option<Buffer>,
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
        for group in &scheme.sweep {
            let flags = scheme.flags(&[group]);
            let mut sum = Gradients::new();
            for _ in 0..self.workload.grad_accum_steps {
                sum = self.pass(&flags, &drop_all, sum, 1, true);
            }
            for gradient in sum.into_values() {
                self.tape.ledger.release(gradient);
            }
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
        for _ in 1..if at_once { 1 } else { batches } {
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
    fn update(&mut self, param: usize, gradient: Buffer) {
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
    fn add(&mut self, sum: &mut Gradients, made: Gradients) {
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
        let ids = batches * self.workload.batch_size * self.workload.seq_len;
        let ids = self.tape.ledger.take(3 * ids * 4, Part::Activations);
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

    /// Layer by layer: only the layers' inputs outlive the forward pass, and each layer is computed once more when its
    /// gradients are made.
    fn layer_wise(
        &mut self,
        trainable: &[bool],
        fate: &dyn Fn(usize) -> Fate,
        mut held: Gradients,
        batches: u64,
        backward: Moment,
    ) -> Gradients {
        let trained = (0..trainable.len()).filter(|param| trainable[*param]);
        let Some(lowest) = trained.map(|param| self.places[param]).min() else {
            return held;
        };
        let mut part = Gradients::new();
        let mut ways = Vec::new();
        for _ in 0..batches {
            let mut way = self.up(lowest);
            let gradients = self.top(&mut way, trainable, lowest);
            self.add(&mut part, gradients);
            ways.push(way);
        }
        self.after_loss = self.tape.ledger.live();
        self.tape.ledger.enter(backward);
        // A tied head's gradient waits for the embedding's, whatever then becomes of their sum.
        let tied = self.workload.model.is_tied().then_some(0);
        let mut shared = Gradients::new();
        if let Some(param) = tied
            && let Some(gradient) = part.remove(&param)
        {
            shared.insert(param, gradient);
        }
        self.sort(std::mem::take(&mut part), fate, &mut held);
        for layer in (0..self.workload.model.layers()).rev() {
            for way in &mut ways {
                let gradients = self.down(way, layer, trainable, lowest);
                self.add(&mut part, gradients);
            }
            self.sort(std::mem::take(&mut part), fate, &mut held);
        }
        for way in ways {
            if let Some(above) = way.gradient {
                self.tape.record(Some(trainable));
                let hidden = self.stack.embed(&mut self.tape);
                self.tape.forget(hidden);
                let made = self.tape.backward(hidden.node, Some(above));
                self.add(&mut part, made.gradients.into_iter().collect());
            }
        }
        self.add(&mut shared, part);
        self.sort(shared, fate, &mut held);
        held
    }

    /// Forward without a graph; the inputs of the layers from the lowest trained one on are kept.
    fn up(&mut self, lowest: Place) -> Way {
        self.tape.record(None);
        let mut inputs = Vec::new();
        let mut hidden = self.stack.embed(&mut self.tape);
        for layer in 0..self.workload.model.layers() {
            let before = self.tape.share(hidden);
            hidden = self.stack.layer(&mut self.tape, layer, hidden);
            if lowest <= Place::Layer(layer) {
                inputs.push(before);
            } else {
                self.tape.forget(before);
            }
        }
        inputs.push(hidden);
        Way {
            inputs,
            gradient: None,
        }
    }

    /// Loss and gradients of the head and all else above the layers.
    fn top(&mut self, way: &mut Way, trainable: &[bool], lowest: Place) -> Gradients {
        let hidden = way.inputs.pop().expect("the top's input is kept");
        self.tape.record(Some(trainable));
        let input = self.tape.as_input(hidden, lowest < Place::Above);
        let kept = self.tape.share(input);
        let loss = self.stack.loss(&mut self.tape, input);
        let made = self.tape.backward(loss, None);
        self.tape.forget(kept);
        way.gradient = made.input;
        made.gradients.into_iter().collect()
    }

    /// Gradients of one layer, computed again from its input.
    fn down(&mut self, way: &mut Way, layer: usize, trainable: &[bool], lowest: Place) -> Gradients {
        let Some(above) = way.gradient.take() else {
            return Gradients::new();
        };
        let hidden = way.inputs.pop().expect("from the lowest on inputs are kept");
        self.tape.record(Some(trainable));
        let input = self.tape.as_input(hidden, lowest < Place::Layer(layer));
        let kept = self.tape.share(input);
        let output = self.stack.layer(&mut self.tape, layer, input);
        self.tape.forget(output);
        let made = self.tape.backward(output.node, Some(above));
        self.tape.forget(kept);
        way.gradient = made.input;
        made.gradients.into_iter().collect()
    }

    /// Lets every gradient of a part meet its fate.
    fn sort(&mut self, part: Gradients, fate: &dyn Fn(usize) -> Fate, held: &mut Gradients) {
        if !part.is_empty() {
            self.tape.ledger.sample();
        }
        for (param, gradient) in part {
            self.add(held, Gradients::from([(param, gradient)]));
            if fate(param) == Fate::Held {
                continue;
            }
            if let Some(whole) = held.remove(&param) {
                match fate(param) {
                    Fate::Stepped => self.update(param, whole),
                    _ => self.tape.ledger.release(whole),
                }
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
}

/// Threads of the host's kernels.
fn workers() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
}
