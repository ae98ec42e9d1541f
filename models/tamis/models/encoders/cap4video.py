"""Cap4Video searches videos by their frames and by captions that a model wrote of them.

A document is frames and, as its text, their captions, one a line. The frames take something from
the captions before they become a vector; the captions have a vector of their own. The reranker
`cap4video` joins both scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.similarity import unit
from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.video import FramesEncoder, VideoRecipe, pictures
from tamis.models.types import Content, Encoding, Head, Kind, Paper, Side

__all__ = ("Cap4Video",)


@dataclass(frozen=True, kw_only=True)
class Cap4VideoRecipe(VideoRecipe):
    """Cap4Video's `model.toml`.

    Attributes:
        captions: How many of a video are read, at most.
    """

    captions: int


@dataclass(frozen=True, kw_only=True)
class Cap4Video(FramesEncoder):
    """CLIP over frames and captions.

    Heads: `text`, a query; `video`, the frames; `dense`, either of them; `caption`, a document's
    captions; and `words` and `frames`, one vector a token or frame, whose length is its weight.
    """

    paper: ClassVar = Paper(
        "Cap4Video: What Can Auxiliary Captions Do for Text-Video Retrieval?",
        2022,
        "https://arxiv.org/abs/2301.00184",
    )
    checked: ClassVar = (
        "a plain second implementation of the published code on tiny random weights, through "
        "PyTorch and ONNX; no published weights"
    )
    departs: ClassVar = (
        "writes no captions: they are the document's text; frames of a video without any take from "
        "the empty one"
    )
    method: ClassVar = "cap4video"
    graphs: ClassVar = ("text", "image", "video", "caption")
    recipe: ClassVar = Cap4VideoRecipe

    @property
    def heads(self) -> Mapping[str, Head]:
        one = super().heads["dense"]
        many = Head(Kind.MULTI, one.dim, one.space)
        single = dict.fromkeys(("text", "video", "dense", "caption"), one)
        return single | dict.fromkeys(("words", "frames"), many)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        read = self._asked if side is Side.QUERY else self._held
        return [Encoding(read(content)) for content in contents]

    def _asked(self, query: Content) -> dict[str, Float[np.ndarray, "..."]]:
        """A query's heads: its text is words, and its frames have no captions."""
        text = self._recipe.text.text(query, Side.QUERY)
        heads = self._seen_with(query, self._no_caption)
        if text is not None:
            made = self._texts([text])[0]
            heads |= {"text": unit(made["embedding"]), "words": made["words"]}
        return heads | _whole(heads)

    def _held(self, document: Content) -> dict[str, Float[np.ndarray, "..."]]:
        """A document's heads: its text is captions."""
        lines = (document.text or "").splitlines()
        read = [self._recipe.text.text(Content(text=line), Side.DOCUMENT) for line in lines]
        captions = [line for line in read if line is not None][: self._most_captions]
        if not captions:
            heads = self._seen_with(document, self._no_caption)
            return heads | _whole(heads)
        vectors = np.stack([made["embedding"] for made in self._texts(captions)])
        inputs = {"captions": vectors[None]}
        heads = self._seen_with(document, vectors)
        heads["caption"] = self._sessions["caption"].run(inputs)["embedding"][0]
        return heads | _whole(heads)

    def _seen_with(
        self, content: Content, captions: Float[np.ndarray, "captions dim"]
    ) -> dict[str, Float[np.ndarray, "..."]]:
        chosen = self._rule.chosen(pictures(content) or ())
        if not chosen:
            return {}
        inputs = {"frames": self._frames(chosen)[None], "captions": captions[None]}
        made = self._sessions["video"].run(inputs)
        return {"video": made["embedding"][0], "frames": made["weighed"][0]}

    def _texts(self, texts: Sequence[str]) -> list[dict[str, Float[np.ndarray, "..."]]]:
        tokens = self._tokenizer.encode(texts)
        made = run_texts(self._sessions["text"], tokens, inputs=self._recipe.text.inputs)
        return [
            {"embedding": one["embedding"].copy(), "words": one["words"][:length].copy()}
            for one, length in zip(made, tokens.lengths, strict=True)
        ]

    @property
    def _most_captions(self) -> int:
        return cast(Cap4VideoRecipe, self._recipe).captions

    @cached_property
    def _no_caption(self) -> Float[np.ndarray, "1 dim"]:
        return self._texts([""])[0]["embedding"][None]


def _whole(heads: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The direction between a query's text and its video, or the one that is there."""
    parts = [heads[name] for name in ("text", "video") if name in heads]
    return {"dense": unit(np.sum(parts, axis=0))} if parts else {}
