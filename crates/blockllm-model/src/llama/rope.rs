//! Rotary position embedding (Su et al. 2021) as Hugging Face computes it: the two halves of a head rotate.
//!
//! burn's own `RotaryEncoding` rotates adjacent pairs instead, which is another model.

use std::sync::{Arc, Mutex, PoisonError};

use blockllm_kernels::rotary;
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::config::LlamaConfig;
use super::rope_frequencies::{deciding_length, inverse_frequencies};

/// Cosines and sines of the positions that were asked for so far, computed on the host; they are constants, not parameters,
/// and all clones of a model share them.
#[derive(Module, Debug)]
pub struct RotaryEmbedding {
    #[module(skip)]
    tables: Arc<Tables>,
}

#[derive(Debug)]
struct Tables {
    config: LlamaConfig,
    /// The tables of the texts that came last, and the length that they depend on.
    made: Mutex<Option<(usize, RotarySlice)>>,
}

/// The cosines and sines of consecutive positions, or of every token's own.
#[derive(Debug, Clone)]
pub struct RotarySlice {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl RotaryEmbedding {
    /// For the positions of `config`; no table is made yet.
    pub fn new(config: &LlamaConfig) -> Self {
        let tables = Tables {
            config: config.clone(),
            made: Mutex::new(None),
        };
        Self {
            tables: Arc::new(tables),
        }
    }

    /// The number of positions, [`LlamaConfig::num_positions`].
    pub fn num_positions(&self) -> usize {
        self.tables.config.num_positions()
    }

    /// The positions `start..start + length`, of a text that ends there, outside autodiff.
    ///
    /// # Panics
    ///
    /// When a position lies beyond [`num_positions`](Self::num_positions).
    pub fn slice(&self, start: usize, length: usize, device: &Device) -> RotarySlice {
        let tables = &self.tables;
        let (end, positions) = (start + length, self.num_positions());
        assert!(
            end <= positions,
            "{end} positions asked for, the model has {positions} (`max_position_embeddings`)"
        );
        let decides = deciding_length(&tables.config, end);
        // Tables are constants, which mix with activations of any checkpointing strategy.
        let device = device.clone().without_autodiff();
        let mut made = tables.made.lock().unwrap_or_else(PoisonError::into_inner);
        let serves = |(length, made): &(usize, RotarySlice)| {
            *length == decides && made.cos.dims()[0] >= end && made.cos.device() == device
        };
        let (_, whole) = match made.take().filter(serves) {
            Some(whole) => whole,
            None => (
                decides,
                tables.make(Self::rows_for(end, positions), decides, &device),
            ),
        };
        let rows = |table: &Tensor<2>| table.clone().narrow(0, start, length);
        let slice = RotarySlice {
            cos: rows(&whole.cos),
            sin: rows(&whole.sin),
        };
        *made = Some((decides, whole));
        slice
    }

    /// The positions of every token of a batch, row by row, each row of a text that ends at the last of its own; outside autodiff.
    ///
    /// Only what is asked for is computed: a text whose frequencies depend on its length has others with every token.
    ///
    /// # Panics
    ///
    /// When a position lies beyond [`num_positions`](Self::num_positions).
    pub fn at(&self, rows: &[Vec<usize>], device: &Device) -> RotarySlice {
        let (config, most) = (&self.tables.config, self.num_positions());
        let (mut angles, mut made) = (Vec::new(), None);
        for row in rows {
            let end = row.last().map_or(0, |last| last + 1);
            assert!(end <= most, "{end} positions asked for, the model has {most}");
            let decides = deciding_length(config, end);
            let (_, frequencies) = made
                .take()
                .filter(|(length, _)| *length == decides)
                .unwrap_or_else(|| (decides, inverse_frequencies(config, decides)));
            angles.extend(angles_of(row.iter().copied(), &frequencies));
            made = Some((decides, frequencies));
        }
        let device = device.clone().without_autodiff();
        self.tables.rotations(&angles, &device)
    }

    /// Rows of the tables where `end` positions are in use: a power of two, so that a text that grows has them made again
    /// a few times only.
    pub fn rows_for(end: usize, positions: usize) -> usize {
        end.next_power_of_two().min(positions)
    }
}

impl Tables {
    /// The first `rows` positions of texts of that deciding length.
    fn make(&self, rows: usize, length: usize, device: &Device) -> RotarySlice {
        let frequencies = inverse_frequencies(&self.config, length);
        let angles: Vec<f32> = angles_of(0..rows, &frequencies).collect();
        self.rotations(&angles, device)
    }

    /// Cosines and sines of angles, `head_dim / 2` to a row.
    fn rotations(&self, angles: &[f32], device: &Device) -> RotarySlice {
        let width = self.config.head_dim / 2;
        let factor = self.config.rope_scaling.attention_factor() as f32;
        let table = |function: fn(f64) -> f64| {
            let values = angles
                .iter()
                .map(|angle| function(f64::from(*angle)) as f32 * factor);
            let data = TensorData::new(values.collect::<Vec<f32>>(), [angles.len() / width, width]);
            Tensor::<2>::from_data(data, (device, DType::F32))
        };
        RotarySlice {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }
}

/// The angle of every pair at these positions, rounded to f32 before its cosine, as in transformers.
fn angles_of(positions: impl Iterator<Item = usize>, frequencies: &[f32]) -> impl Iterator<Item = f32> {
    positions.flat_map(move |position| {
        frequencies
            .iter()
            .map(move |frequency| position as f32 * frequency)
    })
}

impl RotarySlice {
    /// Rotates queries or keys by their positions.
    ///
    /// # Shapes
    ///
    /// - heads and output: `[B, T, H, head_dim]`
    pub fn rotate(&self, heads: Tensor<4>) -> Tensor<4> {
        let [batch, length, count, width] = heads.dims();
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        if cos.dims()[0] == length {
            return rotary(heads, cos, sin);
        }
        // Every token has its own position: the rows of the batch are one long row.
        let heads = heads.reshape([1, batch * length, count, width]);
        rotary(heads, cos, sin).reshape([batch, length, count, width])
    }
}

#[cfg(test)]
mod tests {
    use super::super::rope_scaling::RopeScaling;
    use super::*;

    #[test]
    fn tables_hold_the_positions_in_use_and_grow_without_a_change() {
        let config = LlamaConfig {
            max_position_embeddings: 1_000_000_000,
            ..LlamaConfig::new(16, 16, 16, 1, 2)
        };
        let rotary = RotaryEmbedding::new(&config);
        let device = Device::flex();
        let rows = || rotary.tables.made.lock().unwrap().as_ref().unwrap().1.cos.dims()[0];
        let few = rotary.slice(2, 3, &device).cos.into_data();
        assert_eq!(rows(), 8);
        rotary.slice(0, 100, &device.clone().autodiff());
        assert_eq!(rows(), 128);
        assert_eq!(rotary.slice(2, 3, &device).cos.into_data(), few);
        assert_eq!(rows(), 128);
        assert_eq!(RotaryEmbedding::rows_for(100, 120), 120);
    }

    #[test]
    fn positions_of_their_own_have_the_tables_of_their_text_and_rotate_every_row_by_its_own() {
        let config = LlamaConfig::new(16, 16, 16, 1, 2)
            .with_max_position_embeddings(8)
            .with_rope(10_000.0, RopeScaling::Dynamic { factor: 3.0 });
        let (rotary, device) = (RotaryEmbedding::new(&config), Device::flex());
        let rows = [vec![0, 0, 1], vec![9, 10, 11], vec![4, 5, 6]];
        let values: Vec<f32> = (0..3 * 3 * 2 * 8).map(|i| (i as f32).sin()).collect();
        let heads = Tensor::<4>::from_data(TensorData::new(values, [3, 3, 2, 8]), &device);
        let together = rotary.at(&rows, &device).rotate(heads.clone());
        let row = |of: &Tensor<4>, row: usize| of.clone().narrow(0, row, 1);
        for (index, start) in [(1, 9), (2, 4)] {
            let alone = rotary.slice(start, 3, &device).rotate(row(&heads, index));
            assert_eq!(row(&together, index).into_data(), alone.into_data());
        }
        let tail = |of: Tensor<4>| of.narrow(1, 1, 2).into_data();
        let alone = rotary.slice(0, 2, &device).rotate(row(&heads, 0).narrow(1, 1, 2));
        assert_eq!(tail(row(&together, 0)), alone.into_data());
    }

    #[test]
    fn a_long_text_has_other_tables_than_a_short_one_and_leaves_those_as_they_were() {
        let config = LlamaConfig::new(16, 16, 16, 1, 2)
            .with_max_position_embeddings(8)
            .with_rope(10_000.0, RopeScaling::Dynamic { factor: 3.0 });
        let (rotary, device) = (RotaryEmbedding::new(&config), Device::flex());
        assert_eq!(rotary.num_positions(), 24);
        let rows = |length| rotary.slice(0, length, &device).cos.narrow(0, 0, 8).into_data();
        let short = rows(8);
        assert_ne!(rows(9), short);
        assert_ne!(rows(24), rows(9));
        assert_eq!(rows(8), short);
    }
}
