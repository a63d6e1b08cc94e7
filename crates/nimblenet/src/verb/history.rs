//! `nimblenet history`: the epochs of a namespace that its registry keeps.

use anyhow::Context;
use nimblenet_node::{Change, remote::History};
use nimblenet_tasklet::Name;
use nimblenet_tasklet::api::Problem;
use serde_json::{Value as Json, json};

use crate::failure::Coded;
use crate::output;
use crate::remote::{Address, Patience};

/// Lists the epochs of a namespace that its registry keeps, with what each has changed, and the epochs
/// that nodes hold.
///
/// A node at a newer epoch than the registry, or at one that the registry does not have, shows that the
/// registry has lost something: `rollback` and `publish` have --epoch-at-least for the way back.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  \
    nimblenet history shop --registry 127.0.0.1:5683")]
pub(crate) struct Args {
    /// The namespace, or its short identifier, 0x and eight digits, as the registry's log has it.
    #[arg(value_name = "NS")]
    namespace: Name,
    /// CoAP address of the registry.
    #[arg(long, value_name = "ADDR")]
    registry: Address,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the registry cannot be reached.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let namespace = &args.namespace;
    let history = args.patience.ask(&args.registry, async |wait| {
        let mut registry = wait.connect(&args.registry).await?;
        let history = registry.history(namespace).await;
        history.with_context(|| format!("asking {} for {namespace} failed", args.registry))
    })?;
    if history.epochs.is_empty() && history.nodes.is_empty() {
        let sentence = format!("the registry {} has nothing of {namespace}", args.registry);
        return Err(Coded::new(Problem::UnknownNamespace.code(), sentence).into());
    }
    match args.json {
        true => output::json(&to_json(namespace, &history)),
        false => output::text(&to_text(namespace, &history)),
    }
}

fn to_text(namespace: &Name, history: &History) -> String {
    let mut lines = Vec::new();
    for kept in &history.epochs {
        let changes: Vec<String> = kept.changes.iter().map(change).collect();
        lines.push(format!("epoch {}: {}", kept.epoch, changes.join(", ")));
    }
    let newest = history.epochs.last().map_or(0, |kept| kept.epoch);
    if newest == 0 {
        lines.push(format!("the registry has nothing of {namespace}"));
    }
    let mut nodes: Vec<(u32, Vec<String>)> = Vec::new();
    for (node, epoch) in &history.nodes {
        match nodes.iter_mut().find(|(of, _)| of == epoch) {
            Some((_, ids)) => ids.push(node.to_string()),
            None => nodes.push((*epoch, vec![node.to_string()])),
        }
    }
    nodes.sort();
    for (epoch, ids) in &nodes {
        let (plural, verb) = if ids.len() == 1 { ("", "holds") } else { ("s", "hold") };
        let ids = ids.join(", ");
        let behind = if *epoch > newest { ", which the registry has not" } else { "" };
        lines.push(format!("node{plural} {ids} {verb} epoch {epoch}{behind}"));
    }
    if let Some((epoch, _)) = nodes.last().filter(|(epoch, _)| *epoch > newest) {
        lines.push(format!(
            "the registry has lost something: --epoch-at-least {} is the way back",
            epoch.saturating_add(1)
        ));
    }
    lines.join("\n")
}

fn change(change: &Change) -> String {
    match change.withdrawn {
        true => format!("{} withdrawn", change.name),
        false => format!("{} version {}", change.name, change.version),
    }
}

fn to_json(namespace: &Name, history: &History) -> Json {
    let epochs = history.epochs.iter().map(|kept| {
        let changes = kept.changes.iter().map(|change| {
            json!({
                "name": change.name.as_str(),
                "version": change.version,
                "withdrawn": change.withdrawn,
            })
        });
        json!({ "epoch": kept.epoch, "changes": changes.collect::<Vec<_>>() })
    });
    let nodes = history.nodes.iter();
    let nodes = nodes.map(|(node, epoch)| (node.to_string(), Json::from(*epoch)));
    json!({
        "namespace": namespace.as_str(),
        "epochs": epochs.collect::<Vec<_>>(),
        "nodes": nodes.collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use nimblenet_node::EpochSummary;
    use nimblenet_tasklet::NodeId;

    use super::*;

    #[test]
    fn a_history_tells_what_changed_and_which_nodes_are_ahead() {
        let shop = Name::new("shop").unwrap();
        let change = |name, version, withdrawn| Change {
            name: Name::new(name).unwrap(),
            version,
            withdrawn,
        };
        let history = History {
            epochs: vec![
                EpochSummary {
                    epoch: 1,
                    changes: vec![change("add", 1, false), change("sub", 1, false)],
                },
                EpochSummary {
                    epoch: 2,
                    changes: vec![change("sub", 2, true)],
                },
            ],
            nodes: vec![(NodeId(3), 7), (NodeId(4), 2), (NodeId(5), 7)],
        };
        assert_eq!(
            to_text(&shop, &history),
            "epoch 1: add version 1, sub version 1\n\
             epoch 2: sub withdrawn\n\
             node 4 holds epoch 2\n\
             nodes 3, 5 hold epoch 7, which the registry has not\n\
             the registry has lost something: --epoch-at-least 8 is the way back"
        );
        let lost = History {
            epochs: Vec::new(),
            nodes: Vec::new(),
        };
        assert_eq!(to_text(&shop, &lost), "the registry has nothing of shop");
    }
}
