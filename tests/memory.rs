//! How much memory a session takes: what it says before, whatever it is asked for, and no more while it is saved and restored. One
//! test, since the count is of the process.

use peak_alloc::PeakAlloc;
use smolq::model::{KvType, LoadOptions, Model, Session, SessionOptions};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn memory_is_as_said() {
    a_session_takes_what_it_says();
    a_session_is_saved_and_restored_without_a_copy();
}

fn a_session_takes_what_it_says() {
    for (file, cache, n_ubatch, rows) in [
        ("smollm3-q8_0.gguf", KvType::F16, 256, 1),
        ("smollm3-q8_0.gguf", KvType::F32, 64, 33),
        ("smollm3-q4_0.gguf", KvType::F16, 3, 2),
        ("smollm3-f16.gguf", KvType::F16, 256, 17),
        ("qwen2-f16.gguf", KvType::F16, 1, 1),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(file);
        let model = Arc::new(Model::load(&path, &LoadOptions::default()).unwrap());
        let options = SessionOptions {
            n_ctx: 1024,
            cache_k: cache,
            cache_v: cache,
            n_ubatch,
            threads: 1,
        };
        let said = Session::memory(&model, &options, rows);
        let said = said.cache + said.scratch;
        let before = HEAP.current_usage();
        let mut session = Session::new(Arc::clone(&model), &options).unwrap();
        session.reserve(rows).unwrap();
        let ids: Vec<u32> = (0..n_ubatch as u32).collect();
        session.prefill(&ids, &mut |_| true).unwrap();
        let taken = HEAP.current_usage() - before;
        // Beyond the buffers: what marks their parts as taken, and what a thread keeps for itself.
        let most = said + said / 20 + (300 << 10);
        assert!(
            (said..=most).contains(&taken),
            "{file}: {said} bytes said, {taken} taken"
        );
    }
}

fn a_session_is_saved_and_restored_without_a_copy() {
    const N: usize = 60_000;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let file = folder.join("smollm3-q8_0.gguf");
    let model = Arc::new(Model::load(&file, &LoadOptions::default()).unwrap());
    let options = SessionOptions {
        n_ctx: N,
        threads: 1,
        ..SessionOptions::default()
    };
    let mut session = Session::new(Arc::clone(&model), &options).unwrap();
    // Tokens that nobody read, to save the time.
    let config = model.config();
    let mut head = (N as u32).to_le_bytes().to_vec();
    head.extend([1, 1, 0, 0]);
    for size in [config.n_layer, config.n_head_kv, config.head_dim] {
        head.extend((size as u32).to_le_bytes());
    }
    session
        .read_state(&mut head.chain(std::io::repeat(0)))
        .unwrap();
    assert_eq!(session.pos(), N);
    assert!(session.state_bytes() > 60_000_000);

    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("memory.session");
    let text = serde_json::json!({"messages": []});
    let mut extra = |what: &str, f: &mut dyn FnMut(&mut Session)| {
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        f(&mut session);
        let taken = HEAP.peak_usage() - before;
        println!("{what}: {taken} bytes for the while");
        assert!(taken < 2 << 20, "{what}: {taken}");
    };
    extra("saving", &mut |session| {
        smolq::saved::write(&path, session, &text).unwrap();
    });
    extra("restoring", &mut |session| {
        assert_eq!(smolq::saved::read(&path, session).unwrap(), text);
    });
    extra("reading the text", &mut |_| {
        assert_eq!(smolq::saved::read_text(&path).unwrap(), text);
    });
    assert_eq!(session.pos(), N);
    std::fs::remove_file(path).unwrap();
}
