"""Standard data sets: what they are, where they come from, and how to download and verify a part of one."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconet_bench.core.errors import DataError, UnknownName
from reconet_bench.core.files import write_text
from reconet_bench.core.flow_files import read_flo
from reconet_bench.core.images import read_image
from reconet_bench.data.sintel import HELD_OUT, PASSES
from reconet_bench.data.zip_over_http import Report, crc32, download, fetch_members

#: The files asked for, each with its CRC-32 (``null`` until it is downloaded); kept beside the data and written first.
MANIFEST = "fetched.json"
ALL = "all"


@dataclass(frozen=True)
class Dataset:
    """A data set that :func:`fetch` can download.

    Attributes:
        summary: one line.
        licence: its terms of use, and what to cite.
        url: of its archive, or of a folder of files; a mirror can replace it.
        folder: where it is written by default.
        videos: sequences or paintings that are downloaded by default.
    """

    summary: str
    licence: str
    url: str
    folder: Path
    videos: tuple[str, ...]


@dataclass(frozen=True)
class Painting:
    """A painting in the public domain: its title, and its file at Wikimedia Commons."""

    title: str
    file: str


PAINTINGS = {
    "starry_night": Painting(
        "Vincent van Gogh, The Starry Night, 1889", "Van Gogh - Starry Night - Google Art Project.jpg"
    ),
    "wave": Painting("Katsushika Hokusai, The Great Wave off Kanagawa, c. 1831", "Tsunami by hokusai 19th century.jpg"),
    "composition_7": Painting(
        "Wassily Kandinsky, Composition VII, 1913", "Vassily Kandinsky, 1913 - Composition 7.jpg"
    ),
}
_COMMONS = "https://commons.wikimedia.org/wiki/Special:FilePath"

DATASETS = {
    "sintel": Dataset(
        "MPI-Sintel: rendered film with true flow, occlusions and invalid pixels",
        "CC BY 3.0, Blender Foundation; cite Butler et al., ECCV 2012 (http://sintel.is.tue.mpg.de)",
        "http://files.is.tue.mpg.de/sintel/MPI-Sintel-complete.zip",
        Path("data/MPI-Sintel"),
        HELD_OUT,
    ),
    "davis": Dataset(
        "DAVIS 2017: camera footage at 480p, without true flow",
        "CC BY-NC 4.0; cite Pont-Tuset et al., The 2017 DAVIS Challenge (https://davischallenge.org)",
        "https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-trainval-480p.zip",
        Path("data/DAVIS"),
        ("bmx-trees", "car-roundabout"),
    ),
    "styles": Dataset(
        "Paintings to train on: " + "; ".join(painting.title for painting in PAINTINGS.values()),
        "public domain: the painters died over 70 years ago; photographs from Wikimedia Commons",
        _COMMONS,
        Path("data/styles"),
        tuple(PAINTINGS),
    ),
}

_SINTEL = re.compile(r"(?:.*/)?(training/(clean|final|albedo|flow|occlusions|invalid)/([^/]+)/frame_\d+\.(?:png|flo))")
_DAVIS = re.compile(r"(?:.*/)?(JPEGImages/480p/([^/]+)/\d+\.jpg)")


def dataset(name: str) -> Dataset:
    """A data set by name; raises UnknownName."""
    if name not in DATASETS:
        raise UnknownName("data set", name, DATASETS)
    return DATASETS[name]


def fetch(
    name: str,
    target: Path | None = None,
    videos: Sequence[str] = (),
    render_pass: str = "clean",
    url: str = "",
    report: Report = lambda name, size: None,
) -> tuple[Path, int]:
    """Download a data set, or the part of it that ``videos`` names.

    Args:
        target: folder; by default the one in which the other commands look.
        videos: sequences or paintings; ``all`` means everything.
        render_pass: Sintel's rendering pass.
        url: of a mirror: an archive with the same layout (for ``styles`` a folder of ``NAME.jpg``).

    Returns:
        The folder, and the number of files that were asked for.

    Raises:
        UnknownName, DataError: no such data set, sequence or server; complete files fetched before the error stay.
    """
    known = dataset(name)
    folder, wanted = Path(target or known.folder), set(videos or known.videos)
    if name == "styles":
        return folder, _paintings(folder, wanted, url, report)
    return folder, _sequences(name, folder, wanted, render_pass, url or known.url, report)


def _sequences(name: str, folder: Path, wanted: set[str], render_pass: str, url: str, report: Report) -> int:
    if render_pass not in PASSES:
        raise UnknownName("pass", render_pass, PASSES)
    seen: set[str] = set()

    def choose(member: str) -> str | None:
        match = (_SINTEL if name == "sintel" else _DAVIS).fullmatch(member)
        if match is None or (name == "sintel" and match[2] in PASSES and match[2] != render_pass):
            return None
        sequence = match[3] if name == "sintel" else match[2]
        seen.add(sequence)
        return match[1] if sequence in wanted or ALL in wanted else None

    def begin(sums: dict[str, int]) -> None:
        if missing := sorted(wanted - seen - {ALL}):
            raise UnknownName(f"sequence in {url}", missing[0], seen)
        _add_to_manifest(folder, sums)

    return fetch_members(url, folder, choose, begin, report)


def _paintings(folder: Path, wanted: set[str], url: str, report: Report) -> int:
    names = sorted(PAINTINGS if ALL in wanted else wanted)
    for name in names:
        if name not in PAINTINGS:
            raise UnknownName("painting", name, PAINTINGS)
    known = _read_manifest(folder / MANIFEST)
    _add_to_manifest(folder, {f"{name}.jpg": known.get(f"{name}.jpg") for name in names})
    for name in names:
        path = folder / f"{name}.jpg"
        if not _is_whole(path, known.get(path.name)):
            source = (
                f"{url.rstrip('/')}/{name}.jpg"
                if url
                else f"{_COMMONS}/{urllib.parse.quote(PAINTINGS[name].file)}?width=1600"
            )
            part = folder / f".{name}.jpg"
            try:
                download(source, part)
                read_image(part)
                part.replace(path)
            except DataError as error:
                raise DataError(f"{source} gives no picture: {error}") from None
            finally:
                part.unlink(missing_ok=True)
            write_text(folder / f"{name}.txt", f"{PAINTINGS[name].title}\n{source}\nPublic domain.\n")
            report(path.name, path.stat().st_size)
        else:
            report(path.name, 0)
        _add_to_manifest(folder, {path.name: crc32(path)})
    return len(names)


def _is_whole(path: Path, sum_: int | None) -> bool:
    """Whether a picture can be read and, if its checksum is known, is unchanged since the download."""
    try:
        read_image(path)
    except DataError:
        return False
    return sum_ is None or crc32(path) == sum_


def _read_manifest(path: Path) -> dict[str, int | None]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _add_to_manifest(folder: Path, sums: Mapping[str, int | None]) -> None:
    path = folder / MANIFEST
    write_text(path, json.dumps({**_read_manifest(path), **sums}, indent=0, sort_keys=True) + "\n")


@dataclass(frozen=True)
class Verified:
    """What :func:`verify` found.

    Attributes:
        files: how many were looked at.
        compared: how many of them were compared with a checksum from the download; the others are only known to be
            readable.
        wrong: one line for each fault.
    """

    files: int
    compared: int
    wrong: list[str]


def verify(folder: Path) -> Verified:
    """Check that every file asked for is there, unchanged and readable.

    Raises:
        DataError: the folder holds no data.
    """
    folder = Path(folder)
    sums = _read_manifest(folder / MANIFEST)
    files = sorted(
        {folder / name for name in sums}
        | {p for p in folder.rglob("*") if p.suffix in (".png", ".flo", ".jpg") and p.is_file()}
    )
    if not files:
        raise DataError(f"no data in {folder}")
    wrong: list[str] = []
    sizes: dict[Path, tuple[int, ...]] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        try:
            if path.suffix == ".flo":
                sizes[path] = read_flo(path).shape[1:]
            elif path.suffix in (".png", ".jpg"):
                sizes[path] = read_image(path).shape[:2]
            if sums.get(name) is not None and crc32(path) != sums[name]:
                wrong.append(f"{name}: changed since the download")
        except DataError as error:
            wrong.append(str(error))
    for flow in folder.glob("training/flow/*/*.flo"):
        for kind in ("occlusions", "invalid"):
            mask = folder / "training" / kind / flow.parent.name / f"{flow.stem}.png"
            if not mask.is_file():
                wrong.append(f"{mask.relative_to(folder).as_posix()}: missing beside its flow")
    compared = sum(sums.get(path.relative_to(folder).as_posix()) is not None for path in files)
    return Verified(len(files), compared, wrong + _sequence_faults(folder, sizes))


def _sequence_faults(folder: Path, sizes: dict[Path, tuple[int, ...]]) -> list[str]:
    """Frames that differ in size from the first of their sequence, and gaps in DAVIS (Sintel itself has gaps)."""
    wrong = []
    by_sequence: dict[Path, list[Path]] = {}
    for path in sizes:
        name = path.relative_to(folder).as_posix()
        if _SINTEL.fullmatch(name) or _DAVIS.fullmatch(name):
            by_sequence.setdefault(path.parent, []).append(path)
    for sequence, paths in by_sequence.items():
        height, width = sizes[paths[0]]
        place = sequence.relative_to(folder).as_posix()
        wrong += [
            f"{place}/{p.name}: {sizes[p][1]}x{sizes[p][0]}, the first is {width}x{height}"
            for p in paths
            if sizes[p] != (height, width)
        ]
        if sequence.parent.parent.name == "JPEGImages":
            numbers = {int(path.stem) for path in paths}
            wrong += [
                f"{place}/{number:05d}.jpg: missing"
                for number in sorted(set(range(min(numbers), max(numbers))) - numbers)
            ]
    return wrong
