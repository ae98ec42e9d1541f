"""CLIP's tokenizer as a `tokenizer.json`, from whichever of its files lies beside the weights."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint, json_table

START, END = "<|startoftext|>", "<|endoftext|>"
SUFFIX = "</w>"  # after a word's last part
OPENAI = "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49152 - 256 - 2  # of OpenAI's list, which goes on: the bytes and two marks are no merges
WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def tokenizer_json(checkpoint: Checkpoint) -> str:
    """The rules of a checkpoint's tokenizer.

    Raises:
        ModelError: There is neither a `tokenizer.json`, nor `vocab.json` and `merges.txt`, nor
            OpenAI's list; or a file is damaged.
    """
    folder = checkpoint.folder
    if (folder / "tokenizer.json").exists():
        return (folder / "tokenizer.json").read_text(encoding="utf-8")
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        vocabulary = json_table(folder / "vocab.json")
        merges = read(folder / "merges.txt").splitlines()[1:]
        return rules(vocabulary, [pair(line) for line in merges if line])
    if (folder / OPENAI).exists():
        merges = read(folder / OPENAI).splitlines()[1 : MERGES + 1]
        return of_merges([pair(line) for line in merges])
    raise ModelError(
        f"{folder}: has no tokenizer.json, no vocab.json with merges.txt, and no {OPENAI}"
    )


def of_merges(merges: Sequence[tuple[str, str]]) -> str:
    """The rules of a list of merges: its vocabulary is the bytes, the merges and the two marks."""
    # OpenAI numbers the bytes that are printed as they are first, then the others.
    letters = sorted(ByteLevel.alphabet(), key=lambda letter: (ord(letter) >= 256, ord(letter)))
    parts = [*letters, *(letter + SUFFIX for letter in letters)]
    parts += ["".join(merge) for merge in merges]
    return rules({part: i for i, part in enumerate([*parts, START, END])}, merges)


def rules(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> str:
    """The text of a `tokenizer.json`.

    Raises:
        ModelError: A merge or a mark is not in the vocabulary.
    """
    try:
        model = BPE(vocabulary, list(merges), end_of_word_suffix=SUFFIX, unk_token=END)
        tokenizer = Tokenizer(model)
        start, end = vocabulary[START], vocabulary[END]
    except KeyError as error:
        raise ModelError(f"vocab.json: {error.args[0]}: missing") from error
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ModelError(f"vocab.json and merges.txt do not agree: {error}") from error
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, end), (START, start), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.add_special_tokens([START, END])
    return tokenizer.to_str()


def read(path: Path) -> str:
    """A text file's content, of gzip or not.

    Raises:
        ModelError: It cannot be read.
    """
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def pair(line: str) -> tuple[str, str]:
    """The two parts that a line of a list of merges joins.

    Raises:
        ModelError: It has not two.
    """
    parts = line.split()
    if len(parts) != 2:
        raise ModelError(f"a merge of {len(parts)} parts, not 2: {json.dumps(line)}")
    return parts[0], parts[1]
