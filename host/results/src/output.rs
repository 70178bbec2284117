//! Results in the form that the user asked for, written as they stream in.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use clap::ValueEnum;
use eider_runner::{Sink, Writing};
use parquet::arrow::ArrowWriter;

/// Rows that a table on a terminal shows.
const TABLE_ROWS: usize = 100;

/// The forms.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub enum OutputFormat {
    /// For eyes: the first 100 rows.
    Table,
    /// Comma separated values with a header.
    Csv,
    /// One JSON object a line.
    Json,
    /// The Arrow IPC stream as the workers committed to it.
    Arrow,
    /// An Apache Parquet file.
    Parquet,
}

/// The result's way out: to standard output, or to a file that appears when it is complete.
pub struct Output {
    form: Form,
    decoder: StreamDecoder,
    /// It could not be read, and what follows cannot either.
    broken: bool,
    file: Option<(PathBuf, PathBuf)>,
}

/// An [`Output`] that the node can write to while we keep it.
#[derive(Clone)]
pub struct SharedOutput(pub Arc<Mutex<Output>>);

impl Sink for SharedOutput {
    fn write(&mut self, bytes: Bytes) -> Writing<'_> {
        let written = match self.0.lock() {
            Ok(mut output) => output.write(&bytes),
            Err(_) => Err(io::ErrorKind::Other.into()),
        };
        Box::pin(std::future::ready(written))
    }
}

type Out = BufWriter<Box<dyn Write + Send>>;

#[expect(clippy::large_enum_variant, reason = "a process has one")]
enum Form {
    Arrow(Out),
    Table {
        out: Out,
        schema: Option<SchemaRef>,
        shown: Vec<RecordBatch>,
        rows: usize,
    },
    /// The writer gives its inner one back only by value.
    Csv(Option<arrow::csv::Writer<Out>>),
    Json(arrow::json::LineDelimitedWriter<Out>),
    /// The writer needs a schema, which comes with the first bytes.
    Parquet {
        out: Option<Out>,
        writer: Option<Box<ArrowWriter<Out>>>,
    },
}

impl Output {
    pub fn open(format: Option<OutputFormat>, path: Option<&Path>) -> Result<Self> {
        let by_name =
            path.and_then(|p| p.extension()).and_then(|e| OutputFormat::from_str(&e.to_string_lossy(), true).ok());
        let default =
            if path.is_none() && io::stdout().is_terminal() { OutputFormat::Table } else { OutputFormat::Csv };
        let format = format.or(by_name).unwrap_or(default);
        let (file, raw): (_, Box<dyn Write + Send>) = match path {
            None => (None, Box::new(io::stdout())),
            Some(path) => {
                let mut part = path.as_os_str().to_owned();
                part.push(".part");
                let part = PathBuf::from(part);
                let file = File::create(&part).with_context(|| format!("output {}", part.display()))?;
                (Some((part, path.to_owned())), Box::new(file))
            }
        };
        let out = BufWriter::with_capacity(256 << 10, raw);
        let form = match format {
            OutputFormat::Arrow => Form::Arrow(out),
            OutputFormat::Table => Form::Table { out, schema: None, shown: vec![], rows: 0 },
            OutputFormat::Csv => Form::Csv(Some(arrow::csv::Writer::new(out))),
            OutputFormat::Json => Form::Json(
                arrow::json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, arrow::json::writer::LineDelimited>(out),
            ),
            OutputFormat::Parquet => Form::Parquet { out: Some(out), writer: None },
        };
        Ok(Self { form, decoder: StreamDecoder::new(), broken: false, file })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Form::Arrow(out) = &mut self.form {
            return out.write_all(bytes);
        }
        if self.broken {
            return Err(no_arrow());
        }
        // What a quorum of liars has agreed on need not be Arrow, and Arrow's reader panics on some of what is not.
        self.broken = true;
        let (decoder, form) = (&mut self.decoder, &mut self.form);
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            let mut buffer = Buffer::from(bytes.to_vec());
            while !buffer.is_empty() {
                if let Some(batch) = decoder.decode(&mut buffer).map_err(of_arrow)? {
                    form.batch(&batch).map_err(of_arrow)?;
                }
            }
            Ok(())
        }));
        decoded.unwrap_or_else(|_| Err(no_arrow()))?;
        self.broken = false;
        Ok(())
    }

    /// Ends the form and puts the file in its place.
    pub fn finish(&mut self) -> Result<()> {
        if self.broken {
            return Err(no_arrow().into());
        }
        let (schema, form) = (self.decoder.schema(), &mut self.form);
        let finished = catch_unwind(AssertUnwindSafe(|| form.finish(schema)));
        finished.unwrap_or_else(|_| Err(no_arrow().into())).context("the result cannot be written")?;
        if let Some((part, path)) = self.file.take() {
            std::fs::rename(&part, &path).with_context(|| format!("output {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.file {
            let _ = std::fs::remove_file(part);
        }
    }
}

fn no_arrow() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the result that the workers agreed on is no Arrow IPC stream")
}

/// Keeps the kind of an I/O error: a closed pipe is no failure.
fn of_arrow(e: ArrowError) -> io::Error {
    match e {
        ArrowError::IoError(_, e) => e,
        e => io::Error::new(io::ErrorKind::InvalidData, e),
    }
}

impl Form {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Arrow(_) => Ok(()),
            Self::Table { schema, shown, rows, .. } => {
                schema.get_or_insert_with(|| batch.schema());
                let kept: usize = shown.iter().map(RecordBatch::num_rows).sum();
                if kept < TABLE_ROWS {
                    shown.push(finite(&batch.slice(0, batch.num_rows().min(TABLE_ROWS - kept)))?);
                }
                *rows += batch.num_rows();
                Ok(())
            }
            Self::Csv(None) => Ok(()),
            Self::Csv(Some(writer)) => writer.write(&as_text(&finite(batch)?, |t| t.is_nested() || no_plain_form(t))?),
            Self::Json(writer) => writer.write(&as_text(&finite(batch)?, no_plain_form)?),
            Self::Parquet { out, writer } => {
                let batch = as_text(batch, no_plain_form)?;
                parquet_writer(out, writer, batch.schema())?.write(&batch)?;
                Ok(())
            }
        }
    }

    fn finish(&mut self, schema: Option<SchemaRef>) -> Result<()> {
        match self {
            Self::Arrow(out) => out.flush()?,
            Self::Table { out, shown, rows, .. } => {
                if let Some(schema) = schema {
                    if shown.is_empty() {
                        shown.push(RecordBatch::new_empty(schema));
                    }
                    let options = FormatOptions::default().with_null("NULL");
                    let table = arrow::util::pretty::pretty_format_batches_with_options(shown, &options)?;
                    writeln!(out, "{table}")?;
                }
                if *rows > TABLE_ROWS {
                    writeln!(out, "{rows} rows, the first {TABLE_ROWS} shown; --format csv gives all")?;
                }
                out.flush()?;
            }
            Self::Csv(writer) => {
                let Some(mut writer) = writer.take() else { return Ok(()) };
                if let Some(schema) = schema {
                    // With no rows, the header is still to be written.
                    writer.write(&as_text(&RecordBatch::new_empty(schema), |t| t.is_nested() || no_plain_form(t))?)?;
                }
                writer.into_inner().flush()?;
            }
            Self::Json(writer) => {
                writer.finish()?;
                writer.get_mut().flush()?;
            }
            Self::Parquet { out, writer } => {
                if let Some(schema) = schema {
                    let empty = as_text(&RecordBatch::new_empty(schema), no_plain_form)?;
                    parquet_writer(out, writer, empty.schema())?;
                }
                if let Some(writer) = writer.take() {
                    writer.into_inner()?.flush()?;
                }
            }
        }
        Ok(())
    }
}

fn parquet_writer<'a>(
    out: &mut Option<Out>,
    writer: &'a mut Option<Box<ArrowWriter<Out>>>,
    schema: SchemaRef,
) -> Result<&'a mut ArrowWriter<Out>, ArrowError> {
    if writer.is_none() {
        let out = out.take().ok_or_else(|| ArrowError::ParquetError("the writer is gone".into()))?;
        let zstd = parquet::basic::Compression::ZSTD(parquet::basic::ZstdLevel::default());
        let properties = parquet::file::properties::WriterProperties::builder().set_compression(zstd).build();
        *writer = Some(Box::new(ArrowWriter::try_new(out, schema, Some(properties))?));
    }
    writer.as_deref_mut().ok_or_else(|| ArrowError::ParquetError("the writer is gone".into()))
}

/// Types that neither JSON nor Parquet can hold: they leave as text.
fn no_plain_form(t: &DataType) -> bool {
    matches!(t, DataType::Interval(_) | DataType::Union(..) | DataType::Null)
}

/// The batch with columns of dates and timestamps as text where one of them is infinite, as DuckDB has it: the largest
/// number and its negative, for which Arrow's printers have no word. What else they cannot print is out of their years.
fn finite(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::default();
    let (mut fields, mut columns) = (vec![], vec![]);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let largest = match field.data_type() {
            DataType::Date32 => i64::from(i32::MAX),
            DataType::Timestamp(..) => i64::MAX,
            _ => 0,
        };
        let numbers = if largest == 0 { None } else { arrow::compute::cast(column, &DataType::Int64).ok() };
        let numbers = numbers.as_ref().map(|n| n.as_primitive::<Int64Type>());
        let Some(numbers) = numbers.filter(|n| n.iter().flatten().any(|v| v == largest || v == -largest)) else {
            fields.push(field.as_ref().clone());
            columns.push(column.clone());
            continue;
        };
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let word = |(i, v): (usize, Option<i64>)| match v {
            None => Ok(None),
            Some(v) if v == largest => Ok(Some("infinity".into())),
            Some(v) if v == -largest => Ok(Some("-infinity".into())),
            Some(_) => formatter.value(i).try_to_string().map(Some),
        };
        let text: StringArray = numbers.iter().enumerate().map(word).collect::<Result<_, _>>()?;
        fields.push(Field::new(field.name(), DataType::Utf8, true));
        columns.push(Arc::new(text) as ArrayRef);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The batch with the columns that `which` names turned into text.
fn as_text(batch: &RecordBatch, which: impl Fn(&DataType) -> bool) -> Result<RecordBatch, ArrowError> {
    if !batch.schema().fields().iter().any(|f| which(f.data_type())) {
        return Ok(batch.clone());
    }
    let options = FormatOptions::default();
    let (mut fields, mut columns) = (vec![], vec![]);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !which(field.data_type()) {
            fields.push(field.as_ref().clone());
            columns.push(column.clone());
            continue;
        }
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let text: StringArray = (0..column.len())
            .map(|i| if column.is_null(i) { Ok(None) } else { formatter.value(i).try_to_string().map(Some) })
            .collect::<Result<_, _>>()?;
        fields.push(Field::new(field.name(), DataType::Utf8, true));
        columns.push(Arc::new(text) as ArrayRef);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
