//! Tests: no bytes in the place of a database make a reader panic, or a writer lose what it was not asked to.

use mlbuild_testing::{Corpus, fuzz};

use crate::Lineage;

#[test]
fn no_bytes_break_readers() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.db");
    drop(Lineage::open(&whole).unwrap());
    let bytes = std::fs::read(&whole).unwrap();
    let corpus = Corpus {
        inputs: &[&bytes],
        words: &["SQLite format 3\0", "create view", "select", "CREATE TABLE"],
        rounds: 300,
    };
    let path = dir.path().join("mutant.db");
    fuzz("lineage", corpus, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        let _ = Lineage::check(&path);
        if let Ok(Some(lineage)) = Lineage::open_read_only(&path) {
            let _ = lineage.query("select * from targets");
            let _ = lineage.last_runs(2);
            let _ = lineage.durations(&["data:a"], None);
        }
        assert_eq!(
            std::fs::read(&path).unwrap(),
            bytes,
            "reading changes nothing"
        );
    });
}
