//! A run's backward pass layer by layer, on paper: micro-batches go up together, and come down together a layer at a time.

use super::ledger::Buffer;
use super::parts::{Moment, Part};
use super::simulation::{Fate, Gradients, Run, UNLIKE};
use super::stack::Place;
use super::tape::Value;

/// One micro-batch on its way through the layers.
struct Way {
    /// What goes into each layer from the lowest trained one on, and last what goes into the head.
    inputs: Vec<Value>,
    /// The gradient of what the next part gives out.
    gradient: Option<Buffer>,
    /// Whether it stands for many that are not gone through, with the memory of all of them.
    is_counted: bool,
}

impl Run<'_> {
    /// Layer by layer: only the layers' inputs outlive the forward pass, and each layer is computed once more when its
    /// gradients are made.
    pub(super) fn layer_wise(
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
        let mut ways = self.all_up(batches, trainable, lowest, &mut part);
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
        for way in &ways {
            let gradients = self.bottom(way, trainable);
            self.add(&mut part, gradients);
        }
        self.add(&mut shared, part);
        self.sort(shared, fate, &mut held);
        held
    }

    /// Forward of `batches` micro-batches, one after the other, with the gradients of all above the layers added to `part`.
    ///
    /// Abridged, those between the first few and the last one are counted: the sums of gradients are what they stay, and going
    /// back each finds one layer's input less than the one before it.
    fn all_up(&mut self, batches: u64, trainable: &[bool], lowest: Place, part: &mut Gradients) -> Vec<Way> {
        let mut ways = Vec::new();
        let mut done = 0;
        while done < batches {
            let between = batches - done - 1;
            if self.tape.abridged && done == UNLIKE && between > 0 {
                let like = ways.last().expect("the first few were gone through");
                let counted = self.counted(like, between);
                ways.push(counted);
                done += between;
            }
            let mut way = self.up(lowest);
            let gradients = self.top(&mut way, trainable, lowest);
            self.add(part, gradients);
            ways.push(way);
            done += 1;
        }
        ways
    }

    /// What `many` micro-batches hold that are like that of `way`.
    fn counted(&mut self, way: &Way, many: u64) -> Way {
        let ledger = &mut self.tape.ledger;
        let mut all = |one: Buffer| {
            let bytes = ledger.bytes(one).saturating_mul(many);
            ledger.take(bytes, Part::Activations)
        };
        let inputs = way.inputs.iter().map(|input| Value {
            buffer: all(input.buffer),
            ..*input
        });
        Way {
            inputs: inputs.collect(),
            gradient: way.gradient.map(all),
            is_counted: true,
        }
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
            is_counted: false,
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
        if way.is_counted {
            self.tape.forget(hidden);
            if lowest < Place::Layer(layer) {
                way.gradient = Some(above);
            } else {
                self.tape.ledger.release(above);
            }
            return Gradients::new();
        }
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

    /// Gradients of all below the layers.
    fn bottom(&mut self, way: &Way, trainable: &[bool]) -> Gradients {
        let Some(above) = way.gradient else {
            return Gradients::new();
        };
        if way.is_counted {
            self.tape.ledger.release(above);
            return Gradients::new();
        }
        self.tape.record(Some(trainable));
        let hidden = self.stack.embed(&mut self.tape);
        self.tape.forget(hidden);
        let made = self.tape.backward(hidden.node, Some(above));
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
}
