//! What `cargo xtask breaks` runs after it has broken core on purpose.

use nimblenet_sim::swarm;

const RUNS: u64 = 1000;

/// Finds a fault with the checker that the variable `NIMBLENET_BREAK` names, and not a known one.
#[test]
#[ignore = "fails unless core is broken; run by cargo xtask breaks"]
fn a_break_is_found_by_its_checker() {
    let Ok(checker) = std::env::var("NIMBLENET_BREAK") else {
        panic!("NIMBLENET_BREAK names no checker");
    };
    std::panic::set_hook(Box::new(|_| {}));
    let found = (1..=RUNS).find_map(|seed| {
        let (failure, _) = swarm::judge(seed).unknown?;
        (failure.checker == checker).then_some((seed, failure))
    });
    let _ = std::panic::take_hook();
    let Some((seed, failure)) = found else {
        panic!("{RUNS} runs show nothing that {checker} finds");
    };
    println!("found by seed {seed}: {}", failure.what);
}

/// What a patch takes away and what it leaves around that, hunk by hunk, with the file in which it is.
fn hunks(patch: &str) -> Vec<(String, String)> {
    let mut hunks: Vec<(String, String)> = Vec::new();
    let mut file = "";
    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("+++ b/") {
            file = path;
        } else if line.starts_with("@@ ") {
            hunks.push((file.to_owned(), String::new()));
        } else if let (Some(old), Some((_, hunk))) =
            (line.strip_prefix([' ', '-']), hunks.last_mut())
            && !line.starts_with("--- ")
        {
            *hunk += old;
            hunk.push('\n');
        }
    }
    hunks
}

#[test]
fn every_break_fits_core_as_it_is() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let folder = format!("{}/tests/breaks", env!("CARGO_MANIFEST_DIR"));
    let mut patches = 0;
    for entry in std::fs::read_dir(folder).expect("there are breaks") {
        let path = entry.expect("the folder can be read").path();
        let patch = std::fs::read_to_string(&path).expect("a patch can be read");
        let hunks = hunks(&patch);
        assert!(!hunks.is_empty(), "{}", path.display());
        for (file, hunk) in hunks {
            let source = std::fs::read_to_string(format!("{root}/{file}"));
            let source = source.expect("a break is one of a file that exists");
            assert!(
                source.contains(&hunk),
                "{} does not fit {file}:\n{hunk}",
                path.display()
            );
        }
        patches += 1;
    }
    assert!(patches > 10);
}
