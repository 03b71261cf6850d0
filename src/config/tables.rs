//! Lists of tables among the vars: `ROUTES`, `SCHEDULES`, `QUEUES`. A var holds 5 KB (developers.cloudflare.com,
//! workers/platform/limits), so that each goes on in `ROUTES_2`, `ROUTES_3` …

use serde_json::{Map, Value};

use crate::config::read::Misconfigured;
use crate::request::json;

/// The tables of a list, each with its place in the vars: `ROUTES[0]`, `ROUTES_2[0]` …; none where the list is
/// not there.
pub(super) fn tables(
    list: &str,
    vars: &Map<String, Value>,
    mistakes: &mut Vec<Misconfigured>,
) -> Option<Vec<(String, Map<String, Value>)>> {
    let name = |n: usize| if n == 1 { list.to_owned() } else { format!("{list}_{n}") };
    let found: Vec<_> = (1..).map_while(|n| vars.get_key_value(&name(n))).collect();
    // What comes after a gap would be left out.
    let is_unread =
        |var: &&String| var.starts_with(list) && found.iter().all(|(name, _)| *name != *var);
    let unread = vars.keys().filter(is_unread);
    mistakes.extend(unread.map(|var| {
        let next = name(found.len() + 1);
        Misconfigured::new(var, format!("comes where {next} is expected: tables go on in {list}, {list}_2, {list}_3 … without a gap"))
    }));
    let mut tables = Vec::new();
    for (var, value) in &found {
        let read = items(var, value).map_err(|mistake| mistakes.push(mistake)).unwrap_or_default();
        for (index, table) in read.into_iter().enumerate() {
            let place = format!("{var}[{index}]");
            match table {
                Value::Object(table) => tables.push((place, table)),
                other => {
                    let why = format!("is {other}, but must be a table");
                    mistakes.push(Misconfigured::new(place, why));
                }
            }
        }
    }
    (!found.is_empty()).then_some(tables)
}

/// A list, or its JSON text.
fn items(var: &str, value: &Value) -> Result<Vec<Value>, Misconfigured> {
    let list = match value {
        Value::String(text) => {
            let list = serde_json::from_str(text)
                .map_err(|error| Misconfigured::new(var, format!("is not JSON: {error}")))?;
            if json::canonical(text.as_bytes()).is_none() {
                let why = "has a knob twice, or a number that not every reader takes alike";
                return Err(Misconfigured::new(var, why));
            }
            list
        }
        other => other.clone(),
    };
    match list {
        Value::Array(tables) => Ok(tables),
        _ => Err(Misconfigured::new(var, format!("must be a list of tables: [[vars.{var}]]"))),
    }
}
