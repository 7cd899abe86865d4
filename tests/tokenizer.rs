//! The tokenizer against recorded cases, small vocabularies and hostile ones.

use std::path::PathBuf;
use std::time::Instant;

use smolq::tokenizer::{EncodeOptions, Tokenizer, Vocab};

const TEXT: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };

// MINI-BEGIN
struct Mini { model: String, pre: Option<String>, tokens: Vec<Vec<u8>>, merges: Option<Vec<Vec<u8>>>, scores: Option<Vec<f32>>, types: Option<Vec<i32>>, bos: Option<u32>, eos: Option<u32> }
fn mini(b: &[u8]) -> Mini {
    struct R<'a>(&'a [u8], usize);
    impl R<'_> {
        fn u32(&mut self) -> u32 { let v = u32::from_le_bytes(self.0[self.1..self.1 + 4].try_into().unwrap()); self.1 += 4; v }
        fn u64(&mut self) -> u64 { let v = u64::from_le_bytes(self.0[self.1..self.1 + 8].try_into().unwrap()); self.1 += 8; v }
        fn s(&mut self) -> Vec<u8> { let n = self.u64() as usize; let v = self.0[self.1..self.1 + n].to_vec(); self.1 += n; v }
        fn skip(&mut self, t: u32) { match t { 0 | 1 | 7 => self.1 += 1, 2 | 3 => self.1 += 2, 4 | 5 | 6 => self.1 += 4, 8 => { self.s(); } 10..=12 => self.1 += 8, _ => panic!() } }
    }
    let mut r = R(b, 8); r.u64(); let n = r.u64();
    let mut m = Mini { model: String::new(), pre: None, tokens: vec![], merges: None, scores: None, types: None, bos: None, eos: None };
    for _ in 0..n {
        let k = String::from_utf8(r.s()).unwrap(); let t = r.u32();
        match (k.as_str(), t) {
            ("tokenizer.ggml.model", 8) => m.model = String::from_utf8(r.s()).unwrap(),
            ("tokenizer.ggml.pre", 8) => m.pre = Some(String::from_utf8(r.s()).unwrap()),
            ("tokenizer.ggml.bos_token_id", 4) => m.bos = Some(r.u32()),
            ("tokenizer.ggml.eos_token_id", 4) => m.eos = Some(r.u32()),
            (_, 9) => { let et = r.u32(); let c = r.u64();
                match k.as_str() {
                    "tokenizer.ggml.tokens" => m.tokens = (0..c).map(|_| r.s()).collect(),
                    "tokenizer.ggml.merges" => m.merges = Some((0..c).map(|_| r.s()).collect()),
                    "tokenizer.ggml.scores" => m.scores = Some((0..c).map(|_| f32::from_bits(r.u32())).collect()),
                    "tokenizer.ggml.token_type" => m.types = Some((0..c).map(|_| r.u32() as i32).collect()),
                    _ => for _ in 0..c { r.skip(et) },
                } }
            _ => r.skip(t),
        }
    }
    m
}
fn load(path: &std::path::Path) -> Tokenizer {
    let m = mini(&std::fs::read(path).unwrap());
    let start = Instant::now();
    let v = Vocab { model: &m.model, pre: m.pre.as_deref(), tokens: m.tokens.iter().map(|t| &t[..]).collect(), merges: m.merges.as_ref().map(|a| a.iter().map(|t| &t[..]).collect()), scores: m.scores.clone(), types: m.types.clone(), bos: m.bos, eos: m.eos, ..Vocab::default() };
    let t = Tokenizer::new(&v, false).unwrap();
    println!("{}: {:?} {:?} {:?}", path.display(), start.elapsed(), t.warnings(), t.eog_ids());
    t
}
// MINI-END

/// Where the recorded cases are, if they are.
fn fixtures() -> Option<PathBuf> {
    let path = std::env::var_os("SMOLQ_FIXTURES");
    if path.is_none() {
        println!("SMOLQ_FIXTURES is not set: skipped");
    }
    path.map(PathBuf::from)
}

#[test]
fn fixture_tokenizer_cases() {
    let Some(fixtures) = fixtures() else { return };
    for name in ["llama-spm", "llama-bpe", "gpt-2", "qwen2"] {
        let path = fixtures.join(format!("tokenizers/ggml-vocab-{name}.gguf"));
        let tokenizer = load(&path);
        let read = |end: &str| std::fs::read_to_string(format!("{}{end}", path.display())).unwrap();
        let (inputs, outputs) = (read(".inp"), read(".out"));
        let inputs: Vec<&str> = inputs.split("\n__ggml_vocab_test__\n").collect();
        let outputs: Vec<&str> = outputs.lines().collect();
        let mut checked = 0;
        for (input, output) in inputs.iter().zip(&outputs) {
            let wanted: Vec<u32> = output.split_whitespace().map(|id| id.parse().unwrap()).collect();
            let ids = tokenizer.encode(input, TEXT).unwrap();
            assert_eq!(ids, wanted, "{name}: {input:?}");
            assert_eq!(&tokenizer.decode_from_start(&ids, false), input, "{name}");
            checked += 1;
        }
        println!("{name}: {checked} cases of {} inputs {} outputs", inputs.len(), outputs.len());
    }
}

#[test]
fn bench() {
    let Some(fixtures) = fixtures() else { return };
    let mut x = 1u64;
    let random: String = (0..4 << 20).map(|_| { x ^= x << 13; x ^= x >> 7; x ^= x << 17; char::from(b'a' + (x >> 33) as u8 % 26) }).collect();
    let texts = [("a", "a".repeat(4 << 20)), ("random", random), ("space", " ".repeat(4 << 20)), ("newline", "\n".repeat(4 << 20)), ("digits", "7".repeat(4<<20)), ("dots", ".".repeat(4<<20)), ("zh", "中".repeat((4<<20)/3)), ("emoji", "😀".repeat(1<<20)),
        ("wiki", std::fs::read_dir(fixtures.join("text")).unwrap().map(|f| String::from_utf8_lossy(&std::fs::read(f.unwrap().path()).unwrap()).into_owned()).collect::<String>())];
    for name in ["llama-spm", "llama-bpe", "gpt-2", "qwen2"] {
        let tokenizer = load(&fixtures.join(format!("tokenizers/ggml-vocab-{name}.gguf")));
        for (what, text) in &texts {
            let start = Instant::now();
            let ids = tokenizer.encode(text, EncodeOptions { add_special: true, parse_special: true }).unwrap();
            println!("  {what}: {} bytes {} ids {:?}", text.len(), ids.len(), start.elapsed());
        }
    }
}
