//! Each part of the node compiles without the node and without the other parts.
//!
//! The compiler lets a module name the modules beside it. So this test gives every part a room of
//! its own: a crate with nothing but that part, the post, and the ground that all parts share. A
//! part that names another part does not compile there.
#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CORE: &str = env!("CARGO_MANIFEST_DIR");
/// The modules that no room has: the node, and those that use it.
const NODE: [&str; 2] = ["node", "pump"];

/// A part of the node: the names of its parents, then its own.
type Part = Vec<String>;

/// A crate for one part.
struct Room {
    name: String,
    part: Part,
    /// Code that is added to the part.
    more: &'static str,
}

/// The modules that a file of the core declares, without those for tests.
fn modules(file: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(CORE).join("src").join(file)).unwrap();
    let mut for_tests = false;
    let mut modules = Vec::new();
    for line in text.lines() {
        let words = line.strip_suffix(';').unwrap_or("").split(' ');
        let mut words = words.skip_while(|word| word.starts_with("pub"));
        if let (Some("mod"), Some(name), false) = (words.next(), words.next(), for_tests) {
            modules.push(name.to_string());
        }
        for_tests = line == "#[cfg(test)]";
    }
    modules
}

/// Every part of the node, of its calls, of their runs, and of the two parts of those.
fn parts() -> Vec<Part> {
    let children = |file: &str, parent: &[&str]| {
        let names = modules(file).into_iter().filter(|name| name != "post");
        let parents: Part = parent.iter().map(ToString::to_string).collect();
        let part = |name| parents.iter().cloned().chain([name]).collect();
        names.map(part).collect::<Vec<Part>>()
    };
    let mut parts = children("node/mod.rs", &[]);
    parts.extend(children("node/calls.rs", &["calls"]));
    parts.extend(children("node/calls/runs.rs", &["calls", "runs"]));
    for part in ["execution", "supply"] {
        let file = format!("node/calls/runs/{part}.rs");
        parts.extend(children(&file, &["calls", "runs", part]));
    }
    parts
}

/// Writes a file unless it is there already, so that nothing is compiled twice.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|held| held == text) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Copies the module at `from`, which has no extension, with all that it contains.
fn copy(from: &Path, to: &Path) {
    if let Ok(text) = fs::read_to_string(from.with_extension("rs")) {
        write(&to.with_extension("rs"), &text);
    }
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = PathBuf::from(entry.unwrap().file_name());
        let module = entry.with_extension("");
        copy(&from.join(&module), &to.join(&module));
    }
}

impl Room {
    /// Puts the ground, the post and the part into the folder `at`.
    fn furnish(&self, at: &Path) {
        let src = Path::new(CORE).join("src");
        let ground = modules("lib.rs").into_iter();
        let ground: Vec<String> = ground.filter(|it| !NODE.contains(&it.as_str())).collect();
        for module in &ground {
            copy(&src.join(module), &at.join(module));
        }
        let own: PathBuf = ["node".into()].iter().chain(&self.part).collect();
        copy(&src.join("node/post"), &at.join("node/post"));
        copy(&src.join(&own), &at.join(&own));
        let own = own.with_extension("rs");
        let text = fs::read_to_string(src.join(&own)).unwrap();
        write(&at.join(&own), &format!("{text}{}", self.more));

        let (last, parents) = self.part.split_last().unwrap();
        let alone = format!("pub mod {last};");
        let alone = parents.iter().rev().fold(alone, |inner, parent| {
            format!("pub mod {parent} {{ {inner} }}")
        });
        let ground: String = ground.iter().map(|it| format!("mod {it};\n")).collect();
        let whole = format!(
            "#![allow(warnings)]\nextern crate alloc;\n{ground}\
             mod node {{ mod post; {alone} }}\nfn main() {{}}\n"
        );
        write(&at.join("main.rs"), &whole);
    }
}

/// A package of rooms.
struct House {
    root: PathBuf,
}

impl House {
    fn new(name: &str, rooms: &[Room]) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let tasklet = Path::new(CORE).join("../nimblenet-tasklet");
        let mut manifest = format!(
            "[workspace]\n[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [dependencies]\nnimblenet-tasklet = {{ path = {tasklet:?} }}\n"
        );
        for Room { name, .. } in rooms {
            let room = format!("[[bin]]\nname = {name:?}\npath = \"{name}/main.rs\"\n");
            manifest.push_str(&room);
        }
        for room in rooms {
            room.furnish(&root.join(&room.name));
        }
        write(&root.join("Cargo.toml"), &manifest);
        // Use the same versions of dependencies as outside.
        let lock = Path::new(CORE).join("../../Cargo.lock");
        fs::copy(lock, root.join("Cargo.lock")).unwrap();
        Self { root }
    }

    /// Checks these rooms.
    ///
    /// # Errors
    /// The compiler's message if it refuses one.
    fn check(&self, rooms: &[&str]) -> Result<(), String> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args([
            "check",
            "--quiet",
            "--offline",
            "--target-dir",
            "../rooms-target",
        ]);
        command.args(rooms.iter().flat_map(|room| ["--bin", room]));
        let output = command.current_dir(&self.root).output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

#[test]
fn every_part_of_the_node_compiles_without_the_node_and_the_others() {
    let parts = parts();
    let rooms = parts.into_iter().map(|part| Room {
        name: part.join("-"),
        part,
        more: "",
    });
    let rooms: Vec<Room> = rooms.collect();
    assert!(rooms.len() >= 15, "the parts are found");
    let names: Vec<&str> = rooms.iter().map(|room| room.name.as_str()).collect();
    House::new("rooms", &rooms)
        .check(&names)
        .unwrap_or_else(|refusal| panic!("{refusal}"));
}

#[test]
fn a_part_that_names_another_or_the_node_does_not() {
    // The code that each part gets uses names that its room does not have.
    let reports = "
        fn a(_: &super::servings::Servings) {}
        fn b(_: &crate::node::calls::Calls) {}
        fn c(_: &crate::node::Node) {}";
    let jobs = "
        fn a(_: &super::bench::Bench) {}
        fn b(_: &super::Execution) {}
        fn c(_: &crate::node::servings::Servings) {}";
    let words = [
        (vec!["reports"], reports, ["servings", "calls", "Node"]),
        (
            vec!["calls", "runs", "execution", "jobs"],
            jobs,
            ["bench", "Execution", "servings"],
        ),
    ];
    let rooms = words.clone().map(|(part, more, _)| Room {
        name: part.join("-"),
        part: part.into_iter().map(str::to_string).collect(),
        more,
    });
    let house = House::new("closed-rooms", &rooms);
    for (room, (.., unknown)) in rooms.iter().zip(words) {
        let refusal = house.check(&[&room.name]).unwrap_err();
        let errors = refusal.lines().filter(|line| line.starts_with("error[E"));
        let errors: Vec<&str> = errors.collect();
        assert_eq!(errors.len(), unknown.len(), "{refusal}");
        for name in unknown {
            let name = format!("`{name}`");
            assert!(
                errors.iter().any(|error| error.contains(&name)),
                "{refusal}"
            );
        }
    }
}
