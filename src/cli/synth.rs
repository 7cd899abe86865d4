//! `smolq synth`: random weights in the shape of a real model.

use super::args::SynthArgs;
use super::{load, memory, note};
use crate::error::{Error, Result};
use crate::{catalogue, synth};

pub(super) fn run(args: &SynthArgs) -> Result<()> {
    let Some((name, quant)) = args.what.split_once(':') else {
        let why = format!(
            "{:?} is not NAME:QUANT, for example smollm3-3b:Q4_K_M",
            args.what
        );
        return Err(Error::Request {
            field: "model",
            why,
        });
    };
    let entry = catalogue::find(name)?;
    let bar = load::progress(None, "writing");
    let bytes = synth::write(&entry, quant, args.seed, &args.output);
    bar.finish_and_clear();
    let bytes = bytes?;
    note(&format!(
        "{}: {} of random weights in the shape of {}",
        args.output.display(),
        memory::human(bytes),
        entry.title
    ));
    Ok(())
}
