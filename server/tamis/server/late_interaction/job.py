"""What the process that builds is asked, and how it answers."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from tamis.models.settings import build
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.store_settings import StoreSettings

VARIABLE = "TAMIS_LATE_INTERACTION"  # of the environment, where no other user can read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One field of one collection to build for.

    Attributes:
        store: The index; its `url` is set.
        settings: When and how.
        collection: Its name.
        vector: The multi-vector field.
        dim: The length of one vector.
        folder: Where the collection's files are.
        revision: The file that tells processes of changes.
        retrain: Train centroids again even if they still fit.
        copy: Whether a copy in bytes is wanted.
    """

    store: StoreSettings
    settings: LateInteractionSettings
    collection: str
    vector: str
    dim: int
    folder: str
    revision: str
    retrain: bool = False
    copy: bool = True

    def environment(self) -> Mapping[str, str]:
        """The job as the process finds it; its arithmetic is not to take all cores."""
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return {VARIABLE: json.dumps(asdict(self)), **dict.fromkeys(threads, "1")}

    @classmethod
    def read(cls, text: str) -> Self:
        """The job that `environment` has written."""
        table: dict[str, Any] = json.loads(text)
        return build(cls, table, where="job")
