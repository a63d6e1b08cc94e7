//! `nimblenet run`: one tasklet on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nimblenet_tasklet::{Signature, abi};
use serde_json::json;

use nimblenet_pack::Needs;
use nimblenet_pack::values::{self, Item};
use crate::local::{
    self, End, LocalHost, Readings, Report, Request, Runner, Tasklets, With,
};
use crate::output;

/// Runs a tasklet on this machine, with sub-tasklets from files.
///
/// MODULE is a package, or a WebAssembly module in binary or text form. Without a package the
/// parameters have the types of the WebAssembly function: s32, s64, f32, f64.
///
/// A native tasklet for which no file is given is the simulated device that nodes have under its
/// name, such as shop/vibration; its noise is the same in each run.
///
/// Without --fuel there is no limit. Fuel is counted either way, one unit for about one
/// instruction. load_us is the time to validate, translate and instantiate, run_us all the rest;
/// with --repeat they are the mean of all runs, everything else is of the last. memory_bytes is
/// the most that all tasklets of the job needed at once, interpreter state and linear memory; of one
/// tasklet alone, it is the figure that `pack`, `check` and `inspect` give for a Linux node, or more
/// if it is a module without a package that has grown a memory without a maximum.
///
/// In JSON, numbers are exact; NaN and infinities are the strings "NaN", "Infinity" and
/// "-Infinity"; bytes are lists of numbers.
#[derive(clap::Args, Debug)]
#[command(after_help = "Arguments are values in CBOR diagnostic notation:\n  \
    -7  0xff  1.5  NaN  true  '\"text\"'  \"h'00ff'\"  '[1, 2, 3]'\n  \
    -- -Infinity    (after --, for its minus)\n  \
    @FILE is what a file holds: a list in .csv, one value in .json or .cbor\n\n\
    Examples:\n  \
    nimblenet run add.wasm 2 3\n  \
    nimblenet run chain.nnp '[0.5, 1.5]' --with global/add=add.wasm --json\n  \
    nimblenet run chain.nnp 1 --with std/add=add.nnp \\\n      \
    --freeze-at-call 2 --image j.img")]
pub(crate) struct Args {
    /// Package, or WebAssembly module (binary or text).
    #[arg(value_name = "MODULE|PACKAGE")]
    file: PathBuf,
    /// Arguments, in CBOR diagnostic notation, or @FILE (.csv, .json or .cbor).
    #[arg(value_name = "ARG", allow_negative_numbers = true, value_parser = local::argument)]
    args: Vec<Item>,
    /// Export to call [default: run, else the only function]
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,
    #[command(flatten)]
    around: Around,
    /// Most fuel that the job may use.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = fuel)]
    fuel: Option<u64>,
    /// Most bytes that the linear memory of each tasklet may have.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory_limit: Option<u64>,
    /// Stop before the K-th call of a sub-tasklet, at any depth, and save the job.
    #[arg(long, value_name = "K", requires = "image", value_parser = clap::value_parser!(u64).range(1..))]
    freeze_at_call: Option<u64>,
    /// File for the saved job.
    #[arg(long, value_name = "FILE", requires = "freeze_at_call")]
    image: Option<PathBuf>,
    /// Run this many times.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "freeze_at_call",
          value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What `run` and `thaw` have in common.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Around {
    /// File of a sub-tasklet; give it once for each. A file that ends in .csv has the answers of
    /// a native one, line by line.
    #[arg(long, value_name = "NS/NAME=FILE")]
    pub(super) with: Vec<With>,
    /// Value of a sensor channel, or a file that ends in .csv with its values line by line; give
    /// it once for each.
    #[arg(long, value_name = "CHANNEL=VALUE", value_parser = sensor, allow_hyphen_values = true)]
    sensor: Vec<Sensor>,
}

impl Around {
    /// The device that a job of `tasklets` runs on.
    pub(super) fn host(&self, tasklets: &Tasklets) -> LocalHost {
        let sensors = self.sensor.iter();
        let sensors = sensors.map(|sensor| (sensor.channel, sensor.readings.clone()));
        LocalHost::new(sensors.collect(), tasklets.natives())
    }

    /// The same as options of a command line, each with a space before it.
    fn options(&self) -> String {
        let with = self.with.iter().map(|with| {
            let file = format!("{}={}", with.name, with.file.display());
            format!(" --with {}", quoted(&file))
        });
        let sensors = self.sensor.iter();
        let sensors = sensors.map(|sensor| format!(" --sensor {}", quoted(&sensor.text)));
        with.chain(sensors).collect()
    }
}

/// A sensor channel.
#[derive(Clone, Debug)]
struct Sensor {
    channel: u32,
    readings: Readings,
    /// As it was given.
    text: String,
}

/// Runs the verb.
///
/// # Errors
/// If a file is not what it should be, the arguments do not fit, or the job fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let tasklets = Tasklets::load(&Request {
        root: &args.file,
        export: args.invoke.as_deref(),
        with: &args.around.with,
        memory_bytes: args.memory_limit,
        frozen: None,
        devices: true,
    })?;
    let values = arguments(&args.args, &tasklets)?;
    let fuel = args.fuel.unwrap_or(u64::MAX);
    let mut arena = local::arena(&tasklets);
    let mut runner = Runner::new(&tasklets, &mut arena, args.around.host(&tasklets));
    let mut sum: Option<Report> = None;
    for _ in 0..args.repeat {
        match runner.run(&values, fuel, args.freeze_at_call)? {
            End::Done(report) => {
                let (load, run) = sum.map_or_else(Default::default, |sum| (sum.load, sum.run));
                sum = Some(Report {
                    load: load + report.load,
                    run: run + report.run,
                    ..report
                });
            }
            End::Frozen { call, image } => {
                let path = args.image.as_ref().context("--image is missing")?;
                let bytes = image.save(path)?;
                return frozen(args, &call.to_string(), path, bytes);
            }
        }
    }
    let mut report = sum.context("nothing was run")?;
    let needs = match tasklets.len() {
        1 => tasklets[0].needs_after(report.memory_bytes),
        _ => tasklets[0].needs(),
    };
    // What a node sets aside, whether the run has used it or not.
    let set_aside = usize::try_from(needs.linux_bytes.unwrap_or(0)).unwrap_or(0);
    report.memory_bytes = report.memory_bytes.max(set_aside);
    print(&report, args.repeat, &needs, args.json)
}

/// The arguments as a CBOR array that fits the export.
pub(super) fn arguments(args: &[Item], tasklets: &Tasklets) -> anyhow::Result<Vec<u8>> {
    let root = &tasklets[0];
    let export = &tasklets.export;
    let signature: Signature = root
        .signature(export)
        .context("the export has a signature")?;
    let mut items = args.to_vec();
    if root.derived {
        values::wrap(&mut items, &signature);
    }
    let values = values::encode(&items);
    if let Err(error) = abi::check_args(&signature, &values) {
        let lists = args.iter().any(|item| matches!(item, Item::List(_)));
        let hint = if root.derived && lists {
            "; a module does not say that it takes lists: pack it with a manifest, for example \
             exports = { run = \"func(list<f32>) -> f32\" }"
        } else {
            ""
        };
        let names = root.param_names.get(export).map_or(&[][..], Vec::as_slice);
        let signature = nimblenet_pack::named(&signature, names);
        bail!(
            "the arguments do not fit: {error}; {export} of {} is {signature}{hint}",
            root.name
        );
    }
    Ok(values)
}

/// Tells how to go on with a job whose image was saved.
fn frozen(args: &Args, call: &str, image: &Path, bytes: usize) -> anyhow::Result<()> {
    let thaw = format!(
        "nimblenet thaw {} --module {}{}",
        quoted(&image.display().to_string()),
        quoted(&args.file.display().to_string()),
        args.around.options()
    );
    if args.json {
        return output::json(
            &json!({"frozen": true, "call": call, "image_bytes": bytes, "thaw": thaw}),
        );
    }
    output::text(&format!(
        "frozen before the call of {call}; {} holds {bytes} bytes: go on with\n  {thaw}",
        image.display()
    ))
}

/// A word of a command line, as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |next: char| next.is_ascii_alphanumeric() || "_-./=:,+@%".contains(next);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Prints what came out of `runs` runs, and what the outermost tasklet needs on a node.
pub(super) fn print(
    report: &Report,
    runs: u32,
    needs: &Needs,
    as_json: bool,
) -> anyhow::Result<()> {
    let results = values::decode(&report.results).context("the results are not values")?;
    let micros = |sum: std::time::Duration| sum.as_secs_f64() * 1e6 / f64::from(runs);
    // Nanoseconds are the finest that the clock tells.
    let micros = |sum| (micros(sum) * 1000.0).round() / 1000.0;
    let (load_us, run_us) = (micros(report.load), micros(report.run));
    if as_json {
        return output::json(&json!({
            "results": values::to_json(&results),
            "fuel_used": report.fuel_used,
            "calls": report.calls,
            "load_us": load_us,
            "run_us": run_us,
            "memory_bytes": report.memory_bytes,
        }));
    }
    let results = results.iter().map(|item| format!("{item}\n"));
    let growth = match needs.at_least {
        true => "\nits memory grows without a maximum: `heap = BYTES` of a manifest says how far",
        false => "",
    };
    output::text(&format!(
        "{}fuel {}, calls {}, load {load_us} us, run {run_us} us, memory {} bytes\n\
         needs {needs}{growth}",
        results.collect::<String>(),
        report.fuel_used,
        report.calls,
        report.memory_bytes,
    ))
}

fn fuel(text: &str) -> Result<u64, String> {
    let fuel = text.parse().ok().filter(|fuel| *fuel > 0);
    fuel.ok_or_else(|| "a whole number from 1; without --fuel there is no limit".to_owned())
}

fn bytes(text: &str) -> Result<u64, String> {
    let bytes = text.parse::<u32>().map(u64::from);
    bytes.map_err(|_| format!("a number of bytes, from 0 to {}", u32::MAX))
}

fn sensor(text: &str) -> Result<Sensor, String> {
    let form = || "the form is CHANNEL=VALUE, for example 3=21.5 or 3=warm.csv".to_owned();
    let (channel, value) = text.split_once('=').ok_or_else(form)?;
    let channel = channel.parse().map_err(|_| form())?;
    if let Ok(value) = value.parse() {
        return Ok(Sensor {
            channel,
            readings: Readings::constant(value),
            text: text.to_owned(),
        });
    }
    if !value.ends_with(".csv") {
        return Err(form());
    }
    let readings = Readings::read(value.as_ref());
    let readings = readings.and_then(|it| it.check_numbers().map(|()| it));
    Ok(Sensor {
        channel,
        readings: readings.map_err(|error| format!("{error:#}"))?,
        text: text.to_owned(),
    })
}
