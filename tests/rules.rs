//! Rules of this repository that no compiler checks: the documents say what the code does, and imports go one way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test stops where it finds something wrong"
)]

#[path = "rules/imports.rs"]
mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use crate::imports::{Graph, code_of};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every source of the Worker, the core and `src/cloudflare`, without the programs in `src/bin`.
fn sources() -> Vec<PathBuf> {
    let src = root().join("src");
    let mut sources = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    sources.retain(|path| !path.starts_with(src.join("bin")));
    assert!(sources.len() > 60, "only {} sources", sources.len());
    sources
}

fn graph() -> Graph {
    Graph::of(&root().join("src"), &sources())
}

// ---- imports -------------------------------------------------------------------------------------

#[test]
fn imports_form_no_circle() {
    let circles = graph().circles();
    assert!(circles.is_empty(), "these files import each other in a circle: {circles:?}");
}

#[test]
fn the_core_imports_nothing_of_cloudflare() {
    let graph = graph();
    assert!(graph.has("cloudflare"));
    for (from, to) in graph.imports() {
        let is_core = !from.starts_with("cloudflare");
        assert!(!(is_core && to.starts_with("cloudflare")), "{from} imports {to}");
    }
}

#[test]
fn only_cloudflare_knows_the_platform_a_clock_or_randomness() {
    let platform = root().join("src/cloudflare");
    let forbidden = [
        "worker::",
        "js_sys",
        "web_sys",
        "wasm_bindgen",
        // Clocks, of the standard library and of crates.
        "::now(",
        // Randomness.
        "getrandom",
        "rand::",
        "thread_rng",
        // Input and output.
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
    ];
    for file in sources().into_iter().filter(|path| !path.starts_with(&platform)) {
        let code = code_of(&file);
        for line in code.lines() {
            let found = forbidden.iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{}: {line}", file.display());
        }
    }
}

#[test]
fn the_parts_of_the_core_stay_apart() {
    let graph = graph();
    let requests = &["filter", "admission", "answer", "protocol", "config", "operator"][..];
    for (from, apart) in [
        // What becomes of a key is decided without knowing who asks, and how.
        ("lifecycle/step", requests),
        ("lifecycle/record", requests),
        ("lifecycle/outcome", requests),
        ("lifecycle/reply", requests),
        ("lifecycle/event", requests),
        ("protocol", &["filter", "admission", "config", "operator/api"]),
        // The story of one request is told without the details of what it is made of.
        ("filter", &["admission", "request/json", "request/key_source", "operator"]),
    ] {
        assert!(graph.has(from), "src/{from} has moved: change this rule");
        for to in apart {
            assert!(graph.has(to), "src/{to} has moved: change this rule");
        }
        for (file, import) in graph.imports().filter(|(file, _)| is_within(file, from)) {
            let broken = apart.iter().find(|to| is_within(&import, to));
            assert_eq!(broken, None, "{file} imports {import}");
        }
    }
}

fn is_within(module: &str, of: &str) -> bool {
    module == of || module.strip_prefix(of).is_some_and(|rest| rest.starts_with('/'))
}

// ---- documents -----------------------------------------------------------------------------------

#[test]
fn the_readme_has_a_row_for_every_var() {
    let readme = read("README.md");
    // METRICS is a binding.
    for var in oncegate::config::VARS.into_iter().chain(["METRICS"]) {
        assert!(readme.contains(&format!("\n| `{var}` | ")), "README.md lacks a row for {var}");
    }
}

#[test]
fn every_promise_names_a_test_that_exists() {
    let readme = read("README.md");
    let promises: Vec<_> = readme.lines().filter(|line| line.starts_with("- **P")).collect();
    assert!(promises.len() >= 8, "only {} promises", promises.len());
    for promise in promises {
        let files: Vec<_> = promise
            .split('`')
            .filter(|word| word.contains(".test.mjs") || word.starts_with("tests/"))
            .collect();
        assert!(!files.is_empty(), "this promise names no test: {promise}");
        for file in files {
            let path = if file.starts_with("tests/") {
                file.to_owned()
            } else {
                format!("tests/workerd/{file}")
            };
            assert!(root().join(&path).exists(), "{path} does not exist");
        }
    }
}

#[test]
fn every_file_that_a_page_names_exists() {
    for page in ["README.md", "CONTRIBUTING.md"] {
        let text = read(page);
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "docs/", "bench/", "scripts/", "fuzz/"]
                .iter()
                .any(|folder| name.starts_with(folder));
            if is_path && !name.contains([' ', '*', '{', '<', '…']) {
                assert!(root().join(name).exists(), "{page} names {name}, which does not exist");
            }
        }
    }
}

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
        // The lock file adds the version where there are several.
        let known = [format!("\n \"{name}\","), format!("\n \"{name} ")];
        assert!(
            known.iter().any(|known| ours.contains(known)),
            "{name}: run \"cargo update -w\" in fuzz/"
        );
    }
}
