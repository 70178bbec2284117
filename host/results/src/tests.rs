#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::sync::{Arc, mpsc};

use arrow::array::{Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use eider_runner::Sink;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{Formatter, Output, OutputError, OutputFormat};

/// Three columns of a number, a word and a date, the last of which is infinite; in batches of `rows`.
fn stream(rows: &[usize]) -> Bytes {
    let fields = [("i", DataType::Int64), ("s", DataType::Utf8), ("d", DataType::Date32)];
    let schema = Arc::new(Schema::new(fields.map(|(name, t)| Field::new(name, t, true)).to_vec()));
    let mut writer = StreamWriter::try_new(vec![], &schema).unwrap();
    for &n in rows {
        let numbers = Int64Array::from_iter_values(0..i64::try_from(n).unwrap());
        let words = StringArray::from_iter_values((0..n).map(|i| if i == 0 { "a,b".into() } else { format!("w{i}") }));
        let dates = (0..n).map(|i| if i + 1 == n { i32::MAX } else { 18_321 });
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(numbers), Arc::new(words), Arc::new(Date32Array::from_iter_values(dates))];
        writer.write(&RecordBatch::try_new(schema.clone(), columns).unwrap()).unwrap();
    }
    writer.into_inner().unwrap().into()
}

/// Memory that is written to.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes in pieces of random sizes, as they stream.
fn pieces(mut bytes: Bytes, seed: u64) -> Vec<Bytes> {
    let (mut random, mut pieces) = (StdRng::seed_from_u64(seed), vec![]);
    while !bytes.is_empty() {
        pieces.push(bytes.split_to(random.random_range(1..=700).min(bytes.len())));
    }
    pieces
}

fn formatted(format: OutputFormat, bytes: Bytes) -> io::Result<Vec<u8>> {
    let written = Written::default();
    let mut formatter = Formatter::new(format, Box::new(written.clone()));
    for piece in pieces(bytes, 1) {
        formatter.write(piece)?;
    }
    formatter.finish()?;
    Ok(std::mem::take(&mut *written.0.lock()))
}

#[test]
fn every_form_has_its_shape_however_the_bytes_were_cut() {
    let text = |format, rows: &[usize]| String::from_utf8(formatted(format, stream(rows)).unwrap()).unwrap();
    let csv = "i,s,d\n0,\"a,b\",2020-02-29\n1,w1,infinity\n";
    assert_eq!(text(OutputFormat::Csv, &[2]), csv);
    assert_eq!(text(OutputFormat::Csv, &[]), "i,s,d\n");
    let json = "{\"i\":0,\"s\":\"a,b\",\"d\":\"2020-02-29\"}\n{\"i\":1,\"s\":\"w1\",\"d\":\"infinity\"}\n";
    assert_eq!(text(OutputFormat::Json, &[2]), json);
    let table = text(OutputFormat::Table, &[60, 60]);
    assert!(table.contains("| 59 | w59 | infinity   |") && table.contains("120 rows, the first 100 shown"), "{table}");
    assert_eq!(formatted(OutputFormat::Arrow, stream(&[5, 7])).unwrap(), stream(&[5, 7]));
    let parquet = Bytes::from(formatted(OutputFormat::Parquet, stream(&[5, 700])).unwrap());
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(parquet, 1024).unwrap();
    assert_eq!(reader.map(|b| b.unwrap().num_rows()).sum::<usize>(), 705);
}

#[test]
fn what_a_table_shows_does_nothing_to_a_terminal() {
    let schema = Arc::new(Schema::new(vec![Field::new("\x1b[2J", DataType::Utf8, false)]));
    let mut writer = StreamWriter::try_new(vec![], &schema).unwrap();
    let column = StringArray::from(vec!["\x1b]0;owned\x07", "two\nlines", "\u{202e}drawkcab"]);
    writer.write(&RecordBatch::try_new(schema.clone(), vec![Arc::new(column)]).unwrap()).unwrap();
    let bytes = Bytes::from(writer.into_inner().unwrap());
    let table = String::from_utf8(formatted(OutputFormat::Table, bytes.clone()).unwrap()).unwrap();
    assert!(table.contains("\\u{1b}]0;owned\\u{7}") && table.contains("\\u{202e}drawkcab"), "{table}");
    assert!(table.chars().all(|c| c == '\n' || eider_protocol::is_printable(c)), "{table:?}");
    // Other forms are for programs, and have each value as it is.
    assert!(String::from_utf8(formatted(OutputFormat::Csv, bytes).unwrap()).unwrap().contains("\x1b]0;owned\x07"));
}

#[test]
fn what_liars_agreed_on_is_an_error_and_never_a_panic() {
    let honest = stream(&[3, 9]);
    for format in OutputFormat::ALL {
        for at in 0..honest.len() {
            let mut bytes = honest.to_vec();
            bytes[at] ^= 0x81;
            let _ = formatted(format, bytes.into());
        }
        let mut random = StdRng::seed_from_u64(3);
        let junk: Vec<u8> = (0..2000).map(|_| random.random()).collect();
        let is_decoded = format != OutputFormat::Arrow;
        assert_eq!(formatted(format, junk.into()).is_err(), is_decoded, "{format}");
    }
}

#[tokio::test]
async fn a_file_appears_when_it_is_complete_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.csv");
    let files = || std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect::<Vec<_>>();
    std::fs::write(&path, "older").unwrap();
    let output = Output::to_file(OutputFormat::Csv, &path).unwrap();
    let mut sink = output.sink();
    for piece in pieces(stream(&[2]), 2) {
        sink.write(piece).await.unwrap();
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"older");
    output.finish().await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    assert_eq!(files(), ["out.csv"]);

    let output = Output::to_file(OutputFormat::Csv, &path).unwrap();
    let mut sink = output.sink();
    sink.write(stream(&[2])).await.unwrap();
    drop(output);
    assert_eq!(files(), ["out.csv"], "what was given up was left");
    assert!(sink.write(stream(&[2])).await.is_err());

    // What is no result leaves the older file in its place.
    let output = Output::to_file(OutputFormat::Json, &path).unwrap();
    output.sink().write(Bytes::from_static(&[1; 100])).await.unwrap();
    assert!(matches!(output.finish().await, Err(OutputError::Write(_))));
    assert_eq!((files().len(), std::fs::read_to_string(&path).unwrap().lines().count()), (1, 3));

    for nowhere in [dir.path().join("none/out.csv"), "/".into()] {
        let Err(OutputError::File(path, _)) = Output::to_file(OutputFormat::Csv, &nowhere) else { panic!() };
        assert_eq!(path, nowhere);
    }
}

/// A pipe: each write waits for a word, and fails if there is nobody to say it.
struct Pipe(mpsc::Receiver<()>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_parks_one_thread_and_no_task() {
    let (reader, pipe) = mpsc::channel();
    let output = Output::to_writer(OutputFormat::Arrow, Box::new(Pipe(pipe))).unwrap();
    let mut sink = output.sink();
    let writing = tokio::spawn(async move {
        for _ in 0..40 {
            sink.write(vec![0; 1 << 20].into()).await?;
        }
        io::Result::Ok(())
    });
    // On the runtime's one thread: were it blocked, nothing here would go on.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!writing.is_finished());
    for _ in 0..1000 {
        let _ = reader.send(());
    }
    writing.await.unwrap().unwrap();
    output.finish().await.unwrap();
}

#[tokio::test]
async fn a_reader_that_has_enough_is_told_from_every_other_failure() {
    for format in OutputFormat::ALL {
        let (reader, pipe) = mpsc::channel();
        drop(reader);
        let output = Output::to_writer(format, Box::new(Pipe(pipe))).unwrap();
        let mut sink = output.sink();
        let mut failed = None;
        for piece in pieces(stream(&[100_000]), 4) {
            if let Err(e) = sink.write(piece).await {
                failed = Some(e.kind());
                break;
            }
        }
        assert!(failed.is_none_or(|kind| kind == io::ErrorKind::BrokenPipe), "{format}: {failed:?}");
        let ended = output.finish().await.unwrap_err();
        assert!(ended.is_broken_pipe(), "{format}: {ended}");
    }
}

#[test]
fn forms_go_by_their_names_and_endings() {
    for format in OutputFormat::ALL {
        assert_eq!(format.word().parse(), Ok(format));
        assert_eq!(OutputFormat::of_path(format!("a.b.{}", format.word().to_uppercase()).as_ref()), Some(format));
    }
    assert!("xml".parse::<OutputFormat>().is_err());
    assert_eq!(OutputFormat::of_path("csv".as_ref()), None);
}

#[tokio::test]
async fn two_results_for_one_file_are_never_mixed_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.csv");
    let (long, short) = (stream(&[1000]), stream(&[2]));
    let whole = [&long, &short].map(|bytes| formatted(OutputFormat::Csv, bytes.clone()).unwrap());
    let outputs = [(); 2].map(|()| Output::to_file(OutputFormat::Csv, &path).unwrap());
    for ((output, bytes), whole) in outputs.into_iter().zip([long, short]).zip(whole) {
        output.sink().write(bytes).await.unwrap();
        output.finish().await.unwrap();
        assert!(std::fs::read(&path).unwrap() == whole, "it said that it was written");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_cannot_be_put_in_its_place_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.csv");
    let output = Output::to_file(OutputFormat::Csv, &path).unwrap();
    output.sink().write(stream(&[2])).await.unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(output.finish().await, Err(OutputError::File(..))));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["out.csv"]);
}
