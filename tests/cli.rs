//! The real binary, as a person or a script uses it.

mod common;

use common::{fails, smolq, stdout};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
        .to_string_lossy()
        .into_owned()
}

fn run(args: &[&str]) -> Output {
    smolq().args(args).output().unwrap()
}

/// A file in a folder of this test process.
fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("smolq-cli-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

#[test]
fn wrong_usage_is_exit_code_2_with_advice() {
    fails(
        &run(&["run", "x.gguf", "--tmep", "0"]),
        2,
        &["--tmep", "--temp"],
    );
    fails(
        &run(&["run", "x.gguf", "-p", "a", "-ctk", "q9"]),
        2,
        &["q9", "f16, f32 or q8_0"],
    );
    fails(&run(&["inspect"]), 2, &["MODEL"]);
    fails(&run(&["inspct"]), 2, &["inspct", "inspect"]);
    fails(&run(&["run", "x.gguf", "-l", "nonsense"]), 2, &["ID+N"]);
}

#[test]
fn a_variable_yields_to_a_flag_that_contradicts_it() {
    let with = |name: &str, value: &str, args: &[&str]| {
        let mut command = smolq();
        command.args(["run", &data("llama-f16.gguf"), "-n", "4", "--temp", "0"]);
        command.args(args).env(name, value).output().unwrap()
    };
    for (name, value, args, answer) in [
        ("SMOLQ_PROMPT", "x", &["a boat", "--echo"][..], "a boat"),
        ("SMOLQ_FILE", "/no/such", &["a boat", "--echo"], "a boat"),
        (
            "SMOLQ_FILE",
            "/no/such",
            &["-p", "a boat", "--echo"],
            "a boat",
        ),
        ("SMOLQ_FORMAT", "json", &["-p", "x", "--regex", "a"], "a\n"),
        ("SMOLQ_THOUGHTS", "dim", &["-p", "x", "--hide-thinking"], ""),
        (
            "SMOLQ_SYSTEM_PROMPT",
            "y",
            &["-p", "x", "--system-prompt-file", "/no/such"],
            "",
        ),
    ] {
        let text = stdout(&with(name, value, args));
        assert!(text.starts_with(answer), "{name}, {args:?}: {text}");
    }
    // Two flags contradict each other all the same.
    let output = with("SMOLQ_PROMPT", "x", &["-p", "a", "-f", "b"]);
    fails(&output, 2, &["--prompt", "--file"]);
    let output = with(
        "SMOLQ_FORMAT",
        "json",
        &["-p", "x", "--regex", "a", "--grammar", "b"],
    );
    fails(&output, 2, &["--regex", "--grammar"]);
}

#[test]
fn bad_models_are_exit_code_1_in_one_line() {
    let model = data("llama-f16.gguf");
    fails(
        &run(&["run", "no-such.gguf", "-p", "a"]),
        1,
        &["no-such.gguf"],
    );
    fails(
        &run(&["run", &std::env::temp_dir().to_string_lossy(), "-p", "a"]),
        1,
        &["directory"],
    );
    let cut = scratch("cut.gguf");
    let whole = fs::read(&model).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    fails(
        &run(&["run", &cut.to_string_lossy(), "-p", "a"]),
        1,
        &["cut.gguf"],
    );
    let text = scratch("text.gguf");
    fs::write(&text, "hello\nworld\n").unwrap();
    fails(
        &run(&["inspect", &text.to_string_lossy()]),
        1,
        &["text.gguf"],
    );
    let empty = scratch("empty.gguf");
    fs::write(&empty, "").unwrap();
    fails(
        &run(&["tokenize", &empty.to_string_lossy(), "-p", "a"]),
        1,
        &["empty.gguf"],
    );
}

#[cfg(unix)]
#[test]
fn a_fifo_is_refused_without_waiting_for_a_writer() {
    let fifo = scratch("fifo.gguf");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    fails(
        &run(&["run", &fifo.to_string_lossy(), "-p", "a"]),
        1,
        &["fifo.gguf"],
    );
    fs::remove_file(&fifo).unwrap();
}

#[test]
fn settings_that_make_no_sense_name_the_field() {
    let model = data("llama-f16.gguf");
    fails(
        &run(&["run", &model, "-p", "a", "--temp", "-1"]),
        1,
        &["temp"],
    );
    fails(
        &run(&["run", &model, "-p", "a", "--top-p", "nan"]),
        1,
        &["top_p"],
    );
    fails(
        &run(&["run", &model, "-p", "a", "-ub", "0"]),
        1,
        &["--ubatch-size"],
    );
    fails(
        &run(&["run", &model, "-p", "a", "-t", "100000"]),
        1,
        &["--threads"],
    );
    fails(
        &run(&[
            "run",
            &model,
            "-p",
            "a long prompt of several tokens",
            "-c",
            "2",
        ]),
        1,
        &["context of 2", "--ctx-size"],
    );
    fails(
        &run(&["run", &model, "-p", "a", "--rope-scale", "0"]),
        1,
        &["--rope-scale"],
    );
    let output = smolq()
        .args(["run", &model, "-p", "a"])
        .env("SMOLQ_LEVEL", "sse9")
        .output()
        .unwrap();
    fails(&output, 1, &["SMOLQ_LEVEL", "sse9", "scalar"]);
}

#[test]
fn drafting_changes_no_answer_and_is_counted() {
    let model = data("smollm3-f16.gguf");
    let answer = |extra: &[&str]| {
        let args = [
            "run",
            "--no-conversation",
            &model,
            "-p",
            "The old boat. The old boat",
            "-n",
            "40",
        ];
        let args = [&args[..], &["-s", "7", "--ignore-eos", "-v"], extra].concat();
        let output = run(&args);
        let notes = String::from_utf8_lossy(&output.stderr).into_owned();
        (stdout(&output), notes)
    };
    let (plain, notes) = answer(&["--draft-ngram", "off"]);
    assert!(
        notes.contains("passes:               39, 0 of 0 drafted token(s) accepted"),
        "{notes}"
    );
    for extra in [
        &["--draft-ngram", "on", "--draft-max", "5"][..],
        &["--draft-ngram=auto", "--draft-n-min", "2"],
        &["-md", &model, "--draft", "3"],
        &["--model-draft", &data("smollm3-q4_0.gguf")],
    ] {
        assert_eq!(answer(extra).0, plain, "{extra:?}");
    }
    let (_, notes) = answer(&["--draft-ngram", "on", "--draft-max", "5"]);
    assert!(!notes.contains(" 0 of 0 drafted"), "{notes}");

    let refused = |extra: &[&str]| run(&[&["run", &model, "-p", "a"], extra].concat());
    fails(
        &refused(&["-md", &data("qwen2-f16.gguf")]),
        1,
        &["--draft-model", "331 tokens", "320"],
    );
    fails(&refused(&["-md", "no-such.gguf"]), 1, &["no-such.gguf"]);
    fails(&refused(&["--draft-max", "65"]), 1, &["--draft-max", "64"]);
    fails(&refused(&["--draft-min", "17"]), 1, &["--draft-min", "16"]);
    fails(
        &refused(&["--draft-ngram", "maybe"]),
        2,
        &["maybe", "on, off or auto"],
    );
}

#[test]
fn run_prints_the_answer_alone_on_stdout() {
    let model = data("llama-f16.gguf");
    let args = [
        "run",
        &model,
        "-p",
        "The old boat",
        "-n",
        "12",
        "--temp",
        "0",
    ];
    let output = run(&args);
    let answer = stdout(&output);
    assert!(
        answer.ends_with('\n') && !answer.contains("The old boat"),
        "{answer:?}"
    );
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Positional, from a file, from standard input, echoed, with other threads and batches: the same answer.
    assert_eq!(
        stdout(&run(&[
            "run",
            &model,
            "The old boat",
            "-n",
            "12",
            "--temp",
            "0"
        ])),
        answer
    );
    let file = scratch("prompt.txt");
    fs::write(&file, "The old boat").unwrap();
    let from_file = [
        "run",
        &model,
        "-f",
        &file.to_string_lossy(),
        "-n",
        "12",
        "--temp",
        "0",
        "-t",
        "1",
        "-ub",
        "1",
        "--no-mmap",
    ];
    assert_eq!(stdout(&run(&from_file)), answer);
    let mut child = smolq()
        .args(["run", &model, "-n", "12", "--temp", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"The old boat")
        .unwrap();
    assert_eq!(stdout(&child.wait_with_output().unwrap()), answer);
    let echoed = stdout(&run(&[&args[..], &["--echo"]].concat()));
    assert_eq!(echoed, format!("The old boat{answer}"));
    // Every level gives the same bits.
    let scalar = smolq()
        .args(args)
        .env("SMOLQ_LEVEL", "scalar")
        .output()
        .unwrap();
    assert_eq!(stdout(&scalar), answer);
}

#[test]
fn seeds_repeat_and_differ() {
    let model = data("qwen3-f16.gguf");
    let answer = |seed: &str| {
        stdout(&run(&[
            "run",
            &model,
            "-p",
            "green apples",
            "-n",
            "30",
            "-s",
            seed,
            "--temp",
            "2",
        ]))
    };
    assert_eq!(answer("7"), answer("7"));
    assert_ne!(answer("7"), answer("8"));
}

#[test]
fn verbose_prints_the_timings_on_stderr() {
    let output = run(&[
        "run",
        &data("smollm3-q8_0.gguf"),
        "-p",
        "one two",
        "-n",
        "4",
        "--temp",
        "0",
        "-v",
    ]);
    let text = String::from_utf8(output.stderr).unwrap();
    for label in [
        "total duration:",
        "load duration:",
        "prompt eval count:",
        "prompt eval duration:",
        "prompt eval rate:",
        "eval count:",
        "eval duration:",
        "eval rate:",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(label)),
            "{text:?} lacks {label}"
        );
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = smolq()
        .args([
            "run",
            &data("llama-f16.gguf"),
            "-p",
            "a",
            "-n",
            "100",
            "--ignore-eos",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    assert_eq!(text, "");
}

/// Presses Ctrl-C once the answer has begun. Gives the signal that the program ended by, and what was said to stdout and stderr.
#[cfg(unix)]
fn interrupted(args: &[&str]) -> (Option<i32>, String, String) {
    let mut child = smolq()
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut answer = vec![0u8];
    out.read_exact(&mut answer).unwrap();
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    out.read_to_end(&mut answer).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    (signal, text(&answer), text(&output.stderr))
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_one_answer_with_what_there_is() {
    let model = data("llama-f16.gguf");
    let endless = ["--ignore-eos", "-c", "100000", "-p", "a"];
    let (signal, answer, errors) = interrupted(&[&["run", &model][..], &endless].concat());
    // As if it had not been taken: a shell ends its loop.
    assert_eq!(signal, Some(2), "{errors}");
    assert!(answer.ends_with('\n'), "{answer}");
    assert_eq!(errors.lines().last(), Some("smolq: error: interrupted"));
}

#[cfg(all(unix, feature = "embedded-model"))]
#[test]
fn ctrl_c_keeps_the_session_of_one_answer() {
    let file = scratch("interrupted.json");
    let path = file.to_string_lossy();
    let chat = ["run", "tiny", "--think", "off", "--session", &path];
    let endless = ["--ignore-eos", "-c", "100000", "-p", "Tell me a story."];
    let (signal, answer, errors) = interrupted(&[&chat[..], &endless].concat());
    assert_eq!(signal, Some(2), "{errors}");
    let kept: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let said = kept["messages"][1]["content"].as_str().unwrap();
    assert!(
        !said.is_empty() && answer.trim() == said.trim(),
        "{answer:?}, {said:?}"
    );
    fs::remove_file(&file).unwrap();
}

#[cfg(not(feature = "embedded-model"))]
#[test]
fn a_program_without_a_model_inside_says_so() {
    let result = run(&["run", "tiny", "-p", "Hello"]);
    assert_eq!(result.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&result.stderr).into_owned();
    assert!(
        errors.starts_with("smolq: error: tiny: this smolq was built without")
            && errors.contains("smolq run SmolLM3"),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[cfg(feature = "embedded-model")]
#[test]
fn a_thought_that_the_limit_cuts_off_is_closed_in_the_history() {
    let file = scratch("thought.json");
    let path = file.to_string_lossy();
    let ask = |n: &str| {
        let model = ["run", "tiny", "--temp", "0", "--think", "on", "--echo"];
        let rest = ["--session", &path, "-n", n, "-p", "What is 23 + 45?"];
        stdout(&run(&[&model[..], &rest].concat()))
    };
    ask("8");
    let kept: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let reply = kept["messages"][1]["content"].as_str().unwrap();
    assert!(
        reply.starts_with("<think>\n3") && reply.ends_with("\n</think>\n"),
        "{reply}"
    );
    let next = ask("1");
    assert!(
        next.contains("\n</think>\n<|im_end|>\n<|im_start|>user"),
        "{next}"
    );
    fs::remove_file(&file).unwrap();
}

#[test]
fn logits_are_an_npy_file_or_nothing() {
    let model = data("smollm3-f16.gguf");
    let (tokens, out) = (data("smollm3-f16.json"), scratch("out.npy"));
    let path = out.to_string_lossy().into_owned();
    stdout(&run(&[
        "logits", &model, "--tokens", &tokens, "-o", &path, "--chunk", "7", "-t", "2",
    ]));
    let facts: Value = serde_json::from_str(&fs::read_to_string(&tokens).unwrap()).unwrap();
    let (n, n_vocab) = (
        facts["tokens"].as_array().unwrap().len(),
        facts["n_vocab"].as_u64().unwrap(),
    );
    let file = fs::read(&out).unwrap();
    let header = String::from_utf8_lossy(&file[..128]).into_owned();
    assert!(
        header.contains(&format!("'shape': ({n}, {n_vocab})")) && header.contains("'<f4'"),
        "{header}"
    );
    assert_eq!(file.len() % 64, (n * n_vocab as usize * 4) % 64);
    assert_eq!(
        run(&["logits", &model, "--tokens", &tokens, "-o", "-"]).stdout,
        file
    );

    let bad = scratch("bad.json");
    fs::write(&bad, "[1, 99999]").unwrap();
    fs::remove_file(&out).unwrap();
    fails(
        &run(&[
            "logits",
            &model,
            "--tokens",
            &bad.to_string_lossy(),
            "-o",
            &path,
        ]),
        1,
        &["99999", "vocabulary"],
    );
    assert!(!out.exists());
    let left: Vec<_> = fs::read_dir(out.parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().ends_with(".tmp")),
        "{left:?}"
    );
}

#[test]
fn tokenize_and_detokenize_are_inverse() {
    let model = data("llama-f16.gguf");
    let text = "The old boat carries 324 green apples";
    let json = stdout(&run(&[
        "tokenize", &model, "-p", text, "--no-bos", "--json",
    ]));
    let ids: Vec<u32> = serde_json::from_str(&json).unwrap();
    let words: Vec<String> = ids.iter().map(u32::to_string).collect();
    let mut args = vec!["detokenize", model.as_str()];
    args.extend(words.iter().map(String::as_str));
    assert_eq!(stdout(&run(&args)), format!("{text}\n"));
    let lines = stdout(&run(&["tokenize", &model, "-p", text, "--no-bos"]));
    assert_eq!(lines.lines().count(), ids.len());
    fails(
        &run(&["detokenize", &model, "99999"]),
        1,
        &["99999", "vocabulary"],
    );
}

#[test]
fn inspect_tells_the_plan() {
    let model = data("smollm3-q8_0.gguf");
    let text = stdout(&run(&["inspect", &model, "--tensors", "-c", "64"]));
    for part in [
        "layers without RoPE: 3, 7",
        "blk.0.attn_q.weight",
        "Q8_0",
        "memory at a context of 64",
        "tied",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let json: Value = serde_json::from_str(&stdout(&run(&["inspect", &model, "--json"]))).unwrap();
    assert_eq!(
        json["plan"]["layers_without_rope"],
        serde_json::json!([3, 7])
    );
    assert!(json["tensors"].as_array().unwrap().len() > 50);
    // A slip of the parser would show here: every key is a string, every size a number.
    assert!(json["plan"]["memory"]["cache"].as_u64().unwrap() > 0);
}

#[test]
fn what_does_not_fit_is_said_with_what_would() {
    let model = data("smollm3-q8_0.gguf");
    // A thousand bytes a position: no machine has the memory for so many.
    let many = "50000000000000";
    let text = stdout(&run(&["inspect", &model, "-c", many]));
    for part in ["does not fit", "what fits: -c ", "smaller files, about: "] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let json: Value =
        serde_json::from_str(&stdout(&run(&["inspect", &model, "--json", "-c", many]))).unwrap();
    let memory = &json["plan"]["memory"];
    let of = |name: &str| memory[name].as_u64().unwrap();
    assert_eq!(of("total"), of("weights") + of("cache") + of("scratch"));
    assert_eq!(memory["fits"], false);
    assert!(memory["quantizations"]["Q4_K_M"].as_u64().unwrap() < of("weights"));
    let advice = memory["what_fits"][0].as_str().unwrap();
    let n_ctx: u64 = advice.strip_prefix("-c ").unwrap().parse().unwrap();
    assert!(
        n_ctx.is_multiple_of(1024) && n_ctx * 1024 <= of("available"),
        "{advice}"
    );

    // The longest there is fits.
    let json = stdout(&run(&["inspect", &model, "--json", "-c", "256"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["plan"]["memory"]["fits"], true);
    assert_eq!(json["plan"]["memory"]["longest_ctx"], 256);

    // One line, no matter whether it fails or is warned of.
    fails(
        &run(&["run", &model, "-p", "a", "-n", "1", "-c", many]),
        1,
        &["KV cache of 50000000000000", "to be had; what fits: -c "],
    );
}

#[test]
fn cpu_and_completions_print() {
    let text = stdout(&run(&["cpu"]));
    assert!(
        text.contains("scalar") && text.contains("chosen:"),
        "{text}"
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            stdout(&run(&["completions", shell])).contains("smolq"),
            "{shell}"
        );
    }
    assert!(stdout(&run(&["--version"])).starts_with("smolq "));
    let help = stdout(&run(&["run", "--help"]));
    assert!(help.contains("--ctx-size"));
    // Where there is no model inside, none is promised.
    let promised = [
        (help, "tiny, the model inside"),
        (stdout(&run(&["--help"])), "Without any argument"),
    ];
    for (help, promise) in promised {
        let words: Vec<_> = help.split_whitespace().collect();
        let there = words.join(" ").contains(promise);
        assert_eq!(there, cfg!(feature = "embedded-model"), "{help}");
    }
}

#[test]
fn synth_writes_a_model_that_runs() {
    let out = scratch("synth.gguf");
    let path = out.to_string_lossy().into_owned();
    stdout(&run(&["synth", "smollm2-135m:Q4_0", "-o", &path]));
    let text = stdout(&run(&[
        "run",
        &path,
        "-p",
        "hello",
        "-n",
        "2",
        "--temp",
        "0",
        "--ignore-eos",
    ]));
    assert!(!text.is_empty());
    fs::remove_file(&out).unwrap();
    fails(
        &run(&["synth", "smollm2-135m", "-o", &path]),
        1,
        &["NAME:QUANT"],
    );
    fails(
        &run(&["synth", "nobody:Q4_0", "-o", &path]),
        1,
        &["nobody", "smollm3-3b"],
    );
    fails(
        &run(&["synth", "smollm3-3b:Q9_9", "-o", &path]),
        1,
        &["Q9_9", "Q4_K_M"],
    );
}

/// The fixtures' real trained model says what llama.cpp recorded.
#[test]
fn fixture_greedy_texts_are_the_recorded_ones() {
    let Some(fixtures) = std::env::var_os("SMOLQ_FIXTURES").map(PathBuf::from) else {
        println!("SMOLQ_FIXTURES is not set: skipped");
        return;
    };
    let recorded = fs::read_to_string(fixtures.join("logits/stories260K-greedy.json")).unwrap();
    let recorded: Value = serde_json::from_str(&recorded).unwrap();
    for (name, facts) in recorded.as_object().unwrap() {
        let model = fixtures.join(format!("models/{name}.gguf"));
        let (prompt, n) = (facts["prompt"].as_str().unwrap(), facts["n"].to_string());
        let answer = stdout(&run(&[
            "run",
            &model.to_string_lossy(),
            "-p",
            prompt,
            "-n",
            &n,
            "--temp",
            "0",
        ]));
        assert_eq!(
            answer,
            format!("{}\n", facts["text"].as_str().unwrap()),
            "{name}"
        );
    }
}

/// A program whose answer nobody takes waits for its reader, holding standard output; it ends all the same.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_twice_ends_a_program_that_nobody_reads() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // As much as a pipe takes.
    writer.write_all(&[b' '; 1 << 16]).unwrap();
    let model = data("llama-f16.gguf");
    let mut child = smolq()
        .args(["run", &model, "--ignore-eos", "-c", "100000", "-p", "a"])
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed().as_secs() < 60, "the program does not end");
        std::thread::sleep(std::time::Duration::from_millis(700));
        let kill = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .stderr(Stdio::null())
            .status();
        let _ = kill.unwrap();
    };
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(2), "{status:?}");
    drop(reader);
}
