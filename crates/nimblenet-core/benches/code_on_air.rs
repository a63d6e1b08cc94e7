//! What modules weigh on air: plain, compressed with a dictionary of other modules, and as a delta
//! against the version before.
//!
//! ```text
//! cargo bench -p nimblenet-core --bench code_on_air
//! cargo bench -p nimblenet-core --bench code_on_air -- other/packages
//! cargo bench -p nimblenet-core --bench code_on_air -- packages before=packages/before
//! valgrind --tool=callgrind target/release/deps/code_on_air-* expand
//! ```
//! Arguments are folders of packages; without them, the packed tasklets of this repository are
//! measured. No module is ever compressed with a dictionary that was made of it: a dictionary for
//! a module is made of all the others. `before` is a folder of earlier versions: what a delta against
//! the version with the same name would take is told beside the rest. With `expand`, modules are only expanded, a hundred times
//! each, so that instructions can be counted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::std_instead_of_alloc,
    reason = "a bench for an operating system"
)]

use std::path::{Path, PathBuf};

use nimblenet_core::compression::{compress, dictionary};
use nimblenet_tasklet::{Package, compression::expand};

/// The lengths of dictionaries that are compared.
const DICTIONARIES: [usize; 5] = [0, 512, 1024, 1536, 2048];

fn main() {
    let given = std::env::args().skip(1);
    let (mut folders, mut only_expand, mut before) = (Vec::new(), false, Vec::new());
    for argument in given.filter(|it| it != "--bench") {
        match (&argument[..], argument.strip_prefix("before=")) {
            ("expand", _) => only_expand = true,
            (_, Some(folder)) => before = modules(&[PathBuf::from(folder)]),
            (folder, None) => folders.push(PathBuf::from(folder)),
        }
    }
    if folders.is_empty() {
        let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tasklets/packed");
        folders.push(packed);
    }
    let modules = modules(&folders);
    if only_expand {
        return count(&modules);
    }
    let plain: usize = modules.iter().map(|(_, module)| module.len()).sum();
    println!("{} modules of {plain} B", modules.len());
    for bytes in DICTIONARIES {
        let (mut total, mut longest) = (0, 0);
        for at in 0..modules.len() {
            let (made, compressed) = unseen(&modules, at, bytes);
            longest = longest.max(made);
            total += compressed.min(modules[at].1.len());
        }
        let ratio = total as f64 / plain as f64;
        println!("dictionary of {bytes:4} B (made: {longest:4} B): {total:5} B, {ratio:.3}");
    }
    println!("\nmodule, plain bytes, compressed with 1024 B of the others, delta");
    let (mut known, mut delta) = ([0; 2], 0);
    for (at, (name, module)) in modules.iter().enumerate() {
        let (len, compressed) = (module.len(), unseen(&modules, at, 1024).1);
        print!("{name:<24} {len:4} {compressed:4}");
        if let Some((_, old)) = before.iter().find(|(old, _)| old == name) {
            let against = compress(module, old).unwrap().len();
            known = [known[0] + len, known[1] + compressed];
            delta += against;
            print!(" {against:4}");
        }
        println!();
    }
    let [plain, compressed] = known;
    if plain > 0 {
        println!("with a version before: {plain} B, compressed {compressed} B, deltas {delta} B");
    }
}

/// The length of the dictionary that is made of all modules but the one at `at`, and that of this
/// one compressed with it.
fn unseen(modules: &[(String, Vec<u8>)], at: usize, bytes: usize) -> (usize, usize) {
    let others = modules.iter().enumerate().filter(|(other, _)| *other != at);
    let others: Vec<&[u8]> = others.map(|(_, (_, module))| &module[..]).collect();
    let made = dictionary(&others, bytes);
    let module = &modules[at].1;
    let compressed = compress(module, &made).unwrap();
    let mut again = vec![0; module.len()];
    expand(&compressed, &made, &mut again).unwrap();
    assert_eq!(again, *module);
    (made.len(), compressed.len())
}

/// Expands every module a hundred times.
fn count(modules: &[(String, Vec<u8>)]) {
    let lent: Vec<&[u8]> = modules.iter().map(|(_, module)| &module[..]).collect();
    let made = dictionary(&lent, 1024);
    let mut expanded = 0;
    for module in lent {
        let compressed = compress(module, &made).unwrap();
        let mut plain = vec![0; module.len()];
        for _ in 0..100 {
            expand(core::hint::black_box(&compressed), &made, &mut plain).unwrap();
            expanded += plain.len();
        }
    }
    println!("expanded {expanded} B");
}

/// The modules of all packages in the folders, by their names.
fn modules(folders: &[PathBuf]) -> Vec<(String, Vec<u8>)> {
    let files = folders.iter().flat_map(|it| std::fs::read_dir(it).unwrap());
    let mut modules: Vec<(String, Vec<u8>)> = files
        .filter_map(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let package = Package::decode(&bytes).ok()?;
            let module = package.module.to_vec();
            (!module.is_empty()).then(|| (package.name.to_string(), module))
        })
        .collect();
    modules.sort();
    modules
}
