//! How large a store is, by what lies in it and by what needs it.

use std::collections::BTreeSet;

use mlbuild_action::ActionKey;

use crate::survey::{Stored, Survey};
use crate::{Cache, CacheError, Count, Keep};

/// The size of a store. What needs something may be several at once, so the three reaches overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Files' bytes.
    pub objects: Count,
    /// What actions yielded.
    pub results: Count,
    /// What inputs consisted of.
    pub listings: Count,
    /// What was worked out about inputs.
    pub memos: Count,
    /// What interrupted actions left to go on from.
    pub checkpoints: Count,
    /// What is damaged, kept to be looked at.
    pub quarantine: Count,
    /// What is being written, or was by processes that are no more.
    pub tmp: Count,
    /// Results and objects that the project needs as it stands.
    pub current: Count,
    /// Results and objects that pins hold.
    pub pinned: Count,
    /// Results and objects of earlier states that are kept.
    pub history: Count,
    /// All of the store, in bytes.
    pub size_bytes: u64,
}

impl Cache {
    /// Measures the store. Writes nothing.
    ///
    /// # Errors
    /// Those of reading.
    pub fn usage(&self, keep: &Keep) -> Result<Usage, CacheError> {
        let survey = self.survey()?;
        let results = survey.results.values().map(|result| &result.file);
        Ok(Usage {
            objects: Count::of(survey.objects.values()),
            results: Count::of(results.chain(&survey.bad_results)),
            listings: Count::of(survey.listings.values()),
            memos: Count::of(survey.memos.values()),
            checkpoints: Count::sum(survey.checkpoints.iter().map(|it| it.checkpoint.files)),
            quarantine: Count::of(&survey.quarantine),
            tmp: Count::of(&survey.tmp),
            current: reach(&survey, &keep.current),
            pinned: reach(&survey, &keep.pinned),
            history: reach(&survey, &keep.history),
            size_bytes: survey.size_bytes(),
        })
    }
}

/// The results of these keys that are there, and the objects that they name, each once.
fn reach(survey: &Survey, keys: &BTreeSet<ActionKey>) -> Count {
    let results = keys.iter().filter_map(|key| survey.results.get(key));
    let results: Vec<_> = results.collect();
    let named = results.iter().flat_map(|result| result.objects.keys());
    let named: BTreeSet<_> = named.collect();
    let objects = named
        .into_iter()
        .filter_map(|digest| survey.objects.get(digest));
    let files: Vec<&Stored> = results
        .iter()
        .map(|result| &result.file)
        .chain(objects)
        .collect();
    Count::of(files)
}
