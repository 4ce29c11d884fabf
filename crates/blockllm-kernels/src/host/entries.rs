//! Entries of flex tensors changed in place, in stretches that several threads can have.

use std::borrow::Cow;

use burn::tensor::{DType, bf16, f16};
use burn_flex::FlexTensor;

/// `tensor` with its numbers one behind the other and nothing else in its memory; a copy if it has to be made so.
pub fn owned(tensor: FlexTensor) -> FlexTensor {
    let whole = tensor.to_contiguous();
    // What came in holds the same memory where nothing was copied, and would make a change copy it.
    drop(tensor);
    whole
}

/// The numbers of an int tensor in 32 bits.
pub fn small_integers(tensor: &FlexTensor) -> Cow<'_, [i32]> {
    match tensor.as_slice::<i32>() {
        Some(integers) => Cow::Borrowed(integers),
        None => Cow::Owned(
            super::integers(tensor)
                .into_iter()
                .map(|integer| integer as i32)
                .collect(),
        ),
    }
}

/// What is left of a slice from which stretches are taken.
pub struct Rest<'a, T>(&'a mut [T]);

impl<'a, T> Rest<'a, T> {
    /// All of it.
    pub fn of(all: &'a mut [T]) -> Self {
        Self(all)
    }

    /// Takes its first `len` away.
    #[inline(always)]
    pub fn take(&mut self, len: usize) -> &'a mut [T] {
        let (head, tail) = std::mem::take(&mut self.0).split_at_mut(len);
        self.0 = tail;
        head
    }

    /// How much is left.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A float that is computed with in f32.
pub trait Number: Copy + Send + Sync {
    /// In f32.
    fn up(self) -> f32;

    /// Rounded to this type.
    fn down(number: f32) -> Self;

    /// Of an f32 the bits that this type has no room for.
    const DROPPED: u32 = 0;

    /// Rounded up or down by chance, each as probable as the number is near to it, so that the mean is exact; `random` is
    /// 32 bits.
    #[inline(always)]
    fn down_by_chance(number: f32, random: u32) -> Self {
        let bits = number.to_bits().wrapping_add(random & Self::DROPPED) & !Self::DROPPED;
        Self::down(if number.is_finite() {
            f32::from_bits(bits)
        } else {
            number
        })
    }
}

impl Number for f32 {
    #[inline(always)]
    fn up(self) -> f32 {
        self
    }

    #[inline(always)]
    fn down(number: f32) -> Self {
        number
    }
}

impl Number for f64 {
    #[inline(always)]
    fn up(self) -> f32 {
        self as f32
    }

    #[inline(always)]
    fn down(number: f32) -> Self {
        Self::from(number)
    }
}

impl Number for bf16 {
    const DROPPED: u32 = 0xFFFF;

    #[inline(always)]
    fn up(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn down(number: f32) -> Self {
        Self::from_f32(number)
    }
}

impl Number for f16 {
    const DROPPED: u32 = 0x1FFF;

    #[inline(always)]
    fn up(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn down(number: f32) -> Self {
        Self::from_f32(number)
    }
}

/// The numbers of a contiguous float tensor, in their own type.
#[derive(Clone, Copy)]
pub enum Floats<'a> {
    F64(&'a [f64]),
    F32(&'a [f32]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

impl<'a> Floats<'a> {
    /// Those of `tensor`, in the order of its memory.
    ///
    /// # Panics
    ///
    /// When it is not contiguous.
    pub fn of(tensor: &'a FlexTensor) -> Self {
        let contiguous = "the tensor was made contiguous";
        match tensor.dtype() {
            DType::F64 => Self::F64(tensor.as_slice().expect(contiguous)),
            DType::F32 => Self::F32(tensor.as_slice().expect(contiguous)),
            DType::F16 => Self::F16(tensor.as_slice().expect(contiguous)),
            DType::BF16 => Self::BF16(tensor.as_slice().expect(contiguous)),
            other => unreachable!("a float tensor has no {other:?} entries"),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F64(numbers) => numbers.len(),
            Self::F32(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
            Self::BF16(numbers) => numbers.len(),
        }
    }

    /// Those from `start` on, at most `len`, in f32.
    pub fn stretch(&self, start: usize, len: usize) -> Cow<'a, [f32]> {
        fn up<N: Number>(numbers: &[N], range: std::ops::Range<usize>) -> Cow<'_, [f32]> {
            Cow::Owned(numbers[range].iter().map(|number| number.up()).collect())
        }
        let range = start..self.len().min(start + len);
        match *self {
            Self::F64(numbers) => up(numbers, range),
            Self::F32(numbers) => Cow::Borrowed(&numbers[range]),
            Self::F16(numbers) => up(numbers, range),
            Self::BF16(numbers) => up(numbers, range),
        }
    }
}
