"""The closed lists of words. Each is a `str`, so that plain strings do where they are asked for.

`UNKNOWN` stands for the word of a server that is newer than this client.
"""

from enum import StrEnum


class Stage(StrEnum):
    """A step of a search."""

    RETRIEVE = "retrieve"
    RERANK = "rerank"
    REFINE = "refine"
    UNKNOWN = "unknown"


class SkipReason(StrEnum):
    """Why a stage was left out."""

    DISABLED = "disabled"
    BUDGET_EXCEEDED = "budget_exceeded"
    OVERLOADED = "overloaded"
    MODEL_UNAVAILABLE = "model_unavailable"
    NO_INPUT = "no_input"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why something could not be done."""

    INVALID_REQUEST = "invalid_request"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    FAILED_PRECONDITION = "failed_precondition"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    UNAVAILABLE = "unavailable"
    UNIMPLEMENTED = "unimplemented"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


class View(StrEnum):
    """How much of each document comes back."""

    ID = "id"
    PAYLOAD = "payload"  # id, text and metadata, but no image
    FULL = "full"


class TermVariant(StrEnum):
    """A formula that weighs counts of terms."""

    LUCENE = "lucene"
    ROBERTSON = "robertson"
    ATIRE = "atire"
    BM25L = "bm25l"
    BM25_PLUS = "bm25_plus"
    TF_IDF = "tf_idf"


class Modality(StrEnum):
    """What a document is made of."""

    TEXT = "text"
    IMAGE = "image"
    IMAGE_TEXT = "image_text"
    VIDEO = "video"


class Side(StrEnum):
    """Which side of a search an input is on; encoders may treat the two differently."""

    QUERY = "query"
    DOCUMENT = "document"


class CachePolicy(StrEnum):
    """How a search may use what the server remembers of earlier ones."""

    DEFAULT = "default"  # read and write
    BYPASS = "bypass"  # neither
    REFRESH = "refresh"  # write, but do not read
    ONLY = "only"  # read and never compute: what is not remembered is a NotFoundError


class ContextDelivery(StrEnum):
    """How a refined context comes back."""

    INLINE = "inline"  # whole; it is not kept
    HANDLE = "handle"  # a name for `get_context` alone; whole where it could not be kept
    BOTH = "both"


class Priority(StrEnum):
    """Who goes first when models are busy."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class EmbeddingSource(StrEnum):
    """Where a query's representations came from."""

    NONE = "none"  # nothing was encoded
    ENCODER = "encoder"
    LOCAL_CACHE = "local_cache"
    REDIS = "redis"
    COALESCED = "coalesced"  # another search was computing them already
    REQUEST = "request"
    UNKNOWN = "unknown"


class FieldType(StrEnum):
    """What a field of the metadata holds, for an index of it."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOL = "bool"
    UNKNOWN = "unknown"


class OptimizeStep(StrEnum):
    """What is being done to make a collection's late interaction fast."""

    SAMPLE = "sample"  # documents are read for training
    TRAIN = "train"  # centroids are trained
    LIST = "list"  # documents are put on the lists of their centroids
    COPY = "copy"  # vectors are copied to where they are scored fastest
    UNKNOWN = "unknown"


class VectorKind(StrEnum):
    """What a representation looks like."""

    DENSE = "dense"
    SPARSE = "sparse"
    MULTI = "multi"
    UNKNOWN = "unknown"
