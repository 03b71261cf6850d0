//! From JSON to a struct, by `serde`; and what is said of a value that the struct does not take.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

/// One mistake in the configuration. It holds no secret: the values are the operator's own vars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misconfigured {
    /// Path of the knob: `ROUTES[1].key.required`.
    pub knob: String,
    /// What was given and what is allowed.
    pub why: String,
}

impl Misconfigured {
    pub(super) fn new(knob: impl Into<String>, why: impl Into<String>) -> Self {
        Self { knob: knob.into(), why: why.into() }
    }
}

/// Reads a table, which stands at `place` in the vars (at their top where `place` is empty).
///
/// `serde` stops at the first mistake. The knob that holds it is then taken out and the table is read
/// again, so that all mistakes are reported at once.
pub(super) fn read<T: DeserializeOwned>(
    place: &str,
    mut table: Map<String, Value>,
) -> Result<T, Vec<Misconfigured>> {
    let mut mistakes = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize(&table) {
            Ok(read) if mistakes.is_empty() => return Ok(read),
            Ok(_) => return Err(mistakes),
            Err(error) => error,
        };
        let names: Vec<&str> = error.path().iter().map_while(name).collect();
        if let Some(missing) = missing_field(&error.inner().to_string()) {
            let knob = [&[place], names.as_slice(), &[missing]].concat().join(".");
            // Unless it was there, and has been taken out for another mistake.
            if mistakes.iter().all(|mistake: &Misconfigured| mistake.knob != knob) {
                mistakes.push(Misconfigured::new(knob, "is missing"));
            }
            return Err(mistakes);
        }
        let knob = take(&mut table, &names);
        let given = knob.as_ref().map(|knob| item(knob, error.path()));
        let why = explain(&error.inner().to_string(), given.unwrap_or(&Value::Null), &names);
        let dot = if place.is_empty() { "" } else { "." };
        mistakes.push(Misconfigured::new(format!("{place}{dot}{}", error.path()), why));
        if knob.is_none() {
            return Err(mistakes);
        }
    }
}

/// `name` of "missing field `name`".
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Rewords what `serde` or a type's own parser says.
fn explain(message: &str, given: &Value, names: &[&str]) -> String {
    if message.starts_with("unknown field") {
        // unknown field `tll`, expected one of `name`, `methods`, `path`
        let known = message.split('`').skip(3).step_by(2);
        let (given, group) = names.split_last().unwrap_or((&"", &[]));
        let nearest = nearest(given, known).unwrap_or_default();
        let nearest = [group, &[nearest]].concat().join(".");
        return format!("is not a knob; the nearest one is {nearest}");
    }
    let Some((_, expected)) = message.split_once(", expected ") else {
        return format!("is {given}, but {message}");
    };
    let allowed = match expected {
        "a sequence" => "a list",
        "string or map" => "a name in quotes",
        "u16" => "a whole number",
        other => other,
    };
    format!("is {given}, but must be {allowed}")
}

/// The name that was probably meant.
pub(super) fn nearest<'n>(given: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known.min_by_key(|name| strsim::osa_distance(given, name))
}

fn name(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Map { key } => Some(key),
        Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// Takes the knob of that name out of the table.
fn take(table: &mut Map<String, Value>, names: &[&str]) -> Option<Value> {
    match names {
        [] => None,
        [name] => table.remove(*name),
        [group, rest @ ..] => take(table.get_mut(*group)?.as_object_mut()?, rest),
    }
}

/// The item of a list to which the path leads, or the knob itself.
fn item<'v>(knob: &'v Value, path: &Path) -> &'v Value {
    let index = path.iter().find_map(|segment| match segment {
        Segment::Seq { index } => Some(*index),
        Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => None,
    });
    index.and_then(|index| knob.get(index)).unwrap_or(knob)
}
