//! Suggestions: which known name a mistyped one is nearest to.

/// The candidate nearest to `name` by edit distance, if near enough to be meant: at most a third of the letters may
/// differ. Of equally near ones the first in alphabetical order.
///
/// ```
/// assert_eq!(mlbuild_manifest::nearest("metrcs", ["gate", "metrics"]), Some("metrics"));
/// assert_eq!(mlbuild_manifest::nearest("owner", ["gate", "metrics"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count().max(3) / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Names in backticks, as a sentence lists them: `` `a`, `b` and `c` ``.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// Edit distance with transpositions (optimal string alignment), ignoring ASCII case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<_> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<_> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<_> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let substituted = above[j] + usize::from(a[i] != b[j]);
            let mut best = substituted.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}
