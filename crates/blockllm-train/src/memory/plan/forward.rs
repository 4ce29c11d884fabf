//! A training step on paper, forward: the operations of a layer with the memory that each takes and keeps.
//!
//! They do what burn's autodiff and the fused operations of `blockllm-kernels` do: an operation takes memory for its result
//! or writes into an input that nobody else holds, and keeps what its backward pass will read.

use super::ledger::Buffer;
use super::tape::{AttentionSizes, NodeId, Operation, Tape, Value};

impl Tape {
    /// `x W + b`.
    pub fn linear(&mut self, x: Value, weight: Value, bias: Option<Value>, outputs: u64) -> Value {
        let entries = (x.entries / (weight.entries / outputs)).saturating_mul(outputs);
        let output = self.made(&[x.entries, weight.entries], entries);
        let operation = Operation::Linear {
            weight_entries: weight.entries,
            outputs,
        };
        let parents = [x.node, weight.node, bias.and_then(|bias| bias.node)];
        let mut saved = Vec::new();
        if weight.node.is_some() {
            saved.push(self.ledger.hold(x.buffer));
        }
        if x.node.is_some() {
            saved.push(self.ledger.hold(weight.buffer));
        }
        let node = self.tracked(operation, parents, saved, entries);
        for input in [Some(x), Some(weight), bias].into_iter().flatten() {
            self.forget(input);
        }
        Value {
            buffer: output,
            entries,
            node,
        }
    }

    /// A norm, root-mean-square or layer: `x` is kept.
    pub fn norm(&mut self, x: Value, parameters: [Option<Value>; 2]) -> Value {
        let output = self.made(&[x.entries], x.entries);
        let [weight, bias] = parameters;
        let operation = Operation::Norm {
            width: weight.map_or(1, |weight| weight.entries),
        };
        let parents = [
            x.node,
            weight.and_then(|weight| weight.node),
            bias.and_then(|bias| bias.node),
        ];
        let saved = vec![self.ledger.hold(x.buffer)];
        let node = self.tracked(operation, parents, saved, x.entries);
        for input in [Some(x), weight, bias].into_iter().flatten() {
            self.forget(input);
        }
        Value {
            buffer: output,
            entries: x.entries,
            node,
        }
    }

    /// Rotary embedding, dropout: in the memory of an input that nobody else holds.
    pub fn in_place(&mut self, x: Value) -> Value {
        let buffer = if self.ledger.is_alone(x.buffer) {
            self.converted(&[x.entries], 0);
            x.buffer
        } else {
            let fresh = self.made(&[x.entries], x.entries);
            self.forget(x);
            fresh
        };
        let node = self.tracked(Operation::InPlace, [x.node, None, None], Vec::new(), x.entries);
        Value { buffer, node, ..x }
    }

    /// Attention over queries, keys and values, which are kept.
    pub fn attention(&mut self, inputs: [Value; 3], sizes: AttentionSizes) -> Value {
        let [queries, keys, values] = inputs;
        let scores = self.scores(sizes.seen);
        let output = self.made(&[queries.entries, keys.entries, values.entries], queries.entries);
        self.ledger.release(scores);
        self.kept(
            Operation::Attention(sizes),
            [Some(queries), Some(keys), Some(values)],
            output,
            queries.entries,
        )
    }

    /// The gated unit of gate and up, which are kept.
    pub fn swiglu(&mut self, gate: Value, up: Value) -> Value {
        let is_tracked = gate.node.is_some() || up.node.is_some();
        if !is_tracked && self.ledger.is_alone(gate.buffer) {
            self.converted(&[gate.entries, up.entries], 0);
            self.forget(up);
            return gate;
        }
        let output = self.made(&[gate.entries, up.entries], gate.entries);
        self.kept(
            Operation::Swiglu,
            [Some(gate), Some(up), None],
            output,
            gate.entries,
        )
    }

    /// A function of single entries that keeps its input (GELU).
    pub fn activation_function(&mut self, x: Value) -> Value {
        if x.node.is_none() && self.ledger.is_alone(x.buffer) {
            self.converted(&[x.entries], 0);
            return x;
        }
        let output = self.made(&[x.entries], x.entries);
        self.kept(Operation::Kept, [Some(x), None, None], output, x.entries)
    }

    /// `left + right`, in the memory of one that nobody else holds.
    pub fn add(&mut self, left: Value, right: Value) -> Value {
        let (larger, smaller) = if left.entries >= right.entries {
            (left, right)
        } else {
            (right, left)
        };
        let in_place = |value: &Value| value.entries == larger.entries && self.ledger.is_alone(value.buffer);
        let buffer = if in_place(&larger) {
            self.forget(smaller);
            larger.buffer
        } else if in_place(&smaller) {
            self.forget(larger);
            smaller.buffer
        } else {
            let fresh = self.activation(larger.entries);
            self.forget(larger);
            self.forget(smaller);
            fresh
        };
        let node = self.tracked(
            Operation::Add,
            [left.node, right.node, None],
            Vec::new(),
            larger.entries,
        );
        Value {
            buffer,
            entries: larger.entries,
            node,
        }
    }

    /// `entries` looked up in a table.
    pub fn rows(&mut self, table: Value, entries: u64) -> Value {
        let output = self.made(&[table.entries], entries);
        let operation = Operation::Rows {
            table_entries: table.entries,
        };
        let node = self.tracked(operation, [table.node, None, None], Vec::new(), entries);
        self.forget(table);
        Value {
            buffer: output,
            entries,
            node,
        }
    }

    /// The first `entries` of `whole`, without a copy.
    pub fn part(&mut self, whole: Value, entries: u64) -> Value {
        let operation = Operation::PartOf {
            entries: whole.entries,
        };
        let node = self.tracked(operation, [whole.node, None, None], Vec::new(), entries);
        Value {
            entries,
            node,
            ..whole
        }
    }

    /// The weight that LoRA's factors add to `base`: as large as the base.
    pub fn adapted(&mut self, base: Value, factors: [Value; 2]) -> Value {
        let sizes = factors.map(|factor| factor.entries);
        let sum = self.made(&sizes, base.entries);
        let operation = Operation::Product { factors: sizes };
        let parents = [factors[0].node, factors[1].node, None];
        let node = self.tracked(operation, parents, Vec::new(), base.entries);
        for input in [base, factors[0], factors[1]] {
            self.forget(input);
        }
        Value {
            buffer: sum,
            entries: base.entries,
            node,
        }
    }

    /// A scalar whose gradient with respect to `input` is there already.
    pub fn given(&mut self, scalar: Option<NodeId>, input: NodeId, gradient: Buffer) -> Option<NodeId> {
        self.tracked(Operation::Given, [scalar, Some(input), None], vec![gradient], 1)
    }

    /// An operation whose backward pass reads all its inputs.
    fn kept(
        &mut self,
        operation: Operation,
        inputs: [Option<Value>; 3],
        output: Buffer,
        entries: u64,
    ) -> Value {
        let parents = inputs.map(|input| input.and_then(|input| input.node));
        let saved: Vec<_> = inputs
            .iter()
            .flatten()
            .map(|input| self.ledger.hold(input.buffer))
            .collect();
        let node = self.tracked(operation, parents, saved, entries);
        for input in inputs.into_iter().flatten() {
            self.forget(input);
        }
        Value {
            buffer: output,
            entries,
            node,
        }
    }
}
