//! Embeddings on GPUs: a unit per entry; for the gradient tokens are linked by their ids first.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use cubecl::ir::IntKind;
use cubecl::prelude::*;

use super::EmbeddingBackend;
use crate::composed::float_dtype;
use crate::device::{UNITS, contiguous, cubes_for, element, empty, units};
use crate::kernel_list::{List, buffer};

/// Stands where there is no next token; ids and tokens are below.
const NONE: u32 = u32::MAX;

#[cube(launch)]
fn gather<F: Float, I: Int>(
    table: &[F],
    ids: &[I],
    output: &mut [F],
    width: usize,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    if ABSOLUTE_POS >= output.len() {
        terminate!();
    }
    let row = u32::cast_from(ids[ABSOLUTE_POS / width]) as usize;
    output[ABSOLUTE_POS] = table[row * width + ABSOLUTE_POS % width];
}

/// Of every token the next one with its id, and whether it is the first: `[2, N]`.
#[cube(launch)]
fn link<I: Int>(ids: &[I], links: &mut [u32], #[define(I)] _dtype: ElemType) {
    let token = ABSOLUTE_POS;
    let tokens = ids.len();
    if token >= tokens {
        terminate!();
    }
    let own = ids[token];
    let mut first = 1u32;
    let mut before = 0usize;
    while before < token {
        if ids[before] == own {
            first = 0u32;
        }
        before += 1;
    }
    let mut next = u32::new(comptime!(i64::from(NONE)));
    let mut other = token + 1;
    while other < tokens && next == u32::new(comptime!(i64::from(NONE))) {
        if ids[other] == own {
            next = other as u32;
        }
        other += 1;
    }
    links[token] = next;
    links[tokens + token] = first;
}

/// The first token of each id adds up the gradients of all, each unit a column.
#[cube(launch)]
fn add_rows<F: Float, I: Int>(
    grad: &[F],
    ids: &[I],
    links: &[u32],
    output: &mut [F],
    width: usize,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let tokens = ids.len();
    if ABSOLUTE_POS >= tokens * width {
        terminate!();
    }
    let (mut token, column) = (ABSOLUTE_POS / width, ABSOLUTE_POS % width);
    if links[tokens + token] == 0u32 {
        terminate!();
    }
    let row = u32::cast_from(ids[token]) as usize;
    let mut sum = f32::cast_from(grad[token * width + column]);
    while links[token] != u32::new(comptime!(i64::from(NONE))) {
        token = links[token] as usize;
        sum += f32::cast_from(grad[token * width + column]);
    }
    output[row * width + column] = F::cast_from(sum);
}

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let (b, id) = (buffer, ElemType::Int(IntKind::I32));
    let (s, d, t) = list.beside(UNITS);
    list.add("embedding::link", id, link::Link::new(s, d, t, b(), b(), id));
    for dtype in List::FLOATS.map(ElemType::Float) {
        let (s, d, t) = list.beside(UNITS);
        let kernel = gather::Gather::new(s, d, t, b(), b(), b(), (), [dtype, id]);
        list.add("embedding::gather", dtype, kernel);
        let (s, d, t) = list.beside(UNITS);
        let kernel = add_rows::AddRows::new(s, d, t, b(), b(), b(), b(), (), [dtype, id]);
        list.add("embedding::add_rows", dtype, kernel);
    }
}

impl EmbeddingBackend for CubeBackend {
    fn rows_by_id(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let (table, ids) = (contiguous(table), contiguous(ids));
        let (tokens, width) = (ids.meta.num_elements(), table.meta.shape()[1]);
        let output = empty(&table, [tokens, width], table.dtype);
        let dtypes = [element(&table), element(&ids)];
        gather::launch(
            &table.client.clone(),
            cubes_for(tokens * width),
            units(UNITS),
            table.into_buffer_arg(),
            ids.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            width,
            dtypes,
        );
        output
    }

    fn rows_by_id_grad(grad: FloatTensor<Self>, ids: IntTensor<Self>, rows: usize) -> FloatTensor<Self> {
        let (grad, ids) = (contiguous(grad), contiguous(ids));
        let (tokens, width) = (ids.meta.num_elements(), grad.meta.shape()[1]);
        let links = empty(&grad, [2, tokens], DType::U32);
        let client = grad.client.clone();
        link::launch(
            &client,
            cubes_for(tokens),
            units(UNITS),
            ids.clone().into_buffer_arg(),
            links.clone().into_buffer_arg(),
            element(&ids),
        );
        let output = Self::float_zeros([rows, width].into(), &grad.device, float_dtype(grad.dtype));
        let dtypes = [element(&grad), element(&ids)];
        add_rows::launch(
            &client,
            cubes_for(tokens * width),
            units(UNITS),
            grad.into_buffer_arg(),
            ids.into_buffer_arg(),
            links.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            width,
            dtypes,
        );
        output
    }
}
