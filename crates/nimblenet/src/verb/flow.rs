//! `nimblenet flow`: items on their way through the mesh, and the operators on them.

use core::time::Duration;
use std::path::PathBuf;

use anyhow::Context;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use nimblenet_node::flow::Plan;
use nimblenet_node::remote::{
    FlowList, FlowSummary, ItemSummary, OperatorSummary, Remote, RemoteError,
};
use nimblenet_pack::values::{self, Item};
use nimblenet_tasklet::{Fault, Name, NodeId};
use nimblenet_tasklet::api::{Problem, flow, item, operator, status};
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use crate::failure::{self, Coded, complain};
use crate::flow::FlowFile;
use crate::local;
use crate::output::{self, counted};
use crate::remote::{self, Address, Patience, Wait};

/// How often a sink is asked for further items.
const PAUSE: Duration = Duration::from_millis(500);
/// A node that has started gets its catalogues within this time.
const CATALOGUE: Duration = Duration::from_secs(10);
/// A CBOR array of one value begins so.
const ONE: u8 = 0x81;

/// Starts, shows and stops a flow: items that nodes send to one node, and operators on their way.
///
/// A flow goes from its sources to its sink. Each operator is a tasklet, which the first node on the way
/// applies that can, the source included: map and filter take an item each, window and accumulate make
/// one of several. What arrives is what the sink alone would have made of the same items, in order and
/// once, whichever node applied the operators.
#[derive(clap::Args, Debug)]
#[command(after_help = "The file of a flow:\n  \
    name = \"vibration\"\n  \
    sink = \"127.0.0.1:5684\"        # CoAP addresses of nodes\n  \
    sources = [\"127.0.0.1:5686\"]\n  \
    nodes = [\"127.0.0.1:5685\"]     # others that `show` asks for operators\n  \
    [feed]                         # without it, `give` gives items\n  \
    tasklet = \"shop/spindle\"     # takes no arguments; each result is an item\n  \
    every_ms = 1000\n  \
    [[operators]]\n  \
    kind = \"window\"                # or map, filter, accumulate\n  \
    count = 8\n  \
    tasklet = \"std/rms\"\n\n\
    Examples:\n  \
    nimblenet flow start hall.toml\n  \
    nimblenet flow give hall.toml '[1.5, 2.5]'\n  \
    nimblenet flow show hall.toml\n  \
    nimblenet flow read hall.toml --follow\n  \
    nimblenet flow stop hall.toml\n  \
    nimblenet flow list --node 127.0.0.1:5684")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// What to do with a flow.
#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Starts a flow at its sink and its sources. Where the same one goes on already, nothing changes;
    /// a node where another one of the name goes on refuses it.
    #[command(after_help = "Example:\n  nimblenet flow start hall.toml")]
    Start(Named),
    /// Shows how a flow stands, where its operators run, and how many bytes they have saved.
    #[command(after_help = "Example:\n  nimblenet flow show hall.toml --json")]
    Show(Named),
    /// Prints what has arrived at the sink; the node keeps the newest 1024 items.
    #[command(after_help = "Examples:\n  \
        nimblenet flow read hall.toml\n  \
        nimblenet flow read hall.toml --from 17 --json\n  \
        nimblenet flow read hall.toml --follow")]
    Read {
        #[command(flatten)]
        named: Named,
        /// Number of the item after which items are wanted; 0 for all.
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        from: u64,
        /// Go on with items that come, until Ctrl-C; with --json, a document for each.
        #[arg(long)]
        follow: bool,
    },
    /// Gives items to a source of a flow, each a value in CBOR diagnostic notation or @FILE.
    #[command(after_help = "Examples:\n  \
        nimblenet flow give hall.toml 7 8 9\n  \
        nimblenet flow give hall.toml '[1.5, 2.5]' --source 127.0.0.1:5686")]
    Give {
        #[command(flatten)]
        named: Named,
        /// Items, in CBOR diagnostic notation, or @FILE (.csv, .json or .cbor).
        #[arg(value_name = "VALUE", required = true, allow_negative_numbers = true)]
        #[arg(value_parser = local::argument)]
        values: Vec<Item>,
        /// CoAP address of the source [default: the first of the file]
        #[arg(long, value_name = "ADDR")]
        source: Option<Address>,
    },
    /// Stops a flow at its sources and its sink. What the sink has not got is lost.
    #[command(after_help = "Example:\n  nimblenet flow stop hall.toml")]
    Stop(Named),
    /// Lists the flows of a node, and the operators that it applies.
    #[command(after_help = "Example:\n  nimblenet flow list --node 127.0.0.1:5684")]
    List {
        /// CoAP address of the node.
        #[arg(long, value_name = "ADDR")]
        node: Address,
        #[command(flatten)]
        patience: Patience,
    },
}

/// A flow by its file.
#[derive(clap::Args, Debug)]
struct Named {
    /// File of the flow.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    patience: Patience,
}

/// Runs the verb.
///
/// # Errors
/// If the file is wrong, a node does not answer, or it refuses the flow or an item.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.action {
        Action::Start(named) => start(args, named),
        Action::Show(named) => show(args, named),
        Action::Read {
            named,
            from,
            follow,
        } => read(args, named, *from, *follow),
        Action::Give {
            named,
            values,
            source,
        } => give(args, named, values, source.as_ref()),
        Action::Stop(named) => stop(args, named),
        Action::List { node, patience } => list(args, node, *patience),
    }
}

fn start(args: &Args, named: &Named) -> anyhow::Result<()> {
    let file = FlowFile::read(&named.file)?;
    let (name, nodes) = (&file.name, 2 + file.sources.len() as u32);
    let sink = named.patience.ask(&file.sink, async |wait| {
        let mut sink = wait.connect_for(&file.sink, nodes).await?;
        let numbers = sink.numbers().await;
        let numbers = numbers.with_context(|| format!("asking {} for its id failed", file.sink))?;
        let id = numbers.get(status::ID).copied().unwrap_or_default();
        let id = NodeId(u16::try_from(id).context("the id of the sink is no id")?);
        let plan = file.plan(id);
        let begun = sink.begin_flow(name, &plan).await;
        begun.with_context(|| format!("the sink {} does not take flow {name}", file.sink))?;
        for source in &file.sources {
            let mut node = wait.connect_for(source, nodes).await?;
            let begun = begin(&mut node, name, &plan).await;
            begun.with_context(|| {
                format!(
                    "beginning flow {name} at {source} failed; the same command again goes on, \
                     `nimblenet flow stop` ends it at the others"
                )
            })?;
        }
        Ok(id)
    })?;
    if args.json {
        return output::json(&json!({
            "flow": name.as_str(),
            flow::SINK: sink.0,
            "sources": file.sources.len(),
        }));
    }
    output::text(&format!(
        "flow {name} goes from {} to node {sink} at {}",
        counted(file.sources.len(), "node"),
        file.sink
    ))
}

/// Begins a flow at a node. One that has just started may have no catalogue yet, so it is asked again for some
/// seconds.
async fn begin(node: &mut Remote, name: &Name, plan: &Plan) -> Result<(), RemoteError> {
    let patience = Instant::now() + CATALOGUE;
    loop {
        match node.begin_flow(name, plan).await {
            Err(error) if error.code() == Fault::NoCatalogue.code() && Instant::now() < patience => {
                sleep(PAUSE).await;
            }
            begun => return begun,
        }
    }
}

fn stop(args: &Args, named: &Named) -> anyhow::Result<()> {
    let file = FlowFile::read(&named.file)?;
    let (name, nodes) = (&file.name, 1 + file.sources.len() as u32);
    let ended = named.patience.ask(&file.sink, async |wait| {
        let (mut ended, mut failure) = (0, None);
        for address in file.sources.iter().chain([&file.sink]) {
            let mut node = wait.connect_for(address, nodes).await?;
            match node.end_flow(name).await {
                Ok(()) => ended += 1,
                Err(error) if is_unknown(&error) => {}
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    let context = format!("ending flow {name} at {address} failed");
                    failure = failure.or(Some(error.context(context)));
                }
            }
        }
        failure.map_or(Ok(ended), Err)
    })?;
    if args.json {
        return output::json(&json!({ "flow": name.as_str(), "ended": ended }));
    }
    output::text(&format!("flow {name} has ended at {}", counted(ended, "node")))
}

fn is_unknown(error: &RemoteError) -> bool {
    error.code() == Problem::UnknownFlow.code()
}

fn give(
    args: &Args,
    named: &Named,
    values: &[Item],
    source: Option<&Address>,
) -> anyhow::Result<()> {
    let file = FlowFile::read(&named.file)?;
    let source = source.or(file.sources.first());
    let source = source.context("the file names no source")?;
    named.patience.ask(source, async |wait| {
        let mut node = wait.connect(source).await?;
        for (at, value) in values.iter().enumerate() {
            let array = values::encode(core::slice::from_ref(value));
            let given = node.give_item(&file.name, &array[1..]).await;
            given.with_context(|| {
                let taken = match at {
                    0 => "none was taken".to_owned(),
                    1 => "the one before it was taken".to_owned(),
                    _ => format!("the {at} before it were taken"),
                };
                format!(
                    "giving item {} of {} to flow {} at {source} failed; {taken}",
                    at + 1,
                    values.len(),
                    file.name
                )
            })?;
        }
        Ok(())
    })?;
    let count = values.len();
    if args.json {
        return output::json(&json!({ "flow": file.name.as_str(), "given": count }));
    }
    output::text(&format!("flow {} has got {}", file.name, counted(count, "item")))
}

fn read(args: &Args, named: &Named, from: u64, follow: bool) -> anyhow::Result<()> {
    let file = FlowFile::read(&named.file)?;
    let (mut last, mut told) = (from, false);
    let mut all = Vec::new();
    loop {
        let items = named.patience.ask(&file.sink, async |wait| {
            let mut sink = wait.connect(&file.sink).await?;
            let items = sink.items(&file.name, last).await;
            let sentence = || format!("asking {} for items of flow {} failed", file.sink, file.name);
            let items = items.with_context(sentence)?;
            let known = match items.first() {
                Some(first) => first.number > last,
                None if last == 0 => true,
                None => {
                    let before = sink.items(&file.name, last - 1).await.with_context(sentence)?;
                    before.first().is_some_and(|item| item.number == last)
                }
            };
            Ok((items, known))
        })?;
        let ((items, known), sought) = (items, last);
        if !known && items.is_empty() {
            last = 0;
        }
        if !known && !told {
            told = true;
            complain(&format!(
                "the sink has no item {sought}: it has started again, or takes the flow again, since, and its numbers \
                 begin at 1 anew; --from 0 prints all that it has\n"
            ));
        }
        let next = items.last().map(|item| item.number);
        last = next.unwrap_or(last);
        match (args.json, follow) {
            (true, false) => all.extend(items.iter().map(item_json)),
            (true, true) => items.iter().try_for_each(|item| output::json(&item_json(item)))?,
            (false, _) => items.iter().try_for_each(|item| output::text(&shown(item)))?,
        }
        if !follow && next.is_none() {
            break;
        }
        if follow && next.is_none() {
            remote::block_on(async {
                sleep(PAUSE).await;
                Ok(())
            })?;
        }
    }
    if args.json {
        return output::json(&json!({ "flow": file.name.as_str(), "items": all }));
    }
    Ok(())
}

/// The value of an item; nothing if an operator has failed.
fn value(item: &ItemSummary) -> Option<Vec<Item>> {
    let value = item.value.as_ref()?;
    values::decode(&[&[ONE], &value[..]].concat())
}

/// An item as a person reads it.
fn shown(item: &ItemSummary) -> String {
    let what = match (value(item), &item.code) {
        (Some(values), _) => values.iter().map(Item::to_string).collect(),
        (None, Some(code)) => format!("failed: {}", code.escape_debug()),
        (None, None) => "unreadable".to_owned(),
    };
    let ItemSummary {
        number,
        source,
        first,
        last,
        ..
    } = item;
    let seconds = item.at.as_secs_f64();
    format!("{number}  {seconds:.3} s  node {source}  items {first} to {last}: {what}")
}

fn item_json(item: &ItemSummary) -> Json {
    let values = value(item).map(|values| values::to_json(&values)[0].clone());
    json!({
        item::NUMBER: item.number,
        item::AT_MS: item.at.as_millis() as u64,
        item::SOURCE: item.source,
        item::FIRST: item.first,
        item::LAST: item.last,
        item::VALUE: values,
        item::CODE: item.code,
    })
}

fn list(args: &Args, address: &Address, patience: Patience) -> anyhow::Result<()> {
    let list = patience.ask(address, async |wait| ask(address, wait, 1).await)?;
    let flows: Vec<_> = list.flows.iter().map(|flow| (list.node, flow)).collect();
    let operators = list.operators.iter().map(|it| (list.node, it));
    let operators: Vec<_> = operators.collect();
    if args.json {
        return output::json(&shown_json(&flows, &operators, &list.flows));
    }
    output::text(&tables(&flows, &operators, &list.flows))
}

async fn ask(address: &Address, wait: Wait, nodes: u32) -> anyhow::Result<FlowList> {
    let mut node = wait.connect_for(address, nodes).await?;
    let list = node.flows().await;
    list.with_context(|| format!("asking {address} for its flows failed"))
}

fn show(args: &Args, named: &Named) -> anyhow::Result<()> {
    let file = FlowFile::read(&named.file)?;
    let nodes = file.all().count() as u32;
    let lists = named.patience.ask(&file.sink, async |wait| {
        let (mut lists, mut failure) = (Vec::new(), None);
        for address in file.all() {
            match ask(address, wait, nodes).await {
                Ok(list) => lists.push(list),
                // The others tell what they know.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) if lists.is_empty() => Err(error),
            failure => Ok((lists, failure)),
        }
    })?;
    let (lists, failure) = lists;
    let name = file.name.as_str();
    let of_flow = lists.iter().flat_map(|list| {
        let flows = list.flows.iter().filter(|flow| flow.name == name);
        flows.map(|flow| (list.node, flow))
    });
    let flows: Vec<_> = of_flow.collect();
    let id = flows.first().map(|(_, flow)| flow.id);
    let operators = lists.iter().flat_map(|list| {
        let operators = list.operators.iter().filter(|it| Some(it.flow) == id);
        operators.map(|it| (list.node, it))
    });
    let operators: Vec<_> = operators.collect();
    let known: Vec<_> = flows.iter().map(|(_, flow)| (*flow).clone()).collect();
    let failure = failure.or_else(|| {
        let sentence = format!(
            "flow {name} is at none of its nodes; `nimblenet flow start {}` starts it",
            named.file.display()
        );
        let unknown = Coded::new(Problem::UnknownFlow.code(), sentence);
        flows.is_empty().then(|| unknown.into())
    });
    if args.json {
        let mut document = shown_json(&flows, &operators, &known);
        let failure = failure.map(|error| Coded::new(failure::code(&error), format!("{error:#}")));
        if let Some(failure) = &failure {
            document["error"] = failure.to_json();
        }
        output::json(&document)?;
        return failure.map_or(Ok(()), |failure| Err(failure.told().into()));
    }
    if !flows.is_empty() {
        output::text(&tables(&flows, &operators, &known))?;
    }
    failure.map_or(Ok(()), Err)
}

fn saved(operators: &[(NodeId, &OperatorSummary)]) -> i64 {
    operators.iter().map(|(_, it)| it.saved).sum()
}

fn tables(
    flows: &[(NodeId, &FlowSummary)],
    operators: &[(NodeId, &OperatorSummary)],
    known: &[FlowSummary],
) -> String {
    let number = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "FLOW", "NODE", "SINK", "TAKEN", "REFUSED", "REPEATED", "ARRIVED", "ITEMS", "DROPPED",
    ]);
    for (node, flow) in flows {
        table.add_row([
            flow.name.escape_debug().to_string(),
            node.to_string(),
            flow.sink.to_string(),
            number(flow.taken),
            number(flow.refused),
            number(flow.repeated),
            number(flow.arrived),
            number(flow.items),
            number(flow.dropped),
        ]);
    }
    let mut text = table.to_string();
    for (node, flow) in flows {
        if flow.unwanted {
            text.push_str(&format!(
                "\nnode {} does not take the flow: it has started again since, or was told to stop; \
                 `nimblenet flow start` mends that (said node {node})",
                flow.sink
            ));
        }
        if let Some(dropped @ 1..) = flow.dropped {
            text.push_str(&format!(
                "\nnode {node} had no room for {dropped} items, which come again: stop other flows \
                 there, or make windows shorter"
            ));
        }
    }
    if operators.is_empty() {
        text.push_str("\n\nno operator has run at these nodes");
        return text;
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "OPERATOR", "FLOW", "AT", "SOURCE", "IN", "OUT", "BYTES IN", "BYTES OUT", "SAVED",
    ]);
    for (node, it) in operators {
        table.add_row([
            format!("{} {}", it.kind.escape_debug(), it.tasklet.escape_debug()),
            of_flow(it, known).escape_debug().to_string(),
            node.to_string(),
            it.source.to_string(),
            it.items_in.to_string(),
            it.items_out.to_string(),
            it.bytes_in.to_string(),
            it.bytes_out.to_string(),
            it.saved.to_string(),
        ]);
    }
    format!(
        "{text}\n\n{table}\n\nlinks did not carry {} bytes of frames thanks to operators",
        saved(operators)
    )
}

/// The name of an operator's flow, or its number if the node has no such flow itself.
fn of_flow(operator: &OperatorSummary, known: &[FlowSummary]) -> String {
    let flow = known.iter().find(|flow| flow.id == operator.flow);
    flow.map_or_else(|| format!("{:08x}", operator.flow), |flow| flow.name.clone())
}

fn shown_json(
    flows: &[(NodeId, &FlowSummary)],
    operators: &[(NodeId, &OperatorSummary)],
    known: &[FlowSummary],
) -> Json {
    let flows = flows.iter().map(|(node, it)| {
        json!({
            "node": node.0,
            flow::NAME: it.name,
            flow::ID: it.id,
            flow::SINK: it.sink,
            flow::TAKEN: it.taken,
            flow::REFUSED: it.refused,
            flow::ARRIVED: it.arrived,
            flow::REPEATED: it.repeated,
            flow::UNWANTED: it.unwanted,
            flow::ITEMS: it.items,
            flow::DROPPED: it.dropped,
        })
    });
    let rows = operators.iter().map(|(node, it)| {
        json!({
            "node": node.0,
            operator::FLOW: of_flow(it, known),
            operator::SOURCE: it.source,
            operator::KIND: it.kind,
            operator::TASKLET: it.tasklet,
            operator::ITEMS_IN: it.items_in,
            operator::BYTES_IN: it.bytes_in,
            operator::ITEMS_OUT: it.items_out,
            operator::BYTES_OUT: it.bytes_out,
            operator::SAVED: it.saved,
        })
    });
    json!({
        "flows": flows.collect::<Vec<_>>(),
        "operators": rows.collect::<Vec<_>>(),
        operator::SAVED: saved(operators),
    })
}
