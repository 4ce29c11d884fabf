//! Whether deltas belong to a base and to each other, by the hashes that they name; and what to do where they do not.

use crate::{DeltaError, DeltaFile};
use std::path::Path;

/// Checks that each delta of `chain` goes on from the result of the one before it.
pub(crate) fn check_chain(chain: &[DeltaFile]) -> Result<(), DeltaError> {
    for pair in chain.windows(2) {
        let [before, delta] = pair else { continue };
        if delta.base_sha256 == before.result_sha256 {
            continue;
        }
        let mend = if let Some(order) = rising(chain) {
            format!("they fit in the order {}", listed(&order))
        } else if delta.base_sha256 == before.base_sha256 {
            "both were made against the same base: `delta stack` adds them up".to_owned()
        } else {
            format!(
                "it was made against a model of the SHA-256 {}, and that makes {}: leave one of them out, or name the \
                 delta between them",
                delta.base_sha256, before.result_sha256
            )
        };
        return Err(wrong_order(delta, &before.path, mend));
    }
    Ok(())
}

/// Checks that all of `deltas` were made against one base.
pub(crate) fn check_siblings(deltas: &[DeltaFile]) -> Result<(), DeltaError> {
    let Some((first, others)) = deltas.split_first() else {
        return Err(DeltaError::NoDelta);
    };
    for delta in others {
        if delta.base_sha256 == first.base_sha256 {
            continue;
        }
        let mend = if let Some(order) = rising(deltas) {
            format!(
                "one goes on from the result of the other: `delta apply` takes them one after the other, in the order {}",
                listed(&order)
            )
        } else {
            format!(
                "it was made against a model of the SHA-256 {}, the other against {}: only deltas of one base are stacked",
                delta.base_sha256, first.base_sha256
            )
        };
        return Err(wrong_order(delta, &first.path, mend));
    }
    Ok(())
}

/// Checks that `delta` was made against the model in `base`, whose hash is `found`.
pub(crate) fn check_base(delta: &DeltaFile, base: &Path, found: &str) -> Result<(), DeltaError> {
    if delta.base_sha256 == found {
        return Ok(());
    }
    let mend = if delta.result_sha256 == found {
        "that is its result, so it has been applied there already; name the model that it was made from"
    } else {
        "name the model that the delta was made from, in the number format that it had then"
    };
    Err(DeltaError::WrongBase {
        delta: delta.path.as_path().into(),
        base: base.into(),
        expected: delta.base_sha256.clone(),
        found: found.to_owned(),
        mend: mend.to_owned(),
    })
}

/// The order in which each goes on from the one before it, if there is one.
fn rising(deltas: &[DeltaFile]) -> Option<Vec<&DeltaFile>> {
    deltas.iter().find_map(|first| {
        let mut left: Vec<&DeltaFile> = deltas
            .iter()
            .filter(|delta| !std::ptr::eq(*delta, first))
            .collect();
        let mut order = vec![first];
        let mut at = &first.result_sha256;
        while let Some(next) = left.iter().position(|delta| delta.base_sha256 == *at) {
            let next = left.remove(next);
            at = &next.result_sha256;
            order.push(next);
        }
        left.is_empty().then_some(order)
    })
}

fn listed(deltas: &[&DeltaFile]) -> String {
    let paths: Vec<String> = deltas
        .iter()
        .map(|delta| delta.path.display().to_string())
        .collect();
    paths.join(" ")
}

fn wrong_order(delta: &DeltaFile, before: &Path, mend: String) -> DeltaError {
    DeltaError::WrongOrder {
        delta: delta.path.clone(),
        before: before.to_path_buf(),
        mend,
    }
}
