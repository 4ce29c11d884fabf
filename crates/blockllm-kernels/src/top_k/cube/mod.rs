//! The largest magnitudes on GPUs: histograms in a cube's own memory, and places by sums over units and blocks.

mod kernels;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use cubecl::ir::{ElemType, UIntKind};

use self::kernels::{STRETCH, add_blocks, count_blocks, count_magnitudes, list_kept, mark_kept};
use super::backends::Pass;
use super::{BLOCK, TopKBackend};
use crate::device::{UNITS, contiguous, cubes, element, empty, owned, units};
use crate::kernel_list::{List, buffer};

/// Adds this operation's kernels to the list of all.
pub(crate) fn list_kernels(list: &mut List) {
    let b = buffer;
    for dtype in List::FLOATS.map(ElemType::Float) {
        let (s, d, t) = list.beside(UNITS);
        list.add(
            "top_k::count_magnitudes",
            dtype,
            count_magnitudes::CountMagnitudes::new(s, d, t, b(), b(), (), (), (), (), (), (), (), dtype),
        );
        let (s, d, t) = list.beside(UNITS);
        list.add(
            "top_k::count_blocks",
            dtype,
            count_blocks::CountBlocks::new(s, d, t, b(), b(), (), (), (), dtype),
        );
        let (s, d, t) = list.beside(UNITS);
        list.add(
            "top_k::list_kept",
            dtype,
            list_kept::ListKept::new(s, d, t, b(), b(), b(), (), (), (), (), dtype),
        );
        let (s, d, t) = list.beside(UNITS);
        list.add(
            "top_k::mark_kept",
            dtype,
            mark_kept::MarkKept::new(s, d, t, b(), b(), b(), (), (), (), (), (), dtype),
        );
    }
    let dtype = ElemType::UInt(UIntKind::U32);
    let (s, d, t) = list.beside(UNITS);
    list.add(
        "top_k::add_blocks",
        dtype,
        add_blocks::AddBlocks::new(s, d, t, b(), b(), (), ()),
    );
}

impl TopKBackend for CubeBackend {
    fn with_magnitudes(histogram: IntTensor<Self>, values: FloatTensor<Self>, pass: Pass) -> IntTensor<Self> {
        let (histogram, values) = (owned(histogram), contiguous(values));
        let len = values.meta.num_elements();
        let stretches = len.div_ceil(STRETCH);
        if stretches > 0 {
            let (client, dtype) = (values.client.clone(), element(&values));
            count_magnitudes::launch(
                &client,
                cubes(stretches),
                units(UNITS),
                values.into_buffer_arg(),
                histogram.clone().into_buffer_arg(),
                len,
                stretches,
                pass.row,
                pass.known,
                pass.known_shift,
                pass.shift,
                (1 << (pass.known_shift - pass.shift)) - 1,
                dtype,
            );
        }
        histogram
    }

    fn ranks(
        values: FloatTensor<Self>,
        before: IntTensor<Self>,
        totals: IntTensor<Self>,
        bits: u32,
        slot: usize,
    ) -> (IntTensor<Self>, IntTensor<Self>) {
        let (values, before, totals) = (contiguous(values), owned(before), owned(totals));
        let len = values.meta.num_elements();
        let blocks = len.div_ceil(BLOCK).max(1);
        let (client, dtype) = (values.client.clone(), element(&values));
        count_blocks::launch(
            &client,
            cubes(blocks),
            units(UNITS),
            values.into_buffer_arg(),
            before.clone().into_buffer_arg(),
            len,
            blocks,
            bits,
            dtype,
        );
        add_blocks::launch(
            &client,
            cubes(1),
            units(UNITS),
            before.clone().into_buffer_arg(),
            totals.clone().into_buffer_arg(),
            blocks,
            slot,
        );
        (before, totals)
    }

    fn kept_indices(
        values: FloatTensor<Self>,
        before: IntTensor<Self>,
        bits: u32,
        ties: u32,
        count: usize,
    ) -> IntTensor<Self> {
        let (values, before) = (contiguous(values), contiguous(before));
        let indices = empty(&values, [count], DType::I32);
        let len = values.meta.num_elements();
        let blocks = len.div_ceil(BLOCK).max(1);
        if count > 0 {
            let (client, dtype) = (values.client.clone(), element(&values));
            list_kept::launch(
                &client,
                cubes(blocks),
                units(UNITS),
                values.into_buffer_arg(),
                before.into_buffer_arg(),
                indices.clone().into_buffer_arg(),
                len,
                blocks,
                bits,
                ties,
                dtype,
            );
        }
        indices
    }

    fn kept_marked(
        values: FloatTensor<Self>,
        before: IntTensor<Self>,
        bits: u32,
        ties: u32,
        excluded: f32,
    ) -> FloatTensor<Self> {
        let (values, before) = (contiguous(values), contiguous(before));
        let len = values.meta.num_elements();
        let marked = empty(&values, [len], DType::F32);
        let blocks = len.div_ceil(BLOCK);
        if blocks > 0 {
            let (client, dtype) = (values.client.clone(), element(&values));
            mark_kept::launch(
                &client,
                cubes(blocks),
                units(UNITS),
                values.into_buffer_arg(),
                before.into_buffer_arg(),
                marked.clone().into_buffer_arg(),
                len,
                blocks,
                bits,
                ties,
                excluded,
                dtype,
            );
        }
        marked
    }
}
