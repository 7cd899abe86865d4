//! What the file system can do to a model: odd files, and files that change while they are mapped.
#![cfg(unix)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::folder;
use smolq_gguf::{Gguf, OpenOptions, TensorType, Writer};

const READ: OpenOptions = OpenOptions {
    mmap: false,
    mlock: false,
};

/// A model of one tensor, long enough that its end lies on other pages than its beginning.
fn model(folder: &Path) -> PathBuf {
    let path = folder.join("model.gguf");
    let mut writer = Writer::new();
    writer.tensor("t", TensorType::I8, &[1 << 20], vec![7; 1 << 20]);
    writer.write_file(&path).unwrap();
    path
}

fn sum(gguf: &Gguf) -> u64 {
    gguf.data(&gguf.tensors()[0])
        .iter()
        .map(|&b| u64::from(b))
        .sum()
}

#[test]
fn mapped_and_read_are_the_same() {
    let path = model(&folder("same"));
    let locked = OpenOptions {
        mmap: true,
        mlock: true,
    };
    for options in [OpenOptions::default(), READ, locked] {
        match Gguf::open(&path, &options) {
            Ok(gguf) => {
                assert_eq!(sum(&gguf), 7 << 20);
                assert_eq!(
                    (gguf.shards(), gguf.file_bytes()),
                    (1, fs::metadata(&path).unwrap().len())
                );
                assert_eq!(gguf.path(), path);
                assert!(
                    options.mmap
                        || gguf
                            .data(&gguf.tensors()[0])
                            .as_ptr()
                            .addr()
                            .is_multiple_of(32)
                );
            }
            // The limit of locked memory may be low here.
            Err(error) => {
                assert!(
                    options.mlock && error.to_string().contains("ulimit -l"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn what_is_not_a_file_is_refused_without_waiting() {
    let folder = folder("odd");
    let refuse = |path: &Path, expect: &str| {
        for options in [OpenOptions::default(), READ] {
            let message = Gguf::open(path, &options).unwrap_err().to_string();
            assert!(
                message.starts_with(&path.display().to_string()),
                "{message}"
            );
            assert!(message.contains(expect), "{message:?} lacks {expect:?}");
        }
    };
    let fifo = folder.join("fifo.gguf");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    refuse(&fifo, "is a FIFO, not a file");
    let link = folder.join("link.gguf");
    std::os::unix::fs::symlink(&fifo, &link).unwrap();
    refuse(&link, "is a FIFO, not a file");
    refuse(&folder, "is a directory, not a file");
    refuse("/dev/null".as_ref(), "is a device, not a file");
    // The path of a socket may have some hundred bytes only.
    let socket = std::env::temp_dir().join(format!("smolq-gguf-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    refuse(&socket, "is a socket, not a file");
    drop(listener);
    fs::remove_file(&socket).unwrap();
    refuse(&folder.join("absent.gguf"), "cannot open: ");
    refuse(&folder.join("absent.gguf"), "check the path");
    let empty = folder.join("empty.gguf");
    File::create(&empty).unwrap();
    refuse(&empty, "the file is empty");
}

#[test]
fn a_file_larger_than_memory_is_refused_or_mapped() {
    let path = folder("sparse").join("sparse.gguf");
    let file = File::create(&path).unwrap();
    // 4 TiB that take no place on the disk; some file systems do not offer them.
    if file.set_len(4 << 40).is_err() {
        println!("skipped: the file system has no sparse files of this length");
        return;
    }
    for options in [OpenOptions::default(), READ] {
        let message = Gguf::open(&path, &options).unwrap_err().to_string();
        assert!(
            message.contains("only zero bytes") || message.contains("cannot"),
            "{message}"
        );
    }
    fs::remove_file(&path).unwrap();
}

#[test]
fn changes_are_told_apart() {
    let folder = folder("changes");
    let path = model(&folder);
    let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
    assert!(gguf.unchanged());

    fs::rename(&path, folder.join("renamed.gguf")).unwrap();
    assert!(gguf.unchanged());
    fs::remove_file(folder.join("renamed.gguf")).unwrap();
    assert!(gguf.unchanged());
    assert_eq!(sum(&gguf), 7 << 20);

    let path = model(&folder);
    let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
    // Writing a new file under the same name leaves the old one to those who have it.
    model(&folder);
    assert!(gguf.unchanged());

    let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"more")
        .unwrap();
    assert!(!gguf.unchanged());
    assert_eq!(sum(&gguf), 7 << 20);
}

/// Runs the test [`child`] in a process of its own.
fn run_child(role: &str, path: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("SMOLQ_TEST_ROLE", role)
        .env("SMOLQ_TEST_PATH", path)
        .output()
        .unwrap()
}

#[test]
#[ignore = "run by the tests below in a process that may die"]
fn child() {
    let Some(role) = std::env::var_os("SMOLQ_TEST_ROLE") else {
        return;
    };
    let path = PathBuf::from(std::env::var_os("SMOLQ_TEST_PATH").unwrap());
    let truncate = |path: &Path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(100)
            .unwrap()
    };
    match role.to_str().unwrap() {
        "truncate" => {
            // Others are opened and closed before, so that the table has holes.
            let others: Vec<Gguf> = (0..5)
                .map(|_| Gguf::open(&path, &OpenOptions::default()).unwrap())
                .collect();
            let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
            drop(others);
            truncate(&path);
            assert!(!gguf.unchanged());
            let in_a_thread = std::thread::spawn(move || sum(&gguf));
            println!("sum {}", in_a_thread.join().unwrap());
        }
        "read" => {
            let gguf = Gguf::open(&path, &READ).unwrap();
            truncate(&path);
            println!("sum {}", sum(&gguf));
        }
        "kill" => {
            let _gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
            let pid = std::process::id().to_string();
            // Rust's own handler, which is in place before ours, lets the first signal from outside pass.
            for _ in 0..3 {
                Command::new("kill").args(["-BUS", &pid]).status().unwrap();
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
        role => panic!("{role}"),
    }
}

#[test]
fn a_file_cut_short_while_mapped_ends_in_one_line() {
    let folder = folder("truncated\nwhile mapped");
    let output = run_child("truncate", &model(&folder));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{:?}: {stderr}",
        output.status
    );
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| line.contains("smolq"))
        .collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(
        lines[0].starts_with("smolq: model file changed on disk while in use: "),
        "{stderr}"
    );
    assert!(
        lines[0].contains("truncated\\nwhile mapped/model.gguf; "),
        "{stderr}"
    );
    assert!(lines[0].contains("--no-mmap"), "{stderr}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("sum"));
}

#[test]
fn a_file_cut_short_after_reading_does_not_matter() {
    let output = run_child("read", &model(&folder("truncated after reading")));
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("sum {}", 7 << 20)));
}

/// A SIGBUS that is not about a mapped model does what it would have done without us: it kills.
#[test]
fn other_bus_errors_take_their_course() {
    const SIGBUS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        7
    } else {
        10
    };
    let output = run_child("kill", &model(&folder("killed")));
    assert_eq!(output.status.signal(), Some(SIGBUS), "{:?}", output.status);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("changed on disk"));
}
