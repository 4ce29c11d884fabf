//! What a language model says of given next tokens: for measuring texts, without ever holding all logits.

use burn::tensor::{Int, Tensor, TensorData};

use blockllm_kernels::cross_entropy;

use super::causal_lm::LlamaForCausalLM;
use crate::loss::LossOptions;

/// Scores of `N` next tokens, on the device; nothing has been read back.
#[derive(Debug, Clone)]
pub struct TokenScores {
    /// `-log p` of every token, `[N]`, in f32.
    pub losses: Tensor<1>,
    /// The likeliest token at the same place, `[N]`.
    pub likeliest: Tensor<1, Int>,
}

impl LlamaForCausalLM {
    /// Scores `targets` at `places` of the flattened rows: `targets[i]` as the token behind `input_ids[places[i]]`.
    ///
    /// The head computes these places alone, some at a time. Call it on a model without autodiff, to keep no graph.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, T]`; rows may be padded on their right with anything, as no token sees a later one
    /// - output: `[N]` each
    ///
    /// # Panics
    ///
    /// When `T` exceeds the positions, there is no target, or a place is beyond `B * T`.
    pub fn token_scores(&self, input_ids: Tensor<2, Int>, places: &[usize], targets: &[u32]) -> TokenScores {
        assert_eq!(places.len(), targets.len(), "every target has a place");
        let hidden = self.hidden_states(input_ids, None);
        let [batch, length, width] = hidden.dims();
        let device = hidden.device();
        let upload = |numbers: Vec<i32>| {
            let count = numbers.len();
            Tensor::<1, Int>::from_data(TensorData::new(numbers, [count]), &device)
        };
        let places = upload(places.iter().map(|place| *place as i32).collect());
        let targets = upload(targets.iter().map(|target| *target as i32).collect());
        let hidden = hidden.reshape([batch * length, width]).select(0, places); // [N, D]
        let head = self.head();
        let chunk = LossOptions::default().chunk(head.vocab_size(), None);
        let [count, _] = hidden.dims();
        let (mut losses, mut likeliest) = (Vec::new(), Vec::new());
        for start in (0..count).step_by(chunk) {
            let size = chunk.min(count - start);
            let logits = head.logits(hidden.clone().narrow(0, start, size)); // [n, V]
            likeliest.push(logits.clone().argmax(1).reshape([size]));
            losses.push(cross_entropy(logits, targets.clone().narrow(0, start, size)));
        }
        TokenScores {
            losses: Tensor::cat(losses, 0),
            likeliest: Tensor::cat(likeliest, 0),
        }
    }
}
