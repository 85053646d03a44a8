"""The network of a reranker: question and passage through the lower layers of a BERT-like network, then token against
token.

Every token of the question looks for the most similar token of the passage; these similarities, each with a learned
weight, add up to the relevance (late interaction as in Khattab and Zaharia, "ColBERT", 2020). Up to that point neither
text depends on the other, so that a training step scores every question of a group against every passage of it at the
price of reading each once: a cross-encoder, which reads each pair anew, learns from a small part of the pairs in the
same time.
"""

from __future__ import annotations

import torch
from torch.nn import functional

#: Far below any cosine.
NEVER = -1e4
#: Initial values: the scale of the similarities, as a logarithm, and the similarity at which the log-odds are 0.
SCALE, EVEN = 3.4, 0.7


class Interaction(torch.nn.Module):
    """(input_ids, attention_mask), each (batch, length), to relevance (batch,).

    A row is question and passage, each framed as a text by itself (``[CLS] question [SEP] [CLS] passage [SEP]``). The
    lowest ``layers`` of ``bert`` are used. The token ``separator`` ends a text.
    """

    def __init__(self, bert: torch.nn.Module, separator: int, layers: int) -> None:
        super().__init__()
        self.separator = separator
        self.embeddings = bert.embeddings
        self.layers = bert.encoder.layer[:layers]
        width = bert.config.hidden_size
        self.project = torch.nn.Linear(width, width, bias=False)
        torch.nn.init.eye_(self.project.weight)
        self.weigh = torch.nn.Linear(width, 1)
        torch.nn.init.zeros_(self.weigh.weight)
        self.scale = torch.nn.Parameter(torch.tensor(SCALE))
        self.even = torch.nn.Parameter(torch.tensor(EVEN))

    def states(self, ids: torch.Tensor, mask: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """Return the tokens' states (batch, length, width).

        Tokens of different ``part`` (batch, length) do not attend to one another; positions count from 0 in each part.
        """
        length = torch.arange(ids.shape[1], device=ids.device)
        place = length - (part == 0).sum(1, keepdim=True) * part.clamp(max=1)
        visible = (part.unsqueeze(2) == part.unsqueeze(1)) & mask.bool().unsqueeze(1)
        bias = torch.where(visible, 0.0, NEVER).unsqueeze(1)
        states = self.embeddings(input_ids=ids, position_ids=place.clamp(min=0), token_type_ids=torch.zeros_like(ids))
        for layer in self.layers:
            states = layer(states, bias)
        return states

    def tokens(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the unit vectors (batch, length, width) of texts by themselves, and their tokens' weights (batch,
        length).
        """
        return self.compared(self.states(ids, mask, torch.zeros_like(ids)), mask)

    def compared(self, states: torch.Tensor, of_question: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the unit vectors of states, and weights that add up to 1 over the tokens ``of_question``."""
        weights = self.weigh(states).squeeze(-1).masked_fill(of_question == 0, NEVER).softmax(-1)
        return functional.normalize(self.project(states), dim=-1), weights

    def logit(self, similarity: torch.Tensor) -> torch.Tensor:
        """Return the log-odds that a passage answers, from weighted similarities (-1..1)."""
        return self.scale.exp() * (similarity - self.even)

    def table(self, questions: tuple[torch.Tensor, ...], passages: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the log-odds (questions, passages) of every question with every passage, both given as (ids, mask)."""
        question_vectors, weights = self.tokens(*questions)
        passage_vectors, _ = self.tokens(*passages)
        similar = torch.einsum("qid,pjd->qpij", question_vectors, passage_vectors)
        best = similar.masked_fill(passages[1][None, :, None] == 0, NEVER).amax(-1)
        return self.logit((weights.unsqueeze(1) * best).sum(-1))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the log-odds (batch,) that the second text of each row answers the first."""
        ends = (input_ids == self.separator).long()
        part = (torch.cumsum(ends, dim=1) - ends).clamp(max=1)
        states = self.states(input_ids, attention_mask, part)
        question, passage = (1 - part) * attention_mask, part * attention_mask
        vectors, weights = self.compared(states, question)
        similar = vectors @ vectors.transpose(1, 2)
        best = similar.masked_fill(passage.unsqueeze(1) == 0, NEVER).amax(-1).masked_fill(question == 0, 0.0)
        return self.logit((weights * best).sum(-1))
