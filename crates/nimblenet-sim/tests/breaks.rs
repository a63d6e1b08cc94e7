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
