//! Commands that a file describes.

use super::*;

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
    assert!(tool.declaration().harmless);
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
