//! Variants of a project: what profiles and parameters on the command line make of the manifest.
//!
//! Both are *overlays*: tables of the same shape as the manifest's own, merged into it key by key before a single declaration
//! is read. So whatever key a target has, a profile may change it; the language is read in one place; and every value keeps
//! the place at which it was written, so that a mistake points at the overlay.
//!
//! Parameters of the command line have places of their own, behind the end of the manifest's text, until
//! [`Manifest::relocate`] turns those into places of [`PARAM_SOURCE`].
//!
//! Invariants: an overlay changes targets and adds none; it says how a target is made as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use mlbuild_action::Diagnostic;
use toml::Spanned as TomlSpanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::reader::Reader;
use crate::{Kind, Label, Manifest, Rule, SourceText, Spanned, keys, list, nearest};

/// What diagnostics call the parameters of the command line where they name a file.
pub const PARAM_SOURCE: &str = "--param";

/// The name of no profile: the manifest as it stands.
pub const DEFAULT_PROFILE: &str = "default";

/// What a command makes of the manifest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Variant {
    /// The profile; `None` is the manifest as it stands.
    pub profile: Option<String>,
    /// Parameters, each as it was given: `KIND:NAME.PARAMETER=VALUE`.
    pub params: Vec<String>,
}

impl Variant {
    /// The variant of this profile, by its name or as [`DEFAULT_PROFILE`], with these parameters.
    pub fn new(profile: Option<&str>, params: &[String]) -> Self {
        Self {
            profile: profile
                .filter(|name| *name != DEFAULT_PROFILE)
                .map(str::to_owned),
            params: params.to_vec(),
        }
    }

    /// That its profile is one of those that the manifest declares.
    ///
    /// # Errors
    /// A diagnostic without a place that says which there are.
    pub fn expect_profile(&self, profiles: &[String]) -> Result<(), Diagnostic> {
        let Some(name) = self
            .profile
            .as_ref()
            .filter(|name| !profiles.contains(name))
        else {
            return Ok(());
        };
        let names = || profiles.iter().map(String::as_str);
        let help = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if profiles.is_empty() => {
                format!("the manifest declares none; `[profile.{name}.KIND.NAME]` would be of one")
            }
            None => format!("the profiles are {}", list(names())),
        };
        let message = format!("there is no profile `{name}`");
        Err(Diagnostic::error("manifest::unknown-profile", message).help(help))
    }

    /// The parameters in pieces: target, name, value.
    pub fn given(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.params.iter().filter_map(|text| pieces(text))
    }

    /// The text that diagnostics about parameters point into.
    pub fn source(&self) -> Option<SourceText> {
        (!self.params.is_empty()).then(|| SourceText {
            path: PARAM_SOURCE.to_owned(),
            text: self.params.join("\n"),
        })
    }
}

impl Manifest {
    /// Turns places behind the manifest's end into places on the command line.
    pub fn relocate(&self, diagnostics: &mut [Diagnostic]) {
        let first = self.text_bytes + 1;
        for span in diagnostics.iter_mut().flat_map(|d| &mut d.spans) {
            if span.file == self.file && span.range.start >= first {
                span.file = PARAM_SOURCE.to_owned();
                span.range = span.range.start - first..span.range.end.max(first) - first;
            }
        }
    }
}

/// A profile that the manifest declares.
pub(crate) struct Profile<'t> {
    pub(crate) name: String,
    overlay: DeTable<'t>,
}

impl<'t> Profile<'t> {
    /// Lays the profile over the manifest.
    pub(crate) fn lay(&self, base: &mut DeTable<'t>, files: &mut BTreeMap<Label, &SourceText>) {
        lay(base, &self.overlay, files);
    }

    /// A mistake that only this profile makes; names the profile where no place does.
    pub(crate) fn name_in(&self, mut mistake: Diagnostic) -> Diagnostic {
        if !mistake
            .spans
            .iter()
            .any(|span| covers(&self.overlay, &span.range))
        {
            mistake.message = format!("under profile `{}`, {}", self.name, mistake.message);
        }
        mistake
    }
}

fn covers(table: &DeTable<'_>, place: &Range<usize>) -> bool {
    let within = |range: Range<usize>| range.start <= place.start && place.end <= range.end;
    table.iter().any(|(key, value)| {
        let inside = match value.get_ref() {
            DeValue::Table(table) => covers(table, place),
            _ => within(value.span()),
        };
        inside || within(key.span())
    })
}

/// The profiles that the manifest declares under `profile`; complains about those that cannot be overlays of it.
pub(crate) fn profiles<'t>(
    reader: &mut Reader<'_>,
    declared: Option<TomlSpanned<DeValue<'t>>>,
    targets: &Declared<'_>,
) -> Vec<Profile<'t>> {
    let Some(value) = declared else {
        return Vec::new();
    };
    if !value.get_ref().is_table() {
        reader.wrong_type("profile", &value, "a table of profiles: `[profile.NAME]`");
    }
    let DeValue::Table(declared) = value.into_inner() else {
        return Vec::new();
    };
    let mut profiles = Vec::new();
    for (key, value) in declared {
        let (range, name) = (key.span(), key.into_inner().into_owned());
        if !value.get_ref().is_table() {
            reader.wrong_type(&name, &value, "a table");
        }
        let DeValue::Table(mut overlay) = value.into_inner() else {
            continue;
        };
        if !is_profile_name(reader, &name, range) {
            continue;
        }
        if let Some(description) = overlay.remove("description") {
            reader.as_string("description", &description);
        }
        let who = format!("profile `{name}`");
        let labels: Vec<_> = entries(&overlay)
            .into_iter()
            .map(|(label, range, _)| (label, range))
            .collect();
        for (label, range) in labels {
            if !targets.expect(reader, &label, range, &who)
                && let Some(kind) = table_of(&mut overlay, label.kind().as_str())
            {
                kind.remove(label.name());
            }
        }
        profiles.push(Profile { name, overlay });
    }
    profiles
}

fn is_profile_name(reader: &mut Reader<'_>, name: &str, range: Range<usize>) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let (message, help) = match name {
        DEFAULT_PROFILE => (
            format!("`{DEFAULT_PROFILE}` is the manifest without a profile"),
            "declare what it is to be outside of profiles, or give the profile another name",
        ),
        _ if !name.is_empty() && name.chars().all(plain) => return true,
        _ => (
            format!("`{name}` is not a profile's name"),
            "use letters, digits, `_` and `-`",
        ),
    };
    reader.error(
        "manifest::bad-name",
        message,
        range,
        "not a name",
        help.to_owned(),
    );
    false
}

/// The targets that a manifest or an overlay has entries of: label, place of the name, and what is said of it.
fn entries<'o, 't>(table: &'o DeTable<'t>) -> Vec<(Label, Range<usize>, &'o DeValue<'t>)> {
    let mut found = Vec::new();
    for (kind, value) in table {
        let (Some(kind), DeValue::Table(names)) =
            (Kind::from_name(kind.get_ref()), value.get_ref())
        else {
            continue;
        };
        for (name, value) in names {
            let label = Label::new(kind, &**name.get_ref());
            found.extend(label.map(|label| (label, name.span(), value.get_ref())));
        }
    }
    found
}

/// The labels that have an entry in the manifest.
pub(crate) fn entered(base: &DeTable<'_>) -> BTreeSet<Label> {
    entries(base).into_iter().map(|(label, ..)| label).collect()
}

/// What can be changed: the targets of the manifest as it stands.
pub(crate) struct Declared<'a> {
    /// Those that have an entry.
    pub(crate) entered: BTreeSet<Label>,
    /// Those that have an SQL file.
    pub(crate) files: &'a BTreeMap<Label, &'a SourceText>,
}

impl Declared<'_> {
    /// Complains about a change of `label` if there is no such target.
    fn expect(
        &self,
        reader: &mut Reader<'_>,
        label: &Label,
        range: Range<usize>,
        who: &str,
    ) -> bool {
        if self.entered.contains(label) || self.files.contains_key(label) {
            return true;
        }
        let names: BTreeSet<String> = self
            .entered
            .iter()
            .chain(self.files.keys())
            .map(Label::to_string)
            .collect();
        let help = match nearest(&label.to_string(), names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "declare it outside of profiles: what nobody selects costs nothing".to_owned(),
        };
        let message = format!("{who} changes `{label}`, which is not declared");
        reader.error(
            "manifest::unknown-target",
            message,
            range,
            "not a target",
            help,
        );
        false
    }
}

/// For each parameter of the command line a document in which its value stands at its place behind the manifest, as the value
/// of `v`: blanks are what comes before it.
pub(crate) fn documents(params: &[String], text_bytes: usize) -> Vec<String> {
    let mut start = text_bytes + 1;
    let document = |text: &String| {
        let (name, value) = text.split_at(text.find('=').unwrap_or(text.len()));
        let document = format!("{}v{value}", " ".repeat(start + name.len() - 1));
        start += text.len() + 1;
        document
    };
    params.iter().map(document).collect()
}

/// The parameters of the command line as overlays, in their order; complains about those that are none. `documents` are theirs.
pub(crate) fn given<'d>(
    reader: &mut Reader<'_>,
    params: &[String],
    documents: &'d [String],
    declared: &Declared<'_>,
) -> Vec<DeTable<'d>> {
    let mut overlays = Vec::new();
    let mut start = reader.text.len() + 1;
    for (text, document) in params.iter().zip(documents) {
        overlays.extend(parameter(reader, text, start, document, declared));
        start += text.len() + 1;
    }
    overlays
}

/// Target, name and value of a parameter, as it is written.
fn pieces(text: &str) -> Option<(&str, &str, &str)> {
    let (name, value) = text.split_once('=')?;
    let (label, name) = name.rsplit_once('.')?;
    (!name.is_empty()).then_some((label, name, value))
}

fn parameter<'d>(
    reader: &mut Reader<'_>,
    text: &str,
    start: usize,
    document: &'d str,
    declared: &Declared<'_>,
) -> Option<DeTable<'d>> {
    let Some((label, name, _)) = pieces(text) else {
        let message = format!("`{text}` gives no parameter");
        let help = "write `KIND:NAME.PARAMETER=VALUE`, as in `model:recs.epochs=3`".to_owned();
        let range = start..start + text.len();
        reader.error(
            "cli::bad-parameter",
            message,
            range,
            "not a parameter",
            help,
        );
        return None;
    };
    let target = start..start + label.len();
    let param = target.end + 1..target.end + 1 + name.len();
    let label = reader.as_label(Spanned {
        value: label.to_owned(),
        range: target.clone(),
    })?;
    let value = value(reader, document, param.end + 1..start + text.len())?;
    if !declared.expect(reader, &label, target.clone(), PARAM_SOURCE) {
        return None;
    }
    let mut overlay = DeTable::from_iter([(key(&param, name), value)]);
    for (place, name) in [
        (&param, "params"),
        (&target, label.name()),
        (&target, label.kind().as_str()),
    ] {
        let inner = TomlSpanned::new(place.clone(), DeValue::Table(overlay));
        overlay = DeTable::from_iter([(key(place, name), inner)]);
    }
    Some(overlay)
}

fn key<'d>(place: &Range<usize>, name: &str) -> TomlSpanned<DeString<'d>> {
    TomlSpanned::new(place.clone(), name.to_owned().into())
}

/// The one TOML value of a document, written at `place`.
fn value<'d>(
    reader: &mut Reader<'_>,
    document: &'d str,
    place: Range<usize>,
) -> Option<TomlSpanned<DeValue<'d>>> {
    let values = DeTable::parse(document).map(TomlSpanned::into_inner);
    if let Ok(mut values) = values
        && values.len() == 1
    {
        return values.remove("v");
    }
    let written = &document[place.clone()];
    let message = format!("`{written}` is no value");
    let help = format!(
        "values are written as in the manifest: numbers, `true` and `false` as they are, text in quotes: `\"{}\"`",
        written.trim()
    );
    reader.error("cli::bad-parameter", message, place, "not a value", help);
    None
}

/// Lays an overlay over the manifest `base`. A target of which it says how it is made is made in no other way: not by its SQL
/// file, and with no key that only another rule has. Parameters belong to what is made: of another query or architecture they
/// are given anew.
pub(crate) fn lay<'t>(
    base: &mut DeTable<'t>,
    overlay: &DeTable<'t>,
    files: &mut BTreeMap<Label, &SourceText>,
) {
    for (label, _, change) in entries(overlay) {
        let names = |key: &str| {
            change
                .as_table()
                .is_some_and(|table| table.contains_key(key))
        };
        let Some(rule) = Rule::ALL.into_iter().find(|rule| names(rule.key())) else {
            continue;
        };
        let had_file = files.remove(&label).is_some();
        let Some(target) =
            table_of(base, label.kind().as_str()).and_then(|kind| table_of(kind, label.name()))
        else {
            continue;
        };
        let made_by =
            |other: Rule| target.contains_key(other.key()) || (had_file && other == Rule::Sql);
        let is_another = Rule::ALL
            .into_iter()
            .any(|other| other != rule && made_by(other));
        let of_any_rule = |key: &str| keys::COMMON.contains(&key) || keys::TABLE.contains(&key);
        let stays = |key: &str| match is_another {
            true => of_any_rule(key),
            false => key != "params",
        };
        let keys = target.keys().map(|key| key.get_ref().to_string());
        let gone: Vec<String> = keys.filter(|key| !stays(key)).collect();
        for key in gone {
            target.remove(&*key);
        }
    }
    merge(base, overlay);
}

fn table_of<'b, 't>(table: &'b mut DeTable<'t>, key: &str) -> Option<&'b mut DeTable<'t>> {
    match table.get_mut(key)?.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// Tables are merged key by key; anything else takes the place of what was there.
fn merge<'t>(base: &mut DeTable<'t>, overlay: &DeTable<'t>) {
    for (key, value) in overlay {
        if let DeValue::Table(overlay) = value.get_ref()
            && let Some(table) = table_of(base, key.get_ref())
        {
            merge(table, overlay);
            continue;
        }
        // Also the key, whose place a mistake may be at.
        base.remove(&**key.get_ref());
        base.insert(key.clone(), value.clone());
    }
}
