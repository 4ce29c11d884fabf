//! Embeddings on the CPU: rows are copied, and added up by ranges of ids.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_flex::Flex;

use super::EmbeddingBackend;
use crate::host::{filled, filled_tasks, in_f32, integers, numbers, tensor};

impl EmbeddingBackend for Flex {
    fn rows_by_id(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let (dtype, [rows, width]) = (table.dtype(), sizes(&table));
        let (table, ids) = (in_f32(table), checked(&ids, rows));
        let table = numbers(&table);
        let output = filled(
            ids.len(),
            width,
            #[inline(always)]
            |token, out| out.copy_from_slice(&table[ids[token] * width..][..width]),
        );
        tensor(output, [ids.len(), width], dtype)
    }

    fn rows_by_id_grad(grad: FloatTensor<Self>, ids: IntTensor<Self>, rows: usize) -> FloatTensor<Self> {
        let (dtype, [_, width]) = (grad.dtype(), sizes(&grad));
        let (grad, ids) = (in_f32(grad), checked(&ids, rows));
        let grad = numbers(&grad);
        // Each task has the rows of a range of ids, and goes through all tokens in their order.
        let task_rows = rows.div_ceil(TASKS);
        let mut output = filled_tasks(
            rows.div_ceil(task_rows),
            task_rows * width,
            #[inline(always)]
            |task, out| {
                let range = task * task_rows..(task + 1) * task_rows;
                for (token, id) in ids.iter().enumerate().filter(|(_, id)| range.contains(id)) {
                    let sum = &mut out[(id - range.start) * width..][..width];
                    for (sum, grad) in sum.iter_mut().zip(&grad[token * width..][..width]) {
                        *sum += grad;
                    }
                }
            },
        );
        output.truncate(rows * width);
        tensor(output, [rows, width], dtype)
    }
}

/// Ranges of ids.
const TASKS: usize = 16;

fn sizes(matrix: &FloatTensor<Flex>) -> [usize; 2] {
    let shape = matrix.layout().shape();
    [shape[0], shape[1]]
}

/// The ids, each of which has a row.
fn checked(ids: &IntTensor<Flex>, rows: usize) -> Vec<usize> {
    let ids = integers(ids).into_iter();
    ids.map(|id| match usize::try_from(id) {
        Ok(id) if id < rows => id,
        _ => panic!("id {id} has no row in a table of {rows}"),
    })
    .collect()
}
