//! Models in several files, `NAME-00001-of-00003.gguf` and so on.
//!
//! Each shard is a GGUF file of its own. The first has all the metadata; each says which it is (`split.no`, from 0) and
//! how many there are (`split.count`), and how many tensors there are in all (`split.tensors.count`).

use std::path::{Path, PathBuf};

use crate::error::{DAMAGED, Error, show_path};
use crate::metadata::Metadata;

/// As many files can be mapped at once (see `map.rs`); real models have some ten parts.
const MAX_PARTS: u32 = 1024;

/// What a shard says about the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Split {
    /// Which shard this is, from 0.
    pub(crate) no: u32,
    /// How many there are: 2 or more.
    pub(crate) count: u32,
    /// How many tensors there are in all.
    pub(crate) tensors: Option<u64>,
}

impl Split {
    /// What the metadata say; `None` for a model in one file.
    pub(crate) fn of(metadata: &Metadata) -> Result<Option<Split>, Error> {
        let count = metadata.opt_u32("split.count")?.unwrap_or(1);
        if count <= 1 {
            return Ok(None);
        }
        let tensors = metadata.opt_u64("split.tensors.count")?;
        Ok(Some(Split {
            no: metadata.u32("split.no")?,
            count,
            tensors,
        }))
    }

    /// The paths of all shards, given that of the first.
    pub(crate) fn paths(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let fault = |problem| Error::Split {
            path: path.to_owned(),
            problem,
        };
        if self.count > MAX_PARTS {
            return Err(fault(format!(
                "key \"split.count\" is {}, at most {MAX_PARTS} parts are read; {DAMAGED}",
                self.count
            )));
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((prefix, no, count)) = name.and_then(parse) else {
            return Err(fault(format!(
                "it is part {} of {}, but not named so; give it back its name, NAME{}",
                u64::from(self.no) + 1,
                self.count,
                ending(self.no, self.count)
            )));
        };
        if (no, count) != (u64::from(self.no) + 1, self.count.into()) {
            return Err(fault(format!(
                "it says it is part {} of {}, which its name does not; give it back its name, {prefix}{}",
                u64::from(self.no) + 1,
                self.count,
                ending(self.no, self.count)
            )));
        }
        let shard = |i| path.with_file_name(format!("{prefix}{}", ending(i, self.count)));
        if self.no != 0 {
            return Err(fault(format!(
                "it is part {no} of {count}; give the first, {}",
                show_path(&shard(0))
            )));
        }
        let paths: Vec<PathBuf> = (0..self.count).map(shard).collect();
        // Before any is opened, so that one message is enough.
        let missing: Vec<&PathBuf> = paths.iter().filter(|path| !path.exists()).collect();
        match missing.split_first() {
            None => Ok(paths),
            Some((first, rest)) => Err(fault(format!(
                "part {} is missing{}; download it into the same folder",
                show_path(first),
                if rest.is_empty() {
                    String::new()
                } else {
                    format!(" and {} more", rest.len())
                }
            ))),
        }
    }

    /// Makes sure that the shard at `path`, which should be number `no`, belongs to the model that begins with `self`.
    pub(crate) fn check_shard(&self, path: &Path, no: u32, shard: &Metadata) -> Result<(), Error> {
        let fault = |problem| {
            Err(Error::Split {
                path: path.to_owned(),
                problem,
            })
        };
        let found = shard.u32("split.no")?;
        if found != no {
            return fault(format!(
                "key \"split.no\" is {found}, expected {no}; download this part again"
            ));
        }
        if let Some(found) = shard
            .opt_u32("split.count")?
            .filter(|&found| found != self.count)
        {
            return fault(format!(
                "key \"split.count\" is {found}, but the first part says {}; the parts are of different models",
                self.count
            ));
        }
        if let (Some(found), Some(first)) = (shard.opt_u64("split.tensors.count")?, self.tensors)
            && found != first
        {
            return fault(format!(
                "key \"split.tensors.count\" is {found}, but the first part says {first}; the parts are of different models"
            ));
        }
        Ok(())
    }
}

/// `-00001-of-00003.gguf` for shard 0 of 3.
fn ending(no: u32, count: u32) -> String {
    format!("-{:05}-of-{count:05}.gguf", u64::from(no) + 1)
}

/// `NAME-00001-of-00003.gguf` as `NAME`, 1, 3.
fn parse(name: &str) -> Option<(&str, u64, u64)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (prefix, no) = rest.rsplit_once('-')?;
    let number = |digits: &str| {
        (digits.len() >= 5 && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse().ok())
            .flatten()
    };
    Some((prefix, number(no)?, number(count)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        assert_eq!(parse("a-b-00002-of-00013.gguf"), Some(("a-b", 2, 13)));
        assert_eq!(parse("-00001-of-00002.gguf"), Some(("", 1, 2)));
        assert_eq!(ending(1, 13), "-00002-of-00013.gguf");
        for name in [
            "a.gguf",
            "a-1-of-2.gguf",
            "a-00001-of-0000x.gguf",
            "00001-of-00002.gguf",
            "a-00001-of-00002.bin",
            "a-00001-of-99999999999999999999999.gguf",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
