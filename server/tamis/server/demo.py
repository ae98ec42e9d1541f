"""`tamis demo`: real pictures, a real server, three kinds of query, and what came of them."""

import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tamis.client import (
    Client,
    ContextPart,
    Document,
    SearchSummary,
    StageResult,
    StageSkipped,
)
from tamis.models.errors import ImageError
from tamis.models.runtimes.fit import fit
from tamis.models.runtimes.images import decode
from tamis.models.train.stamps import PicturesError, captioned, stamps
from tamis.server.cli.tables import print_table
from tamis.server.own_server import serving
from tamis.server.refined import draw, look, refine, visual_refiners
from tamis.server.show import SIDE, Shown, selected, sheet

COLLECTION = "demo"
K = 5
ENCODER, KEPT = "tamis_mini", 36  # as in the settings that come with tamis
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
SVG_SIDE = 384  # pixels that a drawing is rendered at
MAX_PIXELS = 40_000_000

# The stamps' queries. The pictures that are searched with are left out of the index.
TEXT = "a small bird with a red breast"
PICTURE = "food/fruit/cartoon/strawberry.png"
BOTH = ("hobbies/music/string/guitar2.png", "played with a bow")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to index, and what it is called."""

    name: str
    path: Path
    caption: str | None


@dataclass(frozen=True, slots=True)
class Query:
    """A query to show."""

    title: str
    text: str | None = None
    image: bytes | None = None


def main(
    pictures: Path | None = None,
    out: Path = Path("artifacts/demo"),
    console: Console | None = None,
) -> None:
    """Indexes pictures, serves them, searches them three ways and draws the answers.

    Args:
        pictures: A folder of the user's own; None fetches Tux Paint's stamps.
        out: Where the index and the drawn answers go.
        console: Where to write.

    Raises:
        TamisError: There are no pictures, or the server does not start.
    """
    console = console or Console()
    out.mkdir(parents=True, exist_ok=True)
    folder = pictures or _fetched(console)
    listed = _own(folder) if pictures else _stamps(folder)
    if not listed:
        raise PicturesError(f"{folder}: no pictures ({', '.join(SUFFIXES)}) in this folder")
    queries, asked = _queries(listed, own=pictures is not None)
    with tempfile.TemporaryDirectory(dir=out) as data, serving(Path(data)) as target:
        console.print(f"[bold]serving[/] tamis.v1 on {target}")
        with Client(target) as client:
            _index(client, [p for p in listed if p.name not in asked], console)
            for number, query in enumerate(queries, 1):
                _search(client, query, out / f"query-{number}.png", console)
    picture = next(query.image for query in queries if query.image)
    _refine(picture, out / "refiners.png", console)


def _fetched(console: Console) -> Path:
    cache = Path("artifacts/pictures")
    if not (cache / "tuxpaint-stamps-default").exists():
        console.print("fetching Tux Paint's stamps (160 MB, once) ...")
    try:
        return stamps(cache)
    except PicturesError as error:
        raise PicturesError(
            f"{error}\nName a folder of your own pictures instead: tamis demo --pictures FOLDER"
        ) from error


def _stamps(folder: Path) -> list[Picture]:
    return [
        Picture(stamp.path.relative_to(folder).as_posix(), stamp.path, stamp.caption)
        for stamp in captioned(folder, (".png", ".svg"))
    ]


def _own(folder: Path) -> list[Picture]:
    if not folder.is_dir():
        raise PicturesError(f"{folder}: no such folder")
    captions = {stamp.path: stamp.caption for stamp in captioned(folder, SUFFIXES)}
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [
        Picture(path.relative_to(folder).as_posix(), path, captions.get(path)) for path in found
    ]


def _queries(listed: Sequence[Picture], *, own: bool) -> tuple[list[Query], set[str]]:
    """Three queries, and the names of the pictures that they are made of."""
    by_name = {picture.name: picture for picture in listed}
    text, (alone, (with_text, words)) = TEXT, (PICTURE, BOTH)
    if own or not {alone, with_text} <= by_name.keys():
        alone, with_text = listed[0].name, listed[len(listed) // 2].name
        last = listed[-1]
        text = last.caption or last.path.stem.replace("_", " ").replace("-", " ")
        words = text
    return [
        Query(f'text: "{text}"', text=text),
        Query(f"image: {alone}", image=file_bytes(by_name[alone].path)),
        Query(
            f'image and text: {with_text} + "{words}"',
            text=words,
            image=file_bytes(by_name[with_text].path),
        ),
    ], {alone, with_text}


def file_bytes(path: Path) -> bytes:
    """The picture's file, with a drawing rendered to PNG."""
    if path.suffix != ".svg":
        return path.read_bytes()
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=SVG_SIDE, background="#ffffff"))


def _index(client: Client, pictures: Sequence[Picture], console: Console) -> None:
    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("indexing", total=len(pictures))
        failures: list[str] = []
        for step in client.upsert(COLLECTION, _documents(pictures, failures)):
            progress.update(task, completed=step.upserted + step.failed)
            failures += [
                f"{failure.document_id}: {failure.failure.message}" for failure in step.failures
            ]
    for failure in failures:
        console.print(f"left out {failure}", style="yellow", markup=False)


def _documents(pictures: Sequence[Picture], failures: list[str]) -> Iterator[Document]:
    for picture in pictures:
        try:
            data = file_bytes(picture.path)
        except (OSError, ValueError) as error:
            failures.append(f"{picture.name}: {error}")
            continue
        folder = picture.name.partition("/")[0]
        yield Document(
            id=picture.name, text=picture.caption, image=data, metadata={"folder": folder}
        )


def _search(client: Client, query: Query, out: Path, console: Console) -> None:
    console.print(f"\n[bold]{query.title}[/]", highlight=False)
    shown: StageResult | None = None
    with client.search(text=query.text, image=query.image, collection=COLLECTION, k=K) as events:
        for event in events:
            match event:
                case StageResult():
                    _print(event)
                    shown = event
                case StageSkipped():
                    console.print(f"{event.stage} skipped: {event.message}")
                case SearchSummary():
                    console.print(f"total {event.total_us / 1000:.1f} ms")
    if shown is not None:
        _draw(client, query, shown, out)
        console.print(f"drawn: {out}")


def _print(result: StageResult) -> None:
    took = f"{result.timing.total_us / 1000:.1f} ms"
    title = f"{result.stage} ({result.method}) in {took}"
    if result.context is None:
        rows = []
        for rank, hit in enumerate(result.hits, 1):
            moved = f"{hit.movement:+d}" if hit.movement else ""
            caption = (hit.document.text or "") if hit.document else ""
            rows.append((str(rank), moved, f"{hit.score:.3f}", hit.document_id, caption))
        print_table((">rank", ">moved", ">score", "picture", "caption"), rows, title)
        return
    before, after = result.context.tokens_before, result.context.tokens_after
    parts = [_part(part) for part in result.context.parts]
    title += f": {before} tokens to {after}"
    print_table(("picture", "what the model reads", "by"), parts, title)


def _part(part: ContextPart) -> tuple[str, str, str]:
    if part.visual_tokens is None:
        return part.document_id, part.text or "", part.method
    kept, (rows, columns) = part.visual_tokens.positions, part.visual_tokens.grid
    return part.document_id, f"{len(kept)} of {rows * columns} visual tokens", part.method


def _draw(client: Client, query: Query, result: StageResult, out: Path) -> None:
    ids = [hit.document_id for hit in result.hits]
    documents = {d.id: d for d in client.get(COLLECTION, ids, view="full")}
    tokens = {
        part.document_id: part.visual_tokens
        for part in (result.context.parts if result.context else ())
        if part.visual_tokens
    }
    pictures = []
    if query.image:
        pictures.append(Shown(_opened(query.image), "the query's picture"))
    for rank, document_id in enumerate(ids, 1):
        document = documents.get(document_id)
        if document is None or document.image is None:
            continue
        title = f"{rank}. {document.text or document_id}"
        kept = tokens.get(document_id)
        image = _opened(document.image)
        if kept is None:
            pictures.append(Shown(image, title))
        else:
            owners = selected(kept.positions, kept.grid)
            pictures.append(Shown(Image.fromarray(fit(image, SIDE)), title, owners, kept.grid))
    sheet(query.title, pictures).save(out)


def _refine(picture: bytes, out: Path, console: Console) -> None:
    """What each refiner would leave of one picture."""
    seen = look(_opened(picture), ENCODER)
    refined = [refine(method, seen.tokens, KEPT) for method in visual_refiners()]
    draw(seen, refined, f"what is left of {len(seen.tokens)} visual tokens").save(out)
    console.print(f"\n[bold]every visual refiner on one picture[/]\ndrawn: {out}")


def _opened(data: bytes) -> Image.Image:
    try:
        return decode(data, max_pixels=MAX_PIXELS)
    except ImageError:
        return Image.open(io.BytesIO(data)).convert("RGB")
