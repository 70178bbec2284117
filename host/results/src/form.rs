//! Each form's writer.

use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use eider_protocol::printable_lines;
use parquet::arrow::ArrowWriter;

use crate::OutputFormat;
use crate::text::{
    NotFinite, Role, as_text, no_json_form, no_parquet_form, no_plain_form, printable_dates, without_seconds,
};

/// Rows that a table on a terminal shows.
const TABLE_ROWS: usize = 100;

/// Where the bytes of a form go.
pub(crate) type Out = BufWriter<Box<dyn Write + Send>>;

#[expect(clippy::large_enum_variant, reason = "there is one for a result")]
pub(crate) enum Form {
    /// The stream passes through as it is.
    Arrow(Out),
    Table {
        out: Out,
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

impl Form {
    pub(crate) fn new(format: OutputFormat, out: Out) -> Self {
        match format {
            OutputFormat::Arrow => Self::Arrow(out),
            OutputFormat::Table => Self::Table { out, shown: vec![], rows: 0 },
            OutputFormat::Csv => Self::Csv(Some(arrow::csv::Writer::new(out))),
            OutputFormat::Json => Self::Json(
                arrow::json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .with_encoder_factory(Arc::new(NotFinite))
                    .build::<_, arrow::json::writer::LineDelimited>(out),
            ),
            OutputFormat::Parquet => Self::Parquet { out: Some(out), writer: None },
        }
    }

    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Arrow(_) | Self::Csv(None) => Ok(()),
            Self::Table { shown, rows, .. } => {
                let kept: usize = shown.iter().map(RecordBatch::num_rows).sum();
                if kept < TABLE_ROWS {
                    shown.push(printable_dates(&batch.slice(0, batch.num_rows().min(TABLE_ROWS - kept)))?);
                }
                *rows += batch.num_rows();
                Ok(())
            }
            Self::Csv(Some(writer)) => writer.write(&as_text(&printable_dates(batch)?, no_csv_form)?),
            Self::Json(writer) => writer.write(&as_text(&printable_dates(batch)?, no_json_form)?),
            Self::Parquet { out, writer } => {
                let batch = without_seconds(&as_text(batch, no_parquet_form)?)?;
                parquet_writer(out, writer, batch.schema())?.write(&batch)?;
                Ok(())
            }
        }
    }

    /// What comes last; `schema` is that of the stream, if there was one.
    pub(crate) fn finish(&mut self, schema: Option<SchemaRef>) -> Result<(), ArrowError> {
        match self {
            Self::Arrow(out) => out.flush()?,
            Self::Table { out, shown, rows } => {
                if let Some(schema) = schema {
                    if shown.is_empty() {
                        shown.push(RecordBatch::new_empty(schema));
                    }
                    let options = FormatOptions::default().with_null("NULL");
                    let table = arrow::util::pretty::pretty_format_batches_with_options(shown, &options)?;
                    // It goes to a terminal, and values may be anything.
                    writeln!(out, "{}", printable_lines(&table.to_string(), usize::MAX))?;
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
                    writer.write(&as_text(&RecordBatch::new_empty(schema), no_csv_form)?)?;
                }
                writer.into_inner().flush()?;
            }
            Self::Json(writer) => {
                writer.finish()?;
                writer.get_mut().flush()?;
            }
            Self::Parquet { out, writer } => {
                if let Some(schema) = schema {
                    let empty = without_seconds(&as_text(&RecordBatch::new_empty(schema), no_parquet_form)?)?;
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

fn no_csv_form(t: &DataType, role: Role) -> bool {
    t.is_nested() || no_plain_form(t, role)
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
