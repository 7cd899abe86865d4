#!/usr/bin/env python3
"""Writes the grids of the IQ formats as Rust source: python3 tools/make_grids.py > kernels/src/format/grids.rs

The grids are facts of the formats. They are taken from the `gguf` package (tools/requirements.txt), which holds them packed,
and are packed again here: one 16-bit number for each entry, 2 bits for each of 8 values or 4 bits for each of 4.
"""
from gguf import quants

TABLES = [
    ("IQ2_XXS", quants.IQ2_XXS, 2),
    ("IQ2_XS", quants.IQ2_XS, 2),
    ("IQ2_S", quants.IQ2_S, 2),
    ("IQ3_XXS", quants.IQ3_XXS, 4),
    ("IQ3_S", quants.IQ3_S, 4),
    ("IQ1", quants.IQ1_S, 2),
]

print("//! Grids of the IQ formats, made by tools/make_grids.py. Each number packs the indices of one entry's values into the")
print("//! map above it: 2 bits for each of 8 values, or 4 bits for each of 4, the first value lowest.")
for name, kind, bits in TABLES:
    kind.init_grid()
    values = [int(v) for v in kind.grid_map]
    rows = kind.grid.reshape(kind.grid_shape).astype(int).tolist()
    packed = [sum(values.index(v) << (bits * i) for i, v in enumerate(row)) for row in rows]
    print(f"\n/// Values of the {name} grid.")
    print(f"pub(super) const {name}_MAP: [i8; {len(values)}] = {values};")
    print(f"\n/// Entries of the {name} grid.")
    print("#[rustfmt::skip]")
    print(f"pub(super) const {name}_PACKED: [u16; {len(packed)}] = [")
    for i in range(0, len(packed), 16):
        print("    " + " ".join(f"{v:#06x}," for v in packed[i:i + 16]))
    print("];")
