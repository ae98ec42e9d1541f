"""Exports DeepCT, or HDCT's passage model: a BERT with one label a token, as transformers saves it.

The authors' own checkpoints are TensorFlow's, which transformers reads and saves.
"""

from tamis.models.encoders.deepct import DeepCtRecipe
from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, load
from tamis.models.export.draft import Draft
from tamis.models.export.texts import DYNAMIC, drawn_cases, put_tokenizer, text_cases
from tamis.models.networks.bert import max_positions
from tamis.models.networks.deepct import DeepCt

MAX_TOKENS = 128  # of the authors' settings


def reads(checkpoint: Checkpoint) -> bool:
    """Whether it says that it gives each token one number."""
    architectures = checkpoint.config.get("architectures") or ()
    labels = checkpoint.config.get("id2label") or checkpoint.config.get("num_labels", 2)
    count = labels if isinstance(labels, int) else len(labels)
    return "BertForTokenClassification" in architectures and count == 1


def export(checkpoint: Checkpoint, draft: Draft) -> DeepCtRecipe:
    """Writes the graph `text` and the tokenizer.

    Raises:
        ModelError: It has no head of one label a token, or a tensor does not fit.
    """
    config, tensors = checkpoint.config, checkpoint.tensors()
    head = tensors.get("classifier.weight")
    if head is None or head.shape[0] != 1:
        raise ModelError(f"{checkpoint.name}: classifier.weight: needs one label a token")
    network = DeepCt(config)
    load(network, tensors, ignore=("bert.pooler.*", "*position_ids"))
    put_tokenizer(checkpoint, draft)
    length = min(MAX_TOKENS, max_positions(config))
    cases, drawn = text_cases(draft, length), drawn_cases(config["vocab_size"], length)
    draft.graph("text", network, ("weights",), cases, dynamic=DYNAMIC, drawn=drawn)
    return DeepCtRecipe(
        name=draft.name(checkpoint),
        method="deepct",
        licence=draft.options.licence,
        files={},
        space=draft.name(checkpoint),
        dim=1,
        max_tokens=length,
    )
