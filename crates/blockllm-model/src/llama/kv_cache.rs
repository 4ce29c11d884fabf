//! Keys and values of the tokens already seen, so that generation computes each token once.
//!
//! Tokens of all rows of a batch come in slots: new tokens of every row end in the same slot, and a row with fewer of them has
//! padding before them, which nothing sees and which has no position. A slot is written once, in a buffer of the cache's own;
//! attention reads that buffer as it is, so that no token costs a copy of what came before. A sliding window hides slots; it drops
//! none, as a text may be shortened again.

use blockllm_kernels::Visibility;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::sliding_window::{Band, Window};

/// Slots that a buffer has at least.
const LEAST: usize = 64;

/// The cache of all layers, for the rows of a batch.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    rows: Vec<Row>,
    slots: usize,
    capacity: usize,
    /// Which slots are seen, `[B, capacity]`, while no new padding comes.
    mask: Option<Tensor<2, Int>>,
}

/// What one row of the batch holds.
#[derive(Debug, Clone, Default)]
struct Row {
    /// Tokens, without padding.
    length: usize,
    /// The slots of padding, ascending.
    padding: Vec<usize>,
}

/// Keys and values of one layer. The buffers are as large again whenever they are full.
#[derive(Debug, Clone, Default)]
pub struct LayerCache {
    buffers: Option<(Tensor<4>, Tensor<4>)>,
    capacity: usize,
    length: usize,
    /// What this layer's window hides from the slots that came last.
    window: Option<Window>,
}

impl KvCache {
    /// An empty cache for `rows` texts, of a model of `num_layers` layers.
    pub fn new(num_layers: usize, rows: usize) -> Self {
        Self {
            layers: vec![LayerCache::default(); num_layers],
            rows: vec![Row::default(); rows],
            slots: 0,
            capacity: 0,
            mask: None,
        }
    }

    /// The number of tokens that row `row` holds.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    pub fn len_of(&self, row: usize) -> usize {
        self.rows[row].length
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows.len()
    }

    /// Forgets all but the first `length` tokens of every row: what follows is written over them.
    ///
    /// # Panics
    ///
    /// When a row has padding, so that its tokens are not in one piece.
    pub fn truncate(&mut self, length: usize) {
        assert!(
            self.rows.iter().all(|row| row.padding.is_empty()),
            "a padded row cannot be shortened"
        );
        self.slots = self.slots.min(length);
        for row in &mut self.rows {
            row.length = row.length.min(length);
        }
        for layer in &mut self.layers {
            layer.length = layer.length.min(length);
        }
    }

    /// Keeps these rows alone, in this order.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    pub fn keep_rows(&mut self, rows: &[usize]) {
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        self.mask = None;
        for layer in &mut self.layers {
            layer.keep_rows(rows);
        }
    }

    /// Makes room for `length` more slots, of which the first `padding[row]` of a row are padding; returns the position of
    /// every new slot, row by row: 0 for padding.
    pub(super) fn extend(&mut self, length: usize, padding: &[usize]) -> Vec<Vec<usize>> {
        let past = self.slots;
        self.slots += length;
        if self.slots > self.capacity {
            self.capacity = self.slots.next_power_of_two().max(LEAST);
            self.mask = None;
        }
        let mut positions = Vec::with_capacity(self.rows.len());
        for (row, padding) in self.rows.iter_mut().zip(padding) {
            if *padding > 0 {
                row.padding.extend(past..past + padding);
                self.mask = None;
            }
            let tokens = row.length..row.length + length - padding;
            row.length = tokens.end;
            positions.push(std::iter::repeat_n(0, *padding).chain(tokens).collect());
        }
        for layer in &mut self.layers {
            layer.capacity = self.capacity;
        }
        positions
    }

    /// What queries see beside the order of slots: all but the padding.
    pub(super) fn visibility(&mut self, device: &Device) -> Visibility {
        if self.rows.iter().all(|row| row.padding.is_empty()) {
            return Visibility::All;
        }
        let mask = self.mask.take().unwrap_or_else(|| self.make_mask(device));
        self.mask = Some(mask.clone());
        Visibility::Keys(mask)
    }

    /// Tells every layer what its window, of those `sizes`, hides from the `length` slots that came last: nothing while no text is
    /// longer than it.
    pub(super) fn look_back(&mut self, sizes: &[Option<usize>], length: usize, device: &Device) {
        let longest = self.rows.iter().map(|row| row.length).max().unwrap_or(0);
        let mut made: Option<(usize, Window)> = None;
        for (index, size) in sizes.iter().enumerate() {
            let window = size.filter(|size| longest > *size).map(|size| {
                let known = made.take().filter(|(of, _)| *of == size);
                let (_, window) = known.unwrap_or_else(|| (size, self.window(size, length, device)));
                made = Some((size, window.clone()));
                window
            });
            self.layers[index].window = window;
        }
    }

    /// What a window of `size` tokens hides from the `length` slots that came last.
    fn window(&self, size: usize, length: usize, device: &Device) -> Window {
        if length == 1 {
            return Window::Keys(self.make_window_mask(size, device));
        }
        let gaps = self.rows.iter().map(Row::gaps).max().unwrap_or(0);
        let padded = self.rows.iter().any(|row| !row.padding.is_empty());
        let places = padded.then(|| {
            let places = self.rows.iter().flat_map(|row| row.places(self.slots));
            let places: Vec<i32> = places.map(|place| place.unwrap_or(0) as i32).collect();
            Tensor::from_data(TensorData::new(places, [self.rows.len(), self.slots]), device)
        });
        Window::Band(Band { size, places, gaps })
    }

    /// Ones for the last `size` tokens of every row, zeros for those before them and for padding: `[B, capacity]`.
    fn make_window_mask(&self, size: usize, device: &Device) -> Tensor<2, Int> {
        let mut mask = vec![0_i32; self.rows.len() * self.capacity];
        for (row, seen) in self.rows.iter().zip(mask.chunks_exact_mut(self.capacity)) {
            for (seen, place) in seen.iter_mut().zip(row.places(self.slots)) {
                *seen = i32::from(place.is_some_and(|place| place + size >= row.length));
            }
        }
        Tensor::from_data(TensorData::new(mask, [self.rows.len(), self.capacity]), device)
    }

    /// The cache of layer `index`.
    pub(super) fn layer(&mut self, index: usize) -> &mut LayerCache {
        &mut self.layers[index]
    }

    /// Ones, and zeros for the padding: `[B, capacity]`. Slots to come are seen once they are written.
    fn make_mask(&self, device: &Device) -> Tensor<2, Int> {
        let mut mask = vec![1_i32; self.rows.len() * self.capacity];
        for (row, seen) in self.rows.iter().zip(mask.chunks_exact_mut(self.capacity)) {
            for slot in &row.padding {
                seen[*slot] = 0;
            }
        }
        Tensor::from_data(TensorData::new(mask, [self.rows.len(), self.capacity]), device)
    }
}

impl Row {
    /// The place in the text of every one of `slots` slots, none of padding.
    fn places(&self, slots: usize) -> impl Iterator<Item = Option<usize>> + '_ {
        let mut padding = self.padding.iter().copied().peekable();
        let mut length = 0;
        (0..slots).map(move |slot| {
            if padding.next_if_eq(&slot).is_some() {
                return None;
            }
            length += 1;
            Some(length - 1)
        })
    }

    /// Slots of padding behind the first token.
    fn gaps(&self) -> usize {
        let before = self
            .padding
            .iter()
            .enumerate()
            .take_while(|(index, slot)| index == *slot);
        self.padding.len() - before.count()
    }
}

impl LayerCache {
    /// What this layer's window hides from the slots that came last; nothing where it hides nothing.
    pub(super) fn window(&self) -> Option<Window> {
        self.window.clone()
    }

    /// Adds the keys and values of `T` new slots; returns the buffers of all, in which only the slots before and these count, and
    /// the number of slots before.
    ///
    /// # Shapes
    ///
    /// - keys, values: `[B, T, K, head_dim]`
    /// - output: `[B, S, K, head_dim]` twice, with `S` slots in all, of which some are still empty
    pub(super) fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>, usize) {
        let past = self.length;
        self.length += keys.dims()[1];
        let (all_keys, all_values) = match self.buffers.take() {
            Some((keys, values)) => (Some(keys), Some(values)),
            None => (None, None),
        };
        let all_keys = written(all_keys, keys, past, self.capacity);
        let all_values = written(all_values, values, past, self.capacity);
        self.buffers = Some((all_keys.clone(), all_values.clone()));
        (all_keys, all_values, past)
    }

    fn keep_rows(&mut self, rows: &[usize]) {
        let Some((keys, values)) = self.buffers.take() else {
            return;
        };
        let index: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
        let index = Tensor::<1, Int>::from_data(index.as_slice(), &keys.device());
        self.buffers = Some((keys.select(0, index.clone()), values.select(0, index)));
    }
}

/// `buffer`, or one of `capacity` slots where it has fewer, with `new` from slot `past` on. Nothing else holds the buffer, so that
/// it is written in place.
fn written(buffer: Option<Tensor<4>>, new: Tensor<4>, past: usize, capacity: usize) -> Tensor<4> {
    let [batch, length, heads, head_dim] = new.dims();
    let place = |from: usize, to: usize| [0..batch, from..to, 0..heads, 0..head_dim];
    let buffer = match buffer {
        Some(buffer) if buffer.dims()[1] >= capacity => buffer,
        old => {
            let larger = Tensor::<4>::zeros([batch, capacity, heads, head_dim], (&new.device(), new.dtype()));
            match old {
                Some(old) => larger.slice_assign(place(0, past), old.narrow(1, 0, past)),
                None => larger,
            }
        }
    };
    buffer.slice_assign(place(past, past + length), new)
}
