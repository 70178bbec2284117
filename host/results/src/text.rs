//! What of DuckDB's values a form has no place for leaves as text.

use std::fmt::Write;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, make_array};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Int64Type, Schema, TimeUnit, TimestampMillisecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};

const DAY: i64 = 86_400;
/// Days since 1970 of the years 1 to 9999, which everybody writes alike.
const PRINTED: Range<i64> = -719_162..2_932_897;

/// Where in a column an array is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Value,
    /// A map's keys and values.
    Entries,
    Key,
}

/// What JSON cannot hold: keys that are no words, and what is in no plain form.
pub(crate) fn no_json_form(t: &DataType, role: Role) -> bool {
    no_plain_form(t, role) || (role == Role::Key && t != &DataType::Utf8)
}

/// What Parquet cannot hold: structs of nothing, and what is in no plain form.
pub(crate) fn no_parquet_form(t: &DataType, role: Role) -> bool {
    no_plain_form(t, role) || matches!(t, DataType::Struct(fields) if fields.is_empty())
}

/// What neither JSON nor Parquet can hold.
pub(crate) fn no_plain_form(t: &DataType, _: Role) -> bool {
    matches!(t, DataType::Interval(_) | DataType::Union(..) | DataType::Null)
}

/// The batch with what `which` names turned into text, however deep it is.
pub(crate) fn as_text(batch: &RecordBatch, which: impl Fn(&DataType, Role) -> bool) -> Result<RecordBatch, ArrowError> {
    mapped(batch, &|array, role| {
        if !which(array.data_type(), role) {
            return Ok(None);
        }
        let formatter = ArrayFormatter::try_new(array, &FormatOptions::default().with_null("NULL"))?;
        let word = |i| if array.is_null(i) { Ok(None) } else { formatter.value(i).try_to_string().map(Some) };
        Ok(Some(Arc::new((0..array.len()).map(word).collect::<Result<StringArray, _>>()?)))
    })
}

/// The batch with dates and times as text, as DuckDB writes and reads them, where one of them is infinite, before the year 1, after
/// 9999, or 24:00:00.
pub(crate) fn printable_dates(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    mapped(batch, &|array, _| {
        let t = array.data_type();
        if !matches!(t, DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..)) {
            return Ok(None);
        }
        let numbers = arrow::compute::cast(array, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        if numbers.iter().flatten().all(|n| own_word(t, n).is_none()) {
            return Ok(None);
        }
        let formatter = ArrayFormatter::try_new(array, &FormatOptions::default())?;
        let word = |(i, n): (usize, Option<i64>)| match n.map(|n| own_word(t, n)) {
            None => Ok(None),
            Some(None) => formatter.value(i).try_to_string().map(Some),
            Some(own) => Ok(own),
        };
        Ok(Some(Arc::new(numbers.iter().enumerate().map(word).collect::<Result<StringArray, _>>()?)))
    })
}

/// DuckDB's word for a date or a time that others write otherwise, or not at all. Infinity is the largest number, or its negative.
fn own_word(t: &DataType, n: i64) -> Option<String> {
    let (second, largest) = match t {
        DataType::Time64(unit) => return (n == per_second(*unit) * DAY).then(|| "24:00:00".into()),
        DataType::Timestamp(unit, _) => (Some(per_second(*unit)), i64::MAX),
        _ => (None, i64::from(i32::MAX)),
    };
    match n {
        n if n == largest => Some("infinity".into()),
        n if n == -largest => Some("-infinity".into()),
        n if PRINTED.contains(&second.map_or(n, |s| n.div_euclid(s * DAY))) => None,
        n => Some(far(t, n)),
    }
}

/// The batch with timestamps of seconds as ones of milliseconds, the coarsest that Parquet has; infinity stays.
pub(crate) fn without_seconds(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    mapped(batch, &|array, _| {
        let DataType::Timestamp(TimeUnit::Second, zone) = array.data_type() else { return Ok(None) };
        let finer = |n: i64| if n.abs() == i64::MAX { n } else { n.saturating_mul(1000) };
        let finer = array.as_primitive::<TimestampSecondType>().unary::<_, TimestampMillisecondType>(finer);
        Ok(Some(Arc::new(finer.with_timezone_opt(zone.clone()))))
    })
}

const fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A date or a timestamp of any year.
fn far(t: &DataType, n: i64) -> String {
    let DataType::Timestamp(unit, zone) = t else { return civil(n) };
    let second = per_second(*unit);
    let (days, rest) = (n.div_euclid(second * DAY), n.rem_euclid(second * DAY));
    let (clock, fraction) = (rest / second, rest % second);
    let mut text = format!("{} {:02}:{:02}:{:02}", civil(days), clock / 3600, clock / 60 % 60, clock % 60);
    if fraction != 0 {
        let digits = second.ilog10() as usize;
        let _ = write!(text, ".{fraction:0digits$}");
    }
    text + if zone.is_some() { "+00" } else { "" }
}

/// The day of the Gregorian calendar, as if it had always been: eras of 400 years that begin in March, so that a leap day is
/// a year's last.
fn civil(days: i64) -> String {
    const ERA: i64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, wraps) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + wraps;
    if year > 0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{:04}-{month:02}-{day:02} (BC)", 1 - year)
    }
}

/// What an array is to be instead, if anything.
type Map<'a> = &'a dyn Fn(&ArrayRef, Role) -> Result<Option<ArrayRef>, ArrowError>;

fn mapped(batch: &RecordBatch, map: Map<'_>) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (vec![], vec![]);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let column = mapped_array(column, Role::Value, map)?;
        fields.push(typed(field, column.data_type()));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn mapped_array(array: &ArrayRef, role: Role, map: Map<'_>) -> Result<ArrayRef, ArrowError> {
    if let Some(instead) = map(array, role)? {
        return Ok(instead);
    }
    let role_of = |child| match (array.data_type(), role) {
        (DataType::Map(..), _) => Role::Entries,
        (_, Role::Entries) if child == 0 => Role::Key,
        _ => Role::Value,
    };
    if !array.data_type().is_nested() || matches!(array.data_type(), DataType::Union(..)) {
        return Ok(array.clone());
    }
    let data = array.to_data();
    let child = |(i, child): (usize, _)| mapped_array(&make_array(child), role_of(i), map);
    let children = data.child_data().iter().cloned().enumerate().map(child).collect::<Result<Vec<_>, _>>()?;
    let types = children.iter().map(|c| c.data_type());
    let t = match data.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().zip(types).map(|(f, t)| typed(f, t)).collect()),
        other => match children.first() {
            Some(only) => with_child(other, only.data_type()),
            None => return Ok(array.clone()),
        },
    };
    let children = children.iter().map(|c| c.to_data()).collect();
    Ok(make_array(data.into_builder().data_type(t).child_data(children).build()?))
}

fn with_child(parent: &DataType, child: &DataType) -> DataType {
    match parent {
        DataType::List(f) => DataType::List(typed(f, child)),
        DataType::LargeList(f) => DataType::LargeList(typed(f, child)),
        DataType::ListView(f) => DataType::ListView(typed(f, child)),
        DataType::LargeListView(f) => DataType::LargeListView(typed(f, child)),
        DataType::FixedSizeList(f, n) => DataType::FixedSizeList(typed(f, child), *n),
        DataType::Map(f, sorted) => DataType::Map(typed(f, child), *sorted),
        other => other.clone(),
    }
}

/// A field of another type: then without what was said of the former.
fn typed(field: &FieldRef, t: &DataType) -> FieldRef {
    if field.data_type() == t {
        return field.clone();
    }
    Arc::new(Field::new(field.name(), t.clone(), field.is_nullable()))
}

/// Has JSON say as words which numbers are none or without end: it has no numbers for them, and Arrow's encoder writes null.
#[derive(Debug)]
pub(crate) struct NotFinite;

impl EncoderFactory for NotFinite {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        // Without this factory, which would only be asked again.
        static PLAIN: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);
        let word = |n: f64| match n {
            n if n.is_finite() => None,
            n if n.is_nan() => Some("\"NaN\""),
            n => Some(if n > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
        };
        let words: Vec<_> = match array.data_type() {
            DataType::Float32 => {
                array.as_primitive::<Float32Type>().values().iter().map(|n| word((*n).into())).collect()
            }
            DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().map(|n| word(*n)).collect(),
            _ => return Ok(None),
        };
        let numbers = make_encoder(field, array, &PLAIN)?;
        Ok(Some(NullableEncoder::new(Box::new(Numbers { words, numbers }), array.nulls().cloned())))
    }
}

struct Numbers<'a> {
    words: Vec<Option<&'static str>>,
    numbers: NullableEncoder<'a>,
}

impl Encoder for Numbers<'_> {
    fn encode(&mut self, i: usize, out: &mut Vec<u8>) {
        match self.words[i] {
            Some(word) => out.extend_from_slice(word.as_bytes()),
            None => self.numbers.encode(i, out),
        }
    }
}
