//! Writing the folder of a result: every tensor of the base on its way through what rewrites it, and the files beside.

use crate::DeltaError;
use crate::bytes::{Bytes, PIECE};
use crate::compare::open;
use crate::delta_file::DeltaFile;
use crate::digest::ModelHash;
use crate::dtype::width;
use crate::folder::{INDEX, companions};
use crate::meter::Meter;
use crate::model::{Model, names};
use blockllm_tensors::Header;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// What becomes of the tensors of the base, one after the other, each a piece at a time.
pub(crate) trait Rewrite {
    /// The tensor `name` begins.
    fn begin(&mut self, name: &str) -> Result<(), DeltaError>;

    /// What becomes of the piece of it that begins with entry `first`, in the format of the result.
    fn piece(&mut self, first: u64, base: Vec<u8>) -> Result<Vec<u8>, DeltaError>;

    /// All pieces were there.
    fn end(&mut self) -> Result<(), DeltaError>;
}

/// The hash of the model in a folder.
pub(crate) fn hash_of(model: &Model, meter: &mut Meter<'_>) -> Result<String, DeltaError> {
    let mut all = ModelHash::default();
    for (name, tensor) in &model.tensors {
        let mut bytes = open(&model.path, tensor)?;
        let mut hash = Sha256::new();
        while bytes.left() > 0 {
            let piece = bytes.piece(PIECE)?;
            hash.update(&piece);
            meter.advance(piece.len() as u64);
        }
        all.add(name, tensor, hash);
    }
    Ok(all.finish())
}

/// Writes the files of weights of `result`, made from `base`, into `dir`, and gives the hash of their tensors.
pub(crate) fn write_weights(
    base: &Model,
    result: &Model,
    dir: &Path,
    rewrite: &mut impl Rewrite,
    meter: &mut Meter<'_>,
) -> Result<String, DeltaError> {
    let mut all = ModelHash::default();
    for (file, header) in &result.files {
        let path = dir.join(file);
        let mut out = File::create_new(&path).map_err(DeltaError::io(&path, "create"))?;
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(DeltaError::io(&path, "write"));
        write(&head_of(header))?;
        for name in names(header) {
            let tensor = &base.tensors[&name];
            let entry = width(tensor.dtype);
            let mut bytes = open(&base.path, tensor)?;
            let (mut hash, mut first) = (Sha256::new(), 0);
            rewrite.begin(&name)?;
            while bytes.left() > 0 {
                let piece = bytes.piece(PIECE * entry)?;
                meter.advance(piece.len() as u64);
                let entries = piece.len() / entry;
                let piece = rewrite.piece(first, piece)?;
                hash.update(&piece);
                write(&piece)?;
                first += entries as u64;
            }
            rewrite.end()?;
            all.add(&name, &result.tensors[&name], hash);
        }
        out.sync_all().map_err(DeltaError::io(&path, "sync"))?;
    }
    Ok(all.finish())
}

/// What stands before the numbers of a file.
fn head_of(header: &Header) -> Vec<u8> {
    let mut head = (header.json().len() as u64).to_le_bytes().to_vec();
    head.extend(header.json());
    head
}

/// Puts into `dir` the files beside the weights of `base`, and in place of them and beside them those that `deltas` carry, the
/// last one's where several do. The index is that of `layout`, whose files of weights are there.
pub(crate) fn write_companions(
    base: &Path,
    deltas: &[DeltaFile],
    layout: &DeltaFile,
    dir: &Path,
) -> Result<(), DeltaError> {
    let mut carried = BTreeMap::new();
    for delta in deltas {
        let files = delta.files.iter().filter(|(name, _)| *name != INDEX);
        carried.extend(files.map(|(name, file)| (name, (delta, file))));
    }
    if let Some((name, index)) = layout.files.get_key_value(INDEX) {
        carried.insert(name, (layout, index));
    }
    for name in companions(base)? {
        if !carried.contains_key(&name) && !layout.result.files.contains_key(&name) {
            copy(&base.join(&name), &dir.join(&name))?;
        }
    }
    for (name, (delta, file)) in carried {
        write(delta.bytes(file)?, &dir.join(name))?;
    }
    check_whole(dir, layout)
}

/// Checks that a reader of `dir` finds all tensors: the index comes from the delta, and may name anything.
fn check_whole(dir: &Path, layout: &DeltaFile) -> Result<(), DeltaError> {
    let found = match Model::open(dir) {
        Ok(model) if model.tensors == layout.result.tensors => return Ok(()),
        Ok(_) => "leaves out files of weights".to_owned(),
        Err(DeltaError::Folder { found, .. }) => format!("does not fit the files of weights: {found}"),
        Err(error) => return Err(error),
    };
    Err(DeltaError::damaged(&layout.path, &format!("file/{INDEX}"), found))
}

fn copy(from: &Path, to: &Path) -> Result<(), DeltaError> {
    fs::copy(from, to).map_err(DeltaError::io(from, "copy"))?;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(DeltaError::io(to, "sync"))
}

fn write(mut bytes: Bytes, path: &Path) -> Result<(), DeltaError> {
    let mut out = File::create_new(path).map_err(DeltaError::io(path, "create"))?;
    while bytes.left() > 0 {
        out.write_all(&bytes.piece(PIECE)?)
            .map_err(DeltaError::io(path, "write"))?;
    }
    out.sync_all().map_err(DeltaError::io(path, "sync"))
}
