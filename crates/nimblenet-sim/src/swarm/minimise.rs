//! Makes trials smaller, as long as the same checker fails.

use super::perform;
use super::trial::{FEATURES, Trial};

/// The smallest trial that was found with at most so many attempts.
pub fn minimise(trial: &Trial, checker: &str, attempts: u32) -> Trial {
    let mut left = attempts;
    let mut smallest = trial.clone();
    let mut fails = |trial: &Trial| {
        if left == 0 || !trial.is_sound() {
            return false;
        }
        left -= 1;
        let failure = perform(trial).failure;
        failure.is_some_and(|failure| failure.checker == checker)
    };
    loop {
        let before = smallest.clone();
        without_runs(&mut smallest, &mut fails, |trial| &mut trial.incidents);
        without_runs(&mut smallest, &mut fails, |trial| &mut trial.calls);
        without_runs(&mut smallest, &mut fails, |trial| &mut trial.flows);
        for feature in FEATURES {
            let mut smaller = smallest.clone();
            if smaller.remove(feature) && fails(&smaller) {
                smallest = smaller;
            }
        }
        without_nodes(&mut smallest, &mut fails);
        fewer_at_once(&mut smallest, &mut fails);
        shorter_flows(&mut smallest, &mut fails);
        if smallest == before {
            break;
        }
    }
    smallest.checker = Some(checker.to_owned());
    smallest
}

/// Leaves out runs of a list, long ones first.
fn without_runs<T: Clone>(
    smallest: &mut Trial,
    fails: &mut impl FnMut(&Trial) -> bool,
    list: impl Fn(&mut Trial) -> &mut Vec<T>,
) {
    let mut len = list(smallest).len();
    while len > 0 {
        let mut at = 0;
        while at < list(smallest).len() {
            let mut smaller = smallest.clone();
            let items = list(&mut smaller);
            items.drain(at..(at + len).min(items.len()));
            if fails(&smaller) {
                *smallest = smaller;
            } else {
                at += len;
            }
        }
        len /= 2;
    }
}

fn without_nodes(smallest: &mut Trial, fails: &mut impl FnMut(&Trial) -> bool) {
    let nodes = smallest.mesh.as_ref().map(|mesh| mesh.nodes());
    for id in nodes.into_iter().flatten() {
        let mut smaller = smallest.clone();
        if let Some(mesh) = &mut smaller.mesh {
            mesh.links.retain(|(a, b)| *a != id && *b != id);
            for ids in [&mut mesh.boards, &mut mesh.tiny] {
                ids.retain(|other| *other != id);
            }
        }
        if fails(&smaller) {
            *smallest = smaller;
        }
    }
}

fn fewer_at_once(smallest: &mut Trial, fails: &mut impl FnMut(&Trial) -> bool) {
    for at in 0..smallest.calls.len() {
        while smallest.calls[at].times > 1 {
            let mut smaller = smallest.clone();
            smaller.calls[at].times /= 2;
            if !fails(&smaller) {
                break;
            }
            *smallest = smaller;
        }
    }
}

/// Flows with fewer sources, operators and items.
fn shorter_flows(smallest: &mut Trial, fails: &mut impl FnMut(&Trial) -> bool) {
    for at in 0..smallest.flows.len() {
        without_runs(smallest, fails, |trial| &mut trial.flows[at].sources);
        without_runs(smallest, fails, |trial| &mut trial.flows[at].operators);
        while smallest.flows[at].items > 1 {
            let mut smaller = smallest.clone();
            smaller.flows[at].items /= 2;
            if !fails(&smaller) {
                break;
            }
            *smallest = smaller;
        }
    }
}
