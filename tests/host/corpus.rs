//! The fuzzer's corpus (`fuzz/`): every input that it was given or found, through every check.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use oncegate::encoding::read_row;
use oncegate::lifecycle::record::Record;
use oncegate::protocol::{VERSION, read_answer, read_request};

#[allow(unreachable_pub, reason = "the fuzz targets are another crate")]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

/// Folder, file name and bytes of every input.
fn corpus() -> Vec<(String, String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut found = Vec::new();
    for folder in fs::read_dir(root).unwrap().map(Result::unwrap) {
        for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            let [folder, name] =
                [folder.file_name(), file.file_name()].map(|name| name.into_string().unwrap());
            found.push((folder, name, fs::read(file.path()).unwrap()));
        }
    }
    found
}

#[test]
fn what_must_hold_of_any_input_holds_of_the_whole_corpus() {
    let corpus = corpus();
    let mut failed = Vec::new();
    // Each input through every check: what was found for one may be news to another.
    for (folder, name, bytes) in &corpus {
        for (target, check) in fuzz::CHECKS {
            if catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err() {
                failed.push(format!("{target} of fuzz/corpus/{folder}/{name}"));
            }
        }
    }
    assert_eq!(failed, [""; 0]);
}

#[test]
fn every_check_has_inputs_that_it_can_read_and_no_folder_is_read_by_none() {
    let corpus = corpus();
    for (target, _) in fuzz::CHECKS {
        let inputs = corpus.iter().filter(|(folder, ..)| folder == target).count();
        assert!(inputs >= 10, "{inputs} inputs in fuzz/corpus/{target}");
    }
    let known = |folder: &str| fuzz::CHECKS.iter().any(|(target, _)| *target == folder);
    assert!(corpus.iter().all(|(folder, ..)| known(folder)));
    let bytes: usize = corpus.iter().map(|(.., bytes)| bytes.len()).sum();
    assert!(corpus.len() <= 300 && bytes <= 300_000, "{} inputs, {bytes} bytes", corpus.len());
}

/// Requests, answers and rows as the versions that were released wrote them: they are read for ever.
#[test]
fn what_an_older_version_wrote_is_read() {
    let mut kinds = [0; 3];
    for (folder, name, bytes) in corpus() {
        let of_a_version = name.strip_prefix('v').and_then(|rest| rest.split_once('-'));
        let Some((Ok(version), what)) =
            of_a_version.map(|(version, what)| (version.parse::<u8>(), what))
        else {
            continue;
        };
        assert!((1..=VERSION).contains(&version), "{name}");
        let (kind, read) = match (folder.as_str(), what.split('-').next().unwrap()) {
            ("wire", "request") => (0, read_request(&bytes).map(drop)),
            ("wire", "answer") => (1, read_answer(&bytes).map(drop)),
            ("row", "record") => (2, read_row::<Record>(&bytes).map(drop)),
            _ => panic!("fuzz/corpus/{folder}/{name} is none of these"),
        };
        assert_eq!(read, Ok(()), "fuzz/corpus/{folder}/{name}");
        kinds[kind] += 1;
    }
    assert!(kinds[0] >= 6 && kinds[1] >= 12 && kinds[2] >= 6, "one of each kind: {kinds:?}");
}
