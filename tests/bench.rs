//! `smolq bench`: what it prints, not how fast it is.

mod common;

use common::{fails, smolq, stdout};
use serde_json::{Value, json};
use smolq::bench::synthetic::Spec;
use smolq::bench::{Bench, Bound, Known, Settings, Subject, Test, Versus, record};
use smolq::catalogue::{self, Shape};
use smolq::machine::Sensors;
use smolq::model::{LoadOptions, Step};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/llama-f16.gguf");

/// `smolq bench` of a tiny model: pp6 and tg3, twice each, and what else is asked for.
fn bench(args: &[&str]) -> Output {
    let few = [
        "bench",
        MODEL,
        "-p",
        "6",
        "-n",
        "3",
        "-r",
        "2",
        "--no-limits",
    ];
    smolq().args(few).args(args).output().unwrap()
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("smolq-bench-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// `(n_prompt, n_gen, n_depth)` of each object.
fn tests_of(results: &[Value]) -> Vec<(u64, u64, u64)> {
    let number = |result: &Value, name: &str| result[name].as_u64().unwrap();
    let test = |r: &Value| {
        (
            number(r, "n_prompt"),
            number(r, "n_gen"),
            number(r, "n_depth"),
        )
    };
    results.iter().map(test).collect()
}

fn array(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn json_has_the_fields_that_scripts_read() {
    let results = array(&stdout(&bench(&[
        "-o", "json", "-t", "2", "-ub", "4", "-ctk", "f32",
    ])));
    assert_eq!(tests_of(&results), [(6, 0, 0), (0, 3, 0)]);
    for result in &results {
        for (name, wanted) in [
            ("backends", "CPU"),
            ("model_filename", MODEL),
            ("model_type", "llama 135K F16"),
            ("type_k", "f32"),
            ("type_v", "f16"),
        ] {
            assert_eq!(result[name], wanted, "{name}");
        }
        for (name, wanted) in [
            ("n_threads", 2),
            ("n_batch", 2048),
            ("n_ubatch", 4),
            ("n_gpu_layers", 0),
        ] {
            assert_eq!(result[name], wanted, "{name}");
        }
        for list in ["samples_ns", "samples_ts"] {
            let samples = result[list].as_array().unwrap();
            assert_eq!(samples.len(), 2);
            assert!(samples.iter().all(|s| s.as_f64().unwrap() > 0.0));
        }
        let figure = |name: &str| result[name].as_f64().unwrap_or_else(|| panic!("{name}"));
        assert!(figure("min_ts") <= figure("median_ts") && figure("median_ts") <= figure("max_ts"));
        assert!(figure("min_ts") <= figure("avg_ts") && figure("avg_ts") <= figure("max_ts"));
        assert!(figure("first_token_ns") <= figure("avg_ns") + figure("stddev_ns") * 2.0 + 1.0);
        assert!(
            figure("model_size") > 0.0 && figure("model_n_params") > 0.0 && figure("load_ns") > 0.0
        );
        let time = result["test_time"].as_str().unwrap();
        assert!(
            time.len() == 20 && time.ends_with('Z') && &time[10..11] == "T",
            "{time}"
        );
        for absent in ["of_limit", "read_bandwidth", "versus_ratio", "down_ns"] {
            assert!(result[absent].is_null(), "{absent}");
        }
    }
}

#[test]
fn jsonl_is_an_object_a_line_and_the_same_goes_to_stderr_in_another_format() {
    let output = bench(&["-o", "jsonl", "-oe", "csv"]);
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    let text = stdout(&output);
    let results: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(tests_of(&results), [(6, 0, 0), (0, 3, 0)]);
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(lines[0].starts_with("build_commit,"));
}

#[test]
fn csv_has_a_head_and_a_quoted_value_for_each_name() {
    let text = stdout(&bench(&["-o", "csv"]));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let names: Vec<_> = lines[0].split(',').collect();
    for name in [
        "model_type",
        "n_prompt",
        "avg_ts",
        "stddev_ts",
        "median_ts",
        "of_limit",
        "logits_ns",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    assert!(!names.contains(&"samples_ts"), "lists are no values");
    for line in &lines[1..] {
        let inner = line
            .strip_prefix('"')
            .and_then(|l| l.strip_suffix('"'))
            .unwrap();
        let values: Vec<_> = inner.split("\",\"").collect();
        assert_eq!(values.len(), names.len(), "{line}");
        let at = names.iter().position(|name| *name == "n_threads").unwrap();
        assert!(values[at].parse::<usize>().unwrap() > 0);
    }
}

#[test]
fn sql_makes_a_table_and_fills_it() {
    let text = stdout(&bench(&["-o", "sql"]));
    let (create, rest) = text.split_once(");\n\n").unwrap();
    let columns: Vec<_> = create
        .strip_prefix("CREATE TABLE IF NOT EXISTS llama_bench (\n")
        .unwrap()
        .lines()
        .map(|line| line.trim().trim_end_matches(',').split_once(' ').unwrap())
        .collect();
    assert!(columns.contains(&("avg_ts", "REAL")) && columns.contains(&("n_gen", "INTEGER")));
    assert!(columns.contains(&("model_type", "TEXT")) && columns.contains(&("noisy", "INTEGER")));
    let names: Vec<_> = columns.iter().map(|c| c.0).collect();
    let inserts: Vec<_> = rest.lines().collect();
    assert_eq!(inserts.len(), 2, "{rest}");
    for insert in inserts {
        let head = format!("INSERT INTO llama_bench ({}) VALUES (", names.join(", "));
        let values = insert
            .strip_prefix(&head)
            .and_then(|v| v.strip_suffix(");"))
            .unwrap();
        assert!(
            values.starts_with("'smolq-") && values.contains(", NULL, "),
            "{values}"
        );
    }
}

/// The lines of the table, and the cells of each.
fn table(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn markdown_has_the_columns_of_llama_bench() {
    let text = stdout(&bench(&[]));
    let rows = table(&text);
    assert_eq!(rows.len(), 4, "{text}");
    assert_eq!(
        rows[0],
        [
            "model", "size", "params", "backend", "threads", "test", "t/s", "median", "best"
        ]
    );
    assert!(
        rows[1]
            .iter()
            .all(|rule| rule.trim_end_matches(':').chars().all(|c| c == '-'))
    );
    assert_eq!(
        (rows[2][0], rows[2][5], rows[3][5]),
        ("llama 135K F16", "pp6", "tg3")
    );
    for row in &rows[2..] {
        let (mean, rest) = row[6].split_once(" ± ").unwrap();
        let spread = rest
            .trim_end_matches(" throttled")
            .trim_end_matches(" noisy");
        assert!(
            mean.parse::<f64>().unwrap() > 0.0 && spread.parse::<f64>().is_ok(),
            "{}",
            row[6]
        );
    }
    assert!(
        text.trim_end()
            .lines()
            .last()
            .unwrap()
            .starts_with("build: smolq ")
    );
    assert!(text.contains("first token  after ") && text.contains("load  "));
}

#[test]
fn a_narrow_terminal_gets_a_narrow_table() {
    let run = |args: &[&str], columns: &str| {
        let few = [
            "bench",
            MODEL,
            "-p",
            "6",
            "-n",
            "3",
            "-r",
            "1",
            "--no-limits",
        ];
        stdout(
            &smolq()
                .args(few)
                .args(args)
                .env("COLUMNS", columns)
                .output()
                .unwrap(),
        )
    };
    let text = run(&["-t", "1,2", "-ctv", "f32", "-ub", "3"], "80");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(
        text.lines().next().unwrap().starts_with("llama 135K F16, "),
        "{text}"
    );
    let rows = table(&text);
    // Where clocks can be watched, speeds have room for the word that they were held down, and what there is in all formats goes sooner.
    let watched = !Sensors::here().is_empty();
    let kept = |columns: &[&'static str]| {
        let spare = usize::from(watched && columns.last() == Some(&"median"));
        columns[..columns.len() - spare].to_vec()
    };
    assert_eq!(
        rows[0],
        kept(&["threads", "n_ubatch", "type_v", "test", "t/s", "median"])
    );
    assert_eq!(rows.len(), 6, "{text}");
    // What is left out first.
    assert_eq!(table(&run(&[], "50"))[0], kept(&["test", "t/s", "median"]));
    assert_eq!(table(&run(&[], "30"))[0], ["test", "t/s"]);
    assert_eq!(table(&run(&[], "200"))[0].len(), 9);
}

#[test]
fn lists_ranges_and_depths_make_tests() {
    let few = [
        "bench",
        "-m",
        MODEL,
        "-r",
        "1",
        "--no-limits",
        "--no-warmup",
        "-o",
        "json",
    ];
    let args = [
        "-p", "1-4*2,7", "-n", "0", "-pg", "3,2", "-d", "0-8+8", "-p", "9",
    ];
    let results = array(&stdout(&smolq().args(few).args(args).output().unwrap()));
    let wanted: Vec<_> = [0, 8]
        .into_iter()
        .flat_map(|d| {
            [
                (1, 0, d),
                (2, 0, d),
                (4, 0, d),
                (7, 0, d),
                (9, 0, d),
                (3, 2, d),
            ]
        })
        .collect();
    assert_eq!(tests_of(&results), wanted);
}

#[test]
fn settings_multiply_and_may_come_from_the_environment() {
    let args = [
        "bench",
        MODEL,
        "-r",
        "1",
        "--no-limits",
        "--no-warmup",
        "-ctk",
        "f16,f32",
    ];
    let mut command = smolq();
    command
        .args(args)
        .env("SMOLQ_N_PROMPT", "2")
        .env("SMOLQ_N_GEN", "0");
    command
        .env("SMOLQ_OUTPUT", "json")
        .env("SMOLQ_THREADS", "1,2")
        .env("SMOLQ_LEVEL", "scalar");
    let results = array(&stdout(&command.output().unwrap()));
    let of = |r: &Value| {
        (
            r["type_k"].as_str().unwrap().to_owned(),
            r["n_threads"].as_u64().unwrap(),
            r["level"].as_str().unwrap().to_owned(),
        )
    };
    let got: Vec<_> = results.iter().map(of).collect();
    let wanted = [("f16", 1), ("f16", 2), ("f32", 1), ("f32", 2)];
    assert_eq!(
        got,
        wanted.map(|(k, t)| (k.to_owned(), t, "scalar".to_owned()))
    );
}

#[test]
fn wrong_usage_is_named_in_one_line() {
    for (args, part) in [
        (&["-p", "1-"][..], "1-"),
        (&["-n", "x"], "x"),
        (&["-pg", "3"], "PP,TG"),
        (&["-o", "xml"], "xml"),
        (&["-ctk", "q9"], "q9"),
        (&["--n-promt", "3"], "--n-prompt"),
        (&["-d", "5-3"], "ends before it begins"),
    ] {
        fails(&bench(args), 2, &[part]);
    }
    for (args, part) in [
        (&["-ub", "0"][..], "--ubatch-size"),
        (&["-b", "0"], "--batch-size"),
        (&["-t", "100000"], "--threads"),
        (&["--level", "quantum"], "scalar"),
        (&["--synthetic", "nobody:Q4_0"], "smollm3-3b"),
        (&["--synthetic", "smollm3-3b"], "NAME:QUANT"),
        (&["no-such.gguf"], "no-such.gguf"),
    ] {
        let few = ["bench", "-p", "1", "-n", "0", "-r", "1", "--no-limits"];
        let own = if part == "no-such.gguf" {
            &[][..]
        } else {
            &[MODEL]
        };
        fails(
            &smolq().args(few).args(own).args(args).output().unwrap(),
            1,
            &[part],
        );
    }
    fails(&smolq().arg("bench").output().unwrap(), 1, &["--synthetic"]);
    fails(
        &smolq()
            .args(["bench", MODEL, "-p", "0", "-n", "0"])
            .output()
            .unwrap(),
        1,
        &["nothing to measure"],
    );
}

#[test]
fn what_was_measured_before_an_error_is_printed() {
    let few = [
        "bench",
        MODEL,
        "no-such.gguf",
        "-p",
        "2",
        "-n",
        "0",
        "-r",
        "1",
        "--no-limits",
        "-o",
        "json",
    ];
    let output = smolq().args(few).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        tests_of(&array(&String::from_utf8(output.stdout).unwrap())),
        [(2, 0, 0)]
    );
}

#[cfg(unix)]
#[test]
fn another_program_is_measured_in_turn() {
    let count = scratch("versus").join("count");
    let command = format!(
        r#"echo "$N_PROMPT $N_GEN $N_DEPTH $THREADS" >> '{}'
        printf '[{{"n_prompt": %d, "n_gen": %d, "n_depth": %d, "n_threads": %d, "samples_ts": [2, 4]}},
                 {{"n_prompt": 77, "n_gen": 0, "avg_ts": 1000}}]' "$N_PROMPT" "$N_GEN" "$N_DEPTH" "$THREADS"
        test -f "$MODEL""#,
        count.display()
    );
    let results = array(&stdout(&bench(&[
        "-o", "json", "-t", "2", "--versus", &command,
    ])));
    assert_eq!(
        fs::read_to_string(&count).unwrap(),
        "6 0 0 2\n6 0 0 2\n0 3 0 2\n0 3 0 2\n"
    );
    for result in &results {
        let figure = |name: &str| result[name].as_f64().unwrap();
        assert_eq!(
            (
                figure("versus_min_ts"),
                figure("versus_median_ts"),
                figure("versus_max_ts")
            ),
            (2.0, 3.0, 4.0)
        );
        assert!((figure("versus_ratio") * 3.0 / figure("median_ts") - 1.0).abs() < 1e-9);
    }
    fs::remove_dir_all(count.parent().unwrap()).unwrap();
    let line = r#"echo '{"n_prompt": 6, "n_gen": 0, "avg_ts": 10}'; echo '{"n_prompt": 0, "n_gen": 3, "avg_ts": 20}'"#;
    let text = stdout(&bench(&["--versus", line]));
    let rows = table(&text);
    assert_eq!(rows[0][9..], ["versus", "ratio"]);
    assert_eq!((rows[2][9], rows[3][9]), ("10.00", "20.00"));
    for (command, part) in [
        ("echo oops >&2; exit 3", "oops"),
        ("echo no numbers", "no JSON"),
        ("echo '[]'", "n_prompt 6"),
        ("no-such-program-at-all", "127"),
    ] {
        fails(&bench(&["--versus", command]), 1, &["--versus: ", part]);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_what_was_measured() {
    let mut child = smolq()
        .args([
            "bench",
            MODEL,
            "-p",
            "4",
            "-n",
            "0",
            "-r",
            "20000",
            "--no-limits",
            "-o",
            "json",
            "--progress",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Some runs must be done: the second is announced when the first has ended.
    let mut errors = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("run 2/") {
        line.clear();
        assert!(
            std::io::BufRead::read_line(&mut errors, &mut line).unwrap() > 0,
            "no second run"
        );
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let reader = std::thread::spawn(move || std::io::read_to_string(errors).unwrap());
    let output = child.wait_with_output().unwrap();
    let errors = reader.join().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(2), "{errors}");
    assert!(
        errors
            .lines()
            .last()
            .unwrap()
            .contains("interrupted after 0 of 1 tests"),
        "{errors}"
    );
    let results = array(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(tests_of(&results), [(4, 0, 0)]);
    assert!(!results[0]["samples_ts"].as_array().unwrap().is_empty());
}

/// A model small enough to be made in a test.
fn tiny(quantization: &str) -> Spec {
    let mut entry = catalogue::find("smollm3-3b").unwrap();
    entry.name = "tiny".to_owned();
    entry.shape = Shape {
        n_layer: 2,
        n_embd: 256,
        n_head: 4,
        n_head_kv: 2,
        head_dim: 64,
        n_ff: 512,
        n_vocab: 512,
        ..entry.shape
    };
    Spec {
        entry,
        quantization: quantization.to_owned(),
    }
}

fn outcome(subject: &Subject, settings: Settings, test: Test) -> smolq::bench::Outcome {
    let bench = Bench {
        subject,
        settings,
        versus: None,
        sensors: &Sensors::default(),
        known: Known::default(),
        stop: &AtomicBool::new(false),
    };
    bench.run(test, &mut |_| ()).unwrap().unwrap()
}

#[test]
fn synthetic_models_are_made_once_and_temporary_ones_removed() {
    let folder = scratch("synthetic");
    let spec = tiny("Q4_K_M");
    let made = spec.cached(&folder).unwrap();
    let path = made.path().to_owned();
    drop(made);
    let stamp = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let first = stamp(&path);
    assert_eq!(spec.cached(&folder).unwrap().path(), path);
    assert_eq!(stamp(&path), first, "a whole file is used again");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    spec.cached(&folder).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole, "half a file is not");
    let temporary = spec.temporary(&folder).unwrap();
    let other = temporary.path().to_owned();
    assert!(other.is_file() && other != path);
    drop(temporary);
    assert!(!other.exists());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

    let subject = Subject::load(&path, &LoadOptions::default()).unwrap();
    assert_eq!(subject.name(), "smollm3 1M Q4_K - Medium");
    let test = Test {
        n_prompt: 5,
        n_gen: 2,
        n_depth: 3,
    };
    let settings = Settings {
        limits: false,
        repetitions: 2,
        ..Settings::default()
    };
    assert_eq!(outcome(&subject, settings, test).samples.len(), 2);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn work_is_the_matrices_and_the_profile_counts_all_passes() {
    let folder = scratch("work");
    let made = tiny("Q8_0").cached(&folder).unwrap();
    let subject = Subject::load(made.path(), &LoadOptions::default()).unwrap();
    let work = subject.work();
    // Weights: Q and output 256 x 256, K and V 128 x 256, three of 512 x 256, in two layers; and the tied head.
    let weights = 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256) + 512 * 256;
    assert_eq!(work.token().macs, weights);
    assert_eq!(work.token().bytes, weights / 32 * 34);
    assert_eq!(work.step(Step::GateUp).macs, 2 * 2 * 512 * 256);
    assert_eq!(work.step(Step::Attention).macs, 0);
    assert!(!work.float());

    let settings = Settings {
        limits: false,
        repetitions: 3,
        profile: true,
        n_ubatch: 4,
        threads: 2,
        ..Settings::default()
    };
    let test = Test {
        n_prompt: 9,
        n_gen: 2,
        n_depth: 2,
    };
    let outcome = outcome(&subject, settings.clone(), test);
    let profile = outcome.profile.unwrap();
    // 9 tokens are 4 + 4 + 1; neither the warm-up nor the depth counts.
    assert_eq!(profile.passes(), 3 * (3 + 2));
    assert!(Step::ALL.iter().all(|&step| !profile.time(step).is_zero()));
    assert!(profile.total() <= outcome.samples.iter().sum());
    let fields = record(&subject, &settings, &outcome);
    let down = fields.iter().find(|field| field.name == "down_ns").unwrap();
    assert_eq!(down.value, profile.time(Step::Down).as_nanos() as u64);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn limits_are_measured_and_results_are_shares_of_them() {
    let folder = scratch("limits");
    let made = tiny("Q8_0").cached(&folder).unwrap();
    let subject = Subject::load(made.path(), &LoadOptions::default()).unwrap();
    let settings = Settings {
        repetitions: 1,
        ..Settings::default()
    };
    let test = Test {
        n_prompt: 0,
        n_gen: 1,
        n_depth: 0,
    };
    let first = outcome(&subject, settings.clone(), test);
    let (limits, share) = (first.limits.unwrap(), first.share.unwrap());
    assert!(limits.read_bandwidth > 0.0 && limits.integer_peak > 0.0 && share.of_limit > 0.0);
    assert!(matches!(share.bound, Bound::Memory | Bound::Compute));
    // Limits known before are kept where they are higher.
    let mut known = limits;
    known.read_bandwidth *= 1e6;
    let bench = Bench {
        subject: &subject,
        settings,
        versus: None,
        sensors: &Sensors::default(),
        known: Known {
            limits: Some(known),
            mhz: None,
        },
        stop: &AtomicBool::new(false),
    };
    let second = bench.run(test, &mut |_| ()).unwrap().unwrap();
    assert_eq!(second.limits.unwrap().read_bandwidth, known.read_bandwidth);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_test_at_a_lowered_clock_is_throttled() {
    let root = scratch("sensors");
    for (file, text) in [
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
        ("sys/class/thermal/thermal_zone0/temp", "84600"),
        (
            "sys/devices/system/cpu/cpufreq/policy0/affected_cpus",
            "0 1",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq",
            "2400000",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
            "1500000",
        ),
    ] {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let sensors = Sensors::at(&root);
    let subject = Subject::load(MODEL.as_ref(), &LoadOptions::default()).unwrap();
    let settings = Settings {
        limits: false,
        repetitions: 2,
        ..Settings::default()
    };
    let test = Test {
        n_prompt: 3,
        n_gen: 0,
        n_depth: 0,
    };
    let run = |sensors: &Sensors, mhz: Option<f64>| {
        let bench = Bench {
            subject: &subject,
            settings: settings.clone(),
            versus: None,
            sensors,
            known: Known { limits: None, mhz },
            stop: &AtomicBool::new(false),
        };
        let outcome = bench.run(test, &mut |_| ()).unwrap().unwrap();
        let fields = record(&subject, &settings, &outcome);
        let value = |name: &str| {
            let field = fields.iter().find(|field| field.name == name);
            field.unwrap_or_else(|| panic!("no {name}")).value.clone()
        };
        let names = ["throttled", "throttled_by", "celsius_max", "mhz_min"];
        (outcome.known().mhz, names.map(value).to_vec())
    };
    let (known, fields) = run(&sensors, None);
    assert_eq!(known, Some(1500.0));
    assert_eq!(
        fields,
        [json!(false), json!(null), json!(84.6), json!(1500.0)]
    );
    // A test before has seen more.
    let (known, fields) = run(&sensors, Some(2400.0));
    assert_eq!(known, Some(2400.0));
    let why = json!("clock down to 1500 of 2400 MHz");
    assert_eq!(fields, [json!(true), why, json!(84.6), json!(1500.0)]);
    let (known, fields) = run(&Sensors::default(), None);
    assert_eq!(known, None);
    assert!(fields.iter().all(Value::is_null), "{fields:?}");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_stopped_test_gives_what_it_has_and_settings_are_checked() {
    let subject = Subject::load(MODEL.as_ref(), &LoadOptions::default()).unwrap();
    let stop = AtomicBool::new(false);
    let settings = Settings {
        limits: false,
        repetitions: 50,
        ..Settings::default()
    };
    let test = Test {
        n_prompt: 3,
        n_gen: 1,
        n_depth: 0,
    };
    let sensors = Sensors::default();
    let bench = |settings: Settings| Bench {
        subject: &subject,
        settings,
        versus: None,
        sensors: &sensors,
        known: Known::default(),
        stop: &stop,
    };
    let outcome = bench(settings.clone()).run(test, &mut |event| {
        if event == smolq::bench::Event::Run(2) {
            stop.store(true, Ordering::Relaxed);
        }
    });
    assert_eq!(outcome.unwrap().unwrap().samples.len(), 2);
    assert!(
        bench(settings.clone())
            .run(test, &mut |_| ())
            .unwrap()
            .is_none()
    );
    stop.store(false, Ordering::Relaxed);
    let nothing = Test {
        n_prompt: 0,
        n_gen: 0,
        n_depth: 5,
    };
    assert!(bench(settings.clone()).run(nothing, &mut |_| ()).is_err());
    assert!(
        bench(Settings {
            repetitions: 0,
            ..settings
        })
        .run(test, &mut |_| ())
        .is_err()
    );
    let versus = Versus {
        command: "exit 1".to_owned(),
    };
    assert!(versus.rates(&subject, 1, test).is_err());
}

#[test]
fn tests_are_named_as_llama_bench_names_them() {
    let name = |n_prompt, n_gen, n_depth| {
        Test {
            n_prompt,
            n_gen,
            n_depth,
        }
        .to_string()
    };
    assert_eq!(name(512, 0, 0), "pp512");
    assert_eq!(name(0, 128, 0), "tg128");
    assert_eq!(name(512, 128, 0), "pp512+tg128");
    assert_eq!(name(0, 128, 4096), "tg128 @ d4096");
}
