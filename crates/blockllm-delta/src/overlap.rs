//! Which entries several deltas change, by their positions alone.

use crate::patch::decoder;
use crate::{DeltaError, DeltaFile};
use std::collections::BTreeSet;

/// Tensors in which several of `deltas` change the same entries, with how many these are.
pub(crate) fn overlaps(deltas: &[&DeltaFile]) -> Result<Vec<(String, u64)>, DeltaError> {
    let names: BTreeSet<&String> = deltas.iter().flat_map(|delta| delta.changes.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let count = shared(deltas, name)?;
        if count > 0 {
            found.push((name.clone(), count));
        }
    }
    Ok(found)
}

/// The first tensors of `overlaps` in words.
pub(crate) fn in_words(overlaps: &[(String, u64)]) -> String {
    const SHOWN: usize = 5;
    let shown = overlaps.iter().take(SHOWN);
    let shown: Vec<String> = shown
        .map(|(name, count)| format!("{count} of `{name}`"))
        .collect();
    match overlaps.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        rest => format!("{}, and some in {rest} other tensors", shown.join(", ")),
    }
}

/// Entries of the tensor `name` that more than one delta changes.
fn shared(deltas: &[&DeltaFile], name: &str) -> Result<u64, DeltaError> {
    let changes = deltas
        .iter()
        .filter_map(|delta| Some((delta, delta.changes.get(name)?)));
    let mut decoders = changes
        .map(|(delta, change)| decoder(delta, name, change))
        .collect::<Result<Vec<_>, _>>()?;
    if decoders.len() < 2 {
        return Ok(0);
    }
    let mut heads = Vec::new();
    for decoder in &mut decoders {
        heads.push(decoder.next()?);
    }
    let mut count = 0;
    while let Some(least) = heads.iter().flatten().min().copied() {
        let mut touching = 0;
        for (head, decoder) in heads.iter_mut().zip(&mut decoders) {
            if *head == Some(least) {
                touching += 1;
                *head = decoder.next()?;
            }
        }
        count += u64::from(touching > 1);
    }
    Ok(count)
}
