//! A training step on paper, backward: from the last node to the first, letting go of what each kept.

use super::ledger::Buffer;
use super::parts::Part;
use super::tape::{AttentionSizes, Node, NodeId, Operation, Tape};

/// What a backward pass leaves.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Gradients of parameters, by position.
    pub gradients: Vec<(usize, Buffer)>,
    /// The gradient of the input that was asked for.
    pub input: Option<Buffer>,
}

impl Tape {
    /// Goes back from `root`, whose gradient is `grad` (a scalar's own where `None`).
    pub fn backward(&mut self, root: Option<NodeId>, grad: Option<Buffer>) -> Made {
        let mut made = Made::default();
        if let Some(root) = root {
            let grad = grad.unwrap_or_else(|| self.ledger.take(4, Part::Activations));
            self.nodes[root.0].grad = Some(grad);
        } else if let Some(grad) = grad {
            self.ledger.release(grad);
        }
        for place in (0..self.nodes.len()).rev() {
            let node = std::mem::replace(&mut self.nodes[place], empty());
            match (node.grad, node.operation) {
                (None, _) => self.release_all(&node.saved),
                (Some(grad), Operation::Leaf(Some(parameter))) => made.gradients.push((parameter, grad)),
                (Some(grad), Operation::Leaf(None)) => made.input = Some(grad),
                (Some(grad), _) => self.step(node, grad),
            }
        }
        self.clear();
        made
    }

    fn step(&mut self, node: Node, grad: Buffer) {
        let [first, second, third] = node.parents;
        match node.operation {
            Operation::Leaf(_) => unreachable!("leaves were taken out"),
            Operation::Linear {
                weight_entries,
                outputs,
            } => self.linear_step(node, grad, weight_entries, outputs),
            Operation::Norm { width } => {
                for parameter in [second, third].into_iter().flatten() {
                    let made = self.gradient(parameter, width);
                    self.register(parameter, made);
                }
                if let Some(input) = first {
                    let made = self.made(&[node.entries, node.entries], node.entries);
                    self.register(input, made);
                }
                self.release_all(&node.saved);
                self.ledger.release(grad);
            }
            Operation::InPlace => self.pass_on(first, grad, node.entries),
            Operation::Kept => {
                self.pass_on(first, grad, node.entries);
                self.release_all(&node.saved);
            }
            Operation::Attention(sizes) => self.attention_step(&node, grad, sizes),
            Operation::Swiglu => {
                self.converted(&[node.entries; 3], 0);
                // The gradients take the memory of what was kept, where nobody else holds it.
                for (parent, kept) in [first, second].into_iter().zip(&node.saved) {
                    let made = self.own(*kept, node.entries);
                    match parent {
                        Some(parent) => self.register(parent, made),
                        None => self.ledger.release(made),
                    }
                }
                self.ledger.release(grad);
            }
            Operation::Add => self.add_step([first, second], grad, node.entries),
            Operation::Rows { table_entries } => {
                if let Some(table) = first {
                    self.converted(&[node.entries], table_entries);
                    let made = self.gradient(table, table_entries);
                    self.register(table, made);
                }
                self.ledger.release(grad);
            }
            Operation::Product { factors } => {
                for (parent, entries) in [first, second].into_iter().zip(factors) {
                    if let Some(parent) = parent {
                        self.converted(&[node.entries], entries);
                        let made = self.gradient(parent, entries);
                        self.register(parent, made);
                    }
                }
                self.ledger.release(grad);
            }
            Operation::PartOf { entries } => {
                let made = self.activation(entries);
                self.ledger.release(grad);
                match first {
                    Some(whole) => self.register(whole, made),
                    None => self.ledger.release(made),
                }
            }
            Operation::Given => {
                if let Some(scalar) = first {
                    let shared = self.ledger.hold(grad);
                    self.register(scalar, shared);
                }
                self.ledger.release(grad);
                for gradient in node.saved {
                    match second {
                        Some(input) => self.register(input, gradient),
                        None => self.ledger.release(gradient),
                    }
                }
            }
        }
    }

    fn linear_step(&mut self, node: Node, grad: Buffer, weight_entries: u64, outputs: u64) {
        let [input, weight, bias] = node.parents;
        let inputs = (node.entries / outputs).saturating_mul(weight_entries / outputs);
        let mut saved = node.saved.into_iter();
        if let Some(bias) = bias {
            let made = self.gradient(bias, outputs);
            self.register(bias, made);
        }
        if let Some(weight) = weight {
            self.converted(&[inputs, node.entries], weight_entries);
            let made = self.gradient(weight, weight_entries);
            self.register(weight, made);
            let x = saved.next().expect("an input was kept for the weight's gradient");
            self.ledger.release(x);
        }
        if let Some(input) = input {
            let made = self.made(&[node.entries, weight_entries], inputs);
            self.register(input, made);
            let kept = saved
                .next()
                .expect("the weight was kept for the input's gradient");
            self.ledger.release(kept);
        }
        self.ledger.release(grad);
    }

    fn attention_step(&mut self, node: &Node, grad: Buffer, sizes: AttentionSizes) {
        let scores: Vec<_> = (0..3).map(|_| self.scores(sizes.seen)).collect();
        let statistics = if self.machine.on_host {
            0
        } else {
            sizes.rows.saturating_mul(2 * 4)
        };
        let statistics = self.ledger.take(statistics, Part::Activations);
        let entries = node
            .parents
            .map(|parent| parent.map_or(node.entries, |parent| self.nodes[parent.0].entries));
        self.converted(&entries, node.entries);
        let made = entries.map(|entries| self.activation(entries));
        self.release_all(&scores);
        self.release_all(&node.saved);
        self.ledger.release(statistics);
        self.ledger.release(grad);
        for (parent, made) in node.parents.into_iter().zip(made) {
            match parent {
                Some(parent) => self.register(parent, made),
                None => self.ledger.release(made),
            }
        }
    }

    fn add_step(&mut self, parents: [Option<NodeId>; 2], grad: Buffer, entries: u64) {
        for parent in parents.into_iter().flatten() {
            let wanted = self.nodes[parent.0].entries;
            let share = if wanted == entries {
                self.ledger.hold(grad)
            } else {
                self.activation(wanted)
            };
            self.register(parent, share);
        }
        self.ledger.release(grad);
    }

    /// The gradient goes on in its own memory, if nobody else holds it.
    fn pass_on(&mut self, parent: Option<NodeId>, grad: Buffer, entries: u64) {
        self.converted(&[entries], 0);
        let made = self.own(grad, entries);
        match parent {
            Some(parent) => self.register(parent, made),
            None => self.ledger.release(made),
        }
    }

    /// `buffer` itself if nobody else holds it, else a copy.
    fn own(&mut self, buffer: Buffer, entries: u64) -> Buffer {
        if self.ledger.is_alone(buffer) {
            return buffer;
        }
        let copy = self.activation(entries);
        self.ledger.release(buffer);
        copy
    }

    /// Memory for the gradient of a node: a parameter's is there for longer.
    fn gradient(&mut self, node: NodeId, entries: u64) -> Buffer {
        let part = match self.nodes[node.0].operation {
            Operation::Leaf(Some(_)) => Part::Gradients,
            _ => Part::Activations,
        };
        let bytes = entries.saturating_mul(self.machine.element_bytes);
        self.ledger.take(bytes, part)
    }

    /// Adds a gradient to what a node has, in the memory of one that nobody else holds.
    fn register(&mut self, node: NodeId, value: Buffer) {
        let known = self.nodes[node.0].grad.take();
        let sum = match known {
            None => value,
            Some(known) if self.ledger.is_alone(value) => {
                self.ledger.release(known);
                value
            }
            Some(known) if self.ledger.is_alone(known) => {
                self.ledger.release(value);
                known
            }
            Some(known) => {
                let sum = self.activation(self.nodes[node.0].entries);
                self.ledger.release(known);
                self.ledger.release(value);
                sum
            }
        };
        if matches!(self.nodes[node.0].operation, Operation::Leaf(Some(_))) {
            self.ledger.book(sum, Part::Gradients);
        }
        self.nodes[node.0].grad = Some(sum);
    }

    fn release_all(&mut self, buffers: &[Buffer]) {
        for buffer in buffers {
            self.ledger.release(*buffer);
        }
    }
}

fn empty() -> Node {
    Node {
        operation: Operation::Leaf(None),
        parents: [None; 3],
        saved: Vec::new(),
        grad: None,
        entries: 0,
    }
}
