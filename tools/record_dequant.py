#!/usr/bin/env python3
"""Record what the `gguf` Python package makes of blocks of every weight format.

    python3 tools/record_dequant.py kernels/tests/data/dequant
    python3 tools/record_dequant.py OUT --check-ggml path/to/libggml-base.so   # also compare with ggml's own C, bit by bit

One file per format, `<FORMAT>.bin`, all little endian:

    u32 n_blocks, u32 block_bytes, u32 block_len
    u8  blocks[n_blocks][block_bytes]
    f32 values[n_blocks][block_len]

The first blocks are chosen: every special float scale (zero, -0, denormal, largest) with random quants, then plain scales with
quant bytes that are all 0x00, 0xFF, 0x80 or 0x7F. The rest is random. No block dequantizes to an infinity or a NaN. The random
numbers are seeded by the format's name, so a new format does not move the others. README.md beside the files says the same.
"""
import argparse
import ctypes
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

N_BLOCKS = 64
N_PLAIN = 4096  # values of the formats that are one number per block

# Byte offsets of the f16 numbers of a block. IQ1_M, MXFP4, F16 and BF16 have none and are dealt with by name.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ1_S": [0],
    "IQ1_M": None, "TQ1_0": [52], "TQ2_0": [64], "MXFP4": None, "F16": None, "BF16": None,
}
# zero, -0, smallest and largest denormal, smallest normal, largest, and their negatives.
SPECIAL_F16 = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x7BFF, 0xFBFF]
FILLS = [0x00, 0xFF, 0x80, 0x7F]
ONE, MINUS_THIRD = 0x3C00, 0xB555
# MXFP4: 0 and 1 are denormal as the format halves its scale; 255 is NaN.
SPECIAL_E8M0 = [0, 1, 2, 254]


def sane_scales(rng, count):
    """Scales of a size that real files have, both signs, as f16 bits."""
    return (rng.uniform(2.0**-10, 2.0**-2, count) * rng.choice([-1.0, 1.0], count)).astype(np.float16).view(np.uint16)


def set_f16(block, offset, bits):
    block[offset:offset + 2] = np.array([bits], dtype="<u2").view(np.uint8)


def set_iq1_m_scale(block, bits):
    """The f16 of IQ1_M lies in the high nibbles of its four scale words, lowest nibble first."""
    for word in range(4):
        high = 48 + 2 * word + 1
        block[high] = (block[high] & 0x0F) | (((int(bits) >> (4 * word)) & 0xF) << 4)


def put_scales(name, block, bits):
    """Writes the block's f16 numbers: `bits` is (scale, minimum)."""
    if name == "IQ1_M":
        set_iq1_m_scale(block, bits[0])
    else:
        for offset, value in zip(SCALES[name], bits):
            set_f16(block, offset, value)


def block_cases(name, block_bytes, rng):
    blocks = rng.integers(0, 256, (N_BLOCKS, block_bytes), dtype=np.uint8)
    if name == "MXFP4":
        blocks[:, 0] = rng.integers(110, 140, N_BLOCKS)
        cases = [(e, None) for e in SPECIAL_E8M0] + [(127, fill) for fill in FILLS]
        for block, (exponent, fill) in zip(blocks, cases):
            if fill is not None:
                block[1:] = fill
            block[0] = exponent
            if exponent == 254:
                block[1:] &= 0xBB  # 2^126 times more than 3 overflows f32: keep the four smallest values of each sign
        return blocks

    scales = sane_scales(rng, 2 * N_BLOCKS).reshape(N_BLOCKS, 2)
    fills = [None] * N_BLOCKS
    cases = [(s, scales[i, 1], None) for i, s in enumerate(SPECIAL_F16)]
    cases += [(ONE, ONE, fill) for fill in FILLS] + [(MINUS_THIRD, MINUS_THIRD, fill) for fill in FILLS]
    if SCALES[name] and len(SCALES[name]) == 2:
        cases += [(scales[i, 0], s, None) for i, s in enumerate(SPECIAL_F16)] + [(s, s, None) for s in SPECIAL_F16]
    for i, (d, m, fill) in enumerate(cases):
        scales[i] = d, m
        fills[i] = fill
    for block, bits, fill in zip(blocks, scales, fills):
        if fill is not None:
            block[:] = fill
        put_scales(name, block, bits)
    return blocks


def plain_cases(name, rng):
    """F16 and BF16: specials of both signs, then every exponent with random mantissas; neither infinity nor NaN."""
    exponent_bits, mantissa_bits = (5, 10) if name == "F16" else (8, 7)
    top = ((1 << exponent_bits) - 1) << mantissa_bits  # infinity
    one = ((1 << (exponent_bits - 1)) - 1) << mantissa_bits
    denormals = (1 << mantissa_bits) - 1
    special = [0, 1, 2, denormals, denormals + 1, denormals + 2, one - 1, one, one + 1, top - 1]
    special += [s | 0x8000 for s in special]
    rest = rng.integers(0, top, N_PLAIN - len(special)) | (rng.integers(0, 2, N_PLAIN - len(special)) << 15)
    return np.concatenate([special, rest]).astype("<u2").view(np.uint8).reshape(N_PLAIN, 2)


def record(name):
    kind = GGMLQuantizationType[name]
    block_len, block_bytes = GGML_QUANT_SIZES[kind]
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    blocks = plain_cases(name, rng) if block_len == 1 else block_cases(name, block_bytes, rng)
    assert blocks.shape[1] == block_bytes, name
    values = quants.dequantize(blocks, kind).astype("<f4").reshape(len(blocks), block_len)
    assert np.isfinite(values).all(), f"{name}: blocks {np.unique(np.argwhere(~np.isfinite(values))[:, 0])} are not finite"
    return blocks, values


def check_ggml(library, name, blocks, values):
    """Compares with `dequantize_row_*` of a ggml build. Returns how many values differ in bits, and how many in value."""
    symbol = {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}.get(name)
    if symbol is None:
        head, _, tail = name.partition("_")
        symbol = f"dequantize_row_{head.lower()}" + (f"_{tail if tail == 'K' else tail.lower()}" if tail else "")
    function = getattr(library, symbol)
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64], None
    out = np.full(values.size, np.nan, dtype=np.float32)
    aligned = np.frombuffer(blocks.tobytes(), dtype=np.uint8)
    function(aligned.ctypes.data, out.ctypes.data, values.size)
    out = out.reshape(values.shape)
    return int((out.view(np.uint32) != values.view(np.uint32)).sum()), int((out != values).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the .bin files")
    parser.add_argument("--check-ggml", metavar="LIBRARY", help="a libggml-base.so to compare with")
    args = parser.parse_args()
    library = ctypes.CDLL(args.check_ggml) if args.check_ggml else None
    args.out.mkdir(parents=True, exist_ok=True)
    total, wrong = 0, 0
    for name in SCALES:
        blocks, values = record(name)
        data = struct.pack("<III", len(blocks), blocks.shape[1], values.shape[1]) + blocks.tobytes() + values.tobytes()
        (args.out / f"{name}.bin").write_bytes(data)
        total += len(data)
        line = f"{name:8} {len(blocks):5} blocks of {blocks.shape[1]:3} bytes, {values.shape[1]:3} values, {len(data):6} bytes"
        if library:
            bits, numbers = check_ggml(library, name, blocks, values)
            wrong += numbers
            line += f"; against ggml: {bits} differ in bits, {numbers} in value"
        print(line)
    print(f"{total} bytes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
