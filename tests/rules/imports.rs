//! Which file of `src` imports which: read from the paths that begin with `crate`, `self`, `super` or the name of a
//! submodule, in `use` declarations and anywhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A file by its module path, `config/route`; the crate's root is the empty path.
type Module = Vec<String>;

pub(crate) struct Graph(BTreeMap<Module, BTreeSet<Module>>);

impl Graph {
    pub(crate) fn of(src: &Path, files: &[PathBuf]) -> Self {
        let modules: BTreeMap<Module, &PathBuf> =
            files.iter().map(|file| (module_of(src, file), file)).collect();
        let imports = |(module, file): (&Module, &&PathBuf)| {
            let code = code_of(file);
            let paths = Paths::of(&code).into_iter();
            let targets = paths.map(|path| target(module, &path, &modules));
            (module.clone(), targets.filter(|to| to != module && !to.is_empty()).collect())
        };
        Self(modules.iter().map(imports).collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.keys().any(|module| module.join("/") == name)
    }

    /// Every import, as two file names.
    pub(crate) fn imports(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().flat_map(|(from, all)| all.iter().map(|to| (from.join("/"), to.join("/"))))
    }

    /// The largest sets of files in which each is reached from each other. A file and its own submodules are parts of
    /// one thing, so what a submodule takes from above it does not count.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let reached: BTreeMap<_, _> =
            self.0.keys().map(|from| (from, self.reached(from))).collect();
        let circle = |from: &Module| -> Vec<String> {
            let both = reached[from].iter().filter(|to| reached[*to].contains(from));
            both.map(|module| module.join("/")).collect()
        };
        let circles: BTreeSet<_> = self.0.keys().map(circle).collect();
        circles.into_iter().filter(|circle| !circle.is_empty()).collect()
    }

    fn reached(&self, from: &Module) -> BTreeSet<Module> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(module) = next.pop() {
            for to in self.0[module].iter().filter(|to| !module.starts_with(to)) {
                if reached.insert(to.clone()) {
                    next.push(to);
                }
            }
        }
        reached
    }
}

fn module_of(src: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(src).unwrap().with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

/// The file in which a path ends: what follows the last module is an item of it.
fn target(from: &Module, path: &[String], modules: &BTreeMap<Module, &PathBuf>) -> Module {
    let mut target = if path[0] == "crate" { Module::new() } else { from.clone() };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(target.pop()),
            name => target.push(name.to_owned()),
        }
    }
    while !modules.contains_key(&target) {
        target.pop();
    }
    target
}

/// The file without its comments, and without the visibilities that look like paths.
pub(crate) fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n").replace("pub(in crate", "pub(in_crate")
}

/// Reads the paths of a source.
struct Paths<'a> {
    rest: &'a str,
    found: Vec<Module>,
}

impl<'a> Paths<'a> {
    fn of(code: &'a str) -> Vec<Module> {
        let submodules = code.lines().filter_map(|line| {
            let (_, name) = line.trim_end().strip_suffix(';')?.rsplit_once("mod ")?;
            Some(name)
        });
        let heads: Vec<&str> = ["crate", "self", "super"].into_iter().chain(submodules).collect();
        let mut paths = Self { rest: code, found: Vec::new() };
        for (at, _) in code.match_indices("::") {
            let head = code[..at].rsplit(|c: char| !is_of_name(c)).next().unwrap();
            let before = code[..at - head.len()].chars().next_back();
            if heads.contains(&head) && before != Some(':') && before != Some('.') {
                paths.rest = &code[at - head.len()..];
                paths.tree(&Module::new());
            }
        }
        paths.found
    }

    /// One branch of a `use` tree; a plain path is a tree without branches.
    fn tree(&mut self, stem: &[String]) {
        let mut path = stem.to_vec();
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix('{') {
                self.rest = rest;
                return self.branches(&path);
            }
            let end = self.rest.find(|c| !is_of_name(c)).unwrap_or(self.rest.len());
            if end > 0 {
                path.push(self.rest[..end].to_owned());
            }
            self.rest = &self.rest[end..];
            match self.rest.strip_prefix("::") {
                Some(rest) => self.rest = rest,
                None => return self.found.push(path),
            }
        }
    }

    fn branches(&mut self, stem: &[String]) {
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            if self.rest.starts_with('}') || self.rest.is_empty() {
                self.rest = self.rest.get(1..).unwrap_or_default();
                return;
            }
            self.tree(stem);
            // What `as` renames, and the `*` of a glob.
            let end = self.rest.find([',', '}']).unwrap_or(self.rest.len());
            self.rest = &self.rest[end..];
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn paths_are_read_in_every_form() {
    let code = "
        mod inner;
        use crate::a::{self, b::{C, D as E}, f::*};
        use super::super::g::H;
        fn i() { inner::j(other::crate_::k(), crate::l::M::N) }
    ";
    let found: Vec<_> = Paths::of(code).into_iter().map(|path| path.join("::")).collect();
    let expected = [
        "crate::a::self",
        "crate::a::b::C",
        "crate::a::b::D",
        "crate::a::f",
        "super::super::g::H",
        "inner::j",
        "crate::l::M::N",
    ];
    for path in expected {
        assert!(found.iter().any(|found| found == path), "{path} is not among {found:?}");
    }
}

#[test]
fn a_circle_is_found_and_a_submodule_that_uses_its_parent_is_none() {
    let module = |name: &str| -> Module { name.split('/').map(str::to_owned).collect() };
    let graph = |imports: &[(&str, &str)]| {
        let mut graph = BTreeMap::<Module, BTreeSet<Module>>::new();
        for (from, to) in imports {
            graph.entry(module(from)).or_default().insert(module(to));
            graph.entry(module(to)).or_default();
        }
        Graph(graph)
    };
    let none: Vec<Vec<String>> = Vec::new();
    assert_eq!(graph(&[("a", "b"), ("b", "c"), ("a", "c")]).circles(), none);
    assert_eq!(graph(&[("a", "a/part"), ("a/part", "a")]).circles(), none);
    assert_eq!(
        graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]).circles(),
        [["a", "b", "c"]]
    );
}
