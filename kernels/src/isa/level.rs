//! The levels: which sets of verbs exist, what each needs of the CPU, and which one to use.

use std::env::VarError;
use std::fmt;

/// One row for each level, slowest first: name, token, the CPU features that it needs.
/// Everything that enumerates levels is made from this list.
///
/// (`$d` is a dollar sign, for the macro that this macro defines.)
macro_rules! levels {
    (($d:tt) $($(#[$cfg:meta])* $variant:ident $name:literal [$($feature:tt),*] $token:expr;)+) => {
        /// What the CPU can do: a set of kernels. Detected once and passed down as a value.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the names are the documentation")]
        pub enum Level { $($(#[$cfg])* $variant),+ }

        impl Level {
            /// All levels that this build contains, slowest first.
            pub const ALL: &[Level] = &[$($(#[$cfg])* Level::$variant),+];

            /// The name by which `SMOLQ_LEVEL` selects it.
            pub fn name(self) -> &'static str {
                match self { $($(#[$cfg])* Level::$variant => $name),+ }
            }

            /// The CPU features that the level needs, each with whether this CPU has it.
            pub fn features(self) -> Vec<(&'static str, bool)> {
                match self { $($(#[$cfg])* Level::$variant => vec![$(($feature, detected!($feature))),*]),+ }
            }

            /// Whether this CPU can run the level.
            pub fn is_available(self) -> bool {
                match self { $($(#[$cfg])* Level::$variant => true $(&& detected!($feature))*),+ }
            }
        }

        /// Runs `$body` with `$isa` bound to the token of `$level`.
        macro_rules! with_isa {
            ($d level:expr, $d isa:ident => $d body:expr) => {
                match $d level {
                    $($(#[$cfg])* $d crate::isa::Level::$variant => { let $d isa = $token; $d body })+
                }
            };
        }
        pub(crate) use with_isa;
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! detected {
    ($feature:tt) => {
        std::arch::is_x86_feature_detected!($feature)
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! detected {
    ($feature:tt) => {
        std::arch::is_aarch64_feature_detected!($feature)
    };
}

levels! { ($)
    Scalar "scalar" [] crate::isa::Scalar;
    #[cfg(target_arch = "x86_64")]
    Avx2 "avx2" ["avx2", "fma", "f16c"] crate::isa::Avx2::new().expect("the level was checked when it was chosen");
    #[cfg(target_arch = "x86_64")]
    AvxVnni "avxvnni" ["avx2", "fma", "f16c", "avxvnni"] crate::isa::AvxVnni::new().expect("the level was checked when it was chosen");
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni "avx512vnni" ["avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"] crate::isa::Avx512Vnni::new().expect("the level was checked when it was chosen");
    #[cfg(target_arch = "aarch64")]
    Neon "neon" ["neon"] crate::isa::Neon::new().expect("the level was checked when it was chosen");
    #[cfg(target_arch = "aarch64")]
    NeonDotprod "neon-dotprod" ["neon", "dotprod"] crate::isa::Dotprod::new().expect("the level was checked when it was chosen");
    #[cfg(target_arch = "aarch64")]
    NeonI8mm "neon-i8mm" ["neon", "dotprod", "i8mm"] crate::isa::I8mm::new().expect("the level was checked when it was chosen");
}

impl Level {
    /// The levels that this CPU can run, slowest first.
    pub fn available() -> impl Iterator<Item = Level> {
        Level::ALL
            .iter()
            .copied()
            .filter(|level| level.is_available())
    }

    /// The fastest level that this CPU can run.
    pub fn best() -> Level {
        Level::available().last().unwrap_or(Level::Scalar)
    }

    /// The level named by the environment variable `SMOLQ_LEVEL`, else (if there is none, or an empty one) the best one.
    ///
    /// # Errors
    /// If the variable names no level of this build, or one that this CPU cannot run.
    pub fn choose() -> Result<Level, String> {
        Level::wanted(std::env::var("SMOLQ_LEVEL"))
    }

    fn wanted(name: Result<String, VarError>) -> Result<Level, String> {
        match name {
            Ok(name) if !name.is_empty() => Level::named(&name),
            Ok(_) | Err(VarError::NotPresent) => Ok(Level::best()),
            Err(VarError::NotUnicode(name)) => Err(format!(
                "no level is named {name:?}, which is not even Unicode"
            )),
        }
    }

    /// The level of that name.
    ///
    /// # Errors
    /// If this build has no such level, or this CPU cannot run it.
    pub fn named(name: &str) -> Result<Level, String> {
        let known = || {
            Level::ALL
                .iter()
                .map(|level| level.name())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let level = Level::ALL
            .iter()
            .copied()
            .find(|level| level.name() == name);
        let level = level
            .ok_or_else(|| format!("no level is named {name:?}; this build has {}", known()))?;
        let lacking: Vec<_> = level
            .features()
            .into_iter()
            .filter(|f| !f.1)
            .map(|f| f.0)
            .collect();
        if lacking.is_empty() {
            Ok(level)
        } else {
            Err(format!(
                "level {name} needs {} of the CPU, which it lacks",
                lacking.join(", ")
            ))
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_is_not_there_means_any() {
        assert_eq!(Level::wanted(Err(VarError::NotPresent)), Ok(Level::best()));
        assert_eq!(Level::wanted(Ok(String::new())), Ok(Level::best()));
        assert_eq!(Level::wanted(Ok("scalar".to_owned())), Ok(Level::Scalar));
        assert!(Level::wanted(Ok("sse9".to_owned())).is_err());
        assert!(Level::wanted(Err(VarError::NotUnicode("scalar".into()))).is_err());
    }
}
