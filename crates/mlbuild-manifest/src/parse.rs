//! The whole manifest: TOML, the project, and which targets there are.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::ops::Range;

use mlbuild_action::{Diagnostic, SourceSpan};
use toml::de::{DeTable, DeValue};

use crate::definition::{Made, Target, definition};
use crate::reader::{Reader, Section};
use crate::variant::{self, Declared, Variant};
use crate::{
    Declaration, Definition, Kind, Label, Manifest, Project, Resources, Rule, Sandbox, SourceText,
    Spanned, checks, keys, list, nearest, quantity,
};

/// Name of the manifest, in the project's root.
pub const MANIFEST_FILE: &str = "mlbuild.toml";

/// Folders whose `*.sql` files are targets: each file directly in one of them, named by its stem.
pub const SQL_FOLDERS: [&str; 2] = ["data", "features"];

/// Reads a manifest, given with the SQL files found in [`SQL_FOLDERS`], in any order.
///
/// Returns what could be understood and every mistake, in the order of the text. After a TOML syntax error nothing is
/// reported but syntax errors, and the manifest is empty: what follows one can only be guessed.
///
/// ```
/// use mlbuild_manifest::{SourceText, parse};
///
/// let text = "[project]\nname = \"recs\"\n[data.events]\npath = \"raw/*.csv\"\n";
/// let file = SourceText { path: "mlbuild.toml".into(), text: text.into() };
/// let (manifest, diagnostics) = parse(&file, &[]);
/// assert!(diagnostics.is_empty());
/// assert_eq!(manifest.targets[0].label.to_string(), "data:events");
/// ```
pub fn parse(manifest: &SourceText, sql: &[SourceText]) -> (Manifest, Vec<Diagnostic>) {
    parse_variant(manifest, sql, &Variant::default())
}

/// Reads what `variant` makes of a manifest, as [`parse`] does.
///
/// Mistakes are reported of every profile, whichever is asked for.
pub fn parse_variant(
    manifest: &SourceText,
    sql: &[SourceText],
    variant: &Variant,
) -> (Manifest, Vec<Diagnostic>) {
    let mut reader = Reader::new(manifest);
    let (document, errors) = DeTable::parse_recoverable(&manifest.text);
    if syntax(&mut reader, &errors) {
        return (Manifest::of(manifest), reader.diagnostics);
    }
    let mut base = document.into_inner();
    let profiles = base.remove("profile");
    let files = sql_files(&mut reader, sql);
    let declared = Declared {
        entered: variant::entered(&base),
        files: &files,
    };
    let profiles = variant::profiles(&mut reader, profiles, &declared);
    let names: Vec<String> = profiles
        .iter()
        .map(|profile| profile.name.clone())
        .collect();
    reader
        .diagnostics
        .extend(variant.expect_profile(&names).err());
    let documents = variant::documents(&variant.params, manifest.text.len());
    let given = variant::given(&mut reader, &variant.params, &documents, &declared);
    let mut diagnostics = reader.diagnostics;
    let mut chosen = None;
    for profile in iter::once(None).chain(profiles.iter().map(Some)) {
        let is_chosen = profile.map(|profile| &profile.name) == variant.profile.as_ref();
        let mut files = files.clone();
        let mut table = Cow::Borrowed(&base);
        if let Some(profile) = profile {
            profile.lay(table.to_mut(), &mut files);
        }
        for overlay in given.iter().filter(|_| is_chosen) {
            variant::lay(table.to_mut(), overlay, &mut files);
        }
        let (read, found) = read(manifest, &table, &files, &declared.entered);
        let new: Vec<_> = found
            .into_iter()
            .filter(|found| !diagnostics.contains(found))
            .collect();
        diagnostics.extend(new.into_iter().map(|found| match profile {
            Some(profile) => profile.name_in(found),
            None => found,
        }));
        if is_chosen || chosen.is_none() {
            chosen = Some(read);
        }
    }
    let mut chosen = chosen.expect("the manifest without a profile is always read");
    chosen.profiles = names;
    // The manifest comes first, then the SQL files.
    diagnostics.sort_by_key(|diagnostic| {
        let span = diagnostic.spans.first()?;
        let other = (span.file != manifest.path).then(|| span.file.clone());
        Some((other, span.range.start))
    });
    chosen.relocate(&mut diagnostics);
    (chosen, diagnostics)
}

/// Reads the manifest as it is with all overlays; `entered` are the targets that have an entry without them.
fn read(
    manifest: &SourceText,
    table: &DeTable<'_>,
    sql_files: &BTreeMap<Label, &SourceText>,
    entered: &BTreeSet<Label>,
) -> (Manifest, Vec<Diagnostic>) {
    let mut reader = Reader::new(manifest);
    let mut result = Manifest::of(manifest);
    let root = Section {
        name: "the manifest".to_owned(),
        table,
        range: 0..0,
    };
    result.project = project(&mut reader, &root);
    let mut seen = BTreeSet::new();
    for (key, _) in root.entries() {
        if key.value == "project" {
            continue;
        }
        let Some(kind) = known_kind(&mut reader, &key) else {
            continue;
        };
        let Some(kind_section) = reader.table(&root, &key.value) else {
            continue;
        };
        for (name, value) in kind_section.entries() {
            let Some(label) = target_label(&mut reader, kind, &name) else {
                continue;
            };
            seen.insert(label.clone());
            let DeValue::Table(table) = value.get_ref() else {
                reader.wrong_type(&name.value, value, "a table");
                result.broken.insert(label);
                continue;
            };
            let section = Section {
                name: format!("`{label}`"),
                table,
                range: name.range.clone(),
            };
            let target = Target {
                label: &label,
                section: &section,
                sql_file: sql_files.get(&label).copied(),
                project: &result.project.name,
            };
            let declarations = match (entered.contains(&label), target.sql_file) {
                (false, Some(file)) => without_entry(&mut reader, &target, file),
                _ => declaration(&mut reader, &target),
            };
            match declarations {
                Some(declarations) => result.targets.extend(declarations),
                None => {
                    result.broken.insert(label);
                }
            }
        }
    }
    let empty = DeTable::default();
    for (label, file) in sql_files {
        if seen.contains(label) {
            continue;
        }
        let section = Section {
            name: format!("`{label}`"),
            table: &empty,
            range: 0..0,
        };
        let target = Target {
            label,
            section: &section,
            sql_file: Some(file),
            project: &result.project.name,
        };
        let declarations = without_entry(&mut reader, &target, file);
        result.targets.extend(declarations.into_iter().flatten());
    }
    result.targets.sort_by(|a, b| a.label.cmp(&b.label));
    (result, reader.diagnostics)
}

/// Reports TOML errors; true if what was read cannot be relied on.
fn syntax(reader: &mut Reader<'_>, errors: &[toml::de::Error]) -> bool {
    let mut unreliable = false;
    // Where the table that is declared again ends: its keys are no second mistake.
    let mut table_end = 0;
    for error in errors {
        let end = reader.text.len();
        let range = error.span().unwrap_or(end..end);
        if !error.message().starts_with("duplicate key") {
            unreliable = true;
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            reader.error("manifest::syntax", message, range, "not valid TOML", None);
            continue;
        }
        if range.start < table_end {
            continue;
        }
        let written = reader.text.get(range.clone()).unwrap_or_default();
        let line_start = reader.text[..range.start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line = reader.text[line_start..].lines().next().unwrap_or_default();
        let name = match line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            Some((header, _)) => {
                let next = reader.text[range.end..].find("\n[");
                table_end = next.map_or(reader.text.len(), |next| range.end + next);
                format!("[{header}]")
            }
            None => written.trim().to_owned(),
        };
        let message = format!("`{name}` is declared twice");
        let help = "merge the two, or rename one".to_owned();
        reader.error(
            "manifest::duplicate",
            message,
            range,
            "declared again",
            help,
        );
    }
    unreliable
}

/// The SQL files by the label of their target.
fn sql_files<'a>(
    reader: &mut Reader<'_>,
    files: &'a [SourceText],
) -> BTreeMap<Label, &'a SourceText> {
    let mut found = BTreeMap::new();
    for file in files {
        let parts = file
            .path
            .strip_suffix(".sql")
            .and_then(|stem| stem.split_once('/'));
        let label = parts.and_then(|(folder, stem)| Label::new(Kind::from_name(folder)?, stem));
        match label {
            Some(label) => {
                found.insert(label, file);
            }
            None => reader.diagnostics.push(
                Diagnostic::error(
                    "manifest::bad-name",
                    format!("`{}` cannot name a target", file.path),
                )
                .at(&*file.path, first_line(&file.text), "in this file")
                .help("name it in lower case letters, digits and `_`, beginning with a letter"),
            ),
        }
    }
    found
}

fn first_line(text: &str) -> Range<usize> {
    0..text.lines().next().map_or(0, str::len)
}

fn project<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Project {
    let help = "begin the manifest with `[project]` and `name = \"...\"`";
    if root.get("project").is_none() {
        reader.missing(root, "project", help);
    }
    let Some(mut section) = reader.table(root, "project") else {
        return Project::default();
    };
    section.name = "`project`".to_owned();
    reader.only(&section, keys::PROJECT);
    if section.get("name").is_none() {
        reader.missing(
            &section,
            "name",
            "give the project a name: `name = \"recs\"`",
        );
    }
    let name = reader.name(&section, "name");
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if let Some(name) = &name
        && !name.value.chars().all(plain)
    {
        let message = format!("`{}` is not a project's name", name.value);
        let help = "use letters, digits, `_` and `-`".to_owned();
        reader.error(
            "manifest::bad-name",
            message,
            name.range.clone(),
            "has other characters",
            help,
        );
    }
    let description = reader.string(&section, "description");
    let python = reader.name(&section, "python");
    Project {
        name: name.map(|name| name.value).unwrap_or_default(),
        description: description.map(|text| text.value),
        python: python.map(|python| python.value),
        sandbox: sandbox(reader, &section).unwrap_or_default(),
    }
}

fn sandbox<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Sandbox> {
    let written = reader.string(section, "sandbox")?;
    let names = Sandbox::ALL.map(Sandbox::as_str);
    let known = Sandbox::ALL
        .into_iter()
        .find(|mode| mode.as_str() == written.value);
    if known.is_none() {
        let message = format!("unknown sandbox `{}`", written.value);
        let help = format!("it is one of {}", list(names));
        let code = "manifest::bad-value";
        reader.error(code, message, written.range, "not a mode", help);
    }
    known
}

fn known_kind(reader: &mut Reader<'_>, key: &Spanned<String>) -> Option<Kind> {
    let kind = Kind::from_name(key);
    if kind.is_none() {
        let names = Kind::ALL.map(Kind::as_str);
        let help = match nearest(key, names.into_iter().chain(["project", "profile"])) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the kinds are {}", list(names)),
        };
        let message = format!("unknown kind `{}`", key.value);
        reader.error(
            "manifest::unknown-kind",
            message,
            key.range.clone(),
            "not a kind",
            help,
        );
    }
    kind
}

fn target_label(reader: &mut Reader<'_>, kind: Kind, name: &Spanned<String>) -> Option<Label> {
    let label = Label::new(kind, &*name.value);
    if label.is_none() {
        reader.error(
            "manifest::bad-name",
            format!("`{}` cannot name a target", name.value),
            name.range.clone(),
            "not a name",
            "use lower case letters, digits and `_`, beginning with a letter".to_owned(),
        );
    }
    label
}

/// The target, and the points of its `foreach` if it has one.
fn declaration<'t>(reader: &mut Reader<'t>, target: &Target<'_, 't>) -> Option<Vec<Declaration>> {
    let rule = rule(reader, target)?;
    unknown_keys(reader, target, rule);
    let section = target.section;
    let definition = definition(reader, target, rule);
    let key = match section.get("key") {
        Some((_, value)) => reader.names("key", value).unwrap_or_default(),
        None => Vec::new(),
    };
    let checks = checks::checks(reader, section);
    let tags = match section.get("tags") {
        Some((_, value)) => reader.names("tags", value).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut tags: Vec<_> = tags.into_iter().map(|tag| tag.value).collect();
    tags.sort();
    tags.dedup();
    let description = reader.string(section, "description").map(|text| text.value);
    let owner = reader.string(section, "owner").map(|text| text.value);
    let resources = resources(reader, section, rule);
    let tolerance = tolerance(reader, section);
    let Made { points, definition } = definition?;
    table_keys(reader, section, &definition);
    let mut declaration = Declaration {
        label: target.label.clone(),
        declared_at: SourceSpan {
            file: reader.file.to_owned(),
            range: section.range.clone(),
            label: "declared here".to_owned(),
        },
        description,
        owner,
        tags,
        resources,
        key: key.into_iter().map(|column| column.value).collect(),
        checks,
        tolerance,
        definition,
    };
    // A point needs what the target says, and is found by its name; to choose among them takes nothing.
    let point = |(label, definition)| Declaration {
        label,
        definition,
        description: None,
        tags: Vec::new(),
        checks: Vec::new(),
        ..declaration.clone()
    };
    let points: Vec<_> = points.into_iter().map(point).collect();
    if matches!(declaration.definition, Definition::Pick(_)) {
        declaration.resources = Resources::default();
        declaration.tolerance = BTreeMap::new();
    }
    Some([vec![declaration], points].concat())
}

/// A target that is an SQL file without an entry in the manifest: what is said of it, an overlay says.
fn without_entry<'t>(
    reader: &mut Reader<'t>,
    target: &Target<'_, 't>,
    file: &SourceText,
) -> Option<Vec<Declaration>> {
    let mut declarations = declaration(reader, target)?;
    for declaration in &mut declarations {
        declaration.declared_at.file.clone_from(&file.path);
        declaration.declared_at.range = first_line(&file.text);
    }
    Some(declarations)
}

/// The one rule of a target; complains about none, two, or one that its kind does not have.
fn rule(reader: &mut Reader<'_>, target: &Target<'_, '_>) -> Option<Rule> {
    let Target {
        label,
        section,
        sql_file,
        ..
    } = target;
    let rules: Vec<_> = Rule::ALL
        .into_iter()
        .filter_map(|rule| Some((rule, section.get(rule.key())?.0)))
        .collect();
    for &key in keys::PLANNED {
        if let Some((range, _)) = section.get(key) {
            let message = format!("rule `{key}` is not in this version");
            let help = format!("the rules are {}", list(Rule::ALL.map(Rule::as_str)));
            reader.error("manifest::unknown-rule", message, range, "not yet", help);
            return None;
        }
    }
    let (rule, range) = match (&rules[..], sql_file) {
        ([], Some(_)) => return Some(Rule::Sql),
        ([], None) => {
            no_rule(reader, target);
            return None;
        }
        ([(rule, range)], None) => (*rule, range),
        ([(_, range), ..], Some(file)) => {
            let diagnostic = Diagnostic::error(
                "manifest::two-rules",
                format!("`{label}` is declared twice: here, and by its SQL file"),
            )
            .at(reader.file, range.clone(), "says how it is made")
            .at(&*file.path, first_line(&file.text), "so does this file")
            .help("rename the file or the target, or remove one of them");
            reader.diagnostics.push(diagnostic);
            return None;
        }
        ([(first, _), (second, range), ..], None) => {
            let message = format!(
                "`{label}` has two rules: `{}` and `{}`",
                first.as_str(),
                second.as_str()
            );
            let help = "a target is made in one way; split it in two".to_owned();
            let label = "a second rule";
            reader.error("manifest::two-rules", message, range.clone(), label, help);
            return None;
        }
    };
    if !rule.kinds().contains(&label.kind()) {
        let kinds = rule.kinds().iter().map(|kind| kind.as_str());
        let allowed = rules_of(label.kind()).map(Rule::key);
        let message = format!(
            "rule `{}` does not make a {}",
            rule.as_str(),
            label.kind().noun()
        );
        let help = format!(
            "it makes targets of kind {}; a {} has one of {}",
            list(kinds),
            label.kind().noun(),
            list(allowed)
        );
        let place = format!("not for kind `{}`", label.kind());
        reader.error("manifest::wrong-kind", message, range.clone(), place, help);
        return None;
    }
    Some(rule)
}

fn rules_of(kind: Kind) -> impl Iterator<Item = Rule> {
    Rule::ALL
        .into_iter()
        .filter(move |rule| rule.kinds().contains(&kind))
}

fn no_rule(reader: &mut Reader<'_>, Target { label, section, .. }: &Target<'_, '_>) {
    let rules = || rules_of(label.kind()).map(Rule::key);
    // A mistyped rule is likelier than a forgotten one.
    for (key, _) in section.entries() {
        let known = Rule::ALL
            .into_iter()
            .any(|rule| keys::of_rule(rule).contains(&&*key.value));
        let known =
            known || keys::COMMON.contains(&&*key.value) || keys::TABLE.contains(&&*key.value);
        if let Some(near) = nearest(&key, rules()).filter(|_| !known) {
            let message = format!("unknown key `{}` in {}", key.value, section.name);
            let help = format!("did you mean `{near}`?");
            reader.error(
                "manifest::unknown-key",
                message,
                key.range,
                "not a key here",
                help,
            );
            return;
        }
    }
    let file = match label.kind().is_tabular() {
        true => format!(", or write `{}/{}.sql`", label.kind(), label.name()),
        false => String::new(),
    };
    reader.error(
        "manifest::no-rule",
        format!("nothing says how `{label}` is made"),
        section.range.clone(),
        "has no rule",
        format!("add one of {}{file}", list(rules())),
    );
}

fn unknown_keys(reader: &mut Reader<'_>, target: &Target<'_, '_>, rule: Rule) {
    let mut allowed = [keys::COMMON, &keys::of_rule(rule)].concat();
    if target.label.kind().is_tabular() {
        allowed.extend(keys::TABLE);
    }
    for (key, _) in target.section.entries() {
        if allowed.contains(&&*key.value) {
            continue;
        }
        let owner = Rule::ALL
            .into_iter()
            .find(|&other| keys::of_rule(other).contains(&&*key.value));
        let table = keys::TABLE.contains(&&*key.value);
        let help = match owner {
            Some(owner) => format!("it is a key of rule `{}`", owner.as_str()),
            None if table => "only tables have it".to_owned(),
            None => {
                reader.unknown_key(target.section, &key, &allowed);
                continue;
            }
        };
        let message = format!(
            "`{}` does not belong to rule `{}`",
            key.value,
            rule.as_str()
        );
        reader.error(
            "manifest::unknown-key",
            message,
            key.range,
            "not a key here",
            help,
        );
    }
}

/// Complains about keys that only tables have, on files that stay files.
fn table_keys(reader: &mut Reader<'_>, section: &Section<'_>, definition: &Definition) {
    let files = match definition {
        Definition::Path(path) => path.ingestion.format == mlbuild_action::Format::Files,
        Definition::Command(command) => command.ingestion.is_none(),
        Definition::Python(python) => python.ingestion.is_none(),
        _ => false,
    };
    for &key in keys::TABLE {
        if let (true, Some((range, _))) = (files, section.get(key)) {
            let message = format!(
                "`{key}` needs a table, and {} keeps its files as they are",
                section.name
            );
            let help = match definition {
                Definition::Python(_) => "leave `format` away to make a table",
                _ => "add `format` to read the files as a table",
            };
            let help = help.to_owned();
            reader.error(
                "manifest::not-a-table",
                message,
                range,
                "only tables have it",
                help,
            );
        }
    }
}

fn resources<'t>(reader: &mut Reader<'t>, section: &Section<'t>, rule: Rule) -> Resources {
    let Some(section) = reader.table(section, "resources") else {
        return Resources::default();
    };
    reader.only(&section, keys::RESOURCES);
    let gpus = reader.count(&section, "gpus", (0, 64));
    let at_most = gpus_at_most(rule);
    if let Some((_, value)) = section.get("gpus")
        && gpus.is_some_and(|gpus| gpus > at_most)
    {
        let message = match at_most {
            0 => format!("rule `{}` uses no GPU", rule.as_str()),
            _ => format!("rule `{}` uses one GPU", rule.as_str()),
        };
        let help = match at_most {
            0 => "leave `gpus` away".to_owned(),
            _ => "write `gpus = 1`; a function or a command may use several".to_owned(),
        };
        let code = "manifest::bad-value";
        reader.error(code, message, value.span(), "too many", help);
    }
    let resources = Resources {
        cpus: reader.count(&section, "cpus", (1, 4096)),
        gpus,
        gpu_memory_bytes: memory(reader, &section, "gpu_memory"),
        memory_bytes: memory(reader, &section, "memory"),
    };
    if gpus.unwrap_or(0) == 0
        && let Some((range, _)) = section.get("gpu_memory")
    {
        let message = "`gpu_memory` is that of each GPU, and it asks for none";
        let help = "add `gpus = 1`".to_owned();
        reader.error("manifest::bad-value", message, range, "of which GPU?", help);
    }
    resources
}

/// How many GPUs a rule can use. The built-in architectures train on one.
const fn gpus_at_most(rule: Rule) -> u32 {
    match rule {
        Rule::Path | Rule::Sql | Rule::Split | Rule::Evaluate | Rule::Pick => 0,
        Rule::Train | Rule::Predict => 1,
        Rule::Command | Rule::Python => 64,
    }
}

fn memory<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Option<u64> {
    let text = reader.string(section, key)?;
    let bytes = quantity::memory_bytes(&text);
    if bytes.is_none() {
        let message = format!("`{}` is not an amount of memory", text.value);
        let help = "write a number and a unit, as in `512MB` or `2GiB`".to_owned();
        let (code, label) = ("manifest::bad-value", "not a size");
        reader.error(code, message, text.range, label, help);
    }
    bytes
}

fn tolerance<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> BTreeMap<String, f64> {
    let Some(section) = reader.table(section, "tolerance") else {
        return BTreeMap::new();
    };
    let mut tolerance = BTreeMap::new();
    for (metric, value) in section.entries() {
        let Some(scalar) = reader.scalar(&metric.value, value) else {
            continue;
        };
        match scalar.as_f64().filter(|allowed| *allowed >= 0.0) {
            Some(allowed) => {
                tolerance.insert(metric.value, allowed);
            }
            None => reader.error(
                "manifest::bad-value",
                format!("`{}` must be a number that is not negative", metric.value),
                scalar.range,
                "not a tolerance",
                "it is how far the metric may move when `verify` makes the target again".to_owned(),
            ),
        }
    }
    tolerance
}
