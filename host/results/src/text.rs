//! What of DuckDB's values a form has no place for leaves as text.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Types that neither JSON nor Parquet can hold: they leave as text.
pub(crate) fn no_plain_form(t: &DataType) -> bool {
    matches!(t, DataType::Interval(_) | DataType::Union(..) | DataType::Null)
}

/// The batch with columns of dates and timestamps as text where one of them is infinite, as DuckDB has it: the largest
/// number and its negative, for which Arrow's printers have no word. What else they cannot print is out of their years.
pub(crate) fn finite(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
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
pub(crate) fn as_text(batch: &RecordBatch, which: impl Fn(&DataType) -> bool) -> Result<RecordBatch, ArrowError> {
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
