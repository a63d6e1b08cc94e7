//! The names of a module's functions, for people who look for a fault: what nodes have no use for
//! and never get.

use core::fmt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nimblenet_tasklet::{Digest, TaskletName};
use wasmparser::{KnownCustom, Name, Parser, Payload};

/// First line of every file of names.
const HEAD: &str = "nimblenet names 1";

/// The names of a module's functions.
///
/// As text, it is a line `nimblenet names 1`, a line with the tasklet's name, a line with the
/// module's SHA-256 digest, and a line for each function that has a name: its index among all of the
/// module's functions, imported ones included, a space, and the name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// The tasklet that the module is of.
    pub tasklet: TaskletName,
    /// The module that they fit.
    pub digest: Digest,
    functions: BTreeMap<u32, String>,
}

impl Names {
    /// The names that the name section of `source` has, a binary module, for `module`, which has the
    /// same functions under the same indices. Control characters in names are escaped.
    pub fn of(tasklet: TaskletName, source: &[u8], module: &[u8]) -> Self {
        let mut functions = BTreeMap::new();
        for payload in Parser::new(0).parse_all(source).map_while(Result::ok) {
            let Payload::CustomSection(section) = payload else {
                continue;
            };
            let KnownCustom::Name(names) = section.as_known() else {
                continue;
            };
            for name in names.into_iter().map_while(Result::ok) {
                if let Name::Function(map) = name {
                    let all = map.into_iter().map_while(Result::ok);
                    functions.extend(all.map(|it| (it.index, shown(it.name))));
                }
            }
        }
        let digest = Digest::of(module);
        Self {
            tasklet,
            digest,
            functions,
        }
    }

    /// Reads the text; none if it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let tasklet = TaskletName::new(lines.next()?).ok()?;
        let digest = digest(lines.next()?)?;
        let functions = lines.map(|line| {
            let (index, name) = line.split_once(' ')?;
            Some((index.parse().ok()?, shown(name)))
        });
        Some(Self {
            tasklet,
            digest,
            functions: functions.collect::<Option<_>>()?,
        })
    }

    /// The name of a function.
    pub fn function(&self, index: u32) -> Option<&str> {
        self.functions.get(&index).map(String::as_str)
    }

    /// Whether no function has a name.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The file of names that stands beside a package: the same name that ends in `.names`.
    pub fn beside(package: &Path) -> PathBuf {
        package.with_extension("names")
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}\n{}\n{}", self.tasklet, self.digest)?;
        let mut functions = self.functions.iter();
        functions.try_for_each(|(index, name)| writeln!(f, "{index} {name}"))
    }
}

/// A name as it may stand in a line and on a terminal.
fn shown(name: &str) -> String {
    let one = |c: char| match c.is_control() {
        true => c.escape_debug().to_string(),
        false => c.to_string(),
    };
    name.chars().map(one).collect()
}

fn digest(hex: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(Digest(bytes))
}
