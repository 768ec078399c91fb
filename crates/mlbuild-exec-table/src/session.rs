//! One DataFusion session a request, configured by the request and by nothing of the machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::common::TableReference;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::parquet::transform_schema_to_view;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use mlbuild_action::{Failure, Request};
use mlbuild_table::parse_type;

use crate::{aggregate, failure};

/// Rows a batch. Part of the epoch: it decides the pages of a Parquet file.
pub(crate) const BATCH_ROWS: usize = 8192;

/// The name of a table's only file.
pub(crate) const TABLE_FILE: &str = "table.parquet";

/// How joins are run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Joins {
    /// By hash: fast, but one side must fit into memory.
    Hash,
    /// By sorting both sides, which spills.
    Merge,
}

/// A session with the request's memory and scratch folder, of one partition, and no tables.
pub(crate) fn open(request: &Request<'_>, joins: Joins) -> Result<SessionContext, Failure> {
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![
            request.scratch.to_owned(),
        ]))
        .with_max_temp_directory_size(u64::MAX);
    context(joins, memory(request), disk)
}

/// A session to plan in, not to run anything.
pub(crate) fn without_data() -> Result<SessionContext, Failure> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    context(Joins::Hash, 1 << 20, disk)
}

fn context(
    joins: Joins,
    memory: usize,
    disk: DiskManagerBuilder,
) -> Result<SessionContext, Failure> {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_default_catalog_and_schema("mlbuild", "main")
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.execution.planning_concurrency = 1;
    options.execution.sort_spill_reservation_bytes = sort_reservation(memory, 1);
    options.optimizer.prefer_hash_join = joins == Joins::Hash;
    // They skip what the statistics of a file put beyond the extreme so far: NaN, of which those know nothing, as well.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;

    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
        .with_disk_manager_builder(disk)
        .build_arc()
        .map_err(|error| failure::run_time(&error))?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    aggregate::register(&context);
    let catalog = MemoryCatalogProvider::new();
    catalog
        .register_schema("main", Arc::new(MemorySchemaProvider::new()))
        .map_err(|error| failure::run_time(&error))?;
    context.register_catalog("mlbuild", Arc::new(catalog));
    Ok(context)
}

/// Lets queries of the session run in so many partitions.
pub(crate) fn cut(context: &SessionContext, request: &Request<'_>, partitions: usize) {
    let state = context.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    options.execution.target_partitions = partitions;
    options.execution.sort_spill_reservation_bytes = sort_reservation(memory(request), partitions);
    // Which rows of one side are skipped would depend on how far the other one is.
    options.optimizer.enable_join_dynamic_filter_pushdown = partitions == 1;
}

fn memory(request: &Request<'_>) -> usize {
    usize::try_from(request.memory_bytes)
        .unwrap_or(usize::MAX)
        .max(1 << 20)
}

/// What each sort keeps back for its merge: no more than the pool can spare.
fn sort_reservation(memory: usize, partitions: usize) -> usize {
    (memory / 8 / partitions).min(10 << 20)
}

/// A table that queries of a session can read.
#[derive(Clone, Debug)]
pub(crate) struct InputTable {
    /// Its label: `data:sessions`.
    pub(crate) label: String,
    /// Its columns.
    pub(crate) schema: SchemaRef,
}

/// Registers every input that is a table under its label: `data:sessions` as `data.sessions`, a plain name in the
/// default schema.
pub(crate) async fn register_inputs(
    context: &SessionContext,
    request: &Request<'_>,
) -> Result<Vec<InputTable>, Failure> {
    let mut tables = Vec::new();
    for (label, input) in request.inputs {
        let schema = register(context, label, &input.path.join(TABLE_FILE)).await?;
        tables.push(InputTable {
            label: label.clone(),
            schema,
        });
    }
    Ok(tables)
}

/// Registers one Parquet file under a label, and says what columns it has.
pub(crate) async fn register(
    context: &SessionContext,
    label: &str,
    file: &Path,
) -> Result<SchemaRef, Failure> {
    let run_time = |error: DataFusionError| failure::run_time(&error);
    let reference = reference(context, label).map_err(run_time)?;
    let path = file_url(file)?;
    context
        .register_parquet(reference.clone(), path, ParquetReadOptions::default())
        .await
        .map_err(run_time)?;
    let provider = context.table_provider(reference).await.map_err(run_time)?;
    Ok(Arc::new(Schema::clone(&provider.schema())))
}

/// Registers empty tables of these schemas under their labels, as [`register_inputs`] would register full ones.
pub(crate) fn register_schemas(
    context: &SessionContext,
    inputs: &BTreeMap<String, mlbuild_action::Schema>,
) -> Result<Vec<InputTable>, Failure> {
    let mut tables = Vec::new();
    for (label, schema) in inputs {
        let fields = schema.columns.iter().map(|field| {
            let data_type = parse_type(&field.data_type)
                .expect("a table's columns have canonical types, whose names all parse");
            Field::new(&field.name, data_type, true)
        });
        // As the Parquet reader presents them.
        let schema = Arc::new(transform_schema_to_view(&Schema::new(
            fields.collect::<Vec<_>>(),
        )));
        reference(context, label)
            .and_then(|reference| {
                context.register_table(reference, Arc::new(EmptyTable::new(schema.clone())))
            })
            .map_err(|error| failure::run_time(&error))?;
        tables.push(InputTable {
            label: label.clone(),
            schema,
        });
    }
    Ok(tables)
}

/// What a label is called in queries: `data:sessions` is `data.sessions`, a plain name is in the default schema, `main`.
fn reference(context: &SessionContext, label: &str) -> Result<TableReference, DataFusionError> {
    let (schema, table) = label.split_once(':').unwrap_or(("main", label));
    let catalog = context.catalog("mlbuild").expect("`context` registered it");
    if catalog.schema(schema).is_none() {
        catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
    }
    Ok(TableReference::partial(schema.to_owned(), table.to_owned()))
}

/// The label of what a query calls `table`.
pub(crate) fn label_of(table: &TableReference) -> String {
    match table.schema() {
        None | Some("main") => table.table().to_owned(),
        Some(schema) => format!("{schema}:{}", table.table()),
    }
}

/// A path as a URL, so that DataFusion takes no character of it for a wildcard.
fn file_url(file: &Path) -> Result<String, Failure> {
    let path = file
        .to_str()
        .ok_or_else(|| failure::environment("cannot read a table", &"its path is not UTF-8"))?;
    let mut url = "file://".to_owned();
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                url.push(char::from(byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(url)
}
