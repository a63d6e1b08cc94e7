//! What is wrong with a file that has not the form of a trial, in the words of its author.

use serde::Deserialize as _;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use toml::{Table, Value};

use super::flow::Flow;
use super::trial::{Call, Incident, Mesh, Trial};
use crate::scenario::BadScenario;

/// What `error` found in `text`: the field, what it is, and what it may be.
pub(super) fn finding(text: &str, error: toml::de::Error) -> BadScenario {
    let Ok(file) = text.parse::<Table>() else {
        // It is not TOML; the words of its parser name the line.
        return BadScenario::Form(error);
    };
    let list = |name: &str| match file.get(name) {
        Some(Value::Array(items)) => items.as_slice(),
        _ => &[],
    };
    let faults = list("fault").iter().enumerate();
    let mut faults = faults.filter_map(|(at, it)| wrong::<Incident>(&format!("fault[{at}]"), it));
    let calls = list("call").iter().enumerate();
    let mut calls = calls.filter_map(|(at, it)| wrong::<Call>(&format!("call[{at}]"), it));
    let flows = list("flow").iter().enumerate();
    let mut flows = flows.filter_map(|(at, it)| wrong::<Flow>(&format!("flow[{at}]"), it));
    let mesh = || wrong::<Mesh>("mesh", file.get("mesh")?);
    let whole = || wrong::<Trial>("", &Value::Table(file.clone()));
    let found = faults
        .next()
        .or_else(|| calls.next())
        .or_else(|| flows.next())
        .or_else(mesh)
        .or_else(whole);
    found.unwrap_or(BadScenario::Form(error))
}

/// What is wrong with a value that is to be a `T`; nothing if it is one.
fn wrong<T: DeserializeOwned>(path: &str, value: &Value) -> Option<BadScenario> {
    let read = |value: &Value| value.clone().try_into::<T>().err();
    let error = read(value)?;
    let message = error.message().to_owned();
    let Value::Table(table) = value else {
        return Some(told(path, None, &message));
    };
    if let Some(field) = message.strip_prefix("missing field ").and_then(quoted) {
        let what = match wanted::<T>(table, field) {
            Some(right) => format!("it is missing; it is {right}"),
            None => "it is missing".to_owned(),
        };
        return Some(told(path, Some(field), &what));
    }
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let known = rest.split_once("expected ").map_or("", |(_, known)| known);
        let known = known.trim_start_matches("one of ").replace('`', "");
        let what = format!("there is no such field; there are {known}");
        let field = quoted(rest).map(|field| {
            let inner = owner(table, field).unwrap_or_default();
            format!("{inner}{field}")
        });
        return Some(told(path, field.as_deref(), &what));
    }
    if let Some((field, what)) = message.split_once(": ")
        && table.contains_key(field)
    {
        // The field's own words.
        return Some(told(path, Some(field), what));
    }
    // The field whose value is in the message; of several such numbers the one that another one mends.
    let named: Vec<(&String, &Value)> = table
        .iter()
        .filter_map(|(key, value)| Some((key, named(value, &message)?)))
        .collect();
    let changes = |(key, _): &&(&String, &Value)| {
        let mut other = table.clone();
        let number = i64::from(table.get(*key) == Some(&Value::Integer(1)));
        other.insert((*key).clone(), Value::Integer(1 + number));
        read(&Value::Table(other)).is_none_or(|error| error.message() != message)
    };
    let culprit = match named[..] {
        [one] => Some(one),
        _ => named.iter().find(changes).or(named.first()).copied(),
    };
    let right = expected(&message).or_else(|| wanted::<T>(table, culprit?.0));
    let what = match (right, culprit) {
        (Some(right), Some((_, given))) => format!("{given} is not {right}"),
        _ => message,
    };
    Some(told(path, culprit.map(|(key, _)| &key[..]), &what))
}

/// What a field of a `T` has to be, as the parser says when it is given something else.
fn wanted<T: DeserializeOwned>(table: &Table, field: &str) -> Option<String> {
    let others = [Value::String("?".to_owned()), Value::Boolean(true)];
    others.into_iter().find_map(|other| {
        let mut table = table.clone();
        table.insert(field.to_owned(), other);
        let error = Value::Table(table).try_into::<T>().err()?;
        expected(error.message())
    })
}

/// The value, or the one within it, that a message of the parser names.
fn named<'v>(value: &'v Value, message: &str) -> Option<&'v Value> {
    let inner = match value {
        Value::Array(items) => items.iter().find_map(|item| named(item, message)),
        Value::Table(table) => table.iter().find_map(|(_, item)| named(item, message)),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => None,
    };
    inner.or_else(|| message.contains(&words(value)).then_some(value))
}

/// The way to the table within this one that has a field, with a dot behind it; none if it is this one or
/// there is none.
fn owner(table: &Table, field: &str) -> Option<String> {
    if table.contains_key(field) {
        return None;
    }
    table.iter().find_map(|(key, value)| match value {
        Value::Table(inner) if inner.contains_key(field) => Some(format!("{key}.")),
        Value::Table(inner) => Some(format!("{key}.{}", owner(inner, field)?)),
        Value::Array(items) => items.iter().zip(0..).find_map(|(item, at)| {
            let inner = item.as_table()?;
            let is_here = inner.contains_key(field);
            let rest = owner(inner, field);
            let rest = rest.or_else(|| is_here.then(String::new))?;
            Some(format!("{key}[{at}].{rest}"))
        }),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => None,
    })
}

/// Reads links: two nodes each, and no more. The format would leave the rest of a list unread.
pub(super) fn links<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(u16, u16)>, D::Error> {
    let lists: Vec<Vec<u16>> = Vec::deserialize(from)?;
    let pairs = lists.into_iter().map(|ends| match ends[..] {
        [a, b] => Ok((a, b)),
        _ => Err(D::Error::custom(format!(
            "links: a link is between two nodes, and {ends:?} names {}",
            ends.len()
        ))),
    });
    pairs.collect()
}

fn told(path: &str, field: Option<&str>, what: &str) -> BadScenario {
    let parts = [path, field.unwrap_or("")];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    BadScenario::Field {
        field: parts.join("."),
        what: what.to_owned(),
    }
}

/// A value in the words of the parser.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => format!("integer `{number}`"),
        Value::Float(number) => format!("floating point `{number}"),
        Value::Boolean(is) => format!("boolean `{is}`"),
        Value::Datetime(_) => "datetime".to_owned(),
        Value::Array(_) => "sequence".to_owned(),
        Value::Table(_) => "map".to_owned(),
    }
}

/// What stands between the first two backquotes.
fn quoted(words: &str) -> Option<&str> {
    words.split('`').nth(1)
}

/// What a value of the type that a message of the parser ends with has to be.
fn expected(message: &str) -> Option<String> {
    if let Some((_, names)) = message
        .strip_prefix("unknown variant ")
        .and_then(|rest| rest.split_once("expected "))
    {
        let names = names.trim_start_matches("one of ").replace('`', "");
        return Some(format!("one of {names}"));
    }
    let (_, wanted) = message.rsplit_once("expected ")?;
    let whole = |most: u64| format!("a whole number from 0 to {most}");
    Some(match wanted {
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" => whole(i64::MAX as u64),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text in quotes".to_owned(),
        "a sequence" => "a list".to_owned(),
        _ if wanted.starts_with("struct ") || wanted == "a map" => "a table".to_owned(),
        _ if wanted.starts_with("a tuple of size ") => {
            format!(
                "a list of {}",
                wanted.trim_start_matches("a tuple of size ")
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_of_a_fault_file_is_named_with_what_it_may_be() {
        let cases = [
            (
                "[[fault]]\nkind = 'crash'\nat_s = 1\n",
                "fault[0].node: it is missing; it is a whole number from 0 to 65535",
            ),
            (
                "[[fault]]\nat_s = 1\nnode = 1\n",
                "fault[0].kind: it is missing; it is one of crash, clock, ",
            ),
            (
                "[[fault]]\nkind = 3\nat_s = 1\nnode = 1\n",
                "fault[0].kind: 3 is not one of crash, clock, ",
            ),
            (
                "[[fault]]\nkind = 'link'\nat_s = 1\nfrom = 1\nto = 2\nlink = { los = 0.3 }\n",
                "fault[0].link.los: there is no such field; there are ",
            ),
            (
                "[mesh]\nturmoil_s = 5\nlinks = [[0, 70000]]\nregistries = [0]\n",
                "mesh.links: 70000 is not a whole number from 0 to 65535",
            ),
            (
                "[mesh]\nturmoil_s = 5\nlinks = [[0, 1], [0, 1, 2]]\nregistries = [0]\n",
                "mesh.links: a link is between two nodes, and [0, 1, 2] names 3",
            ),
            (
                "[[fault]]\nkind = 'crash'\nat_s = 1\nnode = -1\n",
                "fault[0].node: -1 is not a whole number from 0 to 65535",
            ),
            (
                "[[fault]]\nkind = 'crash'\nat_s = 1\nnode = 1\n\n[[fault]]\nkind = 'crash'\nat_s = 'x'\nnode = 1\n",
                "fault[1].at_s: \"x\" is not a number",
            ),
            (
                "[[fault]]\nkind = 'crush'\nat_s = 1\nnode = 1\n",
                "fault[0].kind: \"crush\" is not one of crash, clock, slow, ",
            ),
            (
                "[[fault]]\nkind = 'crash'\nat_s = 1\nnode = 1\nkeep = true\n",
                "fault[0].keep: there is no such field; there are node, keeps, clock_s",
            ),
            (
                "[[fault]]\nkind = 'crash'\nat_s = 1\nnode = 1\nkeeps = 1\n",
                "fault[0].keeps: 1 is not true or false",
            ),
            ("seed = 'x'\n", "seed: \"x\" is not a whole number"),
            ("fault = 3\n", "fault: 3 is not a list"),
            (
                "[mesh]\nturmoil_s = 1\nlinks = 3\n",
                "mesh.links: 3 is not a list",
            ),
            (
                "sede = 1\n",
                "sede: there is no such field; there are about, ",
            ),
        ];
        for (text, expected) in cases {
            let said = Trial::read(text).unwrap_err().to_string();
            assert!(said.starts_with(expected), "{said} instead of {expected}");
        }
    }
}
