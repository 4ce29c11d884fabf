//! Keys and values of the tokens already seen, so that generation computes each token once.

use burn::tensor::Tensor;

/// The cache of all layers.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerCache>,
}

/// Keys and values of one layer, in buffers that are allocated once for the longest text.
#[derive(Debug, Clone)]
pub struct LayerCache {
    buffers: Option<(Tensor<4>, Tensor<4>)>,
    capacity: usize,
    length: usize,
}

impl KvCache {
    /// An empty cache with room for `capacity` tokens in each of `num_layers` layers.
    pub fn new(num_layers: usize, capacity: usize) -> Self {
        Self {
            layers: vec![
                LayerCache {
                    buffers: None,
                    capacity,
                    length: 0
                };
                num_layers
            ],
        }
    }

    /// The number of tokens held.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.length)
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cache of layer `index`.
    pub(super) fn layer(&mut self, index: usize) -> &mut LayerCache {
        &mut self.layers[index]
    }
}

impl LayerCache {
    /// Adds the keys and values of `T` new tokens and returns those of all tokens so far.
    ///
    /// # Shapes
    ///
    /// - keys, values: `[B, T, K, head_dim]`
    /// - output: `[B, S, K, head_dim]` twice, `S` tokens in all
    ///
    /// # Panics
    ///
    /// When the cache is full.
    pub fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [batch, length, heads, head_dim] = keys.dims();
        let start = self.length;
        self.length += length;
        assert!(
            self.length <= self.capacity,
            "{} tokens, the cache has room for {}",
            self.length,
            self.capacity
        );
        let empty = || {
            let shape = [batch, self.capacity, heads, head_dim];
            Tensor::<4>::zeros(shape, (&keys.device(), keys.dtype()))
        };
        let (all_keys, all_values) = self.buffers.take().unwrap_or_else(|| (empty(), empty()));
        let place = [0..batch, start..self.length, 0..heads, 0..head_dim];
        let all_keys = all_keys.slice_assign(place.clone(), keys);
        let all_values = all_values.slice_assign(place, values);
        self.buffers = Some((all_keys.clone(), all_values.clone()));
        (
            all_keys.narrow(1, 0, self.length),
            all_values.narrow(1, 0, self.length),
        )
    }
}
