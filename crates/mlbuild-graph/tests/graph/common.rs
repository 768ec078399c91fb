//! Projects as texts, and graphs and diagnostics as texts.

use std::fmt::Write;

use mlbuild_action::{Diagnostic, Work};
use mlbuild_graph::{Graph, InputSource, Target, resolve};
use mlbuild_manifest::{SourceText, parse};

/// Resolves a project; files without a `mlbuild.toml` among them get an empty one.
pub(crate) fn project(files: &[(String, String)]) -> (Graph, Vec<Diagnostic>) {
    let source = |(path, text): &(String, String)| SourceText {
        path: path.clone(),
        text: text.clone(),
    };
    let (manifest, sql): (Vec<_>, Vec<_>) = files
        .iter()
        .map(source)
        .partition(|file| file.path == "mlbuild.toml");
    let (manifest, mut diagnostics) = parse(&manifest[0], &sql);
    let (graph, more) = resolve(&manifest);
    diagnostics.extend(more);
    (graph, diagnostics)
}

pub(crate) fn render_diagnostics(diagnostics: &[Diagnostic], files: &[(String, String)]) -> String {
    mlbuild_testing::render_diagnostics(diagnostics, |file| {
        let found = files.iter().find(|(path, _)| path == file);
        found.map(|(_, text)| text.as_str())
    })
}

/// Each target with its stages, and each stage with its inputs.
pub(crate) fn render_graph(graph: &Graph) -> String {
    graph.targets().map(render_target).collect()
}

fn render_target(target: &Target) -> String {
    let mut out = format!("{}\n", target.label);
    for stage in &target.stages {
        let name = match &stage.work {
            Work::Ingest(ingest) => format!("ingest {}", ingest.format.as_str()),
            Work::Sql(_) => "sql".to_owned(),
            Work::Command(_) => "command".to_owned(),
            Work::Python(python) => format!("python {}:{}", python.module, python.function),
            Work::Train(train) => format!("train {}", train.architecture),
            Work::Split(split) => format!("split into {}", split.count()),
            Work::Pick(pick) => format!("pick {}", pick.metric),
            Work::Predict(predict) => format!("predict by {}", predict.key.join(", ")),
            Work::Evaluate(evaluate) => format!(
                "evaluate {} by {}",
                evaluate.models.join(", "),
                evaluate.key.join(", ")
            ),
            Work::Check(check) if check.warn_only => format!("check {} (warn)", check.name),
            Work::Check(check) => format!("check {}", check.name),
        };
        let inputs = stage.inputs.iter().map(|input| match &input.from {
            InputSource::Target(label) if label.to_string() == input.name => input.name.clone(),
            InputSource::Target(label) => format!("{}={label}", input.name),
            InputSource::Pinned(pin, label) => format!("{}={label} of pin {pin}", input.name),
            InputSource::Previous => format!("{}=previous", input.name),
            InputSource::Files(files) => format!("{}=[{}]", input.name, files.patterns.join(", ")),
        });
        let inputs = inputs.collect::<Vec<_>>().join(" ");
        writeln!(
            out,
            "{}",
            format!("  {name}: {inputs}").trim_end_matches([' ', ':'])
        )
        .unwrap();
    }
    out
}
