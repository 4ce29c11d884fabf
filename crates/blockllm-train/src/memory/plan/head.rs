//! The loss of a language model on paper: chunks of logits, and the gradients that are made with them.

use super::parts::Part;
use super::tape::{NodeId, Tape, Value};
use blockllm_model::LossOptions;

/// Cross entropy of the head's logits in chunks of tokens, as `blockllm_model::loss` computes it.
pub(super) fn cross_entropy(
    tape: &mut Tape,
    hidden: Value,
    head: Value,
    vocab: u64,
    options: LossOptions,
) -> Option<NodeId> {
    let width = head.entries / vocab;
    let tokens = hidden.entries / width;
    let element = tape.machine.element_bytes;
    let half_sum = element != 4 && head.node.is_some();
    let chunk = options.chunk(vocab as usize, half_sum.then_some(width as usize)) as u64;
    // Sums over chunks are in f32.
    let sums = half_sum && tokens > chunk;
    let mut head_grad = sums.then(|| tape.ledger.take(head.entries * 4, Part::Gradients));
    let mut hidden_grads = Vec::new();
    for Chunk { rows, counted } in chunks(tokens, chunk, tape.abridged) {
        if counted > 0 && hidden.node.is_some() {
            hidden_grads.push(tape.activation(counted.saturating_mul(width)));
        }
        let (logits, inputs) = (rows.saturating_mul(vocab), rows.saturating_mul(width));
        tape.converted(&[inputs, head.entries], logits);
        let mut chunk = tape.ledger.take(logits.saturating_mul(element), Part::Logits);
        // The loss is computed in f32, the gradient rounded to the weights' type.
        for bytes in [4, element] {
            if element != 4 {
                let cast = tape.ledger.take(logits.saturating_mul(bytes), Part::Logits);
                tape.ledger.release(chunk);
                chunk = cast;
            }
        }
        if head.node.is_some() {
            let rounded = if sums { 0 } else { head.entries };
            tape.converted(&[inputs, logits], rounded);
            match head_grad {
                Some(_) if sums && tape.machine.on_host => {}
                Some(_) if sums => {
                    // The product, and the same in f32.
                    tape.ledger.pass(head.entries * (element + 4), Part::Gradients);
                }
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
    if let (true, Some(sum)) = (sums, head_grad) {
        head_grad = Some(tape.ledger.take(head.entries * element, Part::Gradients));
        tape.ledger.release(sum);
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

/// A chunk of logits that is gone through.
struct Chunk {
    /// Its tokens.
    rows: u64,
    /// Tokens of the chunks before it that are not: of them only the gradients of their hidden states stay.
    counted: u64,
}

/// The chunks of `tokens` tokens, `chunk` each and the rest. Abridged, however many there are: the first one makes the head's
/// gradient, all others add to it, and of these the last full one finds the most live.
fn chunks(tokens: u64, chunk: u64, abridged: bool) -> Vec<Chunk> {
    let (full, rest) = (tokens / chunk, tokens % chunk);
    let gone_through = if abridged { full.min(2) } else { full };
    let mut chunks: Vec<Chunk> = (0..gone_through)
        .map(|_| Chunk {
            rows: chunk,
            counted: 0,
        })
        .collect();
    if let Some(last) = chunks.last_mut() {
        last.counted = (full - gone_through) * chunk;
    }
    if rest > 0 {
        chunks.push(Chunk {
            rows: rest,
            counted: 0,
        });
    }
    chunks
}
