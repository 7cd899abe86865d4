#!/usr/bin/env python3
"""Writes the GGUF files of a finished run, and the goldens: what transformers says in f32.

    python3 tools/tiny/export.py RUN OUT [--smolq target/release/smolq]

OUT/tiny-{f16,q8_0,q4_k_m}.gguf, OUT/tiny-goldens.json (prompts, greedy replies) and OUT/tiny-goldens.npy (the logits after each prompt). With
`--smolq` the program's logits for the F16 file are compared with transformers', token by token.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants
from transformers import SmolLM3ForCausalLM

import chat
import evaluate
import quantize
import skills
from tokenizer import SPECIALS

sys.path.insert(0, str(Path(__file__).parents[1]))
from make_tiny_models import adjacent_pairs, file_name  # noqa: E402

QUANTIZERS = {"F16": lambda x: x.astype(np.float16), "Q8_0": lambda x: quants.quantize(x, GGMLQuantizationType.Q8_0),
              "Q4_K": quantize.q4_k, "Q6_K": quantize.q6_k}
FILES = {"f16": LlamaFileType.MOSTLY_F16, "q8_0": LlamaFileType.MOSTLY_Q8_0, "q4_k_m": LlamaFileType.MOSTLY_Q4_K_M}
MAX_DIFFERENCE = 0.02  # of the logits of smolq's F16 file and transformers


def kind(file, name, shape):
    """The type of a matrix in a file; the mix of Q4_K_M is llama-quantize's."""
    if file != "q4_k_m":
        return file.upper()
    if name == "token_embd.weight":
        return "Q6_K"
    if "attn_v" in name or "ffn_down" in name:
        layer, n = int(name.split(".")[1]), shape.n_layer
        if layer < n // 8 or layer >= 7 * n // 8 or (layer - n // 8) % 3 == 2:
            return "Q6_K"
    return "Q4_K"


def write_tokenizer(writer, tokenizer):
    control = dict(SPECIALS)
    tokens = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smaug-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.NORMAL if token not in control else TokenType.CONTROL if control[token] else TokenType.USER_DEFINED
                            for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.token_to_id("<|begin_of_text|>"))
    writer.add_eos_token_id(tokenizer.token_to_id(chat.END))
    writer.add_pad_token_id(tokenizer.token_to_id(chat.END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat.TEMPLATE)


def write(path, file, shape, weights, tokenizer):
    writer = GGUFWriter(path, "smollm3")
    writer.add_custom_alignment(64)  # in the program, where the file is, matrices begin cache lines
    writer.add_name("smolq tiny")
    writer.add_description("A very small SmolLM3 that talks, thinks and calls tools; trained from nothing by tools/tiny of smolq")
    writer.add_license("MIT")
    writer.add_size_label(f"{sum(value.size for value in weights.values()) / 1e6:.1f}M")
    writer.add_languages(["en", "fr", "es", "de", "it", "pt"])
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_sampling_temp(0.0)  # so small a model knows one right answer, not many good ones
    writer.add_file_type(FILES[file])
    writer.add_quantization_version(2)
    write_tokenizer(writer, tokenizer)
    for name, value in weights.items():
        if value.ndim == 1:
            writer.add_tensor(file_name(name), value)
            continue
        if "q_proj" in name or "k_proj" in name:
            value = adjacent_pairs(value, shape.n_head if "q_proj" in name else shape.n_head_kv)
        type_name = kind(file, file_name(name), shape)
        writer.add_tensor(file_name(name), np.ascontiguousarray(QUANTIZERS[type_name](value)), raw_dtype=GGMLQuantizationType[type_name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def golden_prompts(tokenizer):
    """One prompt of each skill."""
    examples = [skills.make(name, "golden", held_out=True) for name in skills.REGISTRY]
    return [(example, tokenizer.encode(chat.prompt(example)).ids) for example in examples]


def greedy(reference, ids, end, max_new=160):
    """transformers' own answer, as ids."""
    out = reference.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                             max_new_tokens=max_new, eos_token_id=end, pad_token_id=end)[0, len(ids):].tolist()
    return out


@torch.inference_mode()
def goldens(out, reference, prompts, tokenizer):
    end = tokenizer.token_to_id(chat.END)
    records, logits = [], []
    for example, ids in prompts:
        logits.append(reference(torch.tensor([ids])).logits[0, -1].numpy())
        reply = greedy(reference, ids, end)
        records.append({"skill": example.skill, "prompt": chat.prompt(example), "tokens": ids, "reply_tokens": reply,
                        "reply": tokenizer.decode([token for token in reply if token != end], skip_special_tokens=False)})
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    (out / "tiny-goldens.json").write_text(f"[\n{lines}\n]\n")
    np.save(out / "tiny-goldens.npy", np.stack(logits).astype("<f4"))


@torch.inference_mode()
def compare(smolq, file, reference, prompts):
    """The largest difference of any logit of any prompt."""
    largest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        tokens, logits = Path(folder) / "tokens.json", Path(folder) / "logits.npy"
        for _, ids in prompts:
            tokens.write_text(json.dumps(ids))
            subprocess.run([smolq, "logits", file, "--tokens", tokens, "-o", logits], check=True, capture_output=True)
            truth = reference(torch.tensor([ids])).logits[0].numpy()
            largest = max(largest, float(np.abs(np.load(logits) - truth).max()))
    return largest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--smolq", type=Path, help="compare the logits of this program")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model, tokenizer = evaluate.load(args.run)
    # The numbers of the F16 file are the model from here on.
    state = {name: value.half().float() if value.ndim == 2 else value for name, value in model.state_dict().items()}
    weights = {name: value.numpy() for name, value in state.items()}
    for file in FILES:
        path = args.out / f"tiny-{file}.gguf"
        write(path, file, model.shape, weights, tokenizer)
        print(f"{path}: {path.stat().st_size} bytes")
    reference = SmolLM3ForCausalLM(model.shape.transformers_config(tokenizer)).float().eval()
    missing = reference.load_state_dict(state, strict=False)
    if missing.unexpected_keys or missing.missing_keys != ["lm_head.weight"]:
        raise SystemExit(f"the weights do not fit transformers' model: {missing}")
    reference.tie_weights()
    prompts = golden_prompts(tokenizer)
    goldens(args.out, reference, prompts, tokenizer)
    if args.smolq:
        difference = compare(args.smolq, args.out / "tiny-f16.gguf", reference, prompts)
        print(f"largest difference of logits from transformers: {difference:.5f}")
        return int(difference > MAX_DIFFERENCE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
