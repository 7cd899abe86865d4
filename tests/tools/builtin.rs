//! The clock, the calculator, files and the shell.

use super::*;

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
    assert!(tool.declaration().harmless);
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
    assert!(!tool.declaration().harmless);
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
