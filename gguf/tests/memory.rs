//! How much memory opening a file takes: little, whatever the file says. One test, since the count is of the process.

mod common;

use std::io::Write;

use common::{ARRAY, Raw, STRING, U8, valid, walk};
use peak_alloc::PeakAlloc;
use smolq_gguf::{Gguf, OpenOptions, TensorType, Writer};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// The most heap that `f` took at once, beyond what was taken before.
fn peak(f: impl FnOnce()) -> usize {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    f();
    HEAP.peak_usage().saturating_sub(before)
}

/// Opens a file, which may fail but not panic, and looks at everything in it.
fn survive(bytes: &[u8]) {
    match Gguf::from_bytes("mutant.gguf", bytes.to_vec()) {
        Ok(gguf) => assert!(walk(&gguf) > 0),
        Err(error) => {
            let message = error.to_string();
            assert!(
                message.starts_with("mutant.gguf: ") && !message.contains('\n'),
                "{message:?}"
            );
        }
    }
}

#[test]
fn no_file_takes_more_memory_than_it_should() {
    mutants_are_survived_in_little_memory();
    metadata_takes_four_times_its_bytes_at_most();
    two_gigabytes_are_written_in_little_memory();
}

fn mutants_are_survived_in_little_memory() {
    let file = valid();
    survive(&file);
    let started = std::time::Instant::now();
    let mut n = 0;
    let taken = peak(|| {
        // Cut short at every byte.
        for len in 0..file.len() {
            survive(&file[..len]);
            n += 1;
        }
        // One byte changed, at every byte.
        for at in 0..file.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut mutant = file.clone();
                mutant[at] ^= change;
                survive(&mutant);
                n += 1;
            }
        }
        // A number that is written over what was there, at every byte.
        let numbers = [
            0,
            1,
            16 << 20,
            u64::from(u32::MAX),
            1 << 48,
            1 << 60,
            1 << 63,
            u64::MAX - 15,
            u64::MAX,
        ];
        for at in 0..file.len() - 8 {
            for number in numbers {
                let mut mutant = file.clone();
                mutant[at..at + 8].copy_from_slice(&number.to_le_bytes());
                survive(&mutant);
                n += 1;
            }
        }
    });
    assert!(n > 10_000);
    assert!(
        taken <= 64 * MIB,
        "{n} mutants took {taken} bytes at the peak"
    );
    assert!(
        taken <= MIB,
        "a file of {} bytes, {taken} bytes at the peak",
        file.len()
    );
    assert!(
        started.elapsed().as_secs() < 60,
        "{n} mutants took {:?}",
        started.elapsed()
    );
}

fn metadata_takes_four_times_its_bytes_at_most() {
    let key = |kind| Raw::header(0, 1).key("k", kind);
    let files = [
        (
            "keys",
            (0..100_000).fold(Raw::header(0, 100_000), |raw, i: u32| {
                raw.key(i.to_string(), U8).u8(0)
            }),
        ),
        (
            "tensors",
            (0..200_000).fold(Raw::header(200_000, 0), |raw, i: u32| {
                raw.tensor(i.to_string(), &[0], 0, 0)
            }),
        ),
        (
            "empty strings",
            key(ARRAY).u32(STRING).u64(4 << 20).zeros(32 * MIB),
        ),
        (
            "empty arrays",
            key(ARRAY).u32(ARRAY).u64(1 << 20).zeros(12 * MIB),
        ),
        ("deep arrays", {
            let inner = Raw::default()
                .u32(ARRAY)
                .u64(1)
                .u32(ARRAY)
                .u64(1)
                .u32(ARRAY)
                .u64(1)
                .u32(U8)
                .u64(0);
            (0..100_000).fold(key(ARRAY).u32(ARRAY).u64(100_000), |raw, _| {
                raw.bytes(&inner.0)
            })
        }),
        ("long string", key(STRING).u64(16 << 20).zeros(16 * MIB)),
    ];
    for (name, file) in files {
        let bytes = file.pad(32).0.leak();
        let taken = peak(|| drop(Gguf::from_static(name, bytes, &OpenOptions::default()).unwrap()));
        println!("{name}: {} bytes of metadata, {taken} of heap", bytes.len());
        assert!(
            taken <= 4 * bytes.len() + 16 * MIB,
            "{name}: {} bytes, {taken} of heap",
            bytes.len()
        );
    }
}

fn two_gigabytes_are_written_in_little_memory() {
    let mut writer = Writer::new();
    writer.tensor(
        "big",
        TensorType::F32,
        &[1 << 20, 512],
        |out: &mut dyn Write| {
            let row = vec![0; 4 << 20];
            (0..512).try_for_each(|_| out.write_all(&row))
        },
    );
    let taken = peak(|| assert!(writer.write_to(&mut std::io::sink()).unwrap() > 2 << 30));
    assert!(taken < 8 * MIB, "{taken}");
}
