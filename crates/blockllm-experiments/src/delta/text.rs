//! What `delta` prints.
use crate::byte_size::gigabytes;
use crate::report::{Align, Table};
use blockllm_delta::{Applied, Stacked, Summary};
use std::fmt::Write as _;
use std::path::Path;

/// What a delta holds in a few lines.
pub(super) fn totals(summary: &Summary) -> String {
    let mut text = format!(
        "{}: {}, {} of the full model ({})\n\
         {} of {} entries have changed ({}), in {} of {} tensors\n",
        summary.path.display(),
        size(summary.bytes),
        percent(summary.bytes, summary.model_bytes),
        size(summary.model_bytes),
        summary.changed(),
        summary.entries,
        percent(summary.changed(), summary.entries),
        summary.changes.len(),
        summary.tensors,
    );
    if summary.changed() > 0 {
        let changed = summary.changed() as f64;
        let _ = writeln!(
            text,
            "values {}, positions {}: {:.2} bytes for a changed entry, {:.2} of them for its place",
            size(summary.value_bytes()),
            size(summary.position_bytes()),
            (summary.value_bytes() + summary.position_bytes()) as f64 / changed,
            summary.position_bytes() as f64 / changed,
        );
    }
    for (name, bytes) in &summary.files {
        let _ = writeln!(text, "carries {name} ({})", size(*bytes));
    }
    let _ = write!(
        text,
        "base   {}\nresult {}",
        summary.base_sha256, summary.result_sha256
    );
    text
}

/// The changed tensors.
pub(super) fn table(summary: &Summary) -> Table {
    let mut table = Table::new([
        ("tensor", Align::Left),
        ("format", Align::Left),
        ("shape", Align::Left),
        ("changed", Align::Right),
        ("share", Align::Right),
        ("positions as", Align::Left),
        ("bytes", Align::Right),
        ("of the tensor", Align::Right),
    ]);
    for change in &summary.changes {
        let shape: Vec<String> = change.shape.iter().map(ToString::to_string).collect();
        let bytes = change.position_bytes + change.value_bytes;
        let whole = change.value_bytes / change.changed.max(1) * change.entries;
        table.push_row([
            change.name.clone(),
            change.dtype.clone(),
            shape.join(" x "),
            change.changed.to_string(),
            percent(change.changed, change.entries),
            change.encoding.name().to_owned(),
            bytes.to_string(),
            percent(bytes, whole),
        ]);
    }
    table
}

/// What `apply` has made.
pub(super) fn applied(out: &Path, applied: &Applied) -> String {
    format!(
        "{}: {}, {} entries changed, to the bit what was tuned\nSHA-256 of its tensors {}",
        out.display(),
        size(applied.bytes),
        applied.changes,
        applied.sha256
    )
}

/// What `stack` has made.
pub(super) fn stacked(out: &Path, stacked: &Stacked) -> String {
    let mut text = format!(
        "{}: {}, {} entries changed\nSHA-256 of its tensors {}",
        out.display(),
        size(stacked.bytes),
        stacked.changed,
        stacked.sha256
    );
    let shared: u64 = stacked.overlaps.iter().map(|(_, count)| count).sum();
    if shared > 0 {
        let tensors = stacked.overlaps.len();
        let _ = write!(
            text,
            "\n{shared} entries are changed by several deltas, in {tensors} tensors; their changes were added up"
        );
    }
    if stacked.not_finite > 0 {
        let _ = write!(
            text,
            "\nwarning: {} entries are no finite numbers any more; take smaller weights",
            stacked.not_finite
        );
    }
    text
}

/// Bytes, exactly where they are few.
fn size(bytes: u64) -> String {
    if bytes < 100_000 {
        format!("{bytes} bytes")
    } else {
        gigabytes(bytes)
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2} %", 100.0 * part as f64 / whole.max(1) as f64)
}
