//! The tensor types: their ids, names and block sizes, and advice for the ids that are not read.

use std::fmt;

macro_rules! tensor_types {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $block_len:literal values in $block_bytes:literal;)*) => {
        /// How the values of a tensor are stored.
        ///
        /// Values come in blocks of [`block_len`](Self::block_len) along a row, each of
        /// [`block_bytes`](Self::block_bytes) bytes. The names are those of GGML, as users see them in file names.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[allow(non_camel_case_types, reason = "Q4_K is the name of the format everywhere else")]
        pub enum TensorType { $($(#[$doc])* $name,)* }

        impl TensorType {
            /// Every type, in the order of their ids.
            pub const ALL: &[TensorType] = &[$(TensorType::$name,)*];

            /// The id in the file.
            pub fn id(self) -> u32 {
                match self { $(TensorType::$name => $id,)* }
            }

            /// The type with this id; for an id that is not read, what it is and what to do.
            pub fn from_id(id: u32) -> Result<Self, TypeAdvice> {
                match id {
                    $($id => Ok(TensorType::$name),)*
                    _ => Err(TypeAdvice { id }),
                }
            }

            /// The name: `Q4_K`, `F16`.
            pub fn name(self) -> &'static str {
                match self { $(TensorType::$name => stringify!($name),)* }
            }

            /// The type of this name, in upper or lower case.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name().eq_ignore_ascii_case(name))
            }

            /// Values per block; 1 where a value stands alone.
            pub fn block_len(self) -> usize {
                match self { $(TensorType::$name => $block_len,)* }
            }

            /// Bytes per block.
            pub fn block_bytes(self) -> usize {
                match self { $(TensorType::$name => $block_bytes,)* }
            }
        }
    };
}

// Bytes are written as sums of the block's fields, in their order in the block: an f16 scale is 2, nibbles are
// half a byte each, bit planes an eighth.
tensor_types! {
    /// 32-bit float.
    F32 = 0, 1 values in 4;
    /// 16-bit float, IEEE half.
    F16 = 1, 1 values in 2;
    /// 4 bits, scale.
    Q4_0 = 2, 32 values in 18;
    /// 4 bits, scale and minimum.
    Q4_1 = 3, 32 values in 20;
    /// 5 bits, scale.
    Q5_0 = 6, 32 values in 22;
    /// 5 bits, scale and minimum.
    Q5_1 = 7, 32 values in 24;
    /// 8 bits, scale.
    Q8_0 = 8, 32 values in 34;
    /// 8 bits, scale and sum. For activations; not met in files.
    Q8_1 = 9, 32 values in 36;
    /// 2-bit K-quant.
    Q2_K = 10, 256 values in 84;
    /// 3-bit K-quant.
    Q3_K = 11, 256 values in 110;
    /// 4-bit K-quant.
    Q4_K = 12, 256 values in 144;
    /// 5-bit K-quant.
    Q5_K = 13, 256 values in 176;
    /// 6-bit K-quant.
    Q6_K = 14, 256 values in 210;
    /// 8-bit K-quant. For activations; not met in files.
    Q8_K = 15, 256 values in 292;
    /// 2.06 bpw, codebook.
    IQ2_XXS = 16, 256 values in 66;
    /// 2.31 bpw, codebook.
    IQ2_XS = 17, 256 values in 74;
    /// 3.06 bpw, codebook.
    IQ3_XXS = 18, 256 values in 98;
    /// 1.56 bpw, codebook.
    IQ1_S = 19, 256 values in 50;
    /// 4 bits, non-linear values.
    IQ4_NL = 20, 32 values in 18;
    /// 3.44 bpw, codebook.
    IQ3_S = 21, 256 values in 110;
    /// 2.56 bpw, codebook.
    IQ2_S = 22, 256 values in 82;
    /// 4.25 bpw, non-linear values.
    IQ4_XS = 23, 256 values in 136;
    /// 8-bit integer.
    I8 = 24, 1 values in 1;
    /// 16-bit integer.
    I16 = 25, 1 values in 2;
    /// 32-bit integer.
    I32 = 26, 1 values in 4;
    /// 64-bit integer.
    I64 = 27, 1 values in 8;
    /// 64-bit float.
    F64 = 28, 1 values in 8;
    /// 1.75 bpw, codebook.
    IQ1_M = 29, 256 values in 56;
    /// 16-bit float with the exponent of an `f32`.
    BF16 = 30, 1 values in 2;
    /// Ternary, 1.69 bpw.
    TQ1_0 = 34, 256 values in 54;
    /// Ternary, 2.06 bpw.
    TQ2_0 = 35, 256 values in 66;
    /// 4-bit floats under a shared power of two (OCP microscaling).
    MXFP4 = 39, 32 values in 17;
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A tensor type id that is not read. `Display` says what it is and what to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeAdvice {
    /// The id in the file.
    pub id: u32,
}

/// Why an id is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    /// Once in GGML, taken out again.
    Removed,
    /// Q4_0 and IQ4_NL stored interleaved; GGML now does this at load.
    Interleaved,
    /// In GGML, younger than this crate.
    Newer,
    /// Of the fork ik_llama.cpp.
    Fork,
    /// Nobody's.
    Unknown,
}

impl TypeAdvice {
    /// The name of the type, where it has one.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self.id {
            4 => "Q4_2",
            5 => "Q4_3",
            31 => "Q4_0_4_4",
            32 => "Q4_0_4_8",
            33 => "Q4_0_8_8",
            36 => "IQ4_NL_4_4",
            37 => "IQ4_NL_4_8",
            38 => "IQ4_NL_8_8",
            40 => "NVFP4",
            41 => "Q1_0",
            42 => "Q2_0",
            133 => "Q6_0",
            137 => "IQ2_K",
            138 => "IQ3_K",
            139 => "IQ4_K",
            140 => "IQ5_K",
            141 => "IQ6_K",
            144 => "IQ4_KS",
            145 => "IQ2_KS",
            146 => "IQ4_KSS",
            151 => "Q8_KV",
            152 => "IQ5_KS",
            156 => "IQ3_KS",
            157 => "IQ2_KL",
            // The fork numbers the interleaved form of a type 200 above the type itself.
            202 => "Q4_0_R8",
            206 => "Q5_0_R4",
            208 => "Q8_0_R8",
            210 => "Q2_K_R4",
            211 => "Q3_K_R4",
            212 => "Q4_K_R4",
            213 => "Q5_K_R4",
            214 => "Q6_K_R4",
            216 => "IQ2_XXS_R4",
            217 => "IQ2_XS_R4",
            218 => "IQ3_XXS_R4",
            219 => "IQ1_S_R4",
            220 => "IQ4_NL_R4",
            221 => "IQ3_S_R4",
            222 => "IQ2_S_R4",
            223 => "IQ4_XS_R8",
            229 => "IQ1_M_R4",
            230 => "BF16_R16",
            233 => "Q6_0_R4",
            335 => "IQ2_BN_R4",
            337 => "IQ2_K_R4",
            338 => "IQ3_K_R4",
            339 => "IQ4_K_R4",
            340 => "IQ5_K_R4",
            344 => "IQ4_KS_R4",
            352 => "IQ5_KS_R4",
            398 => "Q8_KV_R8",
            399 => "Q8_K_R8",
            _ => return None,
        })
    }

    fn family(&self) -> Family {
        match self.id {
            4 | 5 => Family::Removed,
            31..=33 | 36..=38 => Family::Interleaved,
            40..=99 => Family::Newer,
            133..=158 | 202..=399 => Family::Fork,
            _ => Family::Unknown,
        }
    }
}

impl fmt::Display for TypeAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type id {}", self.id)?;
        if let Some(name) = self.name() {
            write!(f, " ({name})")?;
        }
        f.write_str(match self.family() {
            Family::Removed => {
                " was removed from GGML in 2023 and nothing reads it any more; download a current file of the model, such as Q4_K_M"
            }
            Family::Interleaved => {
                " is an interleaved layout that GGML gave up in favour of rearranging at load; use the plain Q4_0 or IQ4_NL file of the model"
            }
            Family::Newer => {
                " is newer than this program; update it, or use another file of the model, such as Q4_K_M or Q8_0"
            }
            Family::Fork => {
                " belongs to the fork ik_llama.cpp, which alone reads it; use a file of the model made with llama.cpp, such as Q4_K_M or Q8_0"
            }
            Family::Unknown => " is not a GGML type; the file is damaged or made by an unknown program, download it again",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_lead_back() {
        for &kind in TensorType::ALL {
            assert_eq!(TensorType::from_id(kind.id()), Ok(kind));
            assert_eq!(TensorType::from_name(kind.name()), Some(kind));
            assert_eq!(
                TensorType::from_name(&kind.name().to_lowercase()),
                Some(kind)
            );
        }
        assert_eq!(TensorType::ALL.len(), 32);
        assert_eq!(TensorType::from_name("Q4_2"), None);
    }

    #[test]
    fn blocks_are_as_long_as_the_sum_of_their_fields() {
        use TensorType::*;
        let sums = [
            (Q4_0, 2 + 16),
            (Q4_1, 2 + 2 + 16),
            (Q5_0, 2 + 4 + 16),
            (Q5_1, 2 + 2 + 4 + 16),
            (Q8_0, 2 + 32),
            (Q8_1, 2 + 2 + 32),
            (Q2_K, 16 + 64 + 2 + 2),
            (Q3_K, 32 + 64 + 12 + 2),
            (Q4_K, 2 + 2 + 12 + 128),
            (Q5_K, 2 + 2 + 12 + 32 + 128),
            (Q6_K, 128 + 64 + 16 + 2),
            (Q8_K, 4 + 256 + 32),
            (IQ2_XXS, 2 + 64),
            (IQ2_XS, 2 + 64 + 8),
            (IQ3_XXS, 2 + 64 + 32),
            (IQ1_S, 2 + 32 + 16),
            (IQ4_NL, 2 + 16),
            (IQ3_S, 2 + 64 + 8 + 32 + 4),
            (IQ2_S, 2 + 64 + 8 + 8),
            (IQ4_XS, 2 + 2 + 4 + 128),
            (IQ1_M, 32 + 16 + 8),
            (TQ1_0, 48 + 4 + 2),
            (TQ2_0, 64 + 2),
            (MXFP4, 1 + 16),
        ];
        for (kind, bytes) in sums {
            assert_eq!(kind.block_bytes(), bytes, "{kind}");
        }
        for &kind in TensorType::ALL {
            assert!(
                sums.iter().any(|&(k, _)| k == kind) || kind.block_len() == 1,
                "{kind} has no sum"
            );
        }
    }

    #[test]
    fn every_other_id_has_advice() {
        let text = |id: u32| TensorType::from_id(id).unwrap_err().to_string();
        assert!(text(4).starts_with("type id 4 (Q4_2) was removed"));
        assert!(text(33).contains("(Q4_0_8_8) is an interleaved layout"));
        assert!(text(40).contains("(NVFP4) is newer"));
        assert!(text(43).contains("type id 43 is newer"));
        assert!(text(139).contains("(IQ4_K) belongs to the fork ik_llama.cpp"));
        assert!(text(150).contains("type id 150 belongs to the fork"));
        assert!(text(212).contains("(Q4_K_R4) belongs to the fork"));
        assert!(text(400).contains("not a GGML type"));
        assert!(text(u32::MAX).contains("4294967295 is not"));
    }
}
