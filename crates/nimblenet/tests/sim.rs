//! `nimblenet sim` as a script uses it.
#![allow(clippy::unwrap_used)]

mod processes;

use processes::{Bench, nimblenet, succeed};
use serde_json::{Value as Json, json};

fn simulate(args: &[&str]) -> Json {
    let all = [&["sim", "--json"], args].concat();
    serde_json::from_str(&succeed(&all)).unwrap()
}

/// Runs what must fail with this exit code; gives the sentence and the code of its JSON document.
fn refused(exit: i32, args: &[&str]) -> (String, String) {
    let output = nimblenet(&[&["sim", "--json"], args].concat());
    assert_eq!(output.status.code(), Some(exit), "{args:?}");
    let document: Json = serde_json::from_slice(&output.stdout).unwrap();
    let text = |key: &str| document["error"][key].as_str().unwrap().to_owned();
    (text("message"), text("code"))
}

#[test]
fn a_run_prints_every_number_that_scripts_rely_on() {
    let report = simulate(&["--seconds", "60"]);
    for key in [
        "seed",
        "taskset",
        "profile",
        "triggered",
        "finished_by_end",
        "failed",
        "nacks",
        "tx_bytes",
        "rx_bytes",
        "air_bytes",
        "air_packets",
        "tx_bytes_by_kind",
        "messages_originated",
        "acquisitions_by_source",
        "mean_acquisition_s",
        "mean_execution_s",
        "mean_response_s",
        "p99_response_s",
        "perfect_pool_mean_s",
        "placement_bytes",
        "calls_moved",
        "jain_txrx",
        "cv_txrx",
        "cumulative_txrx_bytes_per_10s",
        "lower_bound_bytes",
        "air_over_lower_bound",
        "event_log_hash",
        "cpu_s",
        "peak_rss_bytes",
    ] {
        assert!(!report[key].is_null(), "{key} in {report}");
    }
    let defaults = (&report["taskset"], &report["profile"], &report["seed"]);
    assert_eq!(defaults, (&"nimble".into(), &"default".into(), &1.into()));
    assert_eq!(report["tx_bytes"].as_object().unwrap().len(), 13);
    let windows = report["cumulative_txrx_bytes_per_10s"].as_array().unwrap();
    assert_eq!(windows.len(), 7);
    assert!(report["cpu_s"].as_f64().unwrap() > 0.0);
    assert!(report["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
}

#[test]
fn several_seeds_come_in_order_and_each_is_as_when_it_runs_alone() {
    let several = simulate(&["--seconds", "60", "--seeds", "2..4"]);
    let runs = several["runs"].as_array().unwrap();
    let seeds: Vec<_> = runs.iter().map(|run| run["seed"].as_u64()).collect();
    assert_eq!(seeds, [Some(2), Some(3), Some(4)]);
    let alone = simulate(&["--seconds", "60", "--seed", "3"]);
    assert_eq!(alone["event_log_hash"], runs[1]["event_log_hash"]);
    assert_ne!(alone["event_log_hash"], runs[2]["event_log_hash"]);
}

#[test]
fn a_recorded_trace_runs_as_the_scenario_did() {
    let bench = Bench::new();
    let path = bench.path("hour.json");
    let short = ["--seconds", "60", "--profile", "paper"];
    let recorded = simulate(&[&["--record", &path], &short[..]].concat());
    let replayed = simulate(&["--trace", &path, "--profile", "paper"]);
    assert_eq!(recorded["event_log_hash"], replayed["event_log_hash"]);
    let lossy = simulate(&["--trace", &path, "--profile", "paper", "--loss", "0.2"]);
    assert_ne!(recorded["event_log_hash"], lossy["event_log_hash"]);
}

#[test]
fn flags_say_otherwise_than_the_scenario() {
    let bench = Bench::new();
    let file = "[floor]\nlayout = 'ring'\nnodes = 5\n[robots]\ncount = 4\n";
    let file = bench.write("ring.toml", file);
    let ring = simulate(&["--scenario", &file, "--seconds", "60"]);
    assert_eq!(ring["tx_bytes"].as_object().unwrap().len(), 6);
    let flags = ["--nodes", "8", "--robots", "12", "--seconds", "60"];
    let more = simulate(&[&["--scenario", &file], &flags[..]].concat());
    assert_eq!(more["tx_bytes"].as_object().unwrap().len(), 9);
    assert!(more["triggered"].as_u64() > ring["triggered"].as_u64());
    let small = ["--cache-bytes", "2048", "--mtu", "256", "--eviction", "lru"];
    let small = [&small[..], &["--executors", "1"], &flags[4..]].concat();
    let small = simulate(&[&["--scenario", &file], &small[..]].concat());
    assert_eq!(small["executors"], 1);
    assert!(small["air_packets"].as_u64() > ring["air_packets"].as_u64());
}

#[test]
fn a_sweep_runs_both_task_sets_with_each_value_and_fills_a_sheet() {
    let bench = Bench::new();
    let sheet = bench.path("sweep.csv");
    let sweep = ["--sweep", "sharing=0,1", "--seconds", "60", "--csv", &sheet];
    let sweep = simulate(&sweep);
    assert_eq!(sweep["sweep"], "sharing");
    let runs = sweep["runs"].as_array().unwrap();
    let which = |run: &Json| (run["value"].as_f64().unwrap(), run["taskset"].clone());
    let which: Vec<_> = runs.iter().map(which).collect();
    let expected = [
        (0.0, "nimble"),
        (0.0, "monolithic"),
        (1.0, "nimble"),
        (1.0, "monolithic"),
    ];
    assert_eq!(which, expected.map(|(value, set)| (value, set.into())));
    let sheet = std::fs::read_to_string(sheet).unwrap();
    let lines: Vec<&str> = sheet.lines().collect();
    assert_eq!(lines.len(), 5);
    for column in [
        "air_bytes",
        "tx_bytes.1",
        "value",
        "acquisitions_by_source.registry",
    ] {
        assert!(
            lines[0].split(',').any(|name| name == column),
            "{}",
            lines[0]
        );
    }
}

#[test]
fn plots_and_a_page_compare_both_task_sets_and_print_what_was_asked_for() {
    let bench = Bench::new();
    let (folder, page) = (bench.path("figures"), bench.path("report.html"));
    let short = ["--seconds", "60", "--taskset", "monolithic"];
    let plain = simulate(&short);
    let drawn = simulate(&[&short[..], &["--plots", &folder]].concat());
    assert_eq!(drawn["event_log_hash"], plain["event_log_hash"]);
    let names = ["3", "4", "5", "8", "9", "10"];
    for (name, ending) in names.iter().flat_map(|name| [(name, "svg"), (name, "csv")]) {
        let path = format!("{folder}/figure-{name}.{ending}");
        assert!(std::fs::metadata(&path).unwrap().len() > 40, "{path}");
    }
    simulate(&["--seconds", "60", "--seeds", "1..2", "--html", &page]);
    let page = std::fs::read_to_string(page).unwrap();
    // Figures 4 and 5 once, and the others for each protocol.
    assert_eq!(page.matches("<svg").count(), 10);
    assert!(page.contains("seeds 1, 2") && page.contains("found, profile paper"));
    let sweep = [
        "--sweep",
        "loss=0,0.1",
        "--seconds",
        "60",
        "--plots",
        &folder,
    ];
    simulate(&sweep);
    let numbers = std::fs::read_to_string(format!("{folder}/sweep-loss.csv")).unwrap();
    assert_eq!(numbers.lines().count(), 3);
    let calls = std::fs::read_to_string(format!("{folder}/sweep-loss-calls.csv")).unwrap();
    assert!(
        calls.starts_with("loss,nimble_acquisition_s,nimble_first_acquisition_s"),
        "{calls}"
    );
}

#[test]
fn tables_fit_a_terminal() {
    let one = succeed(&[
        "sim",
        "--seconds",
        "30",
        "--nodes",
        "30",
        "--executors",
        "1",
    ]);
    for word in [
        "response",
        "lower bound",
        "Jain",
        "data",
        "16 others",
        "0, registry",
        "calls moved",
    ] {
        assert!(one.contains(word), "{word} in\n{one}");
    }
    let several = succeed(&[
        "sim",
        "--seconds",
        "30",
        "--seeds",
        "1..2",
        "--sweep",
        "size-factor",
    ]);
    assert!(
        several.contains("mean") && several.contains("legend"),
        "{several}"
    );
    for page in [one, several] {
        let long = page.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{page}");
    }
}

#[test]
fn a_wrong_file_is_named_with_field_value_and_range() {
    let bench = Bench::new();
    let scenario = bench.write("wrong.toml", "[robots]\nchains = 500\n");
    let (message, code) = refused(1, &["--scenario", &scenario]);
    assert_eq!(code, "bad-scenario");
    let expected = format!(
        "{scenario}: robots.chains: robots trigger 500 chains (robots.chains), and there are 200 (tasks.chains)"
    );
    assert_eq!(message, expected);
    let unknown = bench.write("unknown.toml", "[robots]\nspeed = 3\n");
    let (message, _) = refused(1, &["--scenario", &unknown]);
    assert!(
        message.contains("unknown.toml") && message.contains("line 2"),
        "{message}"
    );
    let trace = bench.write("wrong.json", "{\"schema\":\"nimblenet-trace/2\"}");
    let (message, code) = refused(1, &["--trace", &trace]);
    assert_eq!(code, "bad-trace");
    assert!(message.contains("wrong.json"), "{message}");
    let (message, code) = refused(1, &["--scenario", "nowhere"]);
    assert_eq!(code, "io");
    assert!(message.contains("none of paper, line"), "{message}");
}

#[test]
fn what_an_experiment_writes_is_tried_before_it_runs() {
    let bench = Bench::new();
    let file = bench.write("file", "kept");
    // An hour of 4096 nodes would take minutes; what cannot be written is told at once.
    let huge = ["--nodes", "4096", "--robots", "20000"];
    for flag in ["--csv", "--html", "--record", "--plots"] {
        let below = format!("{file}/below");
        let (message, code) = refused(1, &[&[flag, &below], &huge[..]].concat());
        assert_eq!(code, "io", "{message}");
        assert!(message.contains(&file), "{message}");
    }
    let (message, _) = refused(1, &[&["--plots", &file], &huge[..]].concat());
    assert!(message.contains(&file), "{message}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    // Folders are made.
    let new = |name: &str| bench.path(&format!("new/{name}/deep.txt"));
    let (csv, html, record) = (new("csv"), new("html"), new("record"));
    let short = ["--seconds", "10", "--html", &html, "--csv", &csv];
    simulate(&[&short[..], &["--record", &record]].concat());
    for path in [csv, html, record] {
        assert!(std::fs::metadata(&path).unwrap().len() > 100, "{path}");
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused_with_what_to_do() {
    let bench = Bench::new();
    let (trace, other) = (bench.path("a.json"), bench.path("b.csv"));
    simulate(&["--seconds", "10", "--record", &trace]);
    let cases: &[(&[&str], &str)] = &[
        (
            &["--sweep", "loss=0,0.1", "--loss", "0.2"],
            "--sweep loss and --loss contradict each other: leave one out",
        ),
        (
            &["--sweep", "nodes", "--nodes", "5"],
            "--sweep nodes and --nodes contradict each other",
        ),
        (
            &["--record", &other, "--csv", &other],
            "--csv and --record both name",
        ),
        (
            &["--trace", &trace, "--record", &trace],
            "--trace and --record both name",
        ),
        (
            &["--trace", &trace, "--seconds", "60"],
            "--seconds 60: the trace lasts 10 s; give at most that",
        ),
        (
            &["--seconds", "-5"],
            "a number from 1 to 1000000 is expected",
        ),
        (
            &["--nodes", "-5"],
            "a whole number from 1 to 4096 is expected",
        ),
        (&["--seed", "-1"], "a whole number from 0 to"),
        (
            &["--cost-error", "0.5"],
            "a number from 1 to 1000 is expected",
        ),
    ];
    for (args, expected) in cases {
        let (message, code) = refused(2, args);
        assert_eq!(code, "usage", "{args:?}");
        assert!(message.contains(expected), "{message}");
    }
    simulate(&["--trace", &trace, "--seconds", "10"]);
}

#[test]
fn what_no_call_has_led_to_is_nothing_and_not_zero() {
    let lost = [
        "--loss",
        "1",
        "--seconds",
        "30",
        "--nodes",
        "1",
        "--robots",
        "3",
    ];
    let report = simulate(&lost);
    assert!(report["triggered"].as_u64() > Some(0));
    assert_eq!(report["finished_by_end"], 0);
    for key in [
        "mean_acquisition_s",
        "mean_execution_s",
        "mean_response_s",
        "p99_response_s",
        "air_over_lower_bound",
    ] {
        assert!(report[key].is_null(), "{key} in {report}");
    }
    let page = succeed(&[&["sim"], &lost[..]].concat());
    assert!(page.contains("mean -, p99 -; acquisition -"), "{page}");
    assert!(page.contains("seed 1, 1 node\n"), "{page}");
    let several = succeed(&[&["sim", "--seeds", "1..2"], &lost[..]].concat());
    assert!(several.contains(" -"), "{several}");
}

#[test]
fn no_run_is_below_its_lower_bound_however_many_calls_fail() {
    let cases: &[&[&str]] = &[
        &["--seconds", "5"],
        &["--seconds", "5", "--profile", "paper"],
        &["--seconds", "60", "--loss", "0.6"],
        &["--seconds", "60", "--loss", "0.6", "--profile", "paper"],
        &["--seconds", "60", "--nodes", "1", "--robots", "10"],
        &[
            "--seconds",
            "60",
            "--executors",
            "1",
            "--taskset",
            "monolithic",
        ],
    ];
    for args in cases {
        let report = simulate(args);
        if let Some(times) = report["air_over_lower_bound"].as_f64() {
            assert!(times >= 1.0, "{times} with {args:?}");
        }
    }
    let lossy = simulate(cases[2]);
    assert!(lossy["failed"].as_u64() > Some(0) || lossy["finished_by_end"].as_u64() < Some(20));
}

#[test]
fn a_sweep_says_when_the_nimble_task_set_wins() {
    let sweep = ["--sweep", "size-factor=1,2", "--seconds", "300"];
    let sweep = [&sweep[..], &["--bandwidth", "250000"]].concat();
    let document = simulate(&sweep);
    let contests = document["contests"].as_array().unwrap();
    assert_eq!(contests.len(), 2);
    for contest in contests {
        let number = |key: &str| contest[key].as_f64().unwrap();
        assert!(number("windows") >= 1.0 && number("windows_won") <= number("windows"));
        assert!(number("break_even_s") < 300.0);
    }
    let text = succeed(&[&["sim"], &sweep[..]].concat());
    assert!(text.contains("100 s windows won"), "{text}");
    let one = simulate(&[&sweep[..], &["--taskset", "nimble"]].concat());
    assert_eq!(one["contests"], serde_json::json!([]));
}

#[test]
fn preloading_bandwidth_churn_and_speed_can_be_varied() {
    let value = |sweep: &str, key: &str| -> Vec<f64> {
        let args = ["--sweep", sweep, "--seconds", "300", "--taskset", "nimble"];
        let document = simulate(&args);
        let runs = document["runs"].as_array().unwrap();
        runs.iter().map(|run| run[key].as_f64().unwrap()).collect()
    };
    // The call that has everything before it begins waits longer, and no call is lost by that.
    let first = value("preload=0,1", "first_acquisition_s");
    assert!(
        first[0] > 0.0 && first[1] > 0.0 && first[0] != first[1],
        "{first:?}"
    );
    let wait = value("bandwidth=20000,1000000", "mean_acquisition_s");
    assert!(wait[0] > 1.1 * wait[1], "{wait:?}");
    let failed = value("churn=0,30", "failed");
    assert!(failed[0] == 0.0 && failed[1] > 0.0, "{failed:?}");
    let fetched = value("speed=0.1,5", "air_bytes");
    assert!(fetched[0] < fetched[1], "{fetched:?}");
}

#[test]
fn the_story_of_a_call_says_what_came_from_whom_what_ran_and_when_it_waited() {
    let short = ["--seconds", "120"];
    let story = |which: &str| simulate(&[&["--explain", which], &short[..]].concat());
    let slowest = story("slowest");
    let number = |story: &Json, key: &str| story[key].as_f64().unwrap();
    let again = story(&slowest["call"].to_string());
    assert_eq!(again, slowest);
    let first = story("1");
    assert!(number(&first, "response_s") <= number(&slowest, "response_s"));
    // The registry had everything, and its node nothing.
    let steps = first["steps"].as_array().unwrap();
    assert!(steps.len() >= 4, "{first}");
    assert_eq!(
        (&steps[0]["source"], &steps[0]["holder"]),
        (&"registry".into(), &0.into())
    );
    assert!(steps[0]["bytes"].as_u64() >= Some(100) && steps[0]["wait_us"].as_u64() > Some(0));
    // Nothing is left out between the trigger and the result.
    let mut at_s = 0.0;
    for part in first["course"].as_array().unwrap() {
        assert!((number(part, "from_s") - at_s).abs() < 2e-6, "{first}");
        at_s = number(part, "to_s");
    }
    assert!((at_s - number(&first, "response_s")).abs() < 2e-6);
    let text = succeed(&["sim", "--explain", "1", "--seconds", "120"]);
    for words in ["triggers chain", "TASKLET", "registry 0", "waits", " runs"] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    let (message, _) = refused(2, &["--explain", "100000", "--seconds", "60"]);
    assert!(message.contains("there are only"), "{message}");
    let (message, _) = refused(2, &["--explain", "0"]);
    assert!(
        message.contains("the number of a call from 1, is expected"),
        "{message}"
    );
}

#[test]
fn calls_go_where_the_kinds_of_executors_are_that_they_need() {
    let mixed = ["--scenario", "mixed", "--seconds", "300"];
    // Node 12 has no interpreter and nodes 4, 8 and 12 no device functions.
    let placed = simulate(&mixed);
    let early = placed["failed"].as_u64().unwrap();
    assert!(early <= 2, "before neighbours are known: {placed}");
    let here = simulate(&[&mixed[..], &["--placement", "here"]].concat());
    let failed = here["failed"].as_u64().unwrap();
    assert!(failed > 10 * early.max(1), "{here}");
    assert_eq!(
        here["failures"],
        serde_json::json!({ "no-executor": failed })
    );
    for number in 1..30 {
        let args = ["--placement", "here", "--explain", &number.to_string()];
        let story = simulate(&[&mixed[..], &args].concat());
        if story["fault"] == "no-executor" {
            let node = story["node"].as_u64().unwrap();
            assert!([4, 8, 12].contains(&node), "{story}");
        }
    }
    let bench = Bench::new();
    let all = bench.write("all.toml", "[tasks]\nnative = 0.2\n");
    let all = simulate(&["--scenario", &all, "--seconds", "300"]);
    assert_eq!(all["failed"], 0);
    let calibrated = simulate(&["--scenario", "calibrated", "--seconds", "100"]);
    let run_s = calibrated["mean_execution_s"].as_f64().unwrap();
    // Five algorithms of 0.25 to 0.98 s, and 0.01 or 0.37 s of the chain.
    assert!((2.5..4.0).contains(&run_s), "{run_s}");
}

#[test]
fn wrong_usage_is_told_apart() {
    for wrong in [
        &["--profile", "fast"][..],
        &["--taskset", "both"],
        &["--executors", "0"],
        &["--loss", "1.5"],
        &["--seeds", "6..1"],
        &["--seeds", "1..2", "--seed", "1"],
        &["--sweep", "loss=2"],
        &["--sweep", "weather"],
        &["--mtu", "10"],
        &["--html", "a.html", "--sweep", "loss"],
        &["--trace", "a.json", "--nodes", "3"],
        &["--trace", "a.json", "--scenario", "paper"],
    ] {
        let (_, code) = refused(2, wrong);
        assert_eq!(code, "usage", "{wrong:?}");
    }
    let bench = Bench::new();
    let trace = bench.path("short.json");
    simulate(&["--seconds", "10", "--record", &trace]);
    let (message, code) = refused(2, &["--trace", &trace, "--sweep", "nodes"]);
    assert_eq!(code, "usage");
    assert!(
        message.contains("a recorded trace has its own"),
        "{message}"
    );
}

#[test]
fn a_swarm_counts_what_has_happened_and_finds_nothing_new() {
    let document = simulate(&["--swarm", "150", "--seed", "7"]);
    assert_eq!(document["runs"], 150);
    assert_eq!(document["failures"], Json::Array(Vec::new()));
    assert!(document["cpu_ms_median"].as_f64().unwrap() > 0.0);
    for kind in ["crash", "frame-lost", "call-completed"] {
        assert!(
            document["fired"][kind].as_u64().unwrap() > 0,
            "{kind} in {document}"
        );
    }
    assert!(!document["known"].as_object().unwrap().is_empty());
    let page = succeed(&["sim", "--swarm", "5"]);
    assert!(page.contains("5 runs"), "{page}");
}

/// A trial in which an intruder answers a call in the callee's name.
const FORGED: &str = include_str!("../../nimblenet-sim/known/forged-results.toml");

#[test]
fn a_trial_of_a_file_runs_again_and_tells_what_it_finds() {
    let bench = Bench::new();
    let file = &bench.write("found.toml", FORGED);
    let output = nimblenet(&["sim", "--json", "--faults", file]);
    assert_eq!(output.status.code(), Some(1));
    let document: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["failure"]["checker"], "right-result", "{document}");
    let file = &bench.write(
        "right.toml",
        // By then the call has ended.
        FORGED.replace("at_s = 4.504", "at_s = 12.0"),
    );
    let document = simulate(&["--faults", file]);
    assert!(document["failure"].is_null(), "{document}");
    let (message, _) = refused(2, &["--faults", file, "--scenario", "line"]);
    assert!(message.contains("mesh of its own"), "{message}");
}

#[test]
fn flags_that_a_trial_or_a_swarm_does_not_heed_are_refused() {
    let bench = Bench::new();
    let mesh = "[mesh]\nturmoil_s = 10.0\nlinks = [[0, 1]]\nregistries = [0]\n";
    let file = &bench.write("trial.toml", mesh);
    simulate(&["--faults", file]);
    let out = &bench.path("out");
    let shaping: [&[&str]; 13] = [
        &["--taskset", "nimble"],
        &["--profile", "default"],
        &["--executors", "1"],
        &["--cache-bytes", "4096"],
        &["--eviction", "lru"],
        &["--placement", "here"],
        &["--loss", "0.1"],
        &["--mtu", "256"],
        &["--header-bytes", "28"],
        &["--accounting", "nominal"],
        &["--nodes", "3"],
        &["--robots", "3"],
        &["--seconds", "60"],
    ];
    let others: [&[&str]; 6] = [
        &["--seeds", "1..2"],
        &["--seed", "1"],
        &["--csv", out],
        &["--html", out],
        &["--record", out],
        &["--plots", out],
    ];
    for flag in shaping.iter().chain(&others) {
        let (message, _) = refused(2, &[&["--faults", file], *flag].concat());
        assert!(message.contains(flag[0]), "{flag:?}: {message}");
        assert!(!std::path::Path::new(out).exists(), "{flag:?}");
    }
    for flag in shaping {
        let (message, _) = refused(2, &[&["--swarm", "1"], flag].concat());
        assert!(message.contains(flag[0]), "{flag:?}: {message}");
    }
}

#[test]
fn faults_befall_a_run_and_are_refused_with_field_and_range_if_they_cannot() {
    let bench = Bench::new();
    let crash = "[[fault]]\nkind = 'crash'\nat_s = 10.0\nfor_s = 40.0\nnode = 6\nkeeps = true\n";
    let file = &bench.write("faults.toml", crash);
    let run = ["--seconds", "60", "--faults", file];
    let plain = simulate(&run[..2]);
    let crashed = simulate(&run);
    assert!(
        crashed["failed"].as_u64() > plain["failed"].as_u64(),
        "{crashed}"
    );
    assert_eq!(crashed["triggered"], plain["triggered"]);
    for (faults, expected) in [
        (
            crash.replace("node = 6", "node = 77"),
            "fault[0].node: 77 is no node",
        ),
        (
            crash.replace("at_s = 10", "at_s = 61"),
            "fault[0].at_s: 61 is not within 0 to 60",
        ),
        (
            "[[fault]]\nkind = 'swap'\nat_s = 1.0\nnode = 0".into(),
            "fault[0].kind: swap needs a mesh",
        ),
        (
            "[[fault]]\nkind = 'partition'\nat_s = 1.0\nnodes = []".into(),
            "fault[0].nodes: it names no node",
        ),
    ] {
        bench.write("faults.toml", faults);
        let (message, code) = refused(1, &run);
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("faults.toml: "), "{message}");
        assert_eq!(code, "bad-scenario");
    }
}

#[test]
fn a_record_says_what_it_leaves_out_and_a_replay_whose_seed_it_has() {
    let bench = Bench::new();
    let scenario = bench.write(
        "native.toml",
        "[tasks]\nnative = 0.2\n[urgency]\nhigh = 0.1\n",
    );
    let trace = bench.path("native.json");
    let short = ["sim", "--seconds", "10"];
    let record = ["--scenario", &scenario, "--seed", "7", "--record", &trace];
    let said = |args: &[&str]| {
        let output = nimblenet(&[&short[..], args].concat());
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let recorded = said(&record);
    assert!(recorded.contains("for urgency, tasks.native"), "{recorded}");
    let replayed = said(&["--trace", &trace]);
    assert!(replayed.contains("made with seed 7"), "{replayed}");
    assert_eq!(said(&["--trace", &trace, "--seed", "7"]), "");
    assert_eq!(said(&[]), "");
}

#[test]
fn questions_for_results_move_no_calls_and_several_seeds_show_what_came_of_them() {
    let run = ["--seconds", "100", "--hand-over", "--placement", "here"];
    let report = simulate(&run);
    assert!(report["hand_over"]["bytes"].as_u64() > Some(0), "{report}");
    assert_eq!(
        (&report["calls_moved"], &report["placement_bytes"]),
        (&0.into(), &0.into())
    );
    let page = succeed(&[&["sim", "--seeds", "1..2"], &run[..]].concat());
    let words: Vec<&str> = page.split_whitespace().collect();
    assert!(words.join(" ").contains("at another node after"), "{page}");
}

#[test]
fn a_flow_of_vibrations_saves_bytes_and_brings_what_the_sink_would_have_made() {
    let document = simulate(&[
        "--scenario",
        "vibration",
        "--seconds",
        "64",
        "--seeds",
        "3..4",
    ]);
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6, "{document}");
    for run in runs {
        assert_eq!((&run["items"], &run["arrived"]), (&json!(704), &json!(88)));
        assert_eq!(run["equal"], true, "{run}");
        let fewer = run["fewer_air_bytes"].as_f64().unwrap();
        let (least, operators) = match run["place"].as_str().unwrap() {
            "source" => (0.8, json!([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])),
            "between" => (0.25, json!([2, 5])),
            _ => (0.0, json!([1])),
        };
        assert!(fewer >= least, "{run}");
        assert_eq!(run["operators"], operators);
    }
    let page = succeed(&["sim", "--scenario", "vibration", "--seconds", "16"]);
    assert!(
        page.contains("std/rms") && page.contains("between"),
        "{page}"
    );
    assert!(
        page.lines().all(|line| line.chars().count() <= 80),
        "{page}"
    );
    let out = &Bench::new().path("out");
    let others: [&[&str]; 8] = [
        &["--mtu", "256"],
        &["--robots", "3"],
        &["--hand-over"],
        &["--csv", out],
        &["--explain", "1"],
        &["--executors", "1"],
        &["--seconds", "7"],
        &["--loss", "0.4"],
    ];
    for flag in others {
        let (message, _) = refused(2, &[&["--scenario", "vibration"], flag].concat());
        assert!(message.contains(flag[0]), "{flag:?}: {message}");
    }
}
