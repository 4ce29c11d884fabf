//! Making a delta: one pass over both models finds what has changed, a second one over the changed tensors writes it.

use crate::compare::{Piece, compare};
use crate::delta_file::{DeltaFile, FORMAT, VERSION};
use crate::digest::ModelHash;
use crate::dtype::{of_values, width};
use crate::folder::{INDEX, SINGLE, companions};
use crate::meter::Meter;
use crate::model::Model;
use crate::positions::{Count, Encoder, Encoding};
use crate::summary::Summary;
use crate::unfinished::Unfinished;
use crate::{DeltaError, sections};
use safetensors::Dtype;
use sections::{Section, Writer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Writes to `out` what `tuned` has otherwise than `base`, both folders of models. A few MiB of each stand in memory at a
/// time. `progress` is given bytes done and all.
///
/// Bits are compared, not numbers: `-0.0` is not `0.0`, and a NaN keeps its payload. Where the formats differ (a base in bf16,
/// tuned in f32), a changed entry is one that the base's, in the tuned format, does not give.
///
/// # Errors
/// When `out` exists, a folder is not a whole model, or the two differ in names, shapes or formats of tensors.
pub fn diff(
    base: &Path,
    tuned: &Path,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Summary, DeltaError> {
    let unfinished = Unfinished::beside(out)?;
    let (base, tuned) = (Model::open(base)?, Model::open(tuned)?);
    base.check_like(&tuned)?;
    let mut meter = Meter::new(base.bytes().saturating_add(tuned.bytes()), progress);
    let found = find([&base, &tuned], &mut meter)?;
    let carried = carried(&base.path, &tuned)?;
    write(
        unfinished.temporary(),
        [&base, &tuned],
        &found,
        &carried,
        &mut meter,
    )?;
    unfinished.publish()?;
    Ok(DeltaFile::open(out)?.summary())
}

/// What the first pass has found.
struct Found {
    base_sha256: String,
    tuned_sha256: String,
    /// Tensors with changes, the widest entries first, so that every value lies at a multiple of its size.
    tensors: Vec<Changed>,
}

/// A tensor with changes.
struct Changed {
    name: String,
    entries: u64,
    encoding: Encoding,
    position_bytes: u64,
}

fn find(models: [&Model; 2], meter: &mut Meter<'_>) -> Result<Found, DeltaError> {
    let [base, tuned] = models;
    let [mut base_hash, mut tuned_hash] = [ModelHash::default(), ModelHash::default()];
    let mut tensors = Vec::new();
    for (name, tensor) in &tuned.tensors {
        let mut count = Count::default();
        let hashes = compare(models, name, meter, |piece| {
            piece.changed.iter().for_each(|position| count.add(*position));
            Ok(())
        })?;
        base_hash.add(name, &base.tensors[name], hashes.base);
        tuned_hash.add(name, tensor, hashes.tuned);
        if count.changed > 0 {
            let (encoding, position_bytes) = count.smallest(tensor.entries());
            tensors.push(Changed {
                name: name.clone(),
                entries: count.changed,
                encoding,
                position_bytes,
            });
        }
    }
    tensors.sort_by_key(|one| std::cmp::Reverse(width(tuned.tensors[&one.name].dtype)));
    Ok(Found {
        base_sha256: base_hash.finish(),
        tuned_sha256: tuned_hash.finish(),
        tensors,
    })
}

/// The files beside the weights that are not the base's, with their sizes; and the index, if there is one.
fn carried(base: &Path, tuned: &Model) -> Result<BTreeMap<String, (PathBuf, u64)>, DeltaError> {
    let mut files = BTreeMap::new();
    let mut names = companions(&tuned.path)?;
    if !tuned.files.contains_key(SINGLE) {
        names.insert(INDEX.to_owned());
    }
    for name in names {
        let path = tuned.path.join(&name);
        if name == INDEX || !same(&base.join(&name), &path)? {
            let bytes = path.metadata().map_err(DeltaError::io(&path, "look up"))?.len();
            files.insert(name, (path, bytes));
        }
    }
    Ok(files)
}

/// Whether two files have the same bytes; one that is not there has none.
fn same(one: &Path, other: &Path) -> Result<bool, DeltaError> {
    let Ok(found) = one.metadata() else {
        return Ok(false);
    };
    if found.len() != other.metadata().map_err(DeltaError::io(other, "look up"))?.len() {
        return Ok(false);
    }
    let open = |path: &Path| File::open(path).map_err(DeltaError::io(path, "open"));
    let [one_file, other_file] = [open(one)?, open(other)?].map(io::BufReader::new);
    for (left, right) in one_file.bytes().zip(other_file.bytes()) {
        if left.map_err(DeltaError::io(one, "read"))? != right.map_err(DeltaError::io(other, "read"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write(
    path: &Path,
    models: [&Model; 2],
    found: &Found,
    carried: &BTreeMap<String, (PathBuf, u64)>,
    meter: &mut Meter<'_>,
) -> Result<(), DeltaError> {
    let [base, tuned] = models;
    let (values, others) = planned(tuned, found, carried);
    let entries: u64 = tuned.tensors.values().map(crate::model::Tensor::entries).sum();
    let changed: u64 = found.tensors.iter().map(|one| one.entries).sum();
    let notes: Map<String, Value> = [
        ("format", FORMAT.to_owned()),
        ("version", VERSION.to_owned()),
        ("base_sha256", found.base_sha256.clone()),
        ("result_sha256", found.tuned_sha256.clone()),
        ("changed_entries", changed.to_string()),
        ("entries", entries.to_string()),
    ]
    .map(|(key, note)| (key.to_owned(), Value::from(note)))
    .into_iter()
    .collect();
    let (head, [mut value_writer, mut writer]) = sections::create(path, notes, values, others)?;
    for one in &found.tensors {
        meter.expect(base.tensors[&one.name].bytes + tuned.tensors[&one.name].bytes);
        write_changes(models, one, &mut value_writer, &mut writer, meter)?;
    }
    for header in tuned.files.values() {
        writer.write(header.json())?;
    }
    for (path, bytes) in carried.values() {
        writer.copy(path, *bytes)?;
    }
    head.finish([value_writer, writer])
}

/// The sections of values, and all others, in the order in which they are written.
fn planned(
    tuned: &Model,
    found: &Found,
    carried: &BTreeMap<String, (PathBuf, u64)>,
) -> (Vec<Section>, Vec<Section>) {
    let values = found.tensors.iter().map(|one| {
        let dtype = of_values(tuned.tensors[&one.name].dtype);
        Section::new("values", &one.name, dtype, one.entries)
    });
    let bytes = |kind, name, count| Section::new(kind, name, Dtype::U8, count);
    let positions = found.tensors.iter().filter(|one| one.encoding != Encoding::All);
    let positions = positions.map(|one| bytes(one.encoding.name(), &one.name, one.position_bytes));
    let headers = tuned.files.iter();
    let headers = headers.map(|(name, header)| bytes("header", name, header.json().len() as u64));
    let files = carried.iter().map(|(name, (_, size))| bytes("file", name, *size));
    (values.collect(), positions.chain(headers).chain(files).collect())
}

/// Reads a tensor again, and writes its values and positions side by side.
fn write_changes(
    models: [&Model; 2],
    one: &Changed,
    values: &mut Writer,
    positions: &mut Writer,
    meter: &mut Meter<'_>,
) -> Result<(), DeltaError> {
    let mut encoder = Encoder::new(one.encoding);
    let mut changed = 0;
    let mut gathered = Vec::new();
    let write = |piece: &Piece<'_>| {
        changed += piece.changed.len() as u64;
        gathered.clear();
        for position in piece.changed {
            let at = (position - piece.first) as usize * piece.width;
            gathered.extend_from_slice(&piece.tuned[at..][..piece.width]);
        }
        values.write(&gathered)?;
        let entries = piece.tuned.len() / piece.width;
        positions.write(&encoder.piece(piece.first, entries, piece.changed))
    };
    compare(models, &one.name, meter, write)?;
    if changed == one.entries {
        return Ok(());
    }
    Err(DeltaError::Changed {
        path: models[1].path.clone(),
        found: format!(
            "`{}` had {} changed entries, and then {changed}",
            one.name, one.entries
        ),
    })
}
