//! Rows out of whole examples: none is split over rows, and each has a segment of its own, from which masks are made.

use std::collections::BTreeSet;

use super::encoder::EncodedInstruction;
use crate::packing::Layout;
use crate::row::{IGNORE_INDEX, PADDING_SEGMENT, Row};

/// Which examples share a row, for rows of `seq_len`: best fit, the longest first; in `TruncateAndPad` one a row.
///
/// `lengths` are at most `seq_len`. Rows come in the order in which they were begun.
pub(super) fn best_fit(lengths: &[usize], seq_len: usize, layout: Layout) -> Vec<Vec<usize>> {
    if layout == Layout::TruncateAndPad {
        return (0..lengths.len()).map(|at| vec![at]).collect();
    }
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(lengths[at]));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut rooms: BTreeSet<(usize, usize)> = BTreeSet::new();
    for at in order {
        let fitting = rooms.range((lengths[at], 0)..).next().copied();
        let (room, row) = fitting.unwrap_or_else(|| {
            rows.push(Vec::new());
            (seq_len, rows.len() - 1)
        });
        rooms.remove(&(room, row));
        rooms.insert((room.saturating_sub(lengths[at]), row));
        rows[row].push(at);
    }
    rows
}

/// A row of these examples, padded behind.
pub(super) fn row<'a>(
    examples: impl IntoIterator<Item = &'a EncodedInstruction>,
    seq_len: usize,
    pad_id: i32,
) -> Row {
    let (mut input_ids, mut labels, mut segments) = (Vec::new(), Vec::new(), Vec::new());
    for (segment, example) in (0..).zip(examples) {
        input_ids.extend(&example.input_ids);
        labels.extend(example.labels());
        segments.resize(input_ids.len(), segment);
    }
    input_ids.resize(seq_len, pad_id);
    labels.resize(seq_len, IGNORE_INDEX);
    segments.resize(seq_len, PADDING_SEGMENT);
    Row {
        input_ids,
        labels,
        segment_ids: Some(segments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_example_is_in_one_row_that_has_room_for_it(
            lengths in prop::collection::vec(1usize..40, 0..60), packed: bool,
        ) {
            let layout = if packed { Layout::Packed } else { Layout::TruncateAndPad };
            let rows = best_fit(&lengths, 40, layout);
            let mut all: Vec<usize> = rows.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            let filled = |row: &Vec<usize>| row.iter().map(|&at| lengths[at]).sum::<usize>();
            prop_assert!(rows.iter().all(|row| filled(row) <= 40));
            // Best fit never leaves two rows that would go into one.
            if packed {
                prop_assert!(rows.iter().filter(|row| filled(row) <= 20).count() <= 1);
            }
        }
    }

    #[test]
    fn a_row_has_a_segment_for_each_example_and_no_label_from_one_to_the_next() {
        let example = |ids: [i32; 3]| EncodedInstruction {
            input_ids: ids.to_vec(),
            learned: vec![true, false, true],
        };
        let row = row(&[example([1, 2, 3]), example([4, 5, 6])], 8, 0);
        assert_eq!(row.input_ids, [1, 2, 3, 4, 5, 6, 0, 0]);
        assert_eq!(row.labels, [-100, 3, -100, -100, 6, -100, -100, -100]);
        assert_eq!(row.segment_ids.unwrap(), [0, 0, 0, 1, 1, 1, -1, -1]);
    }
}
