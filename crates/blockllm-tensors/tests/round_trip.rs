//! Tensors of every form through a file and back, larger than a piece and smaller, and what other readers see of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use blockllm_tensors::{HeldTensor, TensorFile, TensorFileError, digest, write_tensors};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use std::path::Path;

fn matrix([rows, columns]: [usize; 2], dtype: DType) -> Tensor<2> {
    let numbers: Vec<f32> = (0..rows * columns)
        .map(|i| (i % 8_191) as f32 * 0.25 - 900.0)
        .collect();
    Tensor::from_data(
        TensorData::new(numbers, [rows, columns]),
        (&Device::flex(), dtype),
    )
}

fn written(path: &Path, tensor: HeldTensor) -> TensorFile {
    let written = write_tensors(path, &[("x".to_owned(), tensor)], None).unwrap();
    assert_eq!(written.bytes, std::fs::metadata(path).unwrap().len());
    TensorFile::open(path).unwrap()
}

#[test]
fn a_matrix_comes_back_as_it_was_by_rows_and_by_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    // One row and one column, a band that does not divide, rows longer than a piece.
    for shape in [[1, 1], [1, 7], [7, 1], [45, 70], [3, 1_500_001], [1_500_001, 3]] {
        for dtype in [DType::F32, DType::BF16] {
            let values = matrix(shape, dtype);
            let expected = values.clone().into_data();
            let stored = &written(&path, HeldTensor::float(values.clone())).into_tensors()["x"];
            assert_eq!(stored.shape(), shape);
            assert_eq!(
                stored.read(dtype, false).unwrap(),
                expected,
                "{shape:?} {dtype:?}"
            );

            let stored = &written(&path, HeldTensor::transposed(values)).into_tensors()["x"];
            assert_eq!(stored.shape(), [shape[1], shape[0]]);
            assert_eq!(stored.read(dtype, true).unwrap(), expected, "{shape:?} {dtype:?}");
        }
    }
}

#[test]
fn another_reader_sees_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let tensors = [
        ("float".to_owned(), HeldTensor::float(matrix([2, 3], DType::F32))),
        (
            "half".to_owned(),
            HeldTensor::float(matrix([2, 3], DType::F32)).in_format(DType::BF16),
        ),
        (
            "columns".to_owned(),
            HeldTensor::transposed(matrix([2, 3], DType::F32)),
        ),
        (
            "whole".to_owned(),
            HeldTensor::ints(Tensor::<1, Int>::from_data(
                [7, -1],
                (&Device::flex(), DType::I32),
            )),
        ),
    ];
    write_tensors(&path, &tensors, Some(("format", "pt"))).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let float = |name: &str| -> Vec<f32> {
        let (four, _) = file.tensor(name).unwrap().data().as_chunks::<4>();
        four.iter().map(|four| f32::from_le_bytes(*four)).collect()
    };
    assert_eq!(
        float("float"),
        [-900.0, -899.75, -899.5, -899.25, -899.0, -898.75]
    );
    assert_eq!(
        float("columns"),
        [-900.0, -899.25, -899.75, -899.0, -899.5, -898.75]
    );
    assert_eq!(file.tensor("half").unwrap().shape(), [2, 3]);
    assert_eq!(file.tensor("half").unwrap().data().len(), 12);
    assert_eq!(
        file.tensor("whole").unwrap().data(),
        [7, 0, 0, 0, 255, 255, 255, 255]
    );
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn a_digest_is_that_of_the_numbers_as_they_are_written() {
    let held = HeldTensor::float(matrix([5, 7], DType::F32));
    let columns = HeldTensor::transposed(matrix([5, 7], DType::F32));
    let host = HeldTensor::from(matrix([5, 7], DType::F32).into_data());
    let of = |tensor: &HeldTensor| digest("x", tensor).unwrap();
    assert_eq!(of(&held), of(&host));
    assert_ne!(of(&held), of(&columns));
    assert_ne!(of(&held), of(&held.clone().in_format(DType::BF16)));
}

#[test]
fn what_cannot_be_read_or_written_is_told_with_file_and_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let stored = &written(&path, HeldTensor::float(matrix([2, 2], DType::F32))).into_tensors()["x"];
    let error = stored.read(DType::I32, false).unwrap_err();
    assert!(matches!(error, TensorFileError::Dtype { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("x.safetensors") && text.contains("`x`") && text.contains("F32"),
        "{text}"
    );

    let ints = Tensor::<1, Int>::from_data([1_i64], (&Device::flex(), DType::I64));
    let tensors = [("wide".to_owned(), HeldTensor::ints(ints))];
    let text = write_tensors(&path, &tensors, None).unwrap_err().to_string();
    assert!(text.contains("`wide`") && text.contains("I64"), "{text}");
    // The file that was there is still whole.
    TensorFile::open(&path).unwrap();
}
