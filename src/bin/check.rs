//! `npm run check`: checks a configuration of Wrangler (`oncegate::check`) and prints what it finds.
//!
//! `check` alone takes the file that Wrangler takes; `check FILE` and `check -c FILE` another one. Each error
//! and each warning is one line with the knob's path. Exit code 1 if there is an error, 2 if the file cannot
//! be read.

use std::path::Path;
use std::process::ExitCode;

use oncegate::check::{Format, Report, check};
use oncegate::config::read::Misconfigured;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let file = match args[..] {
        [] => taken_by_wrangler(),
        [file] | ["-c" | "--config", file] if !file.starts_with('-') => file,
        _ => {
            println!("usage: npm run check -- [-c FILE]");
            return ExitCode::from(2);
        }
    };
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let format = if is_toml(file) { Format::Toml } else { Format::Jsonc };
    let Report { errors, warnings } = match text.and_then(|text| check(&text, format)) {
        Ok(report) => report,
        Err(why) => {
            // The parser's message has several lines; each is one of ours.
            for line in why.trim().lines() {
                println!("{file}: error: {line}");
            }
            return ExitCode::from(2);
        }
    };
    for Misconfigured { knob, why } in &errors {
        println!("{file}: error: {knob}: {why}");
    }
    for Misconfigured { knob, why } in &warnings {
        println!("{file}: warning: {knob}: {why}");
    }
    if !errors.is_empty() {
        return ExitCode::from(1);
    }
    println!("{file}: sound");
    ExitCode::SUCCESS
}

/// The first of the names that Wrangler looks for (wrangler 4, `findWranglerConfig`).
fn taken_by_wrangler() -> &'static str {
    let mut there = CONFIGS.into_iter().filter(|file| Path::new(file).exists());
    let Some(taken) = there.next() else { return "wrangler.toml" };
    for other in there {
        println!(
            "{taken}: warning: {other}: lies beside it, and Wrangler does not read it: remove one of them"
        );
    }
    taken
}

fn is_toml(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

const CONFIGS: [&str; 3] = ["wrangler.json", "wrangler.jsonc", "wrangler.toml"];
