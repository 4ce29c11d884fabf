//! GGUF files: numbers of every type and metadata of every kind against a plain rendering, and hostile headers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

use blockllm_fuzz::{Damage, cases};
use blockllm_tensors::gguf::{GgufFile, Value};
use blockllm_tensors::{StoredTensor, TensorFile, TensorFileError};
use burn::tensor::DType;
use half::{bf16, f16};
use proptest::prelude::*;

/// A file that `fixtures/gguf_reference.py` made.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn tiny() -> GgufFile {
    GgufFile::open(&fixture("tiny.gguf")).unwrap()
}

fn numbers(stored: &StoredTensor, transposed: bool) -> Vec<f32> {
    stored
        .read(DType::F32, transposed)
        .unwrap()
        .iter::<f32>()
        .collect()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn every_type_has_the_numbers_of_a_plain_rendering_to_the_bit() {
    let expected = TensorFile::open(&fixture("tiny.safetensors"))
        .unwrap()
        .into_tensors();
    for (name, expected) in &expected {
        let file = tiny();
        let stored = &file.tensors()[name];
        assert_eq!(stored.shape(), expected.shape(), "{name}");
        let values = numbers(expected, false);
        assert_eq!(bits(&numbers(stored, false)), bits(&values), "{name}");
        if name == "vector" {
            continue;
        }
        assert_eq!(
            bits(&numbers(stored, true)),
            bits(&numbers(expected, true)),
            "{name}"
        );
        let halves = stored.read(DType::BF16, false).unwrap();
        let rounded = values.iter().map(|value| bf16::from_f32(*value).to_f32());
        assert!(halves.iter::<f32>().eq(rounded), "{name}");
        let halves = stored.read(DType::F16, false).unwrap();
        let rounded = values.iter().map(|value| f16::from_f32(*value).to_f32());
        assert!(halves.iter::<f32>().eq(rounded), "{name}");
    }
}

#[test]
fn paired_rows_are_read_half_by_half() {
    // Heads of four rows lie as 0, 2, 1, 3.
    let order = [0, 2, 1, 3, 4, 6, 5, 7];
    for name in ["F32", "Q4_0"] {
        let file = tiny();
        let stored = file.tensors()[name].clone();
        let plain = numbers(&stored, false);
        let paired = stored.with_paired_heads(4);
        let columns = plain.len() / order.len();
        let expected: Vec<f32> = order
            .iter()
            .flat_map(|row| plain[row * columns..][..columns].to_vec())
            .collect();
        assert_eq!(bits(&numbers(&paired, false)), bits(&expected), "{name}");
        let transposed = numbers(&paired, true);
        for (at, value) in transposed.iter().enumerate() {
            let (column, row) = (at / order.len(), at % order.len());
            assert_eq!(value.to_bits(), expected[row * columns + column].to_bits());
        }
    }
    let vector = tiny().tensors()["vector"].clone();
    let plain = numbers(&vector, false);
    let paired = numbers(&vector.with_paired_heads(4), false);
    let expected: Vec<f32> = (0..plain.len())
        .map(|row| plain[row / 8 * 8 + order[row % 8]])
        .collect();
    assert_eq!(bits(&paired), bits(&expected));
}

#[test]
fn metadata_of_every_kind_are_read() {
    let file = tiny();
    let metadata = file.metadata();
    for (key, expected) in [
        ("u8", 200),
        ("i8", -100),
        ("u16", 60_000),
        ("i16", -30_000),
        ("u32", 4_000_000_000),
        ("i32", -2_000_000_000),
        ("u64", 1 << 40),
        ("i64", -(1 << 40)),
    ] {
        assert_eq!(metadata.get(key), Some(&Value::Whole(expected)), "{key}");
    }
    assert_eq!(metadata.get("f32"), Some(&Value::Number(0.5)));
    assert_eq!(metadata.get("f64"), Some(&Value::Number(0.1)));
    assert_eq!(metadata.flag("yes").unwrap(), Some(true));
    assert_eq!(metadata.text("text").unwrap(), Some("Grüße"));
    assert_eq!(metadata.texts("texts").unwrap().unwrap(), ["a", "", "Ġb"]);
    assert_eq!(metadata.wholes("wholes").unwrap(), Some(&[1, -2, 3][..]));
    assert_eq!(metadata.get("numbers"), Some(&Value::Numbers(vec![0.5, -1.5])));
    assert_eq!(metadata.whole("not there").unwrap(), None);
    let message = metadata.whole("i8").unwrap_err().to_string();
    assert!(
        message.contains("`i8` is -100, expected a whole number") && message.contains("tiny.gguf"),
        "{message}"
    );
}

#[test]
fn a_type_that_is_not_read_is_named() {
    let message = tiny().tensors()["K"]
        .read(DType::F32, false)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`K` is stored as IQ4_NL") && message.contains("Q8_0"),
        "{message}"
    );
}

type Damaging = Box<dyn Fn(&mut Header)>;

/// The header of a file with one key and one tensor.
struct Header {
    mark: [u8; 4],
    version: u32,
    tensors: u64,
    keys: u64,
    key_length: u64,
    sides: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl Header {
    fn sound() -> Self {
        Self {
            mark: *b"GGUF",
            version: 3,
            tensors: 1,
            keys: 1,
            key_length: 1,
            sides: vec![32, 2],
            kind: 2,
            offset: 0,
        }
    }

    /// What is said of a file with this header and 36 bytes of numbers behind.
    fn opened(&self) -> Result<(), TensorFileError> {
        let mut bytes = self.mark.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensors.to_le_bytes());
        bytes.extend(self.keys.to_le_bytes());
        bytes.extend(self.key_length.to_le_bytes());
        bytes.push(b'k');
        bytes.extend(7_u32.to_le_bytes());
        bytes.push(1);
        bytes.extend(1_u64.to_le_bytes());
        bytes.push(b't');
        bytes.extend((self.sides.len() as u32).to_le_bytes());
        for side in &self.sides {
            bytes.extend(side.to_le_bytes());
        }
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.offset.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(32) + 36, 0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        fs::write(&path, bytes).unwrap();
        GgufFile::open(&path).map(drop)
    }
}

#[test]
fn lengths_that_the_file_has_no_room_for_are_refused_with_their_place() {
    Header::sound().opened().unwrap();
    let cases: Vec<(&str, Damaging)> = vec![
        (
            "no mark `GGUF`, at byte 4",
            Box::new(|header| header.mark = *b"GGML"),
        ),
        ("version 1", Box::new(|header| header.version = 1)),
        ("version 50331648", Box::new(|header| header.version = 3 << 24)),
        (
            "18446744073709551615 tensors",
            Box::new(|header| header.tensors = u64::MAX),
        ),
        (
            "keys, where there is room for",
            Box::new(|header| header.keys = 1 << 40),
        ),
        (
            "bytes of a key, where there is room",
            Box::new(|header| header.key_length = 1 << 62),
        ),
        (
            "5 sides, where 4 are most",
            Box::new(|header| header.sides = vec![1; 5]),
        ),
        ("in blocks of 32", Box::new(|header| header.sides = vec![31, 2])),
        (
            "beyond the 132 bytes of the file",
            Box::new(|header| header.sides = vec![32, 3]),
        ),
        (
            "beyond the",
            Box::new(|header| header.sides = vec![1 << 40, 1 << 40]),
        ),
        ("beyond the", Box::new(|header| header.offset = u64::MAX)),
        ("beyond the", Box::new(|header| header.offset = 1)),
    ];
    for (expected, damage) in cases {
        let mut header = Header::sound();
        damage(&mut header);
        let message = header.opened().unwrap_err().to_string();
        assert!(
            message.contains(expected) && message.contains("x.gguf") && message.contains("again"),
            "{expected}: {message}"
        );
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_damaged_file_is_read_or_refused(damage in Damage::any(), in_the_header: bool) {
        let whole = fs::read(fixture("tiny.gguf")).unwrap();
        let bytes = if in_the_header {
            let (header, rest) = whole.split_at(700);
            [&damage.of(header), rest].concat()
        } else {
            damage.of(&whole)
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        fs::write(&path, bytes).unwrap();
        if let Ok(file) = GgufFile::open(&path) {
            for stored in file.tensors().values() {
                let _ = stored.read(DType::F32, true);
                let _ = stored.clone().with_paired_heads(4).read(DType::BF16, false);
            }
        }
    }
}
