"""Q4_K and Q6_K in numpy, in llama.cpp's layouts; the `gguf` package reads them, but does not write them.

Rows are multiples of 256. A block of 256 has scales for 8 parts of 32 (Q4_K, with a minimum each) or for 16 parts of 16 (Q6_K), which are small
whole numbers times one f16.
"""
import numpy as np


def inverse(x):
    """1 / x, and 0 for 0."""
    return np.divide(1.0, x, out=np.zeros_like(x), where=x != 0)


def part_scale_min(x):
    """For each part (last axis) the scale and minimum with the least squares of `scale * q - minimum`, q from 0 to 15."""
    low = np.minimum(x.min(-1, keepdims=True), 0)
    span = x.max(-1, keepdims=True) - low
    weight = np.sqrt((x * x).mean(-1, keepdims=True)) + np.abs(x)
    best = np.full(x.shape[:-1], np.inf)
    scales, minima = np.zeros_like(best), np.zeros_like(best)
    for top in np.linspace(14, 16.5, 26):
        q = np.clip(np.rint((x - low) * (top * inverse(span))), 0, 15)
        w, wq, wqq = weight.sum(-1), (weight * q).sum(-1), (weight * q * q).sum(-1)
        wx, wqx = (weight * x).sum(-1), (weight * q * x).sum(-1)
        determinant = inverse(w * wqq - wq * wq)
        scale, minimum = (w * wqx - wx * wq) * determinant, (wq * wqx - wqq * wx) * determinant
        flat = minimum < 0
        scale = np.where(flat, wqx * inverse(wqq), scale)
        minimum = np.where(flat, 0, minimum)
        error = (weight * (scale[..., None] * q - minimum[..., None] - x) ** 2).sum(-1)
        better = error < best
        best[better], scales[better], minima[better] = error[better], scale[better], minimum[better]
    return np.maximum(scales, 0), minima


def q4_k(rows):
    x = rows.astype(np.float64).reshape(-1, 8, 32)
    scales, minima = part_scale_min(x)
    d, dmin = (np.float16(value.max(-1) / 63) for value in (scales, minima))
    wide, wide_min = d.astype(np.float64)[:, None], dmin.astype(np.float64)[:, None]
    ls, lm = (np.clip(np.rint(value * inverse(unit)), 0, 63).astype(np.uint8) for value, unit in ((scales, wide), (minima, wide_min)))
    q = np.clip(np.rint((x + (wide_min * lm)[..., None]) * inverse(wide * ls)[..., None]), 0, 15).astype(np.uint8)
    packed = np.concatenate([ls[:, :4] | (ls[:, 4:] >> 4 << 6), lm[:, :4] | (lm[:, 4:] >> 4 << 6), (ls[:, 4:] & 15) | (lm[:, 4:] & 15) << 4], axis=1)
    pairs = q.reshape(-1, 4, 2, 32)
    nibbles = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)
    blocks = np.concatenate([d[:, None].view(np.uint8), dmin[:, None].view(np.uint8), packed, nibbles], axis=1)
    return blocks.reshape(rows.shape[0], -1)


def q6_k(rows):
    x = rows.astype(np.float64).reshape(-1, 16, 16)
    extreme = np.take_along_axis(x, np.abs(x).argmax(-1)[..., None], -1)
    weight, best = x * x, np.full(x.shape[:-1], -np.inf)
    scales = np.zeros_like(best)
    for top in np.linspace(-32.9, -31.1, 19):
        q = np.clip(np.rint(x * (top * inverse(extreme))), -32, 31)
        wqx, wqq = (weight * q * x).sum(-1), (weight * q * q).sum(-1)
        gain, scale = wqx * wqx * inverse(wqq), wqx * inverse(wqq)
        better = gain > best
        best[better], scales[better] = gain[better], scale[better]
    largest = np.take_along_axis(scales, np.abs(scales).argmax(-1)[:, None], -1)
    d = np.float16(largest / -128)
    wide = d.astype(np.float64)
    ls = np.clip(np.rint(scales * inverse(wide)), -128, 127).astype(np.int8)
    q = (np.clip(np.rint(x * inverse(wide * ls)[..., None]), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low, high = q & 15, q >> 4
    ql = (low[:, :, :2] | low[:, :, 2:] << 4).reshape(-1, 128)
    qh = (high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6).reshape(-1, 64)
    return np.concatenate([ql, qh, ls.view(np.uint8), d.view(np.uint8)], axis=1).reshape(rows.shape[0], -1)
