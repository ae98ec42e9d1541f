import tomllib
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from tamis.models.errors import SettingsError
from tamis.server.cache.settings import CacheSettings
from tamis.server.config import BatchSettings, Limits, ServerSettings, default_settings, read
from tamis.server.late_interaction.settings import LateInteractionSettings
from tamis.server.store_settings import StoreSettings

TABLES = {
    "limits": Limits,
    "batch": BatchSettings,
    "cache": CacheSettings,
    "store": StoreSettings,
    "late_interaction": LateInteractionSettings,
}


def test_the_reference_settings_are_good() -> None:
    settings = read(default_settings())
    assert settings.pipelines["default"].retrieve.method == "hybrid"


def test_the_reference_settings_show_every_setting_with_its_default() -> None:
    table = tomllib.loads(default_settings().read_text())

    def compare(cls: Any, shown: dict[str, Any], where: str) -> None:
        defaults = {
            f.name: f.default if f.default_factory is MISSING else f.default_factory()
            for f in fields(cls)
        }
        for field in fields(cls):
            if field.name in ("encoders", "pipelines"):
                continue
            assert field.name in shown, f"{where}.{field.name} is not shown"
            if not is_dataclass(field.type) and field.name not in TABLES:
                value = shown[field.name]
                value = tuple(value) if isinstance(value, list) else value
                assert value == defaults[field.name], f"{where}.{field.name}"

    compare(ServerSettings, table, "tamis.toml")
    for name, cls in TABLES.items():
        compare(cls, table[name], name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[batch]\nmax_sise = 8", r"bad\.toml\.batch\.max_sise: unknown; known: max_size"),
        ("[batch]\nmax_size = '8'", r"bad\.toml\.batch\.max_size: expected int, got '8'"),
        ("[batch]\nmax_size = 0", r"bad\.toml\.batch: needs 1 <= max_size <= max_queued"),
        ("nonsense", r"bad\.toml: Expected"),
        ("listen = ':1'", r"bad\.toml\.encoders: missing"),
        ("[encoders]\n[pipelines]", r"bad\.toml: pipelines\.default: missing"),
        ("[pipelines.a.retrieve]\nmethod = 'bm25'\ndepth = 0", r"depth must be from 1 to 10000"),
        ("workers = 0\n[encoders]\n[pipelines]", r"bad\.toml: workers must be at least 1, not 0"),
        ("[pipelines.a]", r"bad\.toml\.pipelines\.a\.retrieve: missing"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml"):
        read(tmp_path / "none.toml")
