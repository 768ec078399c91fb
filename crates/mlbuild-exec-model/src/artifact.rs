//! A model's folder: `model.json`, `catalog.parquet`, `model.safetensors` (`spec/model.md`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use mlbuild_action::{Cancel, Failure, Value};
use mlbuild_table::TableWriter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::io_failure;
use crate::sequences::read_catalog_column;
use crate::tensors::broken;

/// The file with what the model is.
const MODEL: &str = "model.json";
/// The file with its weights or counts.
pub(crate) const WEIGHTS: &str = "model.safetensors";
const CATALOG: &str = "catalog.parquet";
const CATALOG_COLUMN: &str = "item_id";

/// What a model is, besides its weights.
pub(crate) struct Model {
    /// Its architecture's name.
    pub(crate) architecture: String,
    /// Every parameter.
    pub(crate) params: BTreeMap<String, Value>,
    /// What trained it: `native 2`.
    pub(crate) library: String,
    /// The column of the training table with sequences.
    pub(crate) sequence: String,
    /// The column with the item to predict.
    pub(crate) label: String,
    /// Final figures by name.
    pub(crate) metrics: BTreeMap<String, f64>,
    /// Figures of each epoch, in order.
    pub(crate) curve: Vec<BTreeMap<String, f64>>,
    /// Its items.
    pub(crate) catalog: Catalog,
}

/// Writes everything but the weights.
pub(crate) fn write(folder: &Path, model: &Model) -> Result<(), Failure> {
    write_json(folder, &wire::Model::from(model))?;
    let items = model.catalog.items();
    let field = Field::new(CATALOG_COLUMN, items.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let mut writer = TableWriter::create(&folder.join(CATALOG), &schema)?;
    let batch = RecordBatch::try_new(schema, vec![items]).expect("the schema is the column's");
    writer.write(&batch)?;
    writer.finish(&[])?;
    Ok(())
}

/// Reads everything but the weights.
pub(crate) fn read(folder: &Path, cancel: &Cancel) -> Result<Model, Failure> {
    let model: wire::Model = read_json(folder, wire::FORMAT, "this version reads")?;
    let path = folder.join(CATALOG);
    let catalog = read_catalog_column("the model's catalog", &path, CATALOG_COLUMN, cancel)?;
    if catalog.len() as u64 != model.items {
        let (items, rows) = (model.items, catalog.len());
        return Err(broken(
            MODEL_JSON,
            format!("says {items} items, the catalog has {rows}"),
        ));
    }
    Ok(model.into_model(catalog))
}

/// `model.json` in words.
const MODEL_JSON: &str = "`model.json`";

/// Writes `model.json`, of any format.
pub(crate) fn write_json(folder: &Path, model: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(model).expect("the model has string keys");
    text.push('\n');
    fs::write(folder.join(MODEL), text).map_err(|e| io_failure("write `model.json`", &e))
}

/// Reads `model.json` if it has the format `wanted`, and else says of that one that it is `which`.
pub(crate) fn read_json<M: DeserializeOwned>(
    folder: &Path,
    wanted: u32,
    which: &str,
) -> Result<M, Failure> {
    /// What every version of the file has.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let text = fs::read(folder.join(MODEL)).map_err(|e| io_failure("read `model.json`", &e))?;
    let unreadable = |e: serde_json::Error| broken(MODEL_JSON, format!("cannot be read: {e}"));
    let Format { format } = serde_json::from_slice(&text).map_err(unreadable)?;
    if format != wanted {
        let why = format!("has format {format}; {which} {wanted}");
        return Err(broken(MODEL_JSON, why));
    }
    serde_json::from_slice(&text).map_err(unreadable)
}

/// `model.json`, format 1.
mod wire {
    use std::collections::BTreeMap;

    use mlbuild_action::Value;
    use mlbuild_worker_protocol::ParamValue;
    use serde::{Deserialize, Serialize};

    use crate::catalog::Catalog;
    use crate::worker::{from_param, to_param};

    pub(super) const FORMAT: u32 = 1;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Model {
        format: u32,
        architecture: String,
        params: BTreeMap<String, ParamValue>,
        library: String,
        pub(super) items: u64,
        item_type: String,
        sequence: String,
        label: String,
        metrics: BTreeMap<String, f64>,
        curve: Vec<BTreeMap<String, f64>>,
    }

    impl From<&super::Model> for Model {
        fn from(model: &super::Model) -> Self {
            let params = model.params.iter();
            Self {
                format: FORMAT,
                architecture: model.architecture.clone(),
                params: params
                    .map(|(name, value)| (name.clone(), to_param(value)))
                    .collect(),
                library: model.library.clone(),
                items: model.catalog.len() as u64,
                item_type: model.catalog.item_type().as_str().to_owned(),
                sequence: model.sequence.clone(),
                label: model.label.clone(),
                metrics: model.metrics.clone(),
                curve: model.curve.clone(),
            }
        }
    }

    impl Model {
        pub(super) fn into_model(self, catalog: Catalog) -> super::Model {
            let params: BTreeMap<String, Value> = self
                .params
                .into_iter()
                .map(|(name, value)| (name, from_param(value)))
                .collect();
            super::Model {
                architecture: self.architecture,
                params,
                library: self.library,
                sequence: self.sequence,
                label: self.label,
                metrics: self.metrics,
                curve: self.curve,
                catalog,
            }
        }
    }
}
