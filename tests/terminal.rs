//! A person at a terminal, with the model inside the program.
#![cfg(all(unix, feature = "embedded-model"))]

#[path = "common/terminal.rs"]
mod terminal;

use rustix::process::Signal;
use serde_json::{Value as Json, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use terminal::{PATIENCE, SMOLQ, Start, Terminal};

/// A folder of this test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("smolq-terminal-{}-{name}", std::process::id()));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The chat at a terminal of 80 columns, always with the best token.
fn chat(name: &str, flags: &[&str]) -> Terminal {
    let arguments = [&["run", "tiny", "--temp", "0"], flags].concat();
    let mut terminal = Terminal::open(&arguments, 80, &folder(name));
    terminal.wait_for(">>> ");
    terminal
}

#[test]
fn a_question_is_answered_and_a_thought_is_dimmed() {
    let mut t = chat("think", &["--think", "on"]);
    t.say("What is 23 + 45?");
    let shown = t.answer();
    assert!(
        shown.contains("3 + 5 = 8") && shown.contains("68"),
        "{shown}"
    );
    assert!(t.raw().contains("\u{1b}[2m"), "no dimmed text");
    t.say("/think off");
    t.wait_for("Thinking: off");
    t.answer();
    t.say("What is 23 + 45?");
    let shown = t.answer();
    assert!(!shown.contains("3 + 5") && shown.contains("68"), "{shown}");
    t.say("/think hide");
    t.answer();
    t.say("/think on");
    t.answer();
    t.say("What is 31 + 46?");
    let shown = t.answer();
    assert!(
        !shown.contains("1 + 6 = 7") && shown.contains("77"),
        "{shown}"
    );
    t.leave();
}

#[test]
fn a_budget_ends_the_thought_and_the_answer_comes() {
    let mut t = chat("budget", &["--think", "on", "--think-budget", "16", "-v"]);
    t.say("What is 23 + 45?");
    let shown = t.answer();
    // The whole thought takes more: 3 + 5 = 8, 2 + 4 = 6, ...
    let thought = shown
        .split_once("23 + 45 =")
        .map(|(thought, _)| thought)
        .unwrap_or_default();
    assert!(thought.contains("3 + 5 = 8"), "{shown}");
    t.say("/show history");
    let history = t.answer();
    let thought = history
        .split_once("<think>")
        .unwrap()
        .1
        .split_once("</think>")
        .unwrap()
        .0;
    // A character is a token at least.
    assert!(thought.chars().count() <= 2 * 16, "{thought:?}");
    t.say("/think budget 0");
    t.wait_for("at most 0 tokens");
    t.answer();
    t.say("What is 12 + 11?");
    let shown = t.answer();
    assert!(!shown.contains("2 + 1 = 3"), "{shown}");
    t.leave();
}

#[test]
fn escape_ends_the_thought_and_ctrl_c_the_answer() {
    // Neither would end by itself: the model may not close its thought, nor its answer.
    let ids = std::process::Command::new(SMOLQ)
        .args(["tokenize", "tiny", "-p", "</think>", "--json"])
        .output()
        .unwrap();
    let ids: Vec<u32> = serde_json::from_slice(&ids.stdout).unwrap();
    let never = format!("{}-inf", ids[0]);
    let mut t = chat(
        "escape",
        &[
            "--think",
            "on",
            "--ignore-eos",
            "--ctx-size",
            "100000",
            "-l",
            &never,
        ],
    );
    t.say("Tell me a long story about a fox.");
    // The end of the line that was typed, and then a thought.
    t.wait_for("fox.\n");
    t.wait_for_word();
    t.press("\u{1b}");
    // What the answer says depends on how far the thought had come.
    t.wait_for_bright_word();
    t.press("\u{3}");
    let shown = t.answer();
    assert!(shown.contains("eval count:"), "{shown}");
    // It goes on.
    t.say("/stats");
    assert!(t.answer().contains("ended by cancelled"));
    t.say("/show history");
    assert!(t.answer().contains("\n</think>\n"));
    t.leave();
}

#[test]
fn questions_are_taken_back_answered_anew_saved_and_loaded() {
    let mut t = chat("undo", &["--think", "off"]);
    t.say("My name is Oscar.");
    let first = t.answer();
    t.say("What is 23 + 45?");
    t.answer();
    t.say("/regen");
    assert!(t.answer().contains("68"));
    t.say("/show history");
    let history = t.answer();
    assert_eq!(history.matches("user: ").count(), 2, "{history}");
    assert_eq!(history.matches("assistant: ").count(), 2, "{history}");
    t.say("/undo");
    assert!(t.answer().contains("Taken back: What is 23 + 45?"));
    for file in ["chat.smolq", "chat.json"] {
        t.say(&format!("/save {file}"));
        assert!(t.answer().contains("Saved"));
    }
    t.say("/clear");
    t.answer();
    for file in ["chat.smolq", "chat.json"] {
        t.say(&format!("/load {file}"));
        let shown = t.answer();
        assert!(shown.contains("2 messages"), "{shown}");
        t.say("/show history");
        assert!(t.answer().contains(first.trim().lines().last().unwrap()));
    }
    t.say("/load nothing.smolq");
    assert!(t.answer().contains("nothing.smolq"));
    t.say("/undo");
    t.answer();
    t.say("/undo");
    assert!(t.answer().contains("nothing to take back"));
    t.say("/regen");
    assert!(t.answer().contains("no question"));
    t.leave();
}

/// Tools in a file, in the folder of a test.
fn tools(name: &str, file: &Json) -> String {
    let folder = folder(&format!("{name}-tools"));
    let path = folder.join("tools.json");
    std::fs::write(&path, file.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn weather(command: &[&str], harmless: bool) -> Json {
    json!([{"name": "get_weather", "description": "Get the weather of a city", "command": command, "stdin": "none", "harmless": harmless,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}])
}

#[test]
fn a_command_is_called_shown_asked_about_and_used() {
    let file = tools(
        "command",
        &weather(
            &["printf", "{\"weather\": \"12 degrees\"} %.0s", "{city}"],
            false,
        ),
    );
    let mut t = chat("command", &["--think", "off", "--tools", &file]);
    t.say("What is the weather in Lisbon?");
    t.wait_for("-> get_weather {\"city\":\"Lisbon\"}");
    t.wait_for("[s]top: ");
    t.press("y");
    let shown = t.answer();
    assert!(
        shown.contains("<- {\"weather\": \"12 degrees\"}"),
        "{shown}"
    );
    assert!(
        shown
            .split_once("<-")
            .unwrap()
            .1
            .matches("12 degrees")
            .count()
            == 2,
        "{shown}"
    );
    // What is refused, the model is told; what stops, ends the turn.
    t.say("What is the weather in Rome?");
    t.wait_for("[s]top: ");
    t.press("n");
    assert!(t.answer().contains("the user does not allow this call"));
    t.say("What is the weather in Oslo?");
    t.wait_for("[s]top: ");
    t.press("s");
    let shown = t.answer();
    assert!(!shown.contains("<-"), "{shown}");
    t.say("/tools");
    assert!(
        t.answer()
            .contains("get_weather: Get the weather of a city")
    );
    t.leave();
}

#[test]
fn a_call_after_a_thought_is_shown_on_its_own_line() {
    let file = tools("thought", &weather(&["echo", "{city}", "12"], true));
    let mut t = chat("thought", &["--think", "on", "--tools", &file]);
    for _ in 0..2 {
        t.say("What is the weather in Lisbon?");
        let thought = t.wait_for("\n-> get_weather {\"city\":\"Lisbon\"}");
        assert!(thought.contains("weather"), "{thought}");
        assert!(t.answer().contains("<- Lisbon 12"));
    }
    t.leave();
}

#[test]
fn a_built_in_tool_is_called() {
    let mut t = chat(
        "builtin",
        &[
            "--think",
            "off",
            "--tools",
            "builtin",
            "--tool-choice",
            "get_time",
        ],
    );
    t.say("What is the time in UTC?");
    t.wait_for("-> get_time {\"zone\":\"UTC\"}");
    t.wait_for("<- {\"date\":");
    // What the model makes of it depends on the time.
    let shown = t.answer();
    assert!(shown.lines().count() >= 2, "{shown}");
    t.leave();
}

#[test]
fn tools_that_are_missing_or_hang_are_told_to_the_model() {
    let file = tools("missing", &weather(&["/nonexistent/weather"], true));
    let mut t = chat("missing", &["--think", "off", "--tools", &file]);
    t.say("What is the weather in Lisbon?");
    assert!(t.answer().contains("/nonexistent/weather"));
    t.leave();
    let mut hangs = weather(&["sleep", "1000"], true);
    hangs[0]["timeout"] = json!(1);
    let file = tools("hangs", &hangs);
    let mut t = chat("hangs", &["--think", "off", "--tools", &file]);
    t.say("What is the weather in Lisbon?");
    t.wait_for("<- ");
    t.answer();
    t.leave();
}

/// A server of the official SDK, where `SMOLQ_MCP_PYTHON` names a Python that has it (`.ci/run` makes one).
#[test]
#[cfg(feature = "mcp")]
fn sdk_server_is_called() {
    let Ok(python) = std::env::var("SMOLQ_MCP_PYTHON") else {
        eprintln!("SKIPPED: SMOLQ_MCP_PYTHON names no Python with the MCP SDK");
        return;
    };
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mcp_weather.py");
    let file = tools(
        "mcp",
        &json!({"mcpServers": {"sdk": {"command": python, "args": [server], "startup_timeout": 60}}}),
    );
    let mut t = chat("mcp", &["--think", "off", "--tools", &file, "--yes"]);
    t.say("What is the weather in Lisbon?");
    t.wait_for("-> get_weather {\"city\":\"Lisbon\"}");
    t.wait_for("<- {\"weather\": \"12 degrees\"}");
    let shown = t.answer();
    assert!(shown.contains("12 degrees"), "{shown}");
    t.leave();
}

#[test]
fn forty_columns_break_lines_between_words() {
    let arguments = ["run", "tiny", "--temp", "0", "--think", "off"];
    let mut t = Terminal::open(&arguments, 40, &folder("narrow"));
    t.wait_for(">>> ");
    t.say("Tell me a story about a fox.");
    let shown = t.answer();
    // The first line was the message's, with the hint that stood there before.
    let lines: Vec<&str> = shown.lines().skip(1).collect();
    assert!(
        lines.len() > 4 && lines.iter().all(|line| line.chars().count() <= 40),
        "{shown}"
    );
    // The terminal itself has broken none of them.
    let screen = t.screen();
    let whole = |line: &&str| screen.iter().any(|row| row == line.trim_end());
    assert!(lines.iter().all(whole), "{screen:#?}");
    t.leave();
}

#[test]
fn several_lines_are_one_message_and_commands_are_completed() {
    let mut t = chat("lines", &["--think", "off", "--echo"]);
    t.say("\"\"\"What is");
    t.wait_for("... ");
    t.say("23 + 45?\"\"\"");
    let shown = t.answer();
    assert!(shown.contains("What is\n23 + 45?<|im_end|>"), "{shown}");
    t.press("/sta\t");
    t.wait_for("/stats");
    t.say("");
    assert!(t.answer().contains("context: "));
    t.say("/nonsense");
    assert!(t.answer().contains("there is no /nonsense"));
    t.say("/set parameter top_k 7");
    t.answer();
    t.say("/show parameters");
    assert!(t.answer().contains("top_k 7"));
    t.say("/set parameter top_p 7");
    assert!(t.answer().contains("top_p"));
    t.say("/? shortcuts");
    assert!(t.answer().contains("Ctrl-D"));
    t.say("/bye");
    t.leave();
}

#[test]
fn a_second_turn_reads_its_new_tokens_only() {
    for think in ["on", "off"] {
        let mut t = chat(&format!("turns-{think}"), &["--think", think]);
        t.say("What is 23 + 45?");
        t.answer();
        t.say("/stats");
        let stats = t.answer();
        let used = number(&stats, "context:");
        t.say("What is 31 + 46?");
        assert!(t.answer().contains("77"));
        t.say("/stats");
        let stats = t.answer();
        let held = number(&stats, "tokens read,");
        // All that was held: the first prompt and all of the answer.
        assert_eq!(held, used, "{stats}");
        assert!(number(&stats, "last prompt:") < 25, "{stats}");
        t.leave();
    }
}

#[test]
fn what_was_read_in_the_other_mode_is_kept() {
    let mut t = chat("modes", &["--think", "on"]);
    t.say("What is 23 + 45?");
    t.answer();
    t.say("/stats");
    let used = number(&t.answer(), "context:");
    t.say("/think off");
    t.answer();
    t.say("What is 31 + 46?");
    assert!(t.answer().contains("77"));
    t.say("/think on");
    t.answer();
    t.say("What is 12 + 11?");
    assert!(t.answer().contains("23"));
    t.say("/stats");
    let stats = t.answer();
    assert_eq!(number(&stats, "tokens read,"), used, "{stats}");
    t.leave();
}

/// The number that follows some words.
fn number(text: &str, before: &str) -> usize {
    let rest = text.split_once(before).unwrap().1.trim_start();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap()
}

#[test]
fn a_kept_chat_goes_on_as_if_it_had_never_ended() {
    let place = folder("session");
    let words = [
        "fox", "river", "lamp", "garden", "letter", "winter", "bridge",
    ];
    let long: String = (0..900)
        .map(|i| format!("{} {} ", words[i * i % 7], i % 10))
        .collect();
    std::fs::write(place.join("long.txt"), long).unwrap();
    let open = |file: &str| {
        let flags = ["--temp", "0.9", "--seed", "7", "-c", "4096", "-n", "40"];
        let arguments = [
            &["run", "tiny", "--think", "off", "--session", file],
            &flags[..],
        ]
        .concat();
        let mut t = Terminal::open(&arguments, 80, &place);
        t.wait_for(">>> ");
        t
    };
    let begin = |t: &mut Terminal| {
        t.say("/read long.txt");
        t.answer();
    };
    let go_on = |t: &mut Terminal| {
        t.say("Tell me a story about a lamp.");
        let shown = t.answer();
        // What stands before is the line that was typed.
        let answer = shown.split_once("lamp.\n").unwrap().1.to_owned();
        t.say("/stats");
        (answer, t.answer())
    };
    let mut whole = open("whole.smolq");
    begin(&mut whole);
    let (answer, stats) = go_on(&mut whole);
    whole.leave();
    assert!(number(&stats, "context:") > 2000, "{stats}");

    let mut first = open("kept.smolq");
    begin(&mut first);
    first.leave();
    let mut second = open("kept.smolq");
    let (again, restored) = go_on(&mut second);
    second.leave();
    assert_eq!(again, answer);
    assert_eq!(
        number(&restored, "tokens read,"),
        number(&stats, "tokens read,")
    );
    assert!(number(&restored, "last prompt:") < 60, "{restored}");
    assert!(number(&restored, "tokens read,") > 2000, "{restored}");
}

/// An answer without a thought, always of the best tokens.
const PLAIN: [&str; 6] = ["run", "tiny", "--temp", "0", "--think", "off"];

/// Waits until there is something to be found.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not to be seen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nobody_is_asked_where_the_question_is_not_seen() {
    let file = tools("unseen", &weather(&["touch", "{city}"], false));
    let place = folder("unseen");
    let errors = place.join("errors.txt");
    let start = Start {
        stderr: Some(File::create(&errors).unwrap()),
        ..Start::default()
    };
    let flags = [
        "--tools",
        file.as_str(),
        "-p",
        "What is the weather in Lisbon?",
    ];
    let t = Terminal::start(start, &[&PLAIN[..], &flags[..]].concat(), &place);
    let status = t.ended();
    let errors = std::fs::read_to_string(errors).unwrap();
    assert_eq!(status, 0, "{errors}");
    assert!(errors.contains("nobody can be asked"), "{errors}");
    assert!(!place.join("Lisbon").exists());
}

#[test]
fn keys_pressed_before_the_question_are_no_answer() {
    let file = tools("ahead", &weather(&["touch", "{city}"], false));
    let place = folder("ahead");
    // Answers go elsewhere, so nothing else takes keys before the question. It is as much as a terminal keeps, or a little less.
    let ahead = "y".repeat(3900);
    let start = Start {
        typed: &ahead,
        stdout: Some(File::create(place.join("answer.txt")).unwrap()),
        ..Start::default()
    };
    let flags = [
        "--tools",
        file.as_str(),
        "-p",
        "What is the weather in Lisbon?",
    ];
    let mut t = Terminal::start(start, &[&PLAIN[..], &flags[..]].concat(), &place);
    t.wait_for("[s]top: ");
    t.press("n");
    t.wait_for("the user does not allow this call");
    assert_eq!(t.ended(), 0);
    assert!(!place.join("Lisbon").exists());
}

#[test]
fn ctrl_c_is_an_answer_too() {
    let file = tools("stopped", &weather(&["touch", "{city}"], false));
    let mut t = chat("stopped", &["--think", "off", "--tools", &file]);
    t.say("What is the weather in Lisbon?");
    t.wait_for("[s]top: ");
    t.press("\u{3}");
    let shown = t.answer();
    assert!(shown.starts_with("stop"), "{shown}");
    // It goes on.
    t.say("/bye");
    t.leave();
}

#[test]
fn control_characters_are_shown_at_a_terminal_and_piped_as_they_are() {
    let grammar = r#"root ::= "\x1b]0;owned\x07\t\x9b!""#;
    let mut t = chat("control", &["--think", "off", "--grammar", grammar]);
    t.say("Hello!");
    let shown = t.answer();
    let title = r"\u{1b}]0;owned\u{7}";
    assert!(
        shown.contains(title) && shown.contains(r"\u{9b}!"),
        "{shown}"
    );
    t.say("/show history");
    let history = t.answer();
    assert!(history.contains(title), "{history}");
    let raw = t.raw();
    assert!(
        !raw.contains("\u{1b}]") && !raw.contains('\u{9b}'),
        "{raw:?}"
    );
    t.leave();
    let output = std::process::Command::new(SMOLQ)
        .args(PLAIN)
        .args(["--grammar", grammar, "-p", "Hello!"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "\u{1b}]0;owned\u{7}\t\u{9b}!\n"
    );
}

#[test]
fn a_terminal_is_left_alone_where_answers_go_elsewhere() {
    let place = folder("pager");
    let answer = place.join("answer.txt");
    let start = Start {
        stdout: Some(File::create(&answer).unwrap()),
        ..Start::default()
    };
    let flags = ["--ignore-eos", "--ctx-size", "100000", "-p", "Hello!"];
    let mut t = Terminal::start(start, &[&PLAIN[..], &flags[..]].concat(), &place);
    until("an answer", || {
        let length = std::fs::metadata(&answer).unwrap().len();
        (length > 0).then_some(())
    });
    // While the model speaks, a pager reads what is pressed.
    assert!(t.is_in_order());
    t.press("\u{3}");
    assert_eq!(t.ended(), 128 + 2);
}

#[test]
fn an_answer_comes_in_the_background_too() {
    // With job control each job has a group of its own, and this one does not have the terminal.
    let script = "set -m; \"$0\" \"$@\" & wait $!; echo \"status $?\"";
    let start = Start {
        program: "sh",
        ..Start::default()
    };
    let shell = ["-c", script, SMOLQ];
    let flags = ["-p", "What is 23 + 45?"];
    let arguments = [&shell[..], &PLAIN[..], &flags[..]].concat();
    let mut t = Terminal::start(start, &arguments, &folder("background"));
    let shown = t.wait_for("status 0");
    assert!(shown.contains("68"), "{shown}");
    assert_eq!(t.ended(), 0);
}

#[test]
fn a_schema_that_is_not_held_is_told_once() {
    let mut tool = weather(&["echo", "sunny"], true);
    tool[0]["parameters"]["patternProperties"] = json!({"^a": {}, "b$": {}});
    let file = tools("loose", &tool);
    let mut t = chat("loose", &["--think", "off", "--tools", &file]);
    t.say("What is the weather in Lisbon?");
    let shown = t.answer();
    let warning = "calls of get_weather are not held to its schema: ";
    assert!(
        shown.contains(warning) && shown.contains("sunny"),
        "{shown}"
    );
    t.say("What is the weather in Oslo?");
    assert!(!t.answer().contains(warning));
    t.leave();
}

/// A shell's script that notes its process and that of a child, and does not end.
fn endless(noted: &Path) -> String {
    format!(
        "sleep 1000 & echo $! >> '{0}'; echo $$ >> '{0}'; wait",
        noted.display()
    )
}

/// The processes that such a script has noted.
fn noted(file: &Path) -> Vec<String> {
    until("a program", || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let pids: Vec<String> = text.lines().map(str::to_owned).collect();
        (pids.len() == 2 && text.ends_with('\n')).then_some(pids)
    })
}

/// Asserts that none of them is left. Only Linux tells; one that waits to be reaped has ended.
fn none_is_left(pids: &[String]) {
    for pid in pids {
        until("its end", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
            (state.is_empty() || state.starts_with(['Z', 'X'])).then_some(())
        });
    }
}

#[test]
fn a_process_that_is_told_to_leave_takes_its_tools_along_and_keeps_the_chat() {
    let place = folder("told");
    let pids = place.join("pids.txt");
    let file = tools("told", &weather(&["sh", "-c", &endless(&pids)], true));
    let flags = ["--tools", file.as_str(), "--session", "kept.json"];
    let mut t = Terminal::open(&[&PLAIN[..], &flags[..]].concat(), 80, &place);
    t.wait_for(">>> ");
    t.say("What is the weather in Lisbon?");
    let pids = noted(&pids);
    t.signal(Signal::TERM);
    assert_eq!(t.ended(), 128 + 15);
    none_is_left(&pids);
    let kept = std::fs::read_to_string(place.join("kept.json")).unwrap();
    assert!(kept.contains("Lisbon"), "{kept}");
}

#[test]
fn a_process_that_is_told_to_leave_at_the_prompt_goes_its_ordinary_way() {
    let place = folder("prompt");
    let mut t = Terminal::open(&PLAIN, 80, &place);
    t.wait_for(">>> ");
    t.say("/stats");
    t.answer();
    t.signal(Signal::TERM);
    assert_eq!(t.ended(), 128 + 15);
    // Elsewhere the signal may not reach the thread that reads, and the process is ended where it stands.
    if cfg!(target_os = "linux") {
        let lines = std::fs::read_to_string(place.join("state/smolq/history")).unwrap();
        assert!(lines.contains("/stats"), "{lines}");
    }
}

/// While an MCP server starts nobody looks whether an end was asked for, as in a program that is stuck.
#[test]
#[cfg(feature = "mcp")]
fn a_process_that_is_stuck_ends_and_leaves_nothing_behind() {
    for (name, code) in [("keys", 128 + 2), ("signal", 128 + 15)] {
        let place = folder(&format!("stuck-{name}"));
        let pids = place.join("pids.txt");
        let server =
            json!({"command": "sh", "args": ["-c", endless(&pids)], "startup_timeout": 600});
        let file = tools(
            &format!("stuck-{name}"),
            &json!({"mcpServers": {"deaf": server}}),
        );
        let flags = ["--tools", file.as_str()];
        let mut t = Terminal::open(&[&PLAIN[..], &flags[..]].concat(), 80, &place);
        let pids = noted(&pids);
        if name == "keys" {
            t.press("\u{3}");
            // Two at once may be taken for one.
            std::thread::sleep(Duration::from_secs(1));
            t.press("\u{3}");
        } else {
            t.signal(Signal::TERM);
        }
        assert_eq!(t.ended(), code, "{name}");
        none_is_left(&pids);
    }
}

/// The chat without thoughts, in a folder that stays as it is.
fn chat_in(place: &Path, flags: &[&str]) -> Terminal {
    let arguments = [&["run", "tiny", "--temp", "0", "--think", "off"], flags].concat();
    let mut terminal = Terminal::open(&arguments, 80, place);
    terminal.wait_for(">>> ");
    terminal
}

#[test]
fn a_kept_chat_outlives_a_killed_program_and_a_cleared_one_stays_cleared() {
    let place = folder("killed");
    let open = || chat_in(&place, &["--session", "chat.smolq"]);
    let mut t = open();
    t.say("What is 23 + 45?");
    assert!(t.answer().contains("68"));
    // Killed, without a chance to save.
    drop(t);
    let mut t = open();
    t.say("/show history");
    assert!(t.answer().contains("68"));
    t.leave();
    let file = std::fs::read(place.join("chat.smolq")).unwrap();
    assert!(file.starts_with(b"SMOLQSES"));
    let mut t = open();
    t.say("/clear");
    t.answer();
    t.leave();
    let mut t = open();
    t.say("/show history");
    assert!(!t.answer().contains("68"));
    t.leave();
}

#[test]
fn an_answer_is_not_lost_where_there_is_no_new_one() {
    let place = folder("regen");
    let parts = r#"[{"role": "user", "content": [{"type": "text", "text": "What is 23 + 45?"}]}]"#;
    std::fs::write(place.join("parts.json"), parts).unwrap();
    let mut t = chat_in(&place, &[]);
    t.say("/load parts.json");
    t.answer();
    t.say("/regen");
    assert!(t.answer().contains("68"));
    // No token at all.
    t.say("/set num_predict 0");
    t.answer();
    t.say("/regen");
    t.answer();
    t.say("/show history");
    assert!(t.answer().contains("68"));
    t.say("/set num_predict -1");
    t.answer();
    t.say(r#"/set format {"type":"nonsense"}"#);
    t.answer();
    t.say("/regen");
    assert!(t.answer().contains("error"));
    t.say("/show history");
    assert!(t.answer().contains("68"));
    t.leave();
}

#[test]
fn a_stray_byte_ends_nothing_and_lines_are_remembered() {
    let place = folder("byte");
    let mut t = chat_in(&place, &[]);
    t.press(b"caf\xe9\r");
    t.wait_for("is no UTF-8");
    t.answer();
    t.say("What is 23 + 45?");
    assert!(t.answer().contains("68"));
    t.leave();
    let history = std::fs::read_to_string(place.join("state/smolq/history")).unwrap();
    assert!(history.contains("What is 23 + 45?"), "{history}");
}

#[test]
fn a_completed_name_with_blanks_is_read() {
    let place = folder("blanks");
    std::fs::write(place.join("zz my sum.txt"), "What is 23 + 45?").unwrap();
    let mut t = chat_in(&place, &[]);
    t.press("/read zz\t");
    t.wait_for("sum.txt");
    t.say("");
    assert!(t.answer().contains("68"));
    t.leave();
}

#[test]
fn what_stands_between_quotes_is_no_command() {
    let mut t = chat("quoted", &["--think", "off", "--echo"]);
    t.say("\"\"\"/stats\"\"\"");
    let shown = t.answer();
    assert!(
        shown.contains("/stats<|im_end|>") && !shown.contains("context: "),
        "{shown}"
    );
    // Nor is it one when it is recalled.
    t.press("\u{1b}[A");
    t.say("");
    assert_eq!(t.answer().matches("/stats<|im_end|>").count(), 2);
    t.leave();
}
