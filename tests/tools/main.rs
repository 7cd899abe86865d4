//! What a model may call: the built-in tools, commands, MCP servers.
#![cfg(unix)]

mod builtin;
mod command;
#[cfg(feature = "mcp")]
mod mcp;

use serde_json::{Value as Json, json};
use smolq::tools::{Declaration, Tool, ToolResult, Toolbox};
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

struct Named(Declaration);

fn named(name: &str, parameters: Json) -> Box<Named> {
    Box::new(Named(Declaration {
        name: name.to_owned(),
        description: "A test".to_owned(),
        parameters,
        harmless: true,
    }))
}

impl Tool for Named {
    fn declaration(&self) -> &Declaration {
        &self.0
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
    toolbox.add(named("a.b-c_1", schema.clone())).unwrap();
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

    let twice = toolbox.add(named("a.b-c_1", json!({}))).unwrap_err();
    assert!(
        twice
            .to_string()
            .contains("two tools are called \"a.b-c_1\""),
        "{twice}"
    );
    for name in ["", "a b", "a/b", "é", &"a".repeat(65)] {
        let wrong = toolbox.add(named(name, json!({}))).unwrap_err();
        assert!(wrong.to_string().contains("names are 1 to 64"), "{wrong}");
    }
    toolbox.add(named(&"a".repeat(64), json!({}))).unwrap();
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
