"""The model: SmolLM3 in small, in plain torch; its weights carry the names of transformers' SmolLM3ForCausalLM."""
import dataclasses

import torch
import torch.nn.functional as F
from torch import nn


def fused(function):
    """Steps that read and write much and compute little, as one: a sixth off the time of a training step. It takes a C++ compiler."""
    whole = torch.compile(function, dynamic=True)
    return lambda *args: whole(*args) if torch.is_grad_enabled() else function(*args)


@dataclasses.dataclass(frozen=True)
class Shape:
    """All row lengths are multiples of 256, so that K-quants apply."""
    n_vocab: int = 2048
    n_embd: int = 256
    n_layer: int = 8
    n_head: int = 8
    n_head_kv: int = 4
    head_dim: int = 32
    n_ff: int = 512
    n_ctx: int = 1024
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    nope_interval: int = 4  # every fourth layer turns nothing, as llama.cpp's smollm3 has it built in

    def uses_rope(self, layer):
        return (layer + 1) % self.nope_interval != 0

    def transformers_config(self, tokenizer):
        """The same shape as transformers says it."""
        from transformers import SmolLM3Config
        return SmolLM3Config(
            vocab_size=self.n_vocab, hidden_size=self.n_embd, intermediate_size=self.n_ff, num_hidden_layers=self.n_layer,
            num_attention_heads=self.n_head, num_key_value_heads=self.n_head_kv, max_position_embeddings=self.n_ctx,
            rms_norm_eps=self.norm_eps, rope_parameters={"rope_type": "default", "rope_theta": self.rope_theta},
            no_rope_layers=[int(self.uses_rope(layer)) for layer in range(self.n_layer)], no_rope_layer_interval=self.nope_interval,
            tie_word_embeddings=True, use_sliding_window=False, attention_bias=False, mlp_bias=False,
            bos_token_id=tokenizer.token_to_id("<|begin_of_text|>"), eos_token_id=tokenizer.token_to_id("<|im_end|>"),
            pad_token_id=tokenizer.token_to_id("<|im_end|>"))


@fused
def scale(x, weight, eps):
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


class Norm(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.n_embd))
        self.eps = shape.norm_eps

    def forward(self, x):
        return scale(x, self.weight, self.eps)


@fused
def turn(x, cos, sin):
    """RoPE over halves: `x` is [tokens, heads, head_dim], `cos` and `sin` [tokens, 1, head_dim / 2]."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


@fused
def gated(gate, up):
    return F.silu(gate) * up


class Documents:
    """Attention inside documents: `groups` are (documents, length), whose tokens lie one after another.

    So no document sees another, and none pays for the length of another.
    """

    def __init__(self, groups):
        self.groups = groups
        self.sizes = [count * length for count, length in groups]
        self.masks = {}

    def __call__(self, layer, q, k, v):
        parts = []
        shared = q.shape[1] // k.shape[1]
        for (count, length), q_part, k_part, v_part in zip(self.groups, *(x.split(self.sizes) for x in (q, k, v))):
            # The queries that share a key stand one below the other: [documents x KV heads, shared x length, head_dim].
            q_part = q_part.view(count, length, -1, shared, q.shape[2]).permute(0, 2, 3, 1, 4).reshape(-1, shared * length, q.shape[2])
            k_part, v_part = (x.view(count, length, *x.shape[1:]).transpose(1, 2).flatten(0, 1) for x in (k_part, v_part))
            # By hand: on CPUs four times as fast as torch's fused attention, forwards and backwards, where documents are short.
            weights = torch.baddbmm(self.future(length, shared, q.dtype), q_part, k_part.mT, alpha=q.shape[-1] ** -0.5).softmax(-1)
            part = (weights @ v_part).view(count, -1, shared, length, q.shape[2])
            parts.append(part.permute(0, 3, 1, 2, 4).reshape(count * length, *q.shape[1:]))
        return torch.cat(parts)

    def future(self, length, shared, dtype):
        """What hides the tokens to come from those before them."""
        if length not in self.masks:
            self.masks[length] = torch.full((length, length), -torch.inf, dtype=dtype).triu(1).repeat(shared, 1)
        return self.masks[length]


def together(x, *projections):
    """Several projections of one input, as one."""
    return F.linear(x, torch.cat([projection.weight for projection in projections]))


class Attention(nn.Module):
    def __init__(self, shape, layer):
        super().__init__()
        self.shape, self.layer = shape, layer
        self.q_proj = nn.Linear(shape.n_embd, shape.n_head * shape.head_dim, bias=False)
        self.k_proj = nn.Linear(shape.n_embd, shape.n_head_kv * shape.head_dim, bias=False)
        self.v_proj = nn.Linear(shape.n_embd, shape.n_head_kv * shape.head_dim, bias=False)
        self.o_proj = nn.Linear(shape.n_head * shape.head_dim, shape.n_embd, bias=False)

    def forward(self, x, angles, attend):
        heads = self.shape.n_head, self.shape.n_head_kv, self.shape.n_head_kv
        qkv = together(x, self.q_proj, self.k_proj, self.v_proj).unflatten(-1, (-1, self.shape.head_dim))
        q, k, v = qkv.split(heads, dim=1)
        if self.shape.uses_rope(self.layer):
            q, k = turn(q, *angles), turn(k, *angles)
        return attend(self.layer, q, k, v).flatten(1)


class Mlp(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.up_proj = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.down_proj = nn.Linear(shape.n_ff, shape.n_embd, bias=False)

    def forward(self, x):
        return self.down_proj(gated(*together(x, self.gate_proj, self.up_proj).chunk(2, dim=-1)))


class Layer(nn.Module):
    def __init__(self, shape, layer):
        super().__init__()
        self.self_attn, self.mlp = Attention(shape, layer), Mlp(shape)
        self.input_layernorm, self.post_attention_layernorm = Norm(shape), Norm(shape)

    def forward(self, x, angles, attend, wanted=slice(None)):
        seen = self.self_attn(self.input_layernorm(x), angles, attend)
        x = x[wanted] + self.self_attn.o_proj(seen[wanted])
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.layers = nn.ModuleList(Layer(shape, layer) for layer in range(shape.n_layer))
        self.norm = Norm(shape)


class Model(nn.Module):
    """`forward` gives the last hidden states; `logits` what they say of the next token."""

    def __init__(self, shape=Shape()):
        super().__init__()
        self.shape = shape
        self.model = Body(shape)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                std = 0.02 if "embed" in name else parameter.shape[1] ** -0.5
                if "o_proj" in name or "down_proj" in name:
                    std *= (2 * shape.n_layer) ** -0.5
                nn.init.normal_(parameter, std=std)

    def angles(self, positions, dtype):
        half = self.shape.head_dim // 2
        frequencies = self.shape.rope_theta ** (-torch.arange(half, dtype=torch.float32) / half)
        angles = positions.float()[:, None, None] * frequencies
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def forward(self, tokens, positions, attend, wanted=slice(None)):
        """`tokens` and `positions` are flat; `attend(layer, q, k, v)` knows which belong together. Gives the hidden states of those `wanted`."""
        x = self.model.embed_tokens(tokens)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.bfloat16)
        angles = self.angles(positions, x.dtype)
        *layers, last = self.model.layers
        for layer in layers:
            x = layer(x, angles, attend)
        return self.model.norm(last(x, angles, attend, wanted))

    def logits(self, hidden):
        return F.linear(hidden, self.model.embed_tokens.weight)
