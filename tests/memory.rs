//! How much memory a session takes: what it says before, whatever it is asked for. One test, since the count is of the process.

use peak_alloc::PeakAlloc;
use smolq::model::{KvType, LoadOptions, Model, Session, SessionOptions};
use std::path::Path;
use std::sync::Arc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
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
