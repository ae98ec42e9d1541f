"""What the tests of the methods may use."""

from pathlib import Path

import pytest
from hypothesis import settings

from tamis.models.encoders.minilm import MiniLM
from tamis.models.errors import ModelError
from tamis.models.export.minilm import export, packaged

# A shared machine may be slow at any moment, and that is no fault of the code.
settings.register_profile("tamis", deadline=None)
settings.load_profile("tamis")


@pytest.fixture(scope="session")
def minilm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 as it is served, exported for this run."""
    try:
        packaged()
    except ModelError as error:
        pytest.skip(str(error))
    return export(tmp_path_factory.mktemp("served") / "minilm").path


@pytest.fixture(scope="session")
def minilm(minilm_folder: Path) -> MiniLM:
    return MiniLM(folder=str(minilm_folder))
