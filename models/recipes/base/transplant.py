"""The warm start: a BERT-like teacher's layers rewritten as a Mistral's, in closed form.

Each Mistral layer gets the teacher's own projections, composed with a linear map from the student's normalised state to
the teacher's (least squares over a sample of text), and writes back what least squares finds best. In detail:

- The teacher normalises after each sub-layer, the student before: the student keeps its stream ``x = c * n``, where
  ``n`` is the teacher's state before its norm's scale and shift, and ``c`` a scale per channel that follows from one
  sub-layer to the next.
- Attention: each head's query-key form is decomposed (SVD); its strongest directions go to the slowly turning rotary
  pairs, where distance hardly matters. Two heads of the teacher lie side by side in one shared key-value head of the
  student, each query head reading its half: groups of two without loss.
- Feed-forward: ``gelu(z)`` is close to ``silu(1.702 z) / 1.702``, so the gate is the teacher's first matrix and the
  other factor starts as the constant one. The neurons that matter least are left out and the rest refitted.

Positions and the token-wise spread of the teacher's norms have no counterpart; distillation has to make up for those.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import BertConfig, BertModel, MistralConfig, MistralModel

#: gelu(z) is approximately silu(GELU * z) / GELU.
GELU = 1.702
RIDGE = 1e-4


@dataclass(slots=True)
class TokenSample:
    """Texts for the closed form: ids and mask, each (texts, length)."""

    ids: torch.Tensor
    mask: torch.Tensor

    def rows(self, states: torch.Tensor) -> torch.Tensor:
        """Return the states of real tokens: (texts, length, width) to (tokens, width)."""
        return states[self.mask.bool()]


def solve(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the ridge regression of ``targets`` (rows, out) on ``inputs`` (rows, in), as a weight (out, in)."""
    gram = inputs.T @ inputs
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    return torch.linalg.solve(gram, inputs.T @ targets).T


@torch.no_grad()
def transplant(teacher: BertModel, student: MistralModel, sample: TokenSample) -> list[torch.Tensor]:
    """Fill ``student`` from ``teacher`` and return the projections between their states.

    There is a projection per layer border, from the embeddings on: (teacher's width, student's width), from the
    student's normalised state to the teacher's. Raises SystemExit where the student's shape does not fit the teacher's.
    """
    check_fit(teacher.config, student.config)
    trace = Trace.record(teacher, sample)
    stream = _embeddings(teacher, student, sample)
    projections = []
    for place, layer in enumerate(student.layers):
        source = teacher.encoder.layer[place]
        projections.append(solve(sample.rows(_normalised(stream)), sample.rows(trace.states[place])))
        _attention(source.attention.self, layer.self_attn, projections[-1], _constant(stream, sample))
        heads = _heads(student, place, stream, sample)
        target = norm_input(trace.middles[place], source.attention.output.LayerNorm)
        stream = _write(layer.self_attn.o_proj, heads, stream, target, sample)
        middle = solve(sample.rows(_normalised(stream)), sample.rows(trace.middles[place]))
        neurons = _feed_forward(source, layer.mlp, middle, stream, sample)
        target = norm_input(trace.states[place + 1], source.output.LayerNorm)
        stream = _write(layer.mlp.down_proj, neurons, stream, target, sample)
    projections.append(solve(sample.rows(_normalised(stream)), sample.rows(trace.states[-1])))
    return projections


def check_fit(teacher: BertConfig, student: MistralConfig) -> None:
    """Raise SystemExit, with the reasons, where the student's shape cannot hold the teacher's layers."""
    heads, width = teacher.num_attention_heads, teacher.hidden_size // teacher.num_attention_heads
    requirements = {
        f"layers: {teacher.num_hidden_layers}": student.num_hidden_layers == teacher.num_hidden_layers,
        f"heads: {heads}, two to a key-value head": student.num_attention_heads
        == heads
        == 2 * student.num_key_value_heads,
        f"head width: {2 * width}": student.head_dim == 2 * width,
        f"width: more than {teacher.hidden_size}": student.hidden_size > teacher.hidden_size,
        f"neurons: at most {teacher.intermediate_size}": student.intermediate_size <= teacher.intermediate_size,
    }
    if unmet := [requirement for requirement, fits in requirements.items() if not fits]:
        raise SystemExit(
            f"This student cannot be initialised from its teacher, which requires {'; '.join(unmet)}. Set --teacher "
            "to the directory of one that fits (for --size base: all-MiniLM-L12-v2), or choose another --size."
        )


@dataclass(slots=True)
class Trace:
    """The teacher's states: at each layer's border, and between its attention and its feed-forward part."""

    states: list[torch.Tensor]
    middles: list[torch.Tensor]

    @classmethod
    def record(cls, teacher: BertModel, sample: TokenSample) -> Trace:
        """Run the teacher on the sample and return its states."""
        middles: list[torch.Tensor] = []
        hooks = [
            layer.attention.register_forward_hook(lambda _module, inputs, outputs: middles.append(outputs[0]))
            for layer in teacher.encoder.layer
        ]
        out = teacher(sample.ids, attention_mask=sample.mask, output_hidden_states=True)
        for hook in hooks:
            hook.remove()
        return cls(list(out.hidden_states), middles)


def norm_input(states: torch.Tensor, norm: torch.nn.LayerNorm) -> torch.Tensor:
    """Return a LayerNorm's output without its scale and shift."""
    return (states - norm.bias) / norm.weight


def _embeddings(teacher: BertModel, student: MistralModel, sample: TokenSample) -> torch.Tensor:
    """Fill the token table: the teacher's, normalised with the mean of its positions; one channel is constant."""
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


def _constant(stream: torch.Tensor, sample: TokenSample) -> torch.Tensor:
    """Return the row that reads the constant one from a normalised state, by which biases are added."""
    rows = sample.rows(_normalised(stream))
    return solve(rows, torch.ones(len(rows), 1))[0]


def _attention(source: torch.nn.Module, layer: torch.nn.Module, projection: torch.Tensor, one: torch.Tensor) -> None:
    """Fill queries, keys and values: two of the teacher's heads in one key-value head of the student."""
    heads, width = source.num_attention_heads, source.attention_head_size
    wide = layer.head_dim
    query, key, value = (
        _composed(linear, projection, one).view(heads, width, -1) for linear in (source.query, source.key, source.value)
    )
    new_query, new_value = torch.zeros(heads, wide, query.shape[2]), torch.zeros(heads // 2, wide, query.shape[2])
    new_key = torch.zeros_like(new_value)
    rescale = (wide / width) ** 0.25
    for head in range(heads):
        turned_query, turned_key = sorted_directions(query[head], key[head])
        places = rotary_places(width, wide, head % 2)
        new_query[head, places] = turned_query * rescale
        new_key[head // 2, places] = turned_key * rescale
        half = slice(0, width) if head % 2 == 0 else slice(width, wide)
        new_value[head // 2, half] = value[head]
    layer.q_proj.weight.copy_(new_query.flatten(0, 1))
    layer.k_proj.weight.copy_(new_key.flatten(0, 1))
    layer.v_proj.weight.copy_(new_value.flatten(0, 1))


def _composed(linear: torch.nn.Linear, projection: torch.Tensor, one: torch.Tensor) -> torch.Tensor:
    """Return a teacher's linear layer as a matrix that acts on the student's normalised state."""
    return linear.weight @ projection + linear.bias[:, None] * one[None, :]


def sorted_directions(query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same query-key form in directions of rising strength."""
    left, strength, right = torch.linalg.svd(query.T @ key, full_matrices=False)
    width = len(query)
    root = strength[:width].sqrt().flip(0)[:, None]
    return root * left[:, :width].T.flip(0), root * right[:width].flip(0)


def rotary_places(width: int, wide: int, odd: int) -> list[int]:
    """Return the places of a head's directions, weakest first.

    They are the rotary pairs (j, j + wide / 2), quickest first, every second pair for each of the two heads that share
    them.
    """
    pairs = [2 * step + odd for step in range(width // 2)]
    return [place for pair in pairs for place in (pair, pair + wide // 2)]


def _heads(student: MistralModel, place: int, stream: torch.Tensor, sample: TokenSample) -> torch.Tensor:
    """Return the output of the student's attention before its output projection; each query head keeps its own half."""
    layer = student.layers[place].self_attn
    outputs: list[torch.Tensor] = []
    hook = layer.o_proj.register_forward_pre_hook(lambda _module, inputs: outputs.append(inputs[0]))
    positions = torch.arange(sample.ids.shape[1])[None]
    mask = sample.mask[:, None, None, :].bool().expand(-1, 1, sample.ids.shape[1], -1)
    turns = student.rotary_emb(stream, positions)
    layer(_normalised(stream), position_embeddings=turns, attention_mask=mask)
    hook.remove()
    gathered = outputs[0].unflatten(-1, (-1, layer.head_dim)).clone()
    half = layer.head_dim // 2
    gathered[:, :, 0::2, half:] = 0
    gathered[:, :, 1::2, :half] = 0
    return gathered.flatten(-2)


def _feed_forward(
    source: torch.nn.Module, mlp: torch.nn.Module, projection: torch.Tensor, stream: torch.Tensor, sample: TokenSample
) -> torch.Tensor:
    """Fill the gate and the constant factor of the neurons that matter most, and return their activations."""
    one = _constant(stream, sample)
    gate = GELU * _composed(source.intermediate.dense, projection, one)
    state = _normalised(stream)
    active = torch.nn.functional.silu(state @ gate.T)
    importance = sample.rows(active).std(0) * source.output.dense.weight.norm(dim=0)
    chosen = importance.topk(mlp.gate_proj.out_features).indices.sort().values
    mlp.gate_proj.weight.copy_(gate[chosen])
    mlp.up_proj.weight.copy_(one.expand(len(chosen), -1))
    return active[..., chosen] * (state @ one)[..., None]


def _write(
    linear: torch.nn.Linear, inputs: torch.Tensor, stream: torch.Tensor, state: torch.Tensor, sample: TokenSample
) -> torch.Tensor:
    """Fit ``linear`` so that the stream becomes a multiple of ``state``, per channel; return the new stream.

    The factor is the one at which the present stream carries over: what the sub-layer adds is independent of the old
    state on average, so the old state's share of the new one gives it.
    """
    width = state.shape[-1]
    old, new = sample.rows(stream)[:, :width], sample.rows(state)
    old, new = old - old.mean(0), new - new.mean(0)
    share = (old * new).mean(0) / old.pow(2).mean(0).clamp(min=1e-6)
    target = state / share.clamp(min=0.15) - stream[..., :width]
    linear.weight.zero_()
    linear.weight[:width] = solve(sample.rows(inputs), sample.rows(target))
    return stream + linear(inputs)
