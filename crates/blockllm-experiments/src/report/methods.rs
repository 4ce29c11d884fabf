//! The two tables of measured figures: what each method reached, and what memory it took.

use super::format::{
    UNKNOWN, bytes, count, learning_rate, mean_and_deviation, milliseconds, percent, perplexity,
    tokens_per_second,
};
use super::{Align, MethodRow, Table};

/// Perplexity, speed and memory of each method, mean ± standard deviation over its seeds.
pub fn method_table(rows: &[MethodRow]) -> Table {
    let mut table = Table::new([
        ("method", Align::Left),
        ("learning rate", Align::Right),
        ("tokens", Align::Right),
        ("seeds", Align::Right),
        ("validation perplexity", Align::Right),
        ("untrained", Align::Right),
        ("trained share", Align::Right),
        ("peak memory", Align::Right),
        ("tokens/s", Align::Right),
        ("step (ms)", Align::Right),
        ("waiting for data", Align::Right),
    ]);
    for row in rows {
        table.push_row([
            row.method.clone(),
            learning_rate(row.learning_rate),
            count(row.tokens_seen),
            row.validation_perplexity.len().to_string(),
            mean_and_deviation(&row.validation_perplexity, perplexity),
            mean_and_deviation(&row.untrained_perplexity, perplexity),
            percent(row.trained_share),
            bytes(row.peak_bytes),
            mean_and_deviation(&row.tokens_per_second, tokens_per_second),
            mean_and_deviation(&row.step_ms, milliseconds),
            mean_and_deviation(&row.wait_share, percent),
        ]);
    }
    table
}

/// What the columns of [`memory_table`] are.
pub const MEMORY_PARTS: &str = "Weights, gradients and state are each at their largest, which need not be at the moment \
                                of the peak; activations and temporaries are the rest of it, so at least what is shown. \
                                LoRA's include the adapted weights, which burn composes anew in every forward pass.";

/// The measured parts of each method's peak, its state beside the estimate, and its peak beside the first row's.
pub fn memory_table(rows: &[MethodRow]) -> Table {
    let relative = rows.first().map_or_else(
        || "peak / first".to_owned(),
        |row| format!("peak / {}", row.method),
    );
    let mut table = Table::new([
        ("method", Align::Left),
        ("weights", Align::Right),
        ("gradients", Align::Right),
        ("optimizer state", Align::Right),
        ("estimated", Align::Right),
        ("activations", Align::Right),
        ("peak", Align::Right),
        (relative.as_str(), Align::Right),
    ]);
    let first = rows.first().map_or(0, |row| row.peak_bytes);
    for row in rows {
        let ratio = if first == 0 {
            UNKNOWN.to_owned()
        } else {
            percent(row.peak_bytes as f64 / first as f64)
        };
        table.push_row([
            row.method.clone(),
            bytes(row.memory.weights_bytes),
            bytes(row.memory.gradients_bytes),
            bytes(row.memory.optimizer_state_bytes),
            bytes(row.estimated_optimizer_state_bytes),
            bytes(row.memory.activations_bytes),
            bytes(row.peak_bytes),
            ratio,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::MemoryParts;

    fn rows() -> Vec<MethodRow> {
        let mib = 1 << 20;
        let memory = |gradients, state| MemoryParts {
            weights_bytes: 20 * mib,
            gradients_bytes: gradients * mib,
            optimizer_state_bytes: state * mib,
            activations_bytes: 50 * mib,
            peak_bytes: (70 + gradients + state) * mib,
        };
        let row = |method: &str, perplexity: Vec<f64>, trained_share, gradients, state| MethodRow {
            method: method.to_owned(),
            learning_rate: 1e-3,
            tokens_seen: 1_024_000,
            untrained_perplexity: vec![4100.0; perplexity.len()],
            tokens_per_second: vec![5000.0; perplexity.len()],
            step_ms: vec![204.8; perplexity.len()],
            wait_share: vec![0.02; perplexity.len()],
            validation_perplexity: perplexity,
            trained_share,
            peak_bytes: memory(gradients, state).peak_bytes,
            memory: memory(gradients, state),
            estimated_optimizer_state_bytes: state * mib,
        };
        vec![
            row("adamw", vec![120.0, 124.0], 1.0, 20, 40),
            row("blockllm:0.5", vec![150.25], 0.5, 12, 21),
        ]
    }

    #[test]
    fn methods_stand_below_each_other() {
        insta::assert_snapshot!(method_table(&rows()).to_markdown(), @r"
        | method       | learning rate |    tokens | seeds | validation perplexity |      untrained | trained share | peak memory |  tokens/s |   step (ms) | waiting for data |
        | ------------ | ------------: | --------: | ----: | --------------------: | -------------: | ------------: | ----------: | --------: | ----------: | ---------------: |
        | adamw        |          1e-3 | 1,024,000 |     2 |         122.00 ± 2.83 | 4100.00 ± 0.00 |       100.0 % |  130.00 MiB | 5,000 ± 0 | 204.8 ± 0.0 |    2.0 % ± 0.0 % |
        | blockllm:0.5 |          1e-3 | 1,024,000 |     1 |                150.25 |        4100.00 |        50.0 % |  103.00 MiB |     5,000 |       204.8 |            2.0 % |
        ");
    }

    #[test]
    fn measured_state_stands_beside_its_estimate() {
        insta::assert_snapshot!(memory_table(&rows()).to_markdown(), @r"
        | method       |   weights | gradients | optimizer state | estimated | activations |       peak | peak / adamw |
        | ------------ | --------: | --------: | --------------: | --------: | ----------: | ---------: | -----------: |
        | adamw        | 20.00 MiB | 20.00 MiB |       40.00 MiB | 40.00 MiB |   50.00 MiB | 130.00 MiB |      100.0 % |
        | blockllm:0.5 | 20.00 MiB | 12.00 MiB |       21.00 MiB | 21.00 MiB |   50.00 MiB | 103.00 MiB |       79.2 % |
        ");
    }
}
