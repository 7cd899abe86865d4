//! What a model may call: the built-in tools, commands, MCP servers.
#![cfg(unix)]

use serde_json::{Value as Json, json};
use smolq::tools::{Tool, ToolResult, Toolbox};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

static NEVER: AtomicBool = AtomicBool::new(false);

/// A folder of its own for each test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("smolq-tools-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        // As the tools name it, without links.
        Scratch(path.canonicalize().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn builtin(folder: Option<&Path>) -> Toolbox {
    Toolbox::from_spec(&["builtin"], folder).unwrap()
}

fn call(toolbox: &mut Toolbox, name: &str, arguments: Json) -> ToolResult {
    toolbox.call(name, &arguments, &NEVER)
}

fn done(toolbox: &mut Toolbox, name: &str, arguments: Json) -> String {
    let result = call(toolbox, name, arguments);
    assert!(!result.failed, "{name}: {}", result.text);
    result.text
}

/// Asserts a failure that tells all of `parts`.
fn fails(toolbox: &mut Toolbox, name: &str, arguments: Json, parts: &[&str]) {
    let result = call(toolbox, name, arguments.clone());
    assert!(result.failed, "{name} {arguments}: {}", result.text);
    for part in parts {
        assert!(
            result.text.contains(part),
            "{name} {arguments}: {:?} lacks {part:?}",
            result.text
        );
    }
}

/// A toolbox of one command called `t`, with more fields.
fn command(scratch: &Scratch, command: Json, more: Json) -> Toolbox {
    let mut tool = json!({"name": "t", "description": "Test", "command": command});
    tool.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    from_file(scratch, &json!([tool])).unwrap()
}

fn from_file(scratch: &Scratch, content: &Json) -> smolq::Result<Toolbox> {
    let path = scratch.write("tools.json", content.to_string());
    Toolbox::from_spec(&[path.to_str().unwrap()], None)
}

/// Whether a process runs; one that waits to be reaped by its parent does not.
fn runs(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat.rsplit(')').next().unwrap().trim_start();
    !state.starts_with(['Z', 'X'])
}

/// Asserts that every process noted in a file has ended, or does within a moment.
#[track_caller]
fn all_ended(file: &Path, least: usize) {
    let text = fs::read_to_string(file).unwrap();
    let pids: Vec<_> = text.lines().collect();
    assert!(pids.len() >= least, "{pids:?}");
    let deadline = Instant::now() + Duration::from_secs(2);
    for pid in pids {
        while runs(pid) {
            assert!(Instant::now() < deadline, "{pid} still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    assert!(start.elapsed() < limit, "took {:?}", start.elapsed());
    result
}

/// Sets a flag after a while.
fn cancel_after(wait: Duration) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let setter = flag.clone();
    std::thread::spawn(move || {
        std::thread::sleep(wait);
        setter.store(true, Ordering::Relaxed);
    });
    flag
}

// The toolbox.

struct Named(String, Json);

impl Tool for Named {
    fn name(&self) -> &str {
        &self.0
    }
    fn description(&self) -> &str {
        "A test"
    }
    fn parameters(&self) -> &Json {
        &self.1
    }
    fn harmless(&self) -> bool {
        true
    }
    fn call(&mut self, arguments: &serde_json::Map<String, Json>, _: &AtomicBool) -> ToolResult {
        ToolResult::done(Json::from(arguments.clone()).to_string())
    }
}

#[test]
fn a_toolbox_declares_and_runs_by_name() {
    let mut toolbox = Toolbox::new();
    assert!(toolbox.is_empty());
    let schema =
        json!({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]});
    toolbox
        .add(Box::new(Named("a.b-c_1".into(), schema.clone())))
        .unwrap();
    assert_eq!(
        toolbox.declarations(),
        [
            json!({"type": "function", "function": {"name": "a.b-c_1", "description": "A test", "parameters": schema}})
        ]
    );
    assert_eq!(done(&mut toolbox, "a.b-c_1", json!({"x": 1})), "{\"x\":1}");
    assert_eq!(
        done(&mut toolbox, "a.b-c_1", json!("{\"x\": 1}")),
        "{\"x\":1}"
    );
    fails(
        &mut toolbox,
        "a.b-c_1",
        json!({}),
        &["The arguments of a.b-c_1 do not fit: \"x\" is missing."],
    );
    fails(
        &mut toolbox,
        "a.b-c_1",
        json!({"x": "1"}),
        &["\"x\" is a string, not of type integer"],
    );
    fails(
        &mut toolbox,
        "nope\n",
        json!({}),
        &["There is no tool \"nope\\n\". The tools are: a.b-c_1."],
    );
    let preview = toolbox
        .get("a.b-c_1")
        .unwrap()
        .preview(json!({"x": 1}).as_object().unwrap());
    assert_eq!(preview, "a.b-c_1(x: 1)");
    let cancelled = toolbox.call("a.b-c_1", &json!({"x": 1}), &AtomicBool::new(true));
    assert!(cancelled.failed && cancelled.text.contains("cancelled"));

    let twice = toolbox
        .add(Box::new(Named("a.b-c_1".into(), json!({}))))
        .unwrap_err();
    assert!(
        twice
            .to_string()
            .contains("two tools are called \"a.b-c_1\""),
        "{twice}"
    );
    for name in ["", "a b", "a/b", "é", &"a".repeat(65)] {
        let wrong = toolbox
            .add(Box::new(Named(name.into(), json!({}))))
            .unwrap_err();
        assert!(wrong.to_string().contains("names are 1 to 64"), "{wrong}");
    }
    toolbox
        .add(Box::new(Named("a".repeat(64), json!({}))))
        .unwrap();
    assert_eq!(toolbox.names().count(), 2);
}

#[test]
fn a_specification_names_tools() {
    let scratch = Scratch::new();
    let names = |specs: &[&str], folder: Option<&Path>| {
        Toolbox::from_spec(specs, folder)
            .map(|toolbox| toolbox.names().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(names(&[], None).unwrap(), "");
    assert_eq!(names(&["builtin"], None).unwrap(), "get_time calculator");
    assert_eq!(
        names(&["builtin", "shell"], Some(&scratch.0)).unwrap(),
        "get_time calculator list_files read_file shell"
    );
    assert_eq!(names(&["calculator"], None).unwrap(), "calculator");
    for (specs, folder, part) in [
        (
            vec!["builtin", "calculator"],
            None,
            "two tools are called \"calculator\"",
        ),
        (
            vec!["read_file"],
            None,
            "read_file needs a folder: name one with --tools-dir",
        ),
        (
            vec!["buildin"],
            None,
            "buildin: there is no such file, and of this program there are builtin, shell",
        ),
        (vec!["/"], None, "/: is a folder"),
        (
            vec!["builtin"],
            Some(Path::new("/no/such")),
            "/no/such: No such file",
        ),
        (
            vec!["builtin"],
            Some(Path::new("/etc/passwd")),
            "/etc/passwd is no folder",
        ),
    ] {
        let told = names(&specs, folder).unwrap_err().to_string();
        assert!(
            told.contains(part) && !told.contains('\n'),
            "{told:?} lacks {part:?}"
        );
    }
}

// The built-in tools.

#[test]
fn the_clock_tells_the_time_of_a_zone() {
    let mut toolbox = builtin(None);
    let here: Json = serde_json::from_str(&done(&mut toolbox, "get_time", json!({}))).unwrap();
    for field in ["date", "time", "weekday", "zone"] {
        assert!(
            here[field].as_str().is_some_and(|text| !text.is_empty()),
            "{here}"
        );
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let zoned: Json =
        serde_json::from_str(&done(&mut toolbox, "get_time", json!({"zone": "UTC"}))).unwrap();
    let parts: Vec<u64> = zoned["time"]
        .as_str()
        .unwrap()
        .split(':')
        .map(|part| part.parse().unwrap())
        .collect();
    let told = parts[0] * 3600 + parts[1] * 60 + parts[2];
    assert!((told + 86_400 - now % 86_400) % 86_400 < 10, "{zoned}");
    let weekday = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    assert_eq!(zoned["weekday"], weekday[(now / 86_400 % 7) as usize]);
    assert!(
        zoned["zone"].as_str().unwrap().contains("UTC+00:00"),
        "{zoned}"
    );
    for zone in [
        "Nowhere/Town",
        "../../etc/passwd",
        "/etc/passwd",
        "\0",
        "Europe/Berlin/",
        "é",
    ] {
        fails(
            &mut toolbox,
            "get_time",
            json!({"zone": zone}),
            &["There is no time zone", "Europe/Berlin"],
        );
    }
    if Path::new("/usr/share/zoneinfo/Asia/Kolkata").exists() {
        assert!(
            done(&mut toolbox, "get_time", json!({"zone": "Asia/Kolkata"}))
                .contains("Asia/Kolkata, UTC+05:30")
        );
    } else {
        eprintln!("no zones on this machine: UTC only");
    }
}

#[test]
fn the_calculator_answers_or_says_why_not() {
    let mut toolbox = builtin(None);
    assert_eq!(
        done(
            &mut toolbox,
            "calculator",
            json!({"expression": "2 + 3 * 4"})
        ),
        "14"
    );
    fails(
        &mut toolbox,
        "calculator",
        json!({"expression": "1/0"}),
        &["Division by zero."],
    );
    fails(
        &mut toolbox,
        "calculator",
        json!({"expression": "(".repeat(10_000)}),
        &["more than the 2000"],
    );
    fails(
        &mut toolbox,
        "calculator",
        json!({"x": "1"}),
        &["\"expression\" is missing"],
    );
    let tool = toolbox.get("calculator").unwrap();
    assert!(tool.harmless());
    assert_eq!(
        tool.preview(json!({"expression": "1+1"}).as_object().unwrap()),
        "calculator: 1+1"
    );
    // Before arguments are checked, too.
    assert_eq!(tool.preview(&serde_json::Map::new()), "calculator: ");
}

#[test]
fn files_are_read_in_pages() {
    let scratch = Scratch::new();
    let text: String = (1..=1200).map(|n| format!("line {n}\n")).collect();
    scratch.write("a/long.txt", &text);
    scratch.write("empty", "");
    scratch.write("no-end", "été");
    scratch.write("wide", "x".repeat(100_000) + "\nnext\n");
    scratch.write("wide-é", "é".repeat(50_000));
    scratch.write("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0");
    scratch.write("latin1", b"caf\xe9\n");
    let mut toolbox = builtin(Some(&scratch.0));
    let read = |toolbox: &mut Toolbox, arguments| done(toolbox, "read_file", arguments);

    assert_eq!(
        done(&mut toolbox, "list_files", json!({})),
        "a/\nempty  0 bytes\nlatin1  5 bytes\nno-end  5 bytes\npicture.png  11 bytes\nwide  100006 bytes\nwide-é  100000 bytes"
    );
    assert_eq!(
        done(&mut toolbox, "list_files", json!({"path": "a"})),
        format!("long.txt  {} bytes", text.len())
    );
    // Pages put together are the file.
    let mut offset = 1;
    let mut whole = String::new();
    for _ in 0..3 {
        let page = read(
            &mut toolbox,
            json!({"path": "a/long.txt", "offset": offset}),
        );
        let at = page.rfind("[lines ").unwrap();
        whole += &page[..at];
        offset += 500;
    }
    assert_eq!(whole, text);
    assert_eq!(
        read(
            &mut toolbox,
            json!({"path": "./a/../a/long.txt", "offset": 2, "lines": 1})
        ),
        "line 2\n[lines 2 to 2 of 1200; the next ones with offset 3]"
    );
    assert_eq!(
        read(&mut toolbox, json!({"path": "a/long.txt", "offset": 1200})),
        "line 1200\n[lines 1200 to 1200 of 1200]"
    );
    assert_eq!(read(&mut toolbox, json!({"path": "no-end"})), "été");
    assert_eq!(
        read(&mut toolbox, json!({"path": "empty"})),
        "The file is empty."
    );
    let wide = read(&mut toolbox, json!({"path": "wide"}));
    assert!(
        wide.ends_with(
            "x\n[cut: the line has 100001 bytes]\n[lines 1 to 1 of 2; the next ones with offset 2]"
        ),
        "{}",
        &wide[wide.len() - 200..]
    );
    assert_eq!(wide.find('\n'), Some(32 << 10));
    assert!(read(&mut toolbox, json!({"path": "wide-é"})).starts_with("éé"));
    assert_eq!(
        read(&mut toolbox, json!({"path": "wide", "offset": 2})),
        "next\n[lines 2 to 2 of 2]"
    );
    for (arguments, part) in [
        (
            json!({"path": "picture.png"}),
            "is a binary file of 11 bytes",
        ),
        (
            json!({"path": "latin1"}),
            "is a binary file of 5 bytes; only UTF-8",
        ),
        (json!({"path": "a"}), "\"a\" is not a file"),
        (json!({"path": "b"}), "\"b\" cannot be read: No such file"),
        (
            json!({"path": "a/long.txt", "offset": 1201}),
            "has 1200 lines, and none at offset 1201",
        ),
        (
            json!({"path": "a/long.txt", "offset": 0}),
            "\"offset\" must be 1 or more",
        ),
        (
            json!({"path": "a/long.txt", "lines": -1}),
            "\"lines\" must be 1 or more",
        ),
        (json!({"path": "\0"}), "cannot be read"),
    ] {
        fails(&mut toolbox, "read_file", arguments, &[part]);
    }
    fails(
        &mut toolbox,
        "list_files",
        json!({"path": "empty"}),
        &["cannot be listed"],
    );
    let large = fs::File::create(scratch.0.join("large")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    fails(
        &mut toolbox,
        "read_file",
        json!({"path": "large"}),
        &["more than the 64 MiB"],
    );
}

#[test]
fn nothing_outside_the_folder_is_read_or_told_of() {
    let scratch = Scratch::new();
    scratch.write("secret.txt", "secret");
    scratch.write("inside/a.txt", "a");
    scratch.write("inside-too/b.txt", "secret");
    let inside = scratch.0.join("inside");
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, inside.join(name)).unwrap();
    link(&scratch.0.join("secret.txt"), "file-link");
    link(Path::new("../secret.txt"), "relative-link");
    link(&scratch.0, "folder-link");
    link(Path::new("a.txt"), "own-link");
    link(Path::new("loop"), "loop");
    let status = std::process::Command::new("mkfifo")
        .arg(inside.join("pipe"))
        .status()
        .unwrap();
    assert!(status.success());
    let mut toolbox = builtin(Some(&inside));
    assert_eq!(
        done(&mut toolbox, "read_file", json!({"path": "a.txt"})),
        "a"
    );
    assert_eq!(
        done(&mut toolbox, "read_file", json!({"path": "own-link"})),
        "a"
    );
    let secret = scratch.0.join("secret.txt");
    for path in [
        "../secret.txt",
        "../no-such-file",
        "./../secret.txt",
        "x/../../secret.txt",
        "../inside-too/b.txt",
        "../inside/a.txt",
        "/etc/passwd",
        secret.to_str().unwrap(),
        inside.join("a.txt").to_str().unwrap(),
        "file-link",
        "relative-link",
        "folder-link/secret.txt",
        "folder-link/inside-too/b.txt",
        "folder-link",
    ] {
        fails(
            &mut toolbox,
            "read_file",
            json!({"path": path}),
            &["is not in the folder"],
        );
        fails(
            &mut toolbox,
            "list_files",
            json!({"path": path}),
            &["is not in the folder"],
        );
    }
    fails(
        &mut toolbox,
        "read_file",
        json!({"path": "loop"}),
        &["cannot be read"],
    );
    // A pipe that nobody writes would wait for ever.
    within(Duration::from_secs(5), || {
        fails(
            &mut toolbox,
            "read_file",
            json!({"path": "pipe"}),
            &["is not a file"],
        )
    });
    let listed = done(&mut toolbox, "list_files", json!({}));
    assert_eq!(
        listed,
        "a.txt  1 bytes\nfile-link  link\nfolder-link  link\nloop  link\nown-link  link\npipe  not a file\nrelative-link  link"
    );
}

#[test]
fn a_shell_runs_in_the_folder_and_leaves_nothing_running() {
    let scratch = Scratch::new();
    let mut toolbox = Toolbox::from_spec(&["shell"], Some(&scratch.0)).unwrap();
    let mut sh = |command: &str| call(&mut toolbox, "shell", json!({"command": command}));
    assert_eq!(sh("pwd").text, scratch.0.to_str().unwrap());
    assert_eq!(sh("true").text, "The command printed nothing.");
    let failed = sh("echo out; echo err >&2; exit 3");
    assert_eq!(
        (failed.text.as_str(), failed.failed),
        ("out\n[stderr] err\n[exit code 3]", true)
    );
    let warned = sh("echo out; echo err >&2");
    assert_eq!(
        (warned.text.as_str(), warned.failed),
        ("out\n[stderr] err", false)
    );
    let killed = sh("kill -9 $$");
    assert!(
        killed.failed && killed.text.contains("ended by signal 9"),
        "{}",
        killed.text
    );
    let flood = within(Duration::from_secs(20), || sh("yes"));
    assert!(
        flood.failed && flood.text.contains("wrote more than 64 MiB"),
        "{:?}",
        &flood.text[flood.text.len() - 200..]
    );
    assert!(flood.text.len() < 33 << 10);
    let long = sh("seq 100000");
    assert!(
        !long.failed && long.text.starts_with("1\n2\n") && long.text.ends_with(" of 588895 bytes]"),
        "{}",
        &long.text[long.text.len() - 100..]
    );
    // What it leaves in the background would hold its output open.
    let background = within(Duration::from_secs(5), || {
        sh("sleep 60 & echo $! > pids; echo started")
    });
    assert_eq!(background.text, "started");
    all_ended(&scratch.0.join("pids"), 1);
    // Even where it left the group.
    if std::process::Command::new("setsid")
        .arg("true")
        .status()
        .is_ok()
    {
        let away = within(Duration::from_secs(5), || {
            sh("setsid sleep 3 & sleep 0.2; echo started")
        });
        assert_eq!(away.text, "started");
    }
    let tool = toolbox.get("shell").unwrap();
    assert!(!tool.harmless());
    let arguments = json!({"command": format!("ls\n\u{1b}[1A{} # end", "x".repeat(1000))});
    assert_eq!(
        tool.preview(arguments.as_object().unwrap()),
        format!("shell: ls\\n\\u{{1b}}[1A{} # end", "x".repeat(1000))
    );
    let flag = cancel_after(Duration::from_millis(200));
    let result = within(Duration::from_secs(5), || {
        toolbox.call(
            "shell",
            &json!({"command": "echo $$ > pids; sleep 60 & echo $! >> pids; echo begun; wait"}),
            &flag,
        )
    });
    assert_eq!(result.text, "begun\n[The command was cancelled.]");
    all_ended(&scratch.0.join("pids"), 2);
}

// Commands.

#[test]
fn arguments_reach_a_command_as_they_are() {
    let scratch = Scratch::new();
    let script = "import json, sys; print(json.dumps([sys.argv[1:], sys.stdin.read()]))";
    if std::process::Command::new("python3")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("SKIPPED: there is no python3");
        return;
    }
    let parameters = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]});
    let mut plain = command(
        &scratch,
        json!(["python3", "-c", script, "{a}", "--b={b}"]),
        json!({"parameters": parameters}),
    );
    let mut piped = command(
        &scratch,
        json!(["python3", "-c", script]),
        json!({"parameters": parameters, "stdin": "json"}),
    );
    for value in [
        "two words",
        "",
        "it's \"quoted\"",
        "; touch hacked",
        "$(touch hacked)",
        "`touch hacked`",
        "| cat",
        "-rf",
        "--help",
        "{b}",
        "{{a}}",
        "*",
        "~",
        "\\",
        "a\nb",
        "日本語 🦀 e\u{301}",
        "\u{202e}",
        "%s%n",
    ] {
        let got: Json =
            serde_json::from_str(&done(&mut plain, "t", json!({"a": value, "b": [1, value]})))
                .unwrap();
        assert_eq!(
            got,
            json!([[value, format!("--b={}", json!([1, value]))], ""])
        );
        let got: Json = serde_json::from_str(&done(&mut piped, "t", json!({"a": value}))).unwrap();
        assert_eq!(got, json!([[], format!("{}\n", json!({"a": value}))]));
    }
    // What is optional and missing leaves its element out.
    assert_eq!(
        done(&mut plain, "t", json!({"a": "x"})),
        "[[\"x\"], \"\"]\n"
    );
    assert_eq!(
        done(&mut plain, "t", json!({"a": "x", "b": null})),
        "[[\"x\", \"--b=null\"], \"\"]\n"
    );
    fails(
        &mut plain,
        "t",
        json!({"a": "a\0b"}),
        &["t could not be started", "nul byte"],
    );
    fails(
        &mut plain,
        "t",
        json!({"a": "x".repeat(4 << 20)}),
        &["t could not be started"],
    );
    fails(&mut plain, "t", json!({}), &["\"a\" is missing"]);
    assert!(!scratch.0.join("hacked").exists() && !Path::new("hacked").exists());
}

#[test]
fn input_and_output_larger_than_pipes_do_not_lock() {
    let scratch = Scratch::new();
    let parameters = json!({"type": "object", "properties": {"a": {}}});
    let text = "é".repeat(400_000);
    let mut cat = command(
        &scratch,
        json!(["cat"]),
        json!({"parameters": parameters, "stdin": "json", "max_output": 1 << 20}),
    );
    let got = within(Duration::from_secs(20), || {
        done(&mut cat, "t", json!({"a": text}))
    });
    assert_eq!(got, format!("{}\n", json!({"a": text})));
    // Nobody has to read it.
    let mut deaf = command(
        &scratch,
        json!(["true"]),
        json!({"parameters": parameters, "stdin": "json"}),
    );
    assert_eq!(done(&mut deaf, "t", json!({"a": text})), "");
    // Both outputs, the second one first.
    let script =
        "head -c 3000000 /dev/zero | tr '\\0' e >&2; head -c 100000 /dev/zero | tr '\\0' o";
    let mut both = command(&scratch, json!(["sh", "-c", script]), json!({}));
    let got = within(Duration::from_secs(20), || done(&mut both, "t", json!({})));
    assert!(got.starts_with("oooo") && got.ends_with("o\n[cut: the first 65536 of 100000 bytes]"));
    // A limit in the middle of a character.
    let mut cut = command(&scratch, json!(["printf", "aéé"]), json!({"max_output": 4}));
    assert_eq!(
        done(&mut cut, "t", json!({})),
        "aé\n[cut: the first 3 of 5 bytes]"
    );
    let mut bytes = command(&scratch, json!(["printf", "a\\377b"]), json!({}));
    assert_eq!(done(&mut bytes, "t", json!({})), "a\u{fffd}b");
}

#[test]
fn a_command_that_fails_says_how() {
    let scratch = Scratch::new();
    for (argv, more, parts) in [
        (
            json!(["sh", "-c", "echo out; echo bad luck >&2; exit 4"]),
            json!({}),
            vec!["t failed: exit code 4: bad luck"],
        ),
        (
            json!(["sh", "-c", "echo told on stdout; exit 1"]),
            json!({}),
            vec!["t failed: exit code 1: told on stdout"],
        ),
        (json!(["false"]), json!({}), vec!["t failed: exit code 1."]),
        (
            json!(["sh", "-c", "kill -SEGV $$"]),
            json!({}),
            vec!["t failed: ended by signal 11"],
        ),
        (
            json!(["no-such-program"]),
            json!({}),
            vec!["t could not be started: there is no program \"no-such-program\"."],
        ),
        (
            json!(["./no-such"]),
            json!({}),
            vec!["there is no program \"/", "/no-such\""],
        ),
        (
            json!(["true"]),
            json!({"cwd": "no-such-folder"}),
            vec!["there is no folder", "no-such-folder"],
        ),
        (
            json!(["./tools.json"]),
            json!({}),
            vec!["t could not be started", "ermission denied"],
        ),
        (
            json!(["yes"]),
            json!({}),
            vec!["t was ended because it wrote more than 64 MiB"],
        ),
        (
            json!(["sh", "-c", "yes >&2"]),
            json!({}),
            vec!["t was ended because it wrote more than 64 MiB: y"],
        ),
        (
            json!(["sleep", "60"]),
            json!({"timeout": 0.2}),
            vec!["t was ended because it took longer than 0.2 s."],
        ),
        (
            json!(["sh", "-c", "echo waiting >&2; sleep 60"]),
            json!({"timeout": 0.3}),
            vec!["longer than 0.3 s: waiting"],
        ),
    ] {
        let mut toolbox = command(&scratch, argv, more);
        within(Duration::from_secs(20), || {
            fails(&mut toolbox, "t", json!({}), &parts)
        });
    }
    // Of much on stderr, the end.
    let mut toolbox = command(
        &scratch,
        json!(["sh", "-c", "seq 100000 >&2; exit 1"]),
        json!({}),
    );
    let text = call(&mut toolbox, "t", json!({})).text;
    assert!(
        text.ends_with("99999\n100000") && text.len() < 2200,
        "{} bytes",
        text.len()
    );
}

#[test]
fn a_timeout_ends_grandchildren_that_hold_the_pipe() {
    let scratch = Scratch::new();
    let script = "trap '' TERM HUP INT; echo $$ > pids; sh -c 'trap \"\" TERM HUP INT; echo $$ >> pids; sleep 60' & wait; sleep 60";
    let mut toolbox = command(
        &scratch,
        json!(["sh", "-c", script]),
        json!({"timeout": 0.5, "cwd": "."}),
    );
    within(Duration::from_secs(5), || {
        fails(&mut toolbox, "t", json!({}), &["longer than 0.5 s"])
    });
    all_ended(&scratch.0.join("pids"), 2);
    // One that ends at once, but whose child does not.
    let script = "sleep 60 & echo $! > pids; echo done";
    let mut toolbox = command(&scratch, json!(["sh", "-c", script]), json!({"cwd": "."}));
    assert_eq!(
        within(Duration::from_secs(5), || done(
            &mut toolbox,
            "t",
            json!({})
        )),
        "done\n"
    );
    all_ended(&scratch.0.join("pids"), 1);
}

#[test]
fn cancelling_ends_a_command() {
    let scratch = Scratch::new();
    let mut toolbox = command(
        &scratch,
        json!(["sh", "-c", "echo $$ > pids; sleep 60"]),
        json!({"cwd": "."}),
    );
    let flag = cancel_after(Duration::from_millis(200));
    let result = within(Duration::from_secs(5), || {
        toolbox.call("t", &json!({}), &flag)
    });
    assert_eq!(
        (result.text.as_str(), result.failed),
        ("t was cancelled.", true)
    );
    all_ended(&scratch.0.join("pids"), 1);
    // A program that closes its output and goes on.
    let mut toolbox = command(
        &scratch,
        json!(["sh", "-c", "exec >&- 2>&-; sleep 60"]),
        json!({}),
    );
    let flag = cancel_after(Duration::from_millis(200));
    assert!(
        within(Duration::from_secs(5), || toolbox.call(
            "t",
            &json!({}),
            &flag
        ))
        .failed
    );
}

#[test]
fn a_file_says_where_and_with_what_a_command_runs() {
    let scratch = Scratch::new();
    let script = scratch.write(
        "bin/who.sh",
        "#!/bin/sh\nprintf '%s|%s|%s' \"$PWD\" \"$WHO\" \"$1\"\n",
    );
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    scratch.write("work/x", "");
    let tool = json!({"name": "t", "command": ["bin/who.sh", "{x}"], "cwd": "work", "env": {"WHO": "me é"}, "harmless": true, "stdin": "none",
        "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}});
    let mut toolbox = from_file(&scratch, &json!({"tools": [tool]})).unwrap();
    let folder = scratch.0.to_str().unwrap();
    assert_eq!(
        done(&mut toolbox, "t", json!({"x": 5})),
        format!("{folder}/work|me é|5")
    );
    let tool = toolbox.get("t").unwrap();
    assert!(tool.harmless());
    assert_eq!(
        tool.preview(json!({"x": 5}).as_object().unwrap()),
        format!("t: {folder}/bin/who.sh 5")
    );
}

#[test]
fn mistakes_in_a_file_are_one_line_with_the_place() {
    let scratch = Scratch::new();
    let ok = json!({"name": "a", "command": ["true"]});
    let with = |more: Json| {
        let mut tool = ok.clone();
        tool.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!([{"name": "first", "command": ["true"]}, tool])
    };
    let server = |more: Json| {
        let mut server = json!({"command": "true"});
        server
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"mcpServers": {"files": server}})
    };
    for (content, part) in [
        (json!(5), "it is neither a list of tools nor an object"),
        (json!([]), "it holds neither tools nor MCP servers"),
        (json!({}), "it holds neither tools nor MCP servers"),
        (json!({"tools": {}}), "\"tools\" is not a list"),
        (json!({"mcpServers": []}), "\"mcpServers\" is not an object"),
        (
            json!({"tool": []}),
            "unknown field \"tool\": known are tools and mcpServers",
        ),
        (json!([5]), "tool 1: it is not an object"),
        (
            json!([{"command": ["true"]}]),
            "tool 1: \"name\" is missing",
        ),
        (
            with(json!({"comand": []})),
            "tool 2 (\"a\"): unknown field \"comand\": known are name, description, parameters, command",
        ),
        (
            with(json!({"name": "a b"})),
            "tool 2 (\"a b\"): names are 1 to 64",
        ),
        (with(json!({"name": 5})), "tool 2: \"name\" is not a text"),
        (
            with(json!({"name": "first"})),
            "two tools are called \"first\"",
        ),
        (
            with(json!({"command": "ls -l"})),
            "tool 2 (\"a\"): \"command\" is not a list of texts",
        ),
        (
            with(json!({"command": ["ls", "{x}"]})),
            "{x} in \"command\" is no parameter",
        ),
        (
            with(json!({"parameters": []})),
            "\"parameters\" is not a JSON schema",
        ),
        (
            with(json!({"parameters": {"type": "string"}})),
            "is not a schema of type \"object\"",
        ),
        (
            with(json!({"parameters": {"properties": []}})),
            "\"properties\" in \"parameters\" is not an object",
        ),
        (
            with(json!({"stdin": "yes"})),
            "\"stdin\" is neither \"json\" nor \"none\"",
        ),
        (
            with(json!({"timeout": 0})),
            "\"timeout\" is not a number of seconds",
        ),
        (
            with(json!({"timeout": 1e300})),
            "\"timeout\" is not a number of seconds",
        ),
        (
            with(json!({"timeout": "5"})),
            "\"timeout\" is not a number of seconds",
        ),
        (
            with(json!({"max_output": -1})),
            "\"max_output\" is not a number of bytes",
        ),
        (
            with(json!({"max_output": 1u64 << 40})),
            "\"max_output\" is not a number of bytes",
        ),
        (
            with(json!({"harmless": "yes"})),
            "\"harmless\" is neither true nor false",
        ),
        (
            with(json!({"env": {"A": 1}})),
            "\"A\" in \"env\" is not a name with a text",
        ),
        (with(json!({"env": {"A=B": "x"}})), "\"A=B\" in \"env\""),
        (with(json!({"cwd": 1})), "\"cwd\" is not a text"),
        (
            server(json!({"comand": ""})),
            "MCP server \"files\": unknown field \"comand\": known are command, args",
        ),
        (
            server(json!({"command": 1})),
            "MCP server \"files\": \"command\" is not a text",
        ),
        (
            server(json!({"args": "x"})),
            "\"args\" is not a list of texts",
        ),
        (
            server(json!({"type": "http"})),
            "only servers that are started here",
        ),
        (
            json!({"mcpServers": {"web": {"url": "http://x"}}}),
            "MCP server \"web\": only servers that are started here",
        ),
    ] {
        let told = from_file(&scratch, &content).unwrap_err().to_string();
        assert!(told.contains(part), "{told:?} lacks {part:?}");
        assert!(
            told.contains("tools.json: ") || told.contains("two tools"),
            "{told}"
        );
        assert!(
            told.starts_with("--tools: ") && !told.contains('\n'),
            "{told}"
        );
    }
    let broken = scratch.write("broken.json", "{\"tools\": [\n  {]}");
    let told = Toolbox::from_spec(&[broken.to_str().unwrap()], None)
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("broken.json: it is not JSON: ") && told.contains("line 2 column 4"),
        "{told}"
    );
    let deep = scratch.write("deep.json", "[".repeat(100_000));
    let told = Toolbox::from_spec(&[deep.to_str().unwrap()], None)
        .unwrap_err()
        .to_string();
    assert!(told.contains("it is not JSON"), "{told}");
}

// MCP servers.

#[cfg(feature = "mcp")]
mod mcp {
    use super::*;

    /// The Python that runs the plain server.
    fn python() -> Option<&'static str> {
        let found = std::process::Command::new("python3")
            .arg("--version")
            .output()
            .is_ok();
        if !found {
            eprintln!("SKIPPED: there is no python3, so no MCP server was tried");
        }
        found.then_some("python3")
    }

    fn data(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name);
        path.to_str().unwrap().to_owned()
    }

    /// A file with one server that behaves as `mode` says and notes its processes in `pids`.
    fn server(scratch: &Scratch, mode: &str, more: Json) -> Option<smolq::Result<Toolbox>> {
        let pids = scratch.0.join("pids");
        let mut server = json!({"command": python()?, "args": [data("mcp_server.py"), mode, pids.to_str().unwrap()]});
        server
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Some(from_file(
            scratch,
            &json!({"mcpServers": {"test srv": server}}),
        ))
    }

    #[test]
    fn tools_of_a_server_are_listed_and_called() {
        let scratch = Scratch::new();
        for mode in ["good", "noisy"] {
            let more = json!({"type": "stdio", "env": {"PLACE": "here"}, "cwd": "."});
            let Some(toolbox) = server(&scratch, mode, more) else {
                return;
            };
            let mut toolbox = toolbox.unwrap();
            let names: Vec<_> = toolbox.names().collect();
            assert_eq!(
                names,
                [
                    "echo",
                    "fail",
                    "picture",
                    "structured",
                    "big",
                    "hang",
                    "die",
                    "count",
                    "where",
                    "refuse",
                    "sp_ace_x",
                    "get_time"
                ]
            );
            let echo = toolbox.get("echo").unwrap();
            assert_eq!(echo.description(), "The tool echo");
            assert_eq!(echo.parameters()["properties"]["text"]["type"], "string");
            assert!(!echo.harmless());
            assert_eq!(
                done(&mut toolbox, "echo", json!({"text": "é \"\n"})),
                "é \"\n\n{\"text\": \"\\u00e9 \\\"\\n\"}"
            );
            assert_eq!(
                done(&mut toolbox, "picture", json!({})),
                "a cat\n[an image, not shown: image/png]\ninside"
            );
            assert_eq!(
                done(&mut toolbox, "structured", json!({})),
                "{\"degrees\":21}"
            );
            assert_eq!(
                done(&mut toolbox, "where", json!({})),
                format!("{} here", scratch.0.display())
            );
            assert_eq!(done(&mut toolbox, "sp_ace_x", json!({})), "called");
            let big = done(&mut toolbox, "big", json!({}));
            assert!(big.ends_with("x\n[cut: the first 65536 of 100000 bytes]"));
            fails(&mut toolbox, "fail", json!({}), &["it did not work"]);
            fails(
                &mut toolbox,
                "refuse",
                json!({}),
                &["The MCP server \"test srv\" refused the call: not today"],
            );
            fails(
                &mut toolbox,
                "echo",
                json!({"text": 5}),
                &["\"text\" is an integer"],
            );
            drop(toolbox);
            all_ended(&scratch.0.join("pids"), 1);
        }
    }

    #[test]
    fn names_that_clash_get_their_servers() {
        let scratch = Scratch::new();
        let Some(python) = python() else { return };
        let server = json!({"command": python, "args": [data("mcp_server.py"), "good"]});
        let path = scratch.write(
            "tools.json",
            json!({"mcpServers": {"one": server, "two": server}}).to_string(),
        );
        // Whatever the order, what has no server keeps its name.
        let mut toolbox = Toolbox::from_spec(&[path.to_str().unwrap(), "builtin"], None).unwrap();
        let names: Vec<_> = toolbox.names().collect();
        assert_eq!(names.len(), 2 + 2 * 12);
        for name in [
            "get_time",
            "one_get_time",
            "two_get_time",
            "echo",
            "two_echo",
            "two_sp_ace_x",
        ] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(done(&mut toolbox, "get_time", json!({})).contains("weekday"));
        assert_eq!(done(&mut toolbox, "two_get_time", json!({})), "called");
        // They are two processes.
        assert_eq!(done(&mut toolbox, "count", json!({})), "1");
        assert_eq!(done(&mut toolbox, "two_count", json!({})), "2");
    }

    #[test]
    fn servers_that_do_not_start_are_one_line() {
        let scratch = Scratch::new();
        for (mode, more, parts) in [
            (
                "dead",
                json!({}),
                vec![
                    "did not introduce itself",
                    "(exit code 2); its stderr: no licence found",
                ],
            ),
            (
                "silent",
                json!({"startup_timeout": 0.5}),
                vec!["did not answer within 0.5 s", "\"startup_timeout\""],
            ),
            (
                "garbage",
                json!({"startup_timeout": 0.5}),
                vec!["did not answer within 0.5 s"],
            ),
            (
                "flood",
                json!({"startup_timeout": 0.5}),
                vec!["did not answer within 0.5 s"],
            ),
            ("brief", json!({}), vec!["(exit code 0)"]),
            ("bare", json!({}), vec!["has no tools: leave it out"]),
            (
                "endless",
                json!({}),
                vec!["lists more than 512 tools, or does not come to an end"],
            ),
            (
                "stubborn",
                json!({"command": "no-such-server"}),
                vec!["there is no program \"no-such-server\""],
            ),
        ] {
            let started = within(Duration::from_secs(9), || server(&scratch, mode, more));
            let Some(toolbox) = started else { return };
            let told = toolbox.unwrap_err().to_string();
            assert!(
                told.starts_with("--tools: ")
                    && told.contains("tools.json: MCP server \"test srv\" "),
                "{told}"
            );
            assert!(!told.contains('\n'), "{told}");
            for part in parts {
                assert!(told.contains(part), "{mode}: {told:?} lacks {part:?}");
            }
        }
        all_ended(&scratch.0.join("pids"), 7);
    }

    #[test]
    fn a_server_that_never_answers_has_ten_seconds() {
        let scratch = Scratch::new();
        let start = Instant::now();
        let Some(toolbox) = server(&scratch, "silent", json!({})) else {
            return;
        };
        assert!(
            toolbox
                .unwrap_err()
                .to_string()
                .contains("did not answer within 10 s")
        );
        let took = start.elapsed().as_secs_f64();
        assert!((10.0..15.0).contains(&took), "{took} s");
    }

    #[test]
    fn a_server_that_dies_is_told_of_and_started_again() {
        let scratch = Scratch::new();
        let Some(toolbox) = server(&scratch, "good", json!({})) else {
            return;
        };
        let mut toolbox = toolbox.unwrap();
        assert_eq!(done(&mut toolbox, "count", json!({})), "1");
        assert_eq!(done(&mut toolbox, "count", json!({})), "2");
        let told = [
            "The MCP server \"test srv\" ended during the call (exit code 3)",
            "oh no | my disk is full",
        ];
        within(Duration::from_secs(5), || {
            fails(&mut toolbox, "die", json!({}), &told)
        });
        assert_eq!(done(&mut toolbox, "count", json!({})), "1");
        // It may also die while nobody calls.
        let pids = fs::read_to_string(scratch.0.join("pids")).unwrap();
        let last = pids.lines().last().unwrap();
        assert!(
            std::process::Command::new("kill")
                .args(["-9", last])
                .status()
                .unwrap()
                .success()
        );
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(done(&mut toolbox, "count", json!({})), "1");
        drop(toolbox);
        all_ended(&scratch.0.join("pids"), 3);
    }

    #[test]
    fn a_call_has_a_timeout_and_can_be_cancelled() {
        let scratch = Scratch::new();
        let Some(toolbox) = server(&scratch, "good", json!({"timeout": 0.5})) else {
            return;
        };
        let mut toolbox = toolbox.unwrap();
        let told = ["The MCP server \"test srv\" did not answer within 0.5 s"];
        within(Duration::from_secs(3), || {
            fails(&mut toolbox, "hang", json!({}), &told)
        });
        drop(toolbox);
        let Some(toolbox) = server(&scratch, "good", json!({})) else {
            return;
        };
        let mut toolbox = toolbox.unwrap();
        let flag = cancel_after(Duration::from_millis(200));
        let result = within(Duration::from_secs(3), || {
            toolbox.call("hang", &json!({}), &flag)
        });
        assert_eq!(
            (result.text.as_str(), result.failed),
            ("hang was cancelled.", true)
        );
        // The server hangs on, and the end does not wait for it.
        within(Duration::from_secs(3), || drop(toolbox));
        all_ended(&scratch.0.join("pids"), 2);
    }

    #[test]
    fn a_stubborn_server_and_its_children_end_with_the_toolbox() {
        let scratch = Scratch::new();
        let Some(toolbox) = server(&scratch, "stubborn", json!({})) else {
            return;
        };
        let mut toolbox = toolbox.unwrap();
        assert_eq!(done(&mut toolbox, "count", json!({})), "1");
        within(Duration::from_secs(3), || drop(toolbox));
        all_ended(&scratch.0.join("pids"), 2);
    }

    /// A server of the official SDK, where `SMOLQ_MCP_PYTHON` names a Python that has it (`.ci/run` makes one).
    #[test]
    fn sdk_server() {
        let Some(python) = std::env::var_os("SMOLQ_MCP_PYTHON") else {
            eprintln!("SKIPPED: SMOLQ_MCP_PYTHON names no Python with the MCP SDK");
            return;
        };
        let scratch = Scratch::new();
        let file = json!({"mcpServers": {"sdk": {
            "command": python.to_str().unwrap(), "args": [data("mcp_sdk_server.py")], "startup_timeout": 60,
        }}});
        let mut toolbox = from_file(&scratch, &file).unwrap();
        let names: Vec<_> = toolbox.names().collect();
        assert_eq!(names, ["add", "greet", "fail", "wait", "picture", "leave"]);
        assert_eq!(toolbox.get("add").unwrap().description(), "Add two numbers");
        assert_eq!(
            toolbox.get("add").unwrap().parameters()["required"],
            json!(["a", "b"])
        );
        assert_eq!(done(&mut toolbox, "add", json!({"a": 2, "b": 40})), "42");
        assert_eq!(
            done(&mut toolbox, "greet", json!({"name": "Ana é"})),
            "Hello, Ana é!"
        );
        assert_eq!(
            done(&mut toolbox, "greet", json!({"name": "Ana", "loud": true})),
            "HELLO, ANA!"
        );
        assert_eq!(
            done(&mut toolbox, "picture", json!({})),
            "[an image, not shown: image/png]"
        );
        fails(&mut toolbox, "add", json!({"a": 2}), &["\"b\" is missing"]);
        fails(
            &mut toolbox,
            "fail",
            json!({}),
            &["Error executing tool fail"],
        );
        let flag = cancel_after(Duration::from_millis(200));
        let result = within(Duration::from_secs(5), || {
            toolbox.call("wait", &json!({"seconds": 60}), &flag)
        });
        assert!(
            result.failed && result.text.contains("cancelled"),
            "{}",
            result.text
        );
        // It goes on with others, since it was told.
        assert!(
            within(Duration::from_secs(5), || done(
                &mut toolbox,
                "add",
                json!({"a": 1, "b": 1})
            ))
            .starts_with('2')
        );
        fails(
            &mut toolbox,
            "leave",
            json!({}),
            &["ended during the call (exit code 7)"],
        );
        assert!(done(&mut toolbox, "add", json!({"a": 1, "b": 2})).starts_with('3'));
    }
}
