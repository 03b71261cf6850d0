//! The rules of the house: what the documents say is what the code does, and imports go one way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it finds something wrong"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What the Worker is made of: every source but those of programs beside it.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    sources.retain(|path| !path.starts_with(root.join("bin")));
    assert!(sources.len() > 60, "only {} sources", sources.len());
    sources
}

/// The core: all of it that is not the edge.
fn core() -> Vec<PathBuf> {
    let cloudflare = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cloudflare");
    sources().into_iter().filter(|path| !path.starts_with(&cloudflare)).collect()
}

#[test]
fn the_readme_has_a_row_for_every_var() {
    let readme = read("README.md");
    for var in VARS {
        assert!(readme.contains(&format!("\n| `{var}` | ")), "README.md lacks a row for {var}");
    }
}

#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() <= 150);
}

#[test]
fn every_promise_names_a_test_that_is_there() {
    let readme = read("README.md");
    let promises: Vec<_> = readme.lines().filter(|line| line.starts_with("- **P")).collect();
    assert!(promises.len() >= 8, "only {} promises", promises.len());
    for promise in promises {
        let files: Vec<_> = promise
            .split('`')
            .filter(|word| word.contains(".test.mjs") || word.starts_with("tests/"))
            .collect();
        assert!(!files.is_empty(), "no test is named: {promise}");
        for file in files {
            let path = if file.starts_with("tests/") {
                file.to_owned()
            } else {
                format!("tests/workerd/{file}")
            };
            assert!(
                Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists(),
                "{path} is not there"
            );
        }
    }
}

#[test]
fn only_the_edge_knows_the_platform_a_clock_or_chance() {
    for file in core() {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for word in [
                "worker::",
                "js_sys",
                "web_sys",
                "wasm_bindgen",
                "SystemTime::now",
                "Instant::now",
                "random",
            ] {
                let allowed = word == "random" && line.contains("random: Lease")
                    || line.contains("&random.0");
                assert!(!line.contains(word) || allowed, "{}: {line}", file.display());
            }
        }
    }
}

#[test]
fn nothing_in_the_worker_is_said_by_debug() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        // The Worker is built with `-Zfmt-debug=none`: it would say nothing.
        assert!(!text.contains(":?}"), "{}", file.display());
    }
}

#[test]
fn nothing_but_the_edge_imports_the_edge() {
    for file in core() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("crate::cloudflare"), "{}", file.display());
    }
}

#[test]
fn the_life_of_a_key_and_the_outcome_import_nothing_of_the_conversation() {
    for (file, forbidden) in [
        (
            "src/lifecycle/step.rs",
            ["crate::filter", "crate::wire", "crate::protocol", "crate::config"],
        ),
        (
            "src/lifecycle/record.rs",
            ["crate::filter", "crate::wire", "crate::protocol", "crate::config"],
        ),
        (
            "src/lifecycle/outcome.rs",
            ["crate::filter", "crate::wire", "crate::protocol", "crate::config"],
        ),
        (
            "src/wire.rs",
            ["crate::filter", "crate::config", "crate::config::route", "crate::admission"],
        ),
        (
            "src/filter.rs",
            [
                "crate::wire",
                "crate::admission",
                "crate::request::key::Key;",
                "crate::request::json",
            ],
        ),
    ] {
        // With the modules of it, where it has some.
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let of_it = |path: &PathBuf| *path == file || path.starts_with(file.with_extension(""));
        let paths: Vec<_> = sources().into_iter().filter(of_it).collect();
        assert!(!paths.is_empty(), "{} is not there", file.display());
        for path in paths {
            let text = fs::read_to_string(&path).unwrap();
            for import in forbidden {
                assert!(!text.contains(import), "{} imports {import}", path.display());
            }
        }
    }
}

/// What is configured beside the knobs of a route: vars, a secret, a binding.
const VARS: [&str; 7] =
    ["ORIGIN", "SHARDS", "LOCATION_HINT", "ROUTES", "LOG_KEYS", "ADMIN_TOKEN", "METRICS"];

/// The fuzz crate has a lock file of its own, which the nightly run takes as it is.
#[test]
fn the_fuzz_crates_lock_file_knows_every_dependency_of_ours() {
    let manifest = read("Cargo.toml");
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = dependencies.split_once("\n[").unwrap();
    let lock = read("fuzz/Cargo.lock");
    let (_, ours) = lock.split_once("\nname = \"oncegate\"\n").unwrap();
    let (ours, _) = ours.split_once("\n[[package]]").unwrap();
    let is_always = |line: &&str| line.contains(" = ") && !line.contains("optional = true");
    for line in dependencies.lines().filter(is_always) {
        let name = line.split(" = ").next().unwrap();
        // With the version where several are there.
        let known = [format!("\n \"{name}\","), format!("\n \"{name} ")];
        assert!(
            known.iter().any(|known| ours.contains(known)),
            "{name}: run \"cargo update -w\" in fuzz/"
        );
    }
}
