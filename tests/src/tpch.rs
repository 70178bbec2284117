//! TPC-H: the data as Parquet, and the 22 queries.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::arrow::array::RecordBatch;
use tpchgen_arrow::arrow::error::ArrowError;
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

/// The eight tables.
pub const TABLES: [&str; 8] = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

/// Writes all tables at a scale factor as `<table>.parquet`, unless they are there.
///
/// # Errors
/// The disk.
pub fn generate(dir: &Path, scale: f64) -> Result<()> {
    if dir.join("complete").exists() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    for table in TABLES {
        let batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>> = match table {
            "customer" => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))),
            "lineitem" => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))),
            "nation" => Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1))),
            "orders" => Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1))),
            "part" => Box::new(PartArrow::new(PartGenerator::new(scale, 1, 1))),
            "partsupp" => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1))),
            "region" => Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1))),
            _ => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1))),
        };
        let zstd = Compression::ZSTD(ZstdLevel::try_new(1)?);
        let properties =
            WriterProperties::builder().set_compression(zstd).set_max_row_group_row_count(Some(122_880)).build();
        let file = File::create(dir.join(format!("{table}.parquet")))?;
        let mut batches = batches.peekable();
        let Some(Ok(first)) = batches.peek() else { bail!("no rows for {table}") };
        let mut writer = ArrowWriter::try_new(file, first.schema(), Some(properties))?;
        for batch in batches {
            writer.write(&batch?)?;
        }
        writer.close()?;
    }
    File::create(dir.join("complete"))?;
    Ok(())
}

/// How many queries there are.
pub const QUERIES: usize = 22;

/// Query `n`, 1 to 22, with the specification's validation parameters; the texts are those that DuckDB ships.
///
/// # Errors
/// When it is not there.
pub fn query(n: usize) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tpch/q{n:02}.sql"));
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// `name=path` for all tables.
pub fn inputs(dir: &Path) -> Vec<String> {
    TABLES.iter().map(|t| format!("{t}={}", dir.join(format!("{t}.parquet")).display())).collect()
}
