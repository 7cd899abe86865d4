//! The invariants of ARCHITECTURE.md that a program can check.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below the project's source folders, with its path from the root.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|x| x == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "gguf/src", "kernels/src"] {
        walk(&root.join(folder), &mut found);
    }
    assert!(
        found.len() > 30,
        "only {} source files found: is the walk broken?",
        found.len()
    );
    let read = |path: PathBuf| {
        (
            path.strip_prefix(root).unwrap().to_owned(),
            fs::read_to_string(&path).unwrap(),
        )
    };
    found.into_iter().map(read).collect()
}

/// The lines of a file that are code: no comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or(""))
        .filter(|line| !line.trim().is_empty())
}

/// Whether `word` stands in `line` with no identifier character around it.
fn has_word(line: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(inside)
            && !line[at + word.len()..].chars().next().is_some_and(inside)
    })
}

#[test]
fn unsafe_lives_in_two_places() {
    for (path, text) in sources() {
        if path.starts_with("kernels/src/isa") || path == Path::new("gguf/src/map.rs") {
            continue;
        }
        for line in code(&text) {
            assert!(!has_word(line, "unsafe"), "{}: {line}", path.display());
        }
    }
}

#[test]
fn every_unsafe_block_has_its_argument() {
    let mut blocks = 0;
    for (path, text) in sources() {
        let lines: Vec<_> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let line = line.split("//").next().unwrap_or("");
            if !has_word(line, "unsafe")
                || line.contains("unsafe_code")
                || line.contains("unsafe fn")
                || line.contains("unsafe extern")
            {
                continue;
            }
            blocks += 1;
            let before = &lines[i.saturating_sub(8)..i];
            assert!(
                before.iter().any(|l| l.contains("// SAFETY:")),
                "{}:{}: {line}",
                path.display(),
                i + 1
            );
        }
    }
    assert!(
        blocks > 5,
        "only {blocks} unsafe blocks found: is the search broken?"
    );
}

#[test]
fn architectures_have_names_in_one_file() {
    let names: Vec<_> = smolq::model::ARCHS
        .iter()
        .map(|arch| format!("\"{}\"", arch.name))
        .collect();
    let home = Path::new("src/model/arch.rs");
    for (path, text) in sources() {
        // The SentencePiece-style vocabulary model is called "llama" too: tokenizer.ggml.model. A chat template has the name of the models whose it is.
        let others = path.starts_with("src/tokenizer") || path == Path::new("src/chat/template.rs");
        if path == home || others || path.ends_with("tests.rs") {
            continue;
        }
        let text = text.split("#[cfg(test)]").next().unwrap_or("");
        for line in code(text) {
            for name in &names {
                assert!(!line.contains(name.as_str()), "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn the_member_crates_do_not_know_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (member, strangers) in [
        ("gguf", ["smolq-kernels", "smolq ="]),
        ("kernels", ["smolq-gguf", "smolq ="]),
    ] {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml")).unwrap();
        for stranger in strangers {
            assert!(
                !manifest.lines().any(|line| line.starts_with(stranger)),
                "{member} depends on {stranger}"
            );
        }
    }
}
