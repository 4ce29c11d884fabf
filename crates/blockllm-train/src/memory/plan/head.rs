//! The loss of a language model on paper: chunks of logits, and the gradients that are made with them.

use super::parts::Part;
use super::tape::{NodeId, Tape, Value};

/// Cross entropy of the head's logits in chunks of `chunk` tokens, as `blockllm_model::loss` computes it.
pub(super) fn cross_entropy(
    tape: &mut Tape,
    hidden: Value,
    head: Value,
    vocab: u64,
    chunk: u64,
) -> Option<NodeId> {
    let width = head.entries / vocab;
    let tokens = hidden.entries / width;
    let element = tape.machine.element_bytes;
    let (mut hidden_grads, mut head_grad) = (Vec::new(), None);
    for start in (0..tokens).step_by(chunk.max(1) as usize) {
        let rows = chunk.min(tokens - start);
        let (logits, inputs) = (rows * vocab, rows * width);
        tape.converted(&[inputs, head.entries], logits);
        let mut chunk = tape.ledger.take(logits * element, Part::Logits);
        // The loss is computed in f32, the gradient rounded to the weights' type.
        for bytes in [4, element] {
            if element != 4 {
                let cast = tape.ledger.take(logits * bytes, Part::Logits);
                tape.ledger.release(chunk);
                chunk = cast;
            }
        }
        if head.node.is_some() {
            tape.converted(&[inputs, logits], head.entries);
            match head_grad {
                None => head_grad = Some(tape.ledger.take(head.entries * element, Part::Gradients)),
                // Only on the host is the product added to the sum as it is made.
                Some(_) if tape.machine.on_host && element == 4 => {}
                Some(_) => tape.ledger.pass(head.entries * element, Part::Gradients),
            }
        }
        if hidden.node.is_some() {
            hidden_grads.push(tape.made(&[logits, head.entries], inputs));
        }
        tape.ledger.release(chunk);
    }
    let mut loss = None;
    if let Some(node) = hidden.node {
        let whole = if let [only] = *hidden_grads.as_slice() {
            only
        } else {
            let whole = tape.activation(hidden.entries);
            for part in hidden_grads {
                tape.ledger.release(part);
            }
            whole
        };
        loss = tape.given(loss, node, whole);
    }
    if let (Some(node), Some(gradient)) = (head.node, head_grad) {
        loss = tape.given(loss, node, gradient);
    }
    tape.forget(hidden);
    tape.forget(head);
    loss
}
