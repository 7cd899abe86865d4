#!/usr/bin/env python3
"""Writes an F16 file of the recipe again as Q4_K_M, without the run that it came from: `q4_k_m.py models/tiny-f16.gguf OUT.gguf`."""
import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType

import quantize


def kind(name, layers):
    """The mix is llama-quantize's, as in export.py."""
    if name == "token_embd.weight":
        return "Q6_K"
    if "attn_v" in name or "ffn_down" in name:
        layer = int(name.split(".")[1])
        if layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2:
            return "Q6_K"
    return "Q4_K"


def main():
    source, target = sys.argv[1:]
    reader = GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    layers = reader.fields[f"{architecture}.block_count"].contents()
    writer = GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = int(LlamaFileType.MOSTLY_Q4_K_M) if name == "general.file_type" else field.contents()
        array = field.types[0] == GGUFValueType.ARRAY
        writer.add_key_value(name, value, field.types[0], field.types[-1] if array else None)
    for tensor in reader.tensors:
        if tensor.tensor_type == GGMLQuantizationType.F32:
            writer.add_tensor(tensor.name, np.array(tensor.data))
            continue
        rows = np.array(tensor.data).astype(np.float32).reshape([int(n) for n in reversed(tensor.shape)])
        of = kind(tensor.name, layers)
        writer.add_tensor(tensor.name, getattr(quantize, of.lower())(rows), raw_dtype=GGMLQuantizationType[of])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
