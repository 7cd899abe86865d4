//! Saved sessions: what is restored goes on with the bits of what never ended; everything else is a clean error, after which the
//! session can be used.

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use smolq::Error;
use smolq::model::{KvType, LoadOptions, Model, RopeOptions, Session, SessionOptions};
use smolq::sample::{SampleOptions, Sampler};
use smolq::saved;
use smolq_gguf::{Gguf, OpenOptions, Writer};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// An empty folder of a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("saved")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// What lies in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn fixture(name: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    data.join(name).with_extension("gguf")
}

fn fixtures() -> Vec<PathBuf> {
    let data = fs::read_dir(fixture("x").parent().unwrap()).unwrap();
    let files = data.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|x| x == "gguf"))
        .collect();
    files.sort();
    assert!(files.len() >= 9, "only {} models", files.len());
    files
}

fn load(file: &Path) -> Arc<Model> {
    Arc::new(Model::load(file, &LoadOptions::default()).unwrap())
}

fn session(model: &Arc<Model>, kv: (KvType, KvType), n_ctx: usize) -> Session {
    with(model, kv, n_ctx, 2, 64)
}

fn with(
    model: &Arc<Model>,
    (cache_k, cache_v): (KvType, KvType),
    n_ctx: usize,
    threads: usize,
    n_ubatch: usize,
) -> Session {
    let options = SessionOptions {
        n_ctx,
        cache_k,
        cache_v,
        n_ubatch,
        threads,
    };
    Session::new(Arc::clone(model), &options).unwrap()
}

const F16: (KvType, KvType) = (KvType::F16, KvType::F16);

fn ids(n: usize, n_vocab: usize) -> Vec<u32> {
    let mut x = 1u32;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) % n_vocab as u32
    };
    (0..n).map(|_| next()).collect()
}

/// The logits after `ids`, as bits.
fn read(session: &mut Session, ids: &[u32]) -> Vec<u32> {
    let logits = session.prefill(ids, &mut |_| true).unwrap().unwrap();
    assert!(logits.iter().all(|x| x.is_finite()));
    logits.iter().map(|x| x.to_bits()).collect()
}

fn floats(bits: &[u32]) -> Vec<f32> {
    bits.iter().map(|&x| f32::from_bits(x)).collect()
}

/// The message of an error, which is one line.
#[track_caller]
fn refused<T>(result: smolq::Result<T>) -> String {
    let Err(error) = result else {
        panic!("it was accepted");
    };
    let message = error.to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

const SAID: usize = 64;

/// Says `SAID` tokens; gives the bits of the logits before each, and the tokens.
fn go_on(session: &mut Session, last: Vec<u32>, options: &SampleOptions) -> (Vec<u32>, Vec<u32>) {
    let mut sampler = Sampler::new(options, last.len()).unwrap();
    let (mut bits, mut all, mut said) = (last, Vec::new(), Vec::new());
    for _ in 0..SAID {
        let id = sampler.sample(&floats(&bits)).unwrap();
        sampler.accept(id);
        said.push(id);
        all.extend(bits);
        bits = read(session, &[id]);
    }
    (all, said)
}

/// A long session goes on after it was saved and restored, into sessions that differ in all that may differ.
fn goes_on(model: &Arc<Model>, file: &Path, n: usize) {
    let options = |temp| SampleOptions {
        temp,
        seed: Some(7),
        ..SampleOptions::default()
    };
    let config = model.config();
    let text = ids(n, config.n_vocab);
    let kinds = [
        (KvType::F32, KvType::F32),
        F16,
        (KvType::Q8_0, KvType::Q8_0),
        (KvType::F16, KvType::Q8_0),
    ];
    for kv in kinds {
        if (kv.0 == KvType::Q8_0 || kv.1 == KvType::Q8_0) && !config.head_dim.is_multiple_of(32) {
            continue;
        }
        let at = format!("{} {kv:?}", model.gguf().path().display());
        let mut whole = with(model, kv, n + 2 * SAID, 1, 512);
        let last = read(&mut whole, &text);
        saved::write(file, &whole, &json!({"at": at})).unwrap();
        let greedy = go_on(&mut whole, last.clone(), &options(0.0));
        whole.truncate(n);
        let sampled = go_on(&mut whole, last.clone(), &options(1.5));
        assert_ne!(greedy.1, sampled.1, "{at}");

        let mut restored = with(model, kv, n + 3 * SAID + 1, 3, 7);
        assert_eq!(saved::read(file, &mut restored).unwrap(), json!({"at": at}));
        assert_eq!(restored.tokens(), text, "{at}");
        assert!(restored.logits().is_empty(), "{at}");
        // As `generate` does: the last token is read again.
        restored.truncate(n - 1);
        assert!(read(&mut restored, &text[n - 1..]) == last, "{at}");
        assert!(go_on(&mut restored, last.clone(), &options(0.0)) == greedy);

        // Over what it holds now.
        saved::read(file, &mut restored).unwrap();
        assert!(
            go_on(&mut restored, last.clone(), &options(1.5)) == sampled,
            "{at}"
        );
        // What was restored is saved as it was.
        saved::read(file, &mut restored).unwrap();
        let again = file.with_extension("again");
        saved::write(&again, &restored, &json!({"at": at})).unwrap();
        assert!(
            fs::read(file).unwrap() == fs::read(&again).unwrap(),
            "{at}: saved again, it differs"
        );
    }
}

#[test]
fn restored_sessions_go_on_with_the_bits_of_uninterrupted_ones() {
    let file = folder("bits").join("chat.session");
    for path in fixtures() {
        goes_on(&load(&path), &file, 2000);
    }
}

#[cfg(feature = "embedded-model")]
fn embedded() -> Gguf {
    smolq::embedded::open(smolq::embedded::NAME.as_ref(), &OpenOptions::default()).unwrap()
}

#[cfg(feature = "embedded-model")]
#[test]
fn so_does_the_model_inside_the_program() {
    let model = Arc::new(Model::from_gguf(embedded(), &LoadOptions::default()).unwrap());
    goes_on(&model, &folder("embedded").join("chat.session"), 2000);
}

/// As a program does it: turns of a chat by `generate`, the messages in the text.
#[cfg(feature = "embedded-model")]
#[test]
fn a_restored_chat_says_the_same() {
    use smolq::chat::{Chat, Template};
    use smolq::generate::{Event, Request, generate};
    use smolq::tokenizer::Tokenizer;
    use std::sync::atomic::AtomicBool;

    let gguf = embedded();
    let template = Template::from_metadata(gguf.metadata()).unwrap().unwrap();
    let tokenizer = Tokenizer::from_metadata(gguf.metadata(), true).unwrap();
    let model = Arc::new(Model::from_gguf(gguf, &LoadOptions::default()).unwrap());
    let file = folder("chat").join("chat.session");
    let now = jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0);
    let new = || Chat::new(template.clone(), &tokenizer, now);

    let turn = |session: &mut Session, chat: &mut Chat, question: &str| {
        chat.push("user", question);
        let request = Request {
            prompt: chat.prompt().unwrap().encode(&tokenizer).unwrap(),
            n_predict: Some(60),
            sample: SampleOptions {
                temp: 0.9,
                seed: Some(11),
                ..SampleOptions::default()
            },
            ..Request::default()
        };
        let mut text = String::new();
        let cancel = AtomicBool::new(false);
        let outcome = generate(session, &tokenizer, &request, &cancel, &mut |event| {
            if let Event::Piece(piece) = event {
                text.push_str(piece);
            }
            Ok(())
        })
        .unwrap();
        chat.push("assistant", &text);
        (text, outcome.cached_tokens, outcome.prompt_tokens)
    };

    let mut whole = session(&model, F16, 1024);
    let mut chat = new();
    turn(&mut whole, &mut chat, "What is the capital of France?");
    saved::write(&file, &whole, &json!({"messages": chat.messages()})).unwrap();
    let next = turn(&mut whole, &mut chat, "And what is 3 + 4?");
    assert!(next.1 > 20, "{next:?}");

    let mut restored = with(&model, F16, 900, 1, 3);
    let text = saved::read(&file, &mut restored).unwrap();
    let mut again = new();
    for message in text["messages"].as_array().unwrap() {
        let part = |name: &str| message[name].as_str().unwrap();
        again.push(part("role"), part("content"));
    }
    assert_eq!(turn(&mut restored, &mut again, "And what is 3 + 4?"), next);
    assert_eq!(again.messages(), chat.messages());
}

/// A small session in a file, with what is in it.
struct Small {
    model: Arc<Model>,
    file: PathBuf,
    bytes: Vec<u8>,
    text: Vec<u32>,
    /// Where parts begin and end.
    places: Vec<usize>,
}

const SMALL: usize = 21;

fn small(name: &str) -> Small {
    let model = load(&fixture("smollm3-q8_0"));
    let file = folder(name).join("chat.session");
    let text = ids(SMALL, model.config().n_vocab);
    let mut whole = session(&model, F16, 64);
    read(&mut whole, &text);
    let json = json!({"messages": [{"role": "user", "content": "a\u{e4}"}], "temp": 0.1 + 0.2});
    saved::write(&file, &whole, &json).unwrap();
    let bytes = fs::read(&file).unwrap();

    let config = model.config();
    let name = "tiny smollm3-q8_0, random weights".len();
    let mut places = vec![0, 8, 12, 44, 48, 56, 64];
    let mut end = 64;
    let heads = 2 * config.n_layer * config.n_head_kv;
    let rows = vec![2 * SMALL * config.head_dim; heads];
    let state = [4, 2, 2, 4, 4, 4, 4 * SMALL];
    let parts = [name, json.to_string().len()].into_iter();
    for part in parts.chain(state).chain(rows).chain([32]) {
        end += part;
        places.push(end);
    }
    assert_eq!(
        end,
        bytes.len(),
        "the documented layout is not that of the file"
    );
    Small {
        model,
        file,
        bytes,
        text,
        places,
    }
}

impl Small {
    /// Asserts that `bytes` are refused, and that the session that read them can be used; gives the message.
    #[track_caller]
    fn refuses(&self, bytes: &[u8], session: &mut Session, truth: &[u32]) -> String {
        fs::write(&self.file, bytes).unwrap();
        let message = refused(saved::read(&self.file, session));
        says(&message, &[self.file.to_str().unwrap()]);
        assert_eq!(session.pos(), 0, "{message}");
        assert!(session.logits().is_empty(), "{message}");
        assert!(read(session, &self.text) == truth, "{message}");
        refused(saved::read_text(&self.file));
        message
    }

    fn truth(&self) -> Vec<u32> {
        read(&mut session(&self.model, F16, 64), &self.text)
    }
}

#[test]
fn files_cut_short_are_refused_wherever_they_end() {
    let small = small("short");
    let (truth, n) = (small.truth(), small.bytes.len());
    let mut session = session(&small.model, F16, 64);
    let cuts = small.places.iter().copied();
    let others = ids(200, n).into_iter().map(|x| x as usize);
    for cut in cuts.chain(others).filter(|&cut| cut < n) {
        let message = small.refuses(&small.bytes[..cut], &mut session, &truth);
        let at = format!("cut short at byte {cut}, in the ");
        says(&message, &[if cut == 0 { "empty" } else { &at }]);
    }
    let longer = [&small.bytes[..], b"x"].concat();
    let message = small.refuses(&longer, &mut session, &truth);
    says(&message, &[&format!("at byte {n}: 1 bytes too many")]);
}

#[test]
fn flipped_bits_are_seen_wherever_they_are() {
    let small = small("flipped");
    let (truth, n) = (small.truth(), small.bytes.len());
    let mut session = session(&small.model, F16, 64);
    let places = ids(200, n).into_iter().map(|x| x as usize);
    let edges = small
        .places
        .iter()
        .flat_map(|&at| [at.saturating_sub(1), at]);
    for (i, at) in (0..64).chain(places).chain(edges).enumerate() {
        let Some(&byte) = small.bytes.get(at) else {
            continue;
        };
        let mut bytes = small.bytes.clone();
        bytes[at] = byte ^ (1 << (i % 8));
        let message = small.refuses(&bytes, &mut session, &truth);
        // The lengths are compared with the file before the checksum is.
        let expected = match at {
            0..8 => "not a session file",
            8..12 => "version",
            _ => "damaged",
        };
        says(&message, &[expected]);
    }
    fs::write(&small.file, &small.bytes).unwrap();
    let text = saved::read(&small.file, &mut session).unwrap();
    assert_eq!(text["temp"].as_f64(), Some(0.1 + 0.2));
    assert_eq!(text, saved::read_text(&small.file).unwrap());
}

/// With a checksum that holds, what is wrong is named.
#[test]
fn files_that_lie_are_refused_by_what_they_say() {
    let small = small("lies");
    let truth = small.truth();
    let mut session = session(&small.model, F16, 64);
    let n = small.bytes.len();
    let state = small.places[8];
    let mut lie = |at: usize, new: &[u8], parts: &[&str]| {
        let mut bytes = small.bytes.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        let sum = Sha256::digest(&bytes[..n - 32]);
        bytes[n - 32..].copy_from_slice(&sum);
        fs::write(&small.file, &bytes).unwrap();
        let result = saved::read(&small.file, &mut session);
        let context = matches!(result, Err(Error::Context { .. }));
        let message = refused(result);
        says(&message, parts);
        assert!(context || message.contains(small.file.to_str().unwrap()));
        assert_eq!(session.pos(), 0);
        assert!(read(&mut session, &small.text) == truth, "{message}");
    };
    let word = |x: u32| x.to_le_bytes();
    let place = |at: usize| format!("at byte {at}: ");
    lie(8, &word(2), &["at byte 8: version 2", "newer"]);
    lie(
        12,
        &[0; 32],
        &["at byte 12: saved with the model \"tiny smollm3-q8_0, random weights\""],
    );
    lie(44, &word(u32::MAX), &["cut short", "the model's name"]);
    lie(48, &u64::MAX.to_le_bytes(), &["the text", "damaged"]);
    lie(56, &u64::MAX.to_le_bytes(), &["the state", "damaged"]);
    lie(small.places[7], b"[", &[&place(small.places[7]), "no JSON"]);
    lie(state, &word(20), &[&place(state), "20 tokens take"]);
    lie(state, &word(22), &[&place(state), "22 tokens take"]);
    lie(
        state,
        &word(65),
        &["65 tokens do not fit the context of 64"],
    );
    lie(state, &word(u32::MAX), &["4294967295 tokens do not fit"]);
    let types = place(state + 4);
    lie(
        state + 4,
        &[0],
        &[
            &types,
            "keys as f32 and values as f16",
            "--cache-type-k f32 --cache-type-v f16",
        ],
    );
    lie(
        state + 5,
        &[8],
        &[&types, "--cache-type-k f16 --cache-type-v q8_0"],
    );
    lie(
        state + 5,
        &[2],
        &[&types, "cache types 1 and 2 are not known"],
    );
    lie(state + 7, &[1], &[&place(state + 6), "damaged"]);
    for at in [8, 12, 16] {
        lie(
            state + at,
            &word(u32::MAX),
            &[&place(state + at), "the model has", "another model"],
        );
    }
    let id = state + 20 + 4 * 5;
    lie(
        id,
        &word(320),
        &[&place(id), "token id 320 is not in the vocabulary of 320"],
    );
}

/// A state without a file has no checksum; all else holds for it, too.
#[test]
fn states_are_checked_before_they_are_used() {
    let small = small("states");
    let truth = small.truth();
    let mut whole = session(&small.model, F16, 64);
    read(&mut whole, &small.text);
    let mut state = Vec::new();
    whole.write_state(&mut state).unwrap();
    assert_eq!(state.len() as u64, whole.state_bytes());
    // Not a number, in every row that is read before the end comes.
    let ids_end = 20 + 4 * SMALL;
    let mut poisoned = state.clone();
    poisoned[ids_end..].fill(0xff);
    for cut in (0..state.len()).step_by(97).chain([state.len() - 1]) {
        let message = refused(whole.read_state(&mut &poisoned[..cut]));
        says(
            &message,
            &[&format!("saved state: at byte {cut}: "), "cut short"],
        );
        assert_eq!(whole.pos(), 0);
        assert!(read(&mut whole, &small.text) == truth);
    }
    // What comes after the state is left alone.
    let longer = [&state[..], b"rest"].concat();
    let mut input = &longer[..];
    whole.read_state(&mut input).unwrap();
    assert_eq!(input, b"rest");
    // An empty session can be kept as well.
    let mut empty = Vec::new();
    session(&small.model, F16, 64)
        .write_state(&mut empty)
        .unwrap();
    assert_eq!(empty.len(), 20);
    whole.read_state(&mut &empty[..]).unwrap();
    assert_eq!(whole.pos(), 0);
    assert!(read(&mut whole, &small.text) == truth);

    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no cable"))
        }
    }
    says(&refused(whole.read_state(&mut Broken)), &["no cable"]);
    let mut little = [0; 100];
    says(
        &refused(session(&small.model, F16, 64).write_state(&mut &mut little[..10])),
        &["saved state: "],
    );
}

#[test]
fn other_models_are_named_and_their_text_is_kept() {
    let small = small("models");
    let text = saved::read_text(&small.file).unwrap();
    for other in fixtures() {
        if other == fixture("smollm3-q8_0") {
            continue;
        }
        let other = load(&other);
        let mut session = session(&other, F16, 64);
        let message = refused(saved::read(&small.file, &mut session));
        let own = other.gguf().metadata().str("general.name").unwrap();
        says(
            &message,
            &[
                small.file.to_str().unwrap(),
                "\"tiny smollm3-q8_0, random weights\"",
                &format!("{own:?}"),
                "keep only its text",
            ],
        );
        let truth = read(&mut self::session(&other, F16, 64), &[1, 2, 3]);
        assert!(read(&mut session, &[1, 2, 3]) == truth);
    }
    let options = LoadOptions {
        rope: RopeOptions {
            scale: Some(2.0),
            ..RopeOptions::default()
        },
        ..LoadOptions::default()
    };
    let scaled = Arc::new(Model::load(&fixture("smollm3-q8_0"), &options).unwrap());
    let message = refused(saved::read(&small.file, &mut session(&scaled, F16, 64)));
    says(&message, &["that name, but other weights or RoPE settings"]);
    assert_eq!(text["messages"][0]["content"], "a\u{e4}");
}

#[test]
fn other_cache_types_and_small_contexts_are_refused() {
    let model = load(&fixture("qwen3-f16"));
    let file = folder("types").join("chat.session");
    let text = ids(50, model.config().n_vocab);
    let kinds = [KvType::F32, KvType::F16, KvType::Q8_0];
    let kinds: Vec<_> = kinds.iter().flat_map(|&k| kinds.map(|v| (k, v))).collect();
    for &kv in &kinds {
        let mut whole = session(&model, kv, 64);
        read(&mut whole, &text);
        saved::write(&file, &whole, &Json::Null).unwrap();
        for &other in &kinds {
            let mut restored = session(&model, other, 50);
            if other == kv {
                assert_eq!(saved::read(&file, &mut restored).unwrap(), Json::Null);
                assert_eq!(restored.tokens(), text);
                continue;
            }
            let message = refused(saved::read(&file, &mut restored));
            let flags = format!("--cache-type-k {} --cache-type-v {}", kv.0, kv.1);
            let own = format!("this session {} and {}", other.0, other.1);
            says(&message, &[file.to_str().unwrap(), &flags, &own]);
            assert_eq!(restored.pos(), 0);
        }
        let mut short = session(&model, kv, 49);
        let result = saved::read(&file, &mut short);
        assert!(matches!(
            result,
            Err(Error::Context {
                needed: 50,
                n_ctx: 49
            })
        ));
        assert_eq!(short.pos(), 0);
        read(&mut short, &text[..49]);
    }
}

#[test]
fn files_are_replaced_whole_and_are_the_owners() {
    let small = small("files");
    let folder = small.file.parent().unwrap();
    let whole = session(&small.model, F16, 64);
    assert_eq!(names(folder), ["chat.session"]);
    saved::write(&small.file, &whole, &json!("second")).unwrap();
    assert_eq!(saved::read_text(&small.file).unwrap(), "second");
    assert_eq!(names(folder), ["chat.session"]);

    for (path, part) in [
        (folder.to_owned(), "is no file"),
        (folder.join("none/chat.session"), "no such folder"),
    ] {
        let message = refused(saved::write(&path, &whole, &Json::Null));
        says(&message, &[part, path.to_str().unwrap()]);
        refused(saved::read_text(&path));
    }
    // JSON that could not be read again.
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    says(
        &refused(saved::write(&small.file, &whole, &deep)),
        &["could not be read again"],
    );
    let long = json!("x".repeat(65 << 20));
    says(
        &refused(saved::write(&small.file, &whole, &long)),
        &["at most"],
    );
    assert_eq!(saved::read_text(&small.file).unwrap(), "second");
    assert_eq!(names(folder), ["chat.session"]);

    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        fs::set_permissions(&small.file, fs::Permissions::from_mode(0o644)).unwrap();
        let link = folder.join("link");
        symlink("chat.session", &link).unwrap();
        saved::write(&link, &whole, &json!("third")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(saved::read_text(&small.file).unwrap(), "third");
        let dangling = folder.join("dangling");
        symlink("later.session", &dangling).unwrap();
        saved::write(&dangling, &whole, &json!("fourth")).unwrap();
        assert!(fs::symlink_metadata(&dangling).unwrap().is_symlink());
        let later = folder.join("later.session");
        assert_eq!(saved::read_text(&later).unwrap(), "fourth");
        let mode = fs::metadata(&small.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for device in ["/dev/null", "/dev/full"] {
            let message = refused(saved::write(device.as_ref(), &whole, &Json::Null));
            says(&message, &[device, "is no file"]);
            says(&refused(saved::read_text(device.as_ref())), &["is no file"]);
            assert!(!fs::metadata(device).unwrap().is_file());
        }
    }
}

/// A disk that is full: a file system of 64 KiB. Only root can make one; the next test needs no root.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_old_file() {
    let small = small("full");
    let disk = folder("full disk");
    let mount = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).arg(&disk).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]) {
        println!("NOT TESTED: a full disk, since this user may mount none");
        return;
    }
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            Command::new("umount").arg(self.0).status().unwrap();
        }
    }
    let _mounted = Mounted(&disk);
    let file = disk.join("chat.session");
    let mut whole = session(&small.model, F16, 64);
    saved::write(&file, &whole, &json!("old")).unwrap();
    let old = fs::read(&file).unwrap();
    let text = ids(64, 320);
    read(&mut whole, &text);
    assert!(whole.state_bytes() > 64 << 10);
    let message = refused(saved::write(&file, &whole, &json!("new")));
    says(
        &message,
        &[
            file.to_str().unwrap(),
            "not saved",
            "No space left",
            "it takes 1 MiB",
            "as it was",
        ],
    );
    assert!(fs::read(&file).unwrap() == old);
    assert_eq!(names(&disk), ["chat.session"]);
    // With less to keep, there is room again.
    whole.truncate(5);
    saved::write(&file, &whole, &json!("new")).unwrap();
    assert_eq!(saved::read_text(&file).unwrap(), "new");
}

/// The name of the file that a child is to write.
const CHILD: &str = "SMOLQ_TEST_SAVED_CHILD";

/// Not a test by itself: what [`a_write_that_fails_or_dies_leaves_the_old_file`] runs under a limit.
#[test]
fn child_that_writes() {
    let Some(file) = std::env::var_os(CHILD) else {
        return;
    };
    let model = load(&fixture("smollm3-q8_0"));
    let mut whole = session(&model, F16, 64);
    read(&mut whole, &ids(64, 320));
    match saved::write(file.as_ref(), &whole, &json!("new")) {
        Ok(()) => println!("CHILD: saved"),
        Err(error) => println!("CHILD: {error}"),
    }
}

/// With a limit on the length of files, writing fails in the middle; where the signal that comes with it is not ignored, the
/// process dies there.
#[cfg(unix)]
#[test]
fn a_write_that_fails_or_dies_leaves_the_old_file() {
    let small = small("limited");
    let folder = small.file.parent().unwrap();
    let child = |before: &str| {
        let script = format!("{before} exec \"$0\" --exact child_that_writes --nocapture");
        let output = Command::new("sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .env(CHILD, &small.file)
            .output()
            .unwrap();
        (
            output.status,
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    // In blocks of 512 bytes, of 1024 in some shells: less than the 70 KB of the state either way.
    let (status, said) = child("trap '' XFSZ; ulimit -f 40;");
    assert!(status.success(), "{said}");
    says(
        &said,
        &["CHILD: ", "not saved", "File too large", "as it was"],
    );
    assert_eq!(names(folder), ["chat.session"]);
    assert!(fs::read(&small.file).unwrap() == small.bytes);

    let (status, said) = child("ulimit -c 0; ulimit -f 40;");
    assert!(
        !status.success() && !said.contains("CHILD"),
        "{status} {said}"
    );
    assert!(fs::read(&small.file).unwrap() == small.bytes);
    // Nobody was left to remove it; the next one is not in its way.
    let left = names(folder);
    assert!(
        left.len() == 2 && left[0].starts_with(".smolq-"),
        "{left:?}"
    );

    let (status, said) = child("");
    assert!(status.success(), "{said}");
    says(&said, &["CHILD: saved"]);
    assert_eq!(saved::read_text(&small.file).unwrap(), "new");
}

/// A model with some of it changed, in one file or in several.
fn changed(
    file: &Path,
    keys: &[(&str, smolq_gguf::Value)],
    change: impl Fn(&str, &mut Vec<u8>),
) -> Vec<u8> {
    let gguf = Gguf::open(file, &OpenOptions::default()).unwrap();
    let mut writer = Writer::new();
    for (key, value) in gguf.metadata().iter() {
        let new = keys.iter().find(|(name, _)| *name == key);
        writer.set(key, new.map_or(value, |(_, new)| new).clone());
    }
    for tensor in gguf.tensors() {
        let mut bytes = gguf.data(tensor).to_vec();
        change(&tensor.name, &mut bytes);
        writer.tensor(tensor.name.clone(), tensor.kind, &tensor.dims, bytes);
    }
    writer.to_vec().unwrap()
}

fn fingerprint(gguf: Gguf) -> [u8; 32] {
    let options = LoadOptions::default();
    Model::from_gguf(gguf, &options).unwrap().fingerprint()
}

#[test]
fn fingerprints_do_not_depend_on_how_a_file_is_held() {
    let folder = folder("split");
    let mut all = Vec::new();
    for file in fixtures() {
        let truth = load(&file).fingerprint();
        let read = OpenOptions {
            mmap: false,
            ..OpenOptions::default()
        };
        assert_eq!(fingerprint(Gguf::open(&file, &read).unwrap()), truth);
        let bytes = changed(&file, &[], |_, _| {});
        assert_eq!(fingerprint(Gguf::from_bytes("x", bytes).unwrap()), truth);
        all.push(truth);

        // Three parts, tensors dealt out in turn, each part with an alignment of its own.
        let gguf = Gguf::open(&file, &read).unwrap();
        for no in 0..3u16 {
            let mut writer = Writer::new();
            if no == 0 {
                for (key, value) in gguf.metadata().iter() {
                    writer.set(key, value.clone());
                }
            }
            writer
                .set("split.no", no)
                .set("split.count", 3u16)
                .set("split.tensors.count", gguf.tensors().len() as i32);
            writer.alignment(32 << no);
            for tensor in gguf.tensors().iter().skip(no.into()).step_by(3) {
                let data = gguf.data(tensor).to_vec();
                writer.tensor(tensor.name.clone(), tensor.kind, &tensor.dims, data);
            }
            let name = format!("m-{:05}-of-00003.gguf", no + 1);
            writer.write_file(folder.join(name)).unwrap();
        }
        let split = folder.join("m-00001-of-00003.gguf");
        assert_eq!(load(&split).fingerprint(), truth, "{}", file.display());
    }
    let n = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), n);

    #[cfg(feature = "embedded-model")]
    {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-q8_0.gguf");
        assert_eq!(fingerprint(embedded()), load(&file).fingerprint());
    }
}

#[test]
fn fingerprints_change_with_all_that_changes_logits() {
    let file = fixture("smollm3-f16");
    let truth = load(&file).fingerprint();
    let of = |bytes: Vec<u8>| fingerprint(Gguf::from_bytes("x", bytes).unwrap());
    let gguf = Gguf::open(&file, &OpenOptions::default()).unwrap();
    let mut large = 0;
    for tensor in gguf.tensors() {
        // Low bits of numbers, at both ends and, where all of it counts, in the middle.
        let n = tensor.bytes as usize;
        large += usize::from(n > 8192);
        for at in [0, n - 2, 4094, n.saturating_sub(4096)] {
            if at >= n {
                continue;
            }
            let other = of(changed(&file, &[], |name, bytes| {
                if name == tensor.name {
                    bytes[at] ^= 1;
                }
            }));
            assert_ne!(other, truth, "{} {at}", tensor.name);
        }
    }
    assert!(
        large > 5,
        "only {large} tensors have a middle that does not count"
    );
    // As documented: the middle of a large tensor is not looked at.
    let other = of(changed(&file, &[], |name, bytes| {
        if name == "token_embd.weight" {
            assert!(bytes.len() > 8192 + 2);
            bytes[4096] ^= 1;
        }
    }));
    assert_eq!(other, truth);

    let key = |suffix: &str| format!("smollm3.{suffix}");
    let (eps, base) = (
        key("attention.layer_norm_rms_epsilon"),
        key("rope.freq_base"),
    );
    for (name, value) in [(&eps, 2e-5f32.into()), (&base, 12_345f32.into())] {
        assert!(gguf.metadata().get(name).is_some(), "{name}");
        assert_ne!(
            of(changed(&file, &[(name, value)], |_, _| {})),
            truth,
            "{name}"
        );
    }
    for (name, value) in [
        ("general.name", "other"),
        ("tokenizer.chat_template", "{{ messages }}"),
    ] {
        let value = value.into();
        assert!(gguf.metadata().get(name).is_some(), "{name}");
        assert_eq!(
            of(changed(&file, &[(name, value)], |_, _| {})),
            truth,
            "{name}"
        );
    }

    // The rope settings in force, whoever set them.
    let with = |rope: RopeOptions| {
        let options = LoadOptions {
            rope,
            ..LoadOptions::default()
        };
        Model::load(&file, &options).unwrap().fingerprint()
    };
    let own = gguf.metadata().opt_f32(&base).unwrap();
    let (a, b) = (Some(2.0), Some(3.0));
    let other = [
        RopeOptions {
            freq_base: b,
            ..RopeOptions::default()
        },
        RopeOptions {
            scale: a,
            ..RopeOptions::default()
        },
        RopeOptions {
            scale: b,
            ..RopeOptions::default()
        },
        RopeOptions {
            beta_fast: a,
            ..RopeOptions::default()
        },
        RopeOptions {
            beta_slow: b,
            ..RopeOptions::default()
        },
        RopeOptions {
            attn_factor: b,
            ..RopeOptions::default()
        },
        RopeOptions {
            orig_ctx: Some(7),
            ..RopeOptions::default()
        },
    ];
    let mut seen: Vec<_> = other.map(with).into_iter().chain([truth]).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), other.len() + 1);
    let same = RopeOptions {
        freq_base: own,
        ..RopeOptions::default()
    };
    assert_eq!(with(same), truth);
}
