"""A mark that processes share."""

import subprocess
import sys
from pathlib import Path

from tamis.server.revision import Revision


def test_a_change_by_one_process_is_seen_by_another(tmp_path: Path) -> None:
    path = tmp_path / "data" / "revision"
    ours, before = Revision(path), Revision(path).now()
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tamis.server.revision import Revision\n"
        "Revision(Path(sys.argv[1])).change()\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
    )
    assert ours.now() != before


def test_it_stays_while_nobody_changes_it(tmp_path: Path) -> None:
    one = Revision(tmp_path / "revision")
    one.change()
    mark = one.now()
    other = Revision(tmp_path / "revision")  # opening it is no change
    assert one.now() == other.now() == mark
    other.change()
    assert one.now() == other.now() != mark
