"""The warm start: a BERT-like teacher's layers rewritten as a Mistral's, in closed form.

Each Mistral layer gets the teacher's own projections, seen through a linear map that takes the student's normalised state
to the teacher's (least squares over a sample of text), and writes back what least squares finds best. In detail:

- The teacher normalises after each sub-layer, the student before: the student keeps its stream ``x = c * n``, where ``n`` is the
  teacher's state before its norm's scale and shift, and ``c`` a scale per channel that follows from one sub-layer to the next.
- Attention: each head's query-key form is decomposed (SVD); its strongest directions go to the slowly turning rotary
  pairs, where distance hardly matters. Two heads of the teacher lie side by side in one shared key-value head of the
  student, each query head reading its half: groups of two without loss.
- Feed-forward: ``gelu(z)`` is close to ``silu(1.702 z) / 1.702``, so the gate is the teacher's first matrix and the other
  factor starts as the constant one. The neurons that matter least are left out and the rest refitted.

Positions and the token-wise spread of the teacher's norms have no counterpart; distillation has to mend those.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import BertConfig, BertModel, MistralConfig, MistralModel

#: gelu(z) is approximately silu(GELU * z) / GELU.
GELU = 1.702
RIDGE = 1e-4


@dataclass(slots=True)
class Sample:
    """Real tokens only, in one row each, with what is needed to run attention: (texts, length) ids and mask."""

    ids: torch.Tensor
    mask: torch.Tensor

    def rows(self, states: torch.Tensor) -> torch.Tensor:
        return states[self.mask.bool()]


def solve(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The ridge regression of ``targets`` (rows, out) on ``inputs`` (rows, in), as a Linear's weight (out, in)."""
    gram = inputs.T @ inputs
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    return torch.linalg.solve(gram, inputs.T @ targets).T


@torch.no_grad()
def transplant(teacher: BertModel, student: MistralModel, sample: Sample) -> list[torch.Tensor]:
    """Fill ``student`` from ``teacher``. Returns, per layer boundary from the embeddings on, the map (teacher's width,
    student's width) from the student's normalised state to the teacher's state. SystemExit where the student's shape cannot hold that."""
    check_fit(teacher.config, student.config)
    trace = _trace(teacher, sample)
    stream = _embeddings(teacher, student, sample)
    scale = torch.ones(teacher.config.hidden_size)
    readouts = []
    for place, layer in enumerate(student.layers):
        own = teacher.encoder.layer[place]
        readout = solve(sample.rows(_normalised(stream)), sample.rows(trace.states[place]))
        readouts.append(readout)
        _attention(own.attention.self, layer.self_attn, readout, _one(stream, sample))
        norm = own.attention.output.LayerNorm
        before = norm_input(trace.middles[place], norm)
        heads = _heads(student, place, stream, sample)
        stream, scale = _write(
            layer.self_attn.o_proj, heads, stream, scale, norm_above(own, place, teacher), before, sample
        )
        middle = solve(sample.rows(_normalised(stream)), sample.rows(trace.middles[place]))
        neurons = _feed_forward(own, layer.mlp, middle, stream, sample)
        out_norm = own.output.LayerNorm
        after = norm_input(trace.states[place + 1], out_norm)
        stream, scale = _write(layer.mlp.down_proj, neurons, stream, scale, norm, after, sample)
    readouts.append(solve(sample.rows(_normalised(stream)), sample.rows(trace.states[-1])))
    return readouts


def check_fit(teacher: BertConfig, student: MistralConfig) -> None:
    """SystemExit says what of the teacher has no counterpart in the student."""
    heads, width = teacher.num_attention_heads, teacher.hidden_size // teacher.num_attention_heads
    wanted = {
        f"layers: {teacher.num_hidden_layers}": student.num_hidden_layers == teacher.num_hidden_layers,
        f"heads: {heads}, two to a key-value head": student.num_attention_heads
        == heads
        == 2 * student.num_key_value_heads,
        f"head width: {2 * width}": student.head_dim == 2 * width,
        f"width: more than {teacher.hidden_size}": student.hidden_size > teacher.hidden_size,
        f"neurons: at most {teacher.intermediate_size}": student.intermediate_size <= teacher.intermediate_size,
    }
    if lacking := [said for said, fits in wanted.items() if not fits]:
        raise SystemExit(
            f"This student cannot be carried over from its teacher, which asks for {'; '.join(lacking)}. Give --teacher the directory of one "
            "that fits (for --size base: all-MiniLM-L12-v2), or another --size."
        )


@dataclass(slots=True)
class Trace:
    """The teacher's states: at each layer's border, and between its attention and its feed-forward part."""

    states: list[torch.Tensor]
    middles: list[torch.Tensor]


def _trace(teacher: BertModel, sample: Sample) -> Trace:
    middles: list[torch.Tensor] = []
    hooks = [
        layer.attention.register_forward_hook(lambda module, given, made: middles.append(made[0]))
        for layer in teacher.encoder.layer
    ]
    out = teacher(sample.ids, attention_mask=sample.mask, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    return Trace(list(out.hidden_states), middles)


def norm_input(states: torch.Tensor, norm: torch.nn.LayerNorm) -> torch.Tensor:
    """A LayerNorm's output without its scale and shift."""
    return (states - norm.bias) / norm.weight


def norm_above(layer: torch.nn.Module, place: int, teacher: BertModel) -> torch.nn.LayerNorm:
    """The norm whose output this layer reads."""
    return teacher.embeddings.LayerNorm if place == 0 else teacher.encoder.layer[place - 1].output.LayerNorm


def _embeddings(teacher: BertModel, student: MistralModel, sample: Sample) -> torch.Tensor:
    """The teacher's token table, normalised with the mean of its positions; one channel is the constant one."""
    part = teacher.embeddings
    table = (
        part.word_embeddings.weight
        + part.position_embeddings.weight[:128].mean(0)
        + part.token_type_embeddings.weight[0]
    )
    width = table.shape[1]
    table = torch.nn.functional.layer_norm(table, (width,))
    student.embed_tokens.weight.zero_()
    student.embed_tokens.weight[:, :width] = table
    student.embed_tokens.weight[:, width] = 1.0
    return student.embed_tokens(sample.ids)


def _normalised(stream: torch.Tensor) -> torch.Tensor:
    return stream * torch.rsqrt(stream.pow(2).mean(-1, keepdim=True) + 1e-6)


def _one(stream: torch.Tensor, sample: Sample) -> torch.Tensor:
    """The row that reads the constant one from a normalised state: where the biases go."""
    rows = sample.rows(_normalised(stream))
    return solve(rows, torch.ones(len(rows), 1))[0]


def _attention(own: torch.nn.Module, layer: torch.nn.Module, readout: torch.Tensor, one: torch.Tensor) -> None:
    """Queries, keys and values: two of the teacher's heads in one key-value head of the student."""
    heads, width = own.num_attention_heads, own.attention_head_size
    wide = layer.head_dim
    query = _seen(own.query, readout, one).view(heads, width, -1)
    key = _seen(own.key, readout, one).view(heads, width, -1)
    value = _seen(own.value, readout, one).view(heads, width, -1)
    new_query, new_value = torch.zeros(heads, wide, query.shape[2]), torch.zeros(heads // 2, wide, query.shape[2])
    new_key = torch.zeros_like(new_value)
    rescale = (wide / width) ** 0.25
    for head in range(heads):
        turned_query, turned_key = _sorted_directions(query[head], key[head])
        places = _places(width, wide, head % 2)
        new_query[head, places] = turned_query * rescale
        new_key[head // 2, places] = turned_key * rescale
        half = slice(0, width) if head % 2 == 0 else slice(width, wide)
        new_value[head // 2, half] = value[head]
    layer.q_proj.weight.copy_(new_query.flatten(0, 1))
    layer.k_proj.weight.copy_(new_key.flatten(0, 1))
    layer.v_proj.weight.copy_(new_value.flatten(0, 1))


def _seen(linear: torch.nn.Linear, readout: torch.Tensor, one: torch.Tensor) -> torch.Tensor:
    """A teacher's projection as one of the student's normalised state."""
    return linear.weight @ readout + linear.bias[:, None] * one[None, :]


def _sorted_directions(query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same query-key form in directions of rising strength."""
    left, strength, right = torch.linalg.svd(query.T @ key, full_matrices=False)
    width = len(query)
    root = strength[:width].sqrt().flip(0)[:, None]
    return root * left[:, :width].T.flip(0), root * right[:width].flip(0)


def _places(width: int, wide: int, odd: int) -> list[int]:
    """Where a head's directions go, weakest first: to the rotary pairs (j, j + wide / 2), quickest first, every second
    pair for each of the two heads that share them."""
    pairs = [2 * step + odd for step in range(width // 2)]
    return [place for pair in pairs for place in (pair, pair + wide // 2)]


def _heads(student: MistralModel, place: int, stream: torch.Tensor, sample: Sample) -> torch.Tensor:
    """What the student's attention gathers, before its output projection; each query head keeps its own half."""
    layer = student.layers[place].self_attn
    caught: list[torch.Tensor] = []
    hook = layer.o_proj.register_forward_pre_hook(lambda module, given: caught.append(given[0]))
    positions = torch.arange(sample.ids.shape[1])[None]
    mask = sample.mask[:, None, None, :].bool().expand(-1, 1, sample.ids.shape[1], -1)
    turns = student.rotary_emb(stream, positions)
    layer(_normalised(stream), position_embeddings=turns, attention_mask=mask)
    hook.remove()
    gathered = caught[0].unflatten(-1, (-1, layer.head_dim)).clone()
    half = layer.head_dim // 2
    gathered[:, :, 0::2, half:] = 0
    gathered[:, :, 1::2, :half] = 0
    return gathered.flatten(-2)


def _feed_forward(own, mlp, readout: torch.Tensor, stream: torch.Tensor, sample: Sample) -> torch.Tensor:
    """Gate and constant factor of the neurons that matter most; returns their activations."""
    one = _one(stream, sample)
    gate = GELU * _seen(own.intermediate.dense, readout, one)
    state = _normalised(stream)
    active = torch.nn.functional.silu(state @ gate.T)
    weight = sample.rows(active).std(0) * own.output.dense.weight.norm(dim=0)
    kept = weight.topk(mlp.gate_proj.out_features).indices.sort().values
    mlp.gate_proj.weight.copy_(gate[kept])
    mlp.up_proj.weight.copy_(one.expand(len(kept), -1))
    return active[..., kept] * (state @ one)[..., None]


def _write(linear, inputs, stream, scale, norm, wanted, sample: Sample) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit ``linear`` so that the stream becomes ``scale' * wanted``; returns the new stream and its scale per channel."""
    width = wanted.shape[-1]
    spread = _spread(stream, scale, norm, wanted, sample)
    target = spread * wanted - stream[..., :width]
    linear.weight.zero_()
    linear.weight[:width] = solve(sample.rows(inputs), sample.rows(target))
    return stream + linear(inputs), spread


def _spread(stream, scale, norm, wanted, sample: Sample) -> torch.Tensor:
    """Per channel, the factor at which the present stream carries over to the state wanted next."""
    now, then = sample.rows(stream)[:, : wanted.shape[-1]], sample.rows(wanted)
    now, then = now - now.mean(0), then - then.mean(0)
    # What the sub-layer adds has no part of the old state on average, so the old state's share gives the factor.
    share = (now * then).mean(0) / now.pow(2).mean(0).clamp(min=1e-6)
    return 1.0 / share.clamp(min=0.15)
