//! Tools of MCP servers.

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
        assert_eq!(echo.declaration().description, "The tool echo");
        assert_eq!(
            echo.declaration().parameters["properties"]["text"]["type"],
            "string"
        );
        assert!(!echo.declaration().harmless);
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
            told.starts_with("--tools: ") && told.contains("tools.json: MCP server \"test srv\" "),
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
    assert_eq!(
        toolbox.get("add").unwrap().declaration().description,
        "Add two numbers"
    );
    assert_eq!(
        toolbox.get("add").unwrap().declaration().parameters["required"],
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
