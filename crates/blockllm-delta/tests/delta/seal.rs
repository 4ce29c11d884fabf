//! The hashes of a delta that a test has changed, made again, so that what is checked behind them is reached too.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The JSON header of a safetensors file and the bytes behind it, if it has a header.
fn parts(file: &[u8]) -> Option<(Value, &[u8])> {
    let length = u64::from_le_bytes(file.get(..8)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    let header = serde_json::from_slice(file.get(8..end)?).ok()?;
    Some((header, &file[end..]))
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// `file` with the hashes that its entries and its header have now; as it is where it has no header with notes.
pub fn sealed(file: &[u8]) -> Vec<u8> {
    let Some((mut header, data)) = parts(file) else {
        return file.to_vec();
    };
    let entries = header.as_object().cloned().unwrap_or_default();
    let Some(Value::Object(notes)) = header.get_mut("__metadata__") else {
        return file.to_vec();
    };
    for (name, info) in &entries {
        let offset = |place: usize| usize::try_from(info["data_offsets"][place].as_u64()?).ok();
        if let (Some(start), Some(end)) = (offset(0), offset(1))
            && let Some(bytes) = data.get(start..end)
        {
            notes.insert(format!("sha256/{name}"), sha256(bytes).into());
        }
    }
    notes.insert("header_sha256".to_owned(), "0".repeat(64).into());
    let own = sha256(header.to_string().as_bytes());
    header["__metadata__"]["header_sha256"] = own.into();
    let json = header.to_string().into_bytes();
    [&(json.len() as u64).to_le_bytes(), json.as_slice(), data].concat()
}
