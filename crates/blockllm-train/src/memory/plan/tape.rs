//! Autodiff's graph on paper: tensors and nodes that have sizes and holders, and no numbers.
//!
//! What is tracked follows from which parameters require gradients, so that layers below the lowest trained one keep
//! nothing.

use super::ledger::{Buffer, Ledger};
use super::parts::Part;

/// Where the step runs, as far as memory depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Whether results are made on the host in f32 whatever the type of the weights (flex), or in their own type (GPUs).
    pub on_host: bool,
    /// Bytes of a weight, of its gradient and of an activation: 4 or 2.
    pub element_bytes: u64,
    /// Threads that work at once, each with scores of its own; 0 where scores need no memory.
    pub workers: u64,
}

impl Machine {
    /// Whether an operation first makes copies of its inputs in f32.
    fn converts(self) -> bool {
        self.on_host && self.element_bytes != 4
    }
}

/// A node of autodiff's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(pub(super) usize);

/// A tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub buffer: Buffer,
    pub entries: u64,
    /// Its node, where a gradient will reach it.
    pub node: Option<NodeId>,
}

/// Sizes of an attention, in entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttentionSizes {
    /// Keys that one query sees.
    pub seen: u64,
    /// Rows of statistics: batch, heads and queries.
    pub rows: u64,
}

/// What backward does at a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// A parameter, or an input whose gradient is wanted: gradients gather here.
    Leaf(Option<usize>),
    /// `x W`: weight of that many entries.
    Linear {
        weight_entries: u64,
        outputs: u64,
    },
    /// A norm over rows of this width.
    Norm {
        width: u64,
    },
    /// One input, whose gradient is made in the memory of the result's.
    InPlace,
    Attention(AttentionSizes),
    Swiglu,
    /// One input that is kept, and a gradient in the result's memory.
    Kept,
    /// Both inputs get the result's gradient.
    Add,
    /// Rows of a table of that many entries.
    Rows {
        table_entries: u64,
    },
    /// The product of two factors with these numbers of entries.
    Product {
        factors: [u64; 2],
    },
    /// A part of the input, whose gradient is as large as that.
    PartOf {
        entries: u64,
    },
    /// A scalar whose gradient was computed with it.
    Given,
}

#[derive(Debug)]
pub(super) struct Node {
    pub operation: Operation,
    pub parents: [Option<NodeId>; 3],
    pub saved: Vec<Buffer>,
    pub grad: Option<Buffer>,
    pub entries: u64,
}

/// The tape.
#[derive(Debug)]
pub(super) struct Tape {
    pub ledger: Ledger,
    pub machine: Machine,
    pub(super) nodes: Vec<Node>,
    weights: Vec<Value>,
    trainable: Vec<bool>,
    leaves: Vec<Option<NodeId>>,
    /// The parameters that have one.
    leafy: Vec<usize>,
    /// Whether autodiff records at all.
    recording: bool,
    /// Whether what would be like the one before it is counted and not gone through: chunks of logits, micro-batches, groups
    /// of a sweep. The figures are the same.
    pub abridged: bool,
}

impl Tape {
    /// The weights of a model, whose parameters have these numbers of entries.
    pub fn new(machine: Machine, entries: impl Iterator<Item = u64>) -> Self {
        let mut ledger = Ledger::default();
        let weights: Vec<_> = entries
            .map(|entries| Value {
                buffer: ledger.take(entries.saturating_mul(machine.element_bytes), Part::Weights),
                entries,
                node: None,
            })
            .collect();
        Self {
            ledger,
            machine,
            nodes: Vec::new(),
            trainable: vec![false; weights.len()],
            leaves: vec![None; weights.len()],
            leafy: Vec::new(),
            weights,
            recording: false,
            abridged: true,
        }
    }

    /// From now on gradients are made for these parameters; for none of them nothing is recorded.
    pub fn record(&mut self, trainable: Option<&[bool]>) {
        debug_assert!(self.nodes.is_empty(), "a graph is left over");
        self.recording = trainable.is_some();
        match trainable {
            Some(trainable) => self.trainable.copy_from_slice(trainable),
            None => self.trainable.fill(false),
        }
    }

    /// A parameter.
    pub fn parameter(&mut self, position: usize) -> Value {
        let weight = self.weights[position];
        self.ledger.hold(weight.buffer);
        let node = self.trainable[position].then(|| self.leaf(position, weight.entries));
        Value { node, ..weight }
    }

    /// The node where a parameter's gradient gathers, one for the whole graph.
    fn leaf(&mut self, position: usize, entries: u64) -> NodeId {
        if let Some(leaf) = self.leaves[position] {
            return leaf;
        }
        let leaf = self.push(Operation::Leaf(Some(position)), [None; 3], Vec::new(), entries);
        self.leaves[position] = Some(leaf);
        self.leafy.push(position);
        leaf
    }

    /// `value` as the begin of a graph of its own, whose gradient is wanted.
    pub fn as_input(&mut self, value: Value, wanted: bool) -> Value {
        let node = wanted.then(|| self.push(Operation::Leaf(None), [None; 3], Vec::new(), value.entries));
        Value { node, ..value }
    }

    /// The same tensor once more.
    pub fn share(&mut self, value: Value) -> Value {
        self.ledger.hold(value.buffer);
        value
    }

    /// Lets go of a tensor.
    pub fn forget(&mut self, value: Value) {
        self.ledger.release(value.buffer);
    }

    /// Memory for `entries` of the weights' type.
    pub fn activation(&mut self, entries: u64) -> Buffer {
        let bytes = entries.saturating_mul(self.machine.element_bytes);
        self.ledger.take(bytes, Part::Activations)
    }

    /// Memory for a result, beside the copies of the inputs that are made for a moment.
    pub fn made(&mut self, inputs: &[u64], entries: u64) -> Buffer {
        self.converted(inputs, entries);
        self.activation(entries)
    }

    /// Copies in f32 that come and go: of inputs, and of a result, all of which are there while the result is rounded.
    pub fn converted(&mut self, inputs: &[u64], output: u64) {
        if self.machine.converts() {
            let copies = inputs
                .iter()
                .fold(output, |sum, input| sum.saturating_add(*input));
            let rounded = output.saturating_mul(self.machine.element_bytes);
            let bytes = copies.saturating_mul(4).saturating_add(rounded);
            self.ledger.pass(bytes, Part::Activations);
        }
    }

    /// Scores of the blocks of queries that all threads work on.
    pub fn scores(&mut self, seen: u64) -> Buffer {
        const BLOCK: u64 = 64;
        let bytes = (self.machine.workers * BLOCK * 4).saturating_mul(seen);
        self.ledger.take(bytes, Part::Activations)
    }

    /// A node, where an input is tracked; else what it would have kept is let go.
    pub fn tracked(
        &mut self,
        operation: Operation,
        parents: [Option<NodeId>; 3],
        saved: Vec<Buffer>,
        entries: u64,
    ) -> Option<NodeId> {
        if self.recording && parents.iter().any(Option::is_some) {
            return Some(self.push(operation, parents, saved, entries));
        }
        for buffer in saved {
            self.ledger.release(buffer);
        }
        None
    }

    fn push(
        &mut self,
        operation: Operation,
        parents: [Option<NodeId>; 3],
        saved: Vec<Buffer>,
        entries: u64,
    ) -> NodeId {
        self.nodes.push(Node {
            operation,
            parents,
            saved,
            grad: None,
            entries,
        });
        NodeId(self.nodes.len() - 1)
    }

    /// Forgets the graph, once it was gone through.
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        for position in self.leafy.drain(..) {
            self.leaves[position] = None;
        }
    }
}
