//! The hub's parquet files with columns, types and compressions of other writers.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use blockllm_data::glue::{GlueData, GlueLabel, GlueTask};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
    Int96, Int96Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Values of a column.
#[derive(Clone, Copy)]
pub enum Column<'a> {
    /// Marked as UTF-8.
    Texts(&'a [&'a str]),
    /// Bytes without a mark.
    Bytes(&'a [&'a [u8]]),
    Longs(&'a [i64]),
    /// Of this logical type, such as `INT_8`.
    Ints(&'a str, &'a [i32]),
    /// What some writers call a time.
    Int96s(usize),
    /// Spans of time, at which the library's row reader panics.
    Intervals(usize),
    Bools(&'a [bool]),
}

/// Writes columns as one row group.
pub fn write(path: &Path, columns: &[(&str, Column)], compression: &str) {
    let schema: String = columns
        .iter()
        .map(|(name, column)| match column {
            Column::Texts(_) => format!("required binary {name} (UTF8);"),
            Column::Bytes(_) => format!("required binary {name};"),
            Column::Longs(_) => format!("required int64 {name};"),
            Column::Ints(kind, _) => format!("required int32 {name} ({kind});"),
            Column::Int96s(_) => format!("required int96 {name};"),
            Column::Intervals(_) => format!("required fixed_len_byte_array(12) {name} (INTERVAL);"),
            Column::Bools(_) => format!("required boolean {name};"),
        })
        .collect();
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {schema} }}")).unwrap());
    let compression = match compression {
        "zstd" => Compression::ZSTD(ZstdLevel::default()),
        "gzip" => Compression::GZIP(GzipLevel::default()),
        "brotli" => Compression::BROTLI(BrotliLevel::default()),
        "lz4" => Compression::LZ4_RAW,
        "snappy" => Compression::SNAPPY,
        _ => Compression::UNCOMPRESSED,
    };
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, column) in columns {
        let mut out = group.next_column().unwrap().unwrap();
        let written = match column {
            Column::Texts(texts) => {
                let values: Vec<ByteArray> = texts.iter().map(|&text| text.into()).collect();
                out.typed::<ByteArrayType>().write_batch(&values, None, None)
            }
            Column::Bytes(all) => {
                let values: Vec<ByteArray> = all.iter().map(|&bytes| bytes.to_vec().into()).collect();
                out.typed::<ByteArrayType>().write_batch(&values, None, None)
            }
            Column::Longs(values) => out.typed::<Int64Type>().write_batch(values, None, None),
            Column::Ints(_, values) => out.typed::<Int32Type>().write_batch(values, None, None),
            Column::Int96s(count) => {
                out.typed::<Int96Type>()
                    .write_batch(&vec![Int96::new(); *count], None, None)
            }
            Column::Intervals(count) => {
                let values = vec![FixedLenByteArray::from(vec![0; 12]); *count];
                out.typed::<FixedLenByteArrayType>()
                    .write_batch(&values, None, None)
            }
            Column::Bools(values) => out.typed::<BoolType>().write_batch(values, None, None),
        };
        written.unwrap();
        out.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

/// RTE with these labels, further columns and compression.
fn rte(label: Column, more: &[(&str, Column)], compression: &str) -> Result<GlueData, String> {
    let dir = tempfile::tempdir().unwrap();
    let texts = [
        ("sentence1", Column::Texts(&["A", "C"])),
        ("sentence2", Column::Bytes(&[b"B", b"\xc3\xa4"])),
    ];
    let columns = [more, &texts, &[("label", label)]].concat();
    for split in ["train", "validation"] {
        write(
            &dir.path().join(format!("rte/{split}-0-of-1.parquet")),
            &columns,
            compression,
        );
    }
    GlueData::open(dir.path(), GlueTask::Rte).map_err(|error| error.to_string())
}

fn labels(data: &GlueData) -> Vec<GlueLabel> {
    data.train.iter().map(|example| example.label.unwrap()).collect()
}

const EXPECTED: [GlueLabel; 2] = [GlueLabel::Class(1), GlueLabel::Class(0)];

#[test]
fn labels_may_be_integers_of_any_width() {
    for kind in ["INT_8", "UINT_8", "INT_16", "UINT_16", "INT_32", "UINT_32"] {
        let data = rte(Column::Ints(kind, &[1, 0]), &[], "").unwrap();
        assert_eq!(labels(&data), EXPECTED, "{kind}");
        assert_eq!(data.train[1].pair.as_deref(), Some("ä"));
    }
}

#[test]
fn every_usual_compression_is_read() {
    for compression in ["zstd", "gzip", "brotli", "lz4", "snappy"] {
        let data = rte(Column::Longs(&[1, 0]), &[], compression).unwrap();
        assert_eq!(labels(&data), EXPECTED, "{compression}");
    }
}

#[test]
fn columns_that_are_not_needed_are_not_read() {
    let more = [
        ("span", Column::Intervals(2)),
        ("when", Column::Int96s(2)),
        ("bytes", Column::Bytes(&[b"\xff", b"\xfe"])),
    ];
    assert_eq!(labels(&rte(Column::Longs(&[1, 0]), &more, "").unwrap()), EXPECTED);
}

#[test]
fn a_column_of_another_type_than_its_values_should_have_is_named() {
    let error = rte(Column::Bools(&[true, false]), &[], "").unwrap_err();
    assert!(
        error.contains("line 1") && error.contains("found true"),
        "{error}"
    );
    let error = rte(Column::Int96s(2), &[], "").unwrap_err();
    assert!(error.contains("line 1"), "{error}");
    let error = rte(Column::Intervals(2), &[], "").unwrap_err();
    assert!(error.contains("train-0-of-1.parquet"), "{error}");
}
