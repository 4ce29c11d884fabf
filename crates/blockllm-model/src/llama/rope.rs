//! Rotary position embedding (Su et al. 2021) as Hugging Face computes it: the two halves of a head rotate.
//!
//! burn's own `RotaryEncoding` rotates adjacent pairs instead, which is another model.

use std::sync::{Arc, Mutex, PoisonError};

use blockllm_kernels::rotary;
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::config::LlamaConfig;

/// Cosines and sines of the positions that were asked for so far, computed on the host; they are constants, not parameters,
/// and all clones of a model share them.
#[derive(Module, Debug)]
pub struct RotaryEmbedding {
    #[module(skip)]
    tables: Arc<Tables>,
}

#[derive(Debug)]
struct Tables {
    inverse_frequencies: Vec<f32>,
    /// `max_position_embeddings`.
    positions: usize,
    made: Mutex<Option<RotarySlice>>,
}

/// The cosines and sines of consecutive positions.
#[derive(Debug, Clone)]
pub struct RotarySlice {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl RotaryEmbedding {
    /// For the positions of `config`; no table is made yet.
    pub fn new(config: &LlamaConfig) -> Self {
        let tables = Tables {
            inverse_frequencies: inverse_frequencies(config),
            positions: config.max_position_embeddings,
            made: Mutex::new(None),
        };
        Self {
            tables: Arc::new(tables),
        }
    }

    /// The number of positions, `max_position_embeddings`.
    pub fn num_positions(&self) -> usize {
        self.tables.positions
    }

    /// The positions `start..start + length`, outside autodiff.
    ///
    /// # Panics
    ///
    /// When a position lies beyond `max_position_embeddings`.
    pub fn slice(&self, start: usize, length: usize, device: &Device) -> RotarySlice {
        let tables = &self.tables;
        let (end, positions) = (start + length, tables.positions);
        assert!(
            end <= positions,
            "{end} positions asked for, `max_position_embeddings` is {positions}"
        );
        // Tables are constants, which mix with activations of any checkpointing strategy.
        let device = device.clone().without_autodiff();
        let mut made = tables.made.lock().unwrap_or_else(PoisonError::into_inner);
        let serves = |made: &RotarySlice| made.cos.dims()[0] >= end && made.cos.device() == device;
        let whole = match made.take().filter(serves) {
            Some(whole) => whole,
            None => tables.make(Self::rows_for(end, positions), &device),
        };
        let rows = |table: &Tensor<2>| table.clone().narrow(0, start, length);
        let slice = RotarySlice {
            cos: rows(&whole.cos),
            sin: rows(&whole.sin),
        };
        *made = Some(whole);
        slice
    }

    /// Rows of the tables where `end` positions are in use: a power of two, so that a text that grows has them made again
    /// a few times only.
    pub fn rows_for(end: usize, positions: usize) -> usize {
        end.next_power_of_two().min(positions)
    }
}

impl Tables {
    /// The first `rows` positions.
    fn make(&self, rows: usize, device: &Device) -> RotarySlice {
        let frequencies = &self.inverse_frequencies;
        let table = |function: fn(f64) -> f64| {
            // The angle is rounded to f32 before its cosine, as in transformers.
            let angles = (0..rows).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
            let values: Vec<f32> = angles.map(|angle| function(f64::from(angle)) as f32).collect();
            let data = TensorData::new(values, [rows, frequencies.len()]);
            Tensor::<2>::from_data(data, (device, DType::F32))
        };
        RotarySlice {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }
}

impl RotarySlice {
    /// Rotates queries or keys by their positions.
    ///
    /// # Shapes
    ///
    /// - heads and output: `[B, T, H, head_dim]`
    pub fn rotate(&self, heads: Tensor<4>) -> Tensor<4> {
        rotary(heads, self.cos.clone(), self.sin.clone())
    }
}

/// Inverse frequencies of the `head_dim / 2` pairs, scaled: a power in f32 and one over it, to the bit what transformers has. At
/// position 131,071 the last bit of a frequency near one is 0.008 rad.
fn inverse_frequencies(config: &LlamaConfig) -> Vec<f32> {
    let pair = |index: usize| {
        let exponent = (2 * index) as f32 / config.head_dim as f32;
        // Rounded once, as PyTorch's power is; that of the standard library is not always.
        let power = f64::from(config.rope_theta as f32).powf(f64::from(exponent)) as f32;
        config.rope_scaling.scale(1.0 / power)
    };
    (0..config.head_dim / 2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_fall_from_one_by_the_base() {
        let config = LlamaConfig::new(16, 16, 16, 1, 2);
        let expected = [1.0, 0.1, 0.01, 0.001];
        for (found, expected) in inverse_frequencies(&config).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-7);
        }
    }

    #[test]
    fn tables_hold_the_positions_in_use_and_grow_without_a_change() {
        let config = LlamaConfig {
            max_position_embeddings: 1_000_000_000,
            ..LlamaConfig::new(16, 16, 16, 1, 2)
        };
        let rotary = RotaryEmbedding::new(&config);
        let device = Device::flex();
        let rows = || rotary.tables.made.lock().unwrap().as_ref().unwrap().cos.dims()[0];
        let few = rotary.slice(2, 3, &device).cos.into_data();
        assert_eq!(rows(), 8);
        rotary.slice(0, 100, &device.clone().autodiff());
        assert_eq!(rows(), 128);
        assert_eq!(rotary.slice(2, 3, &device).cos.into_data(), few);
        assert_eq!(rows(), 128);
        assert_eq!(RotaryEmbedding::rows_for(100, 120), 120);
    }

    #[test]
    fn frequencies_and_the_angle_of_position_131071_are_those_of_transformers_to_the_bit() {
        let text = include_str!("../../tests/fixtures/rope_frequencies.json");
        let cases: serde_json::Value = serde_json::from_str(text).unwrap();
        for case in cases.as_array().unwrap() {
            let config: LlamaConfig = serde_json::from_value(case["config"].clone()).unwrap();
            let bits = |key: &str| -> Vec<u32> {
                let all = case[key].as_array().unwrap().iter();
                all.map(|bits| bits.as_u64().unwrap() as u32).collect()
            };
            let found = inverse_frequencies(&config);
            let expected = bits("inv_freq_bits");
            assert_eq!(found.len(), expected.len());
            let angles = bits("angle_131071_bits");
            for (pair, found) in found.into_iter().enumerate() {
                assert_eq!(
                    found.to_bits(),
                    expected[pair],
                    "pair {pair} of {}",
                    case["config"]
                );
                assert_eq!(
                    (131_071_f32 * found).to_bits(),
                    angles[pair],
                    "pair {pair} of {}",
                    case["config"]
                );
            }
        }
    }
}
