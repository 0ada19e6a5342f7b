"""Folders and zip files of pictures, <part>/<class>/NAME.jpg; needs Pillow (the extra `images`).

The classes are the folders' names in alphabetical order, from 0.
"""

import dataclasses
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wage_host.errors import DataError, ToolMissing
from wage_host.files import UNREADABLE
from wage_host.progress import Tell, silent

ENDINGS = (
    ".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".gif", ".webp", ".tif", ".tiff",
)  # fmt: skip


TOLD = 500  # pictures between two words on how far it is


@dataclasses.dataclass(frozen=True)
class Size:
    """How pictures are made of one size: the short side so long, then the middle, square."""

    short: int = 256
    crop: int = 224


@dataclasses.dataclass(frozen=True)
class Pictures:
    """A part of a set, not read yet: each picture's name and label, and how to open one.

    tell: how far reading is, while it goes on for more than a moment.
    """

    where: Path
    names: Sequence[str]
    labels: np.ndarray
    classes: Sequence[str]
    open: Callable[[str], Any]  # a name -> a binary file
    tell: Tell = silent

    def __len__(self) -> int:
        return len(self.names)

    def read(self, indexes: Sequence[int], size: Size | None = None) -> np.ndarray:
        """Those pictures, (n, h, w, c) uint8; c is 1 when the first one is grey, else 3."""
        pillow = _pillow()
        x = None
        for row, index in enumerate(indexes):
            picture = self._picture(pillow, index, size, x)
            if x is None:
                x = np.empty((len(indexes), *picture.shape), np.uint8)
            elif picture.shape != x.shape[1:]:
                raise DataError(
                    f"{self.where}: {self.names[index]} is {_shape(picture)}, others are "
                    f"{_shape(x[0])}: make all pictures of one size, as with "
                    "--prepare 'resize 32x32'"
                )
            x[row] = picture
        return np.empty((0, 0, 0, 0), np.uint8) if x is None else x

    def one(self, index: int) -> np.ndarray:
        """One picture of any size, (h, w, c) uint8; c is 1 when it is grey, else 3."""
        return self._picture(_pillow(), index, None, None)

    def _picture(
        self, pillow: Any, index: int, size: Size | None, x: np.ndarray | None
    ) -> np.ndarray:
        try:
            with self.open(self.names[index]) as file, pillow.open(file) as stored:
                picture = _upright(pillow, stored)
                grey = picture.mode in ("L", "1") if x is None else x.shape[3] == 1
                picture = picture.convert("L" if grey else "RGB")
                if size:
                    picture = _cut(pillow, picture, size)
                array = np.asarray(picture)
        except (*UNREADABLE, pillow.DecompressionBombError):
            raise DataError(
                f"{self.where}: {self.names[index]} is no picture, or is damaged: copy it again"
            ) from None
        if index % TOLD == TOLD - 1:
            self.tell(index + 1, len(self), self.names[index])
        return array[..., None] if grey else array


@dataclasses.dataclass(frozen=True)
class Each:
    """Pictures as a sequence of arrays, each read when it is asked for."""

    of: Pictures

    def __len__(self) -> int:
        return len(self.of)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.of.one(index)

    def all(self) -> np.ndarray:
        """All at once; they must be of one size."""
        return self.of.read(range(len(self.of)))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ToolMissing("Pillow", "pip install 'wage-host[images]' to read pictures") from None
    return Image


def _upright(pillow: Any, picture: Any) -> Any:
    """A picture turned as its camera says; of 16 bits the upper 8."""
    from PIL import ImageOps

    if picture.mode.startswith("I"):
        upper = np.clip(np.asarray(picture).astype(np.int64) >> 8, 0, 255)
        return pillow.fromarray(upper.astype(np.uint8))
    return ImageOps.exif_transpose(picture)


def _cut(pillow: Any, picture: Any, size: Size) -> Any:
    """The short side made `size.short` pixels, then the middle square of `size.crop`."""
    w, h = picture.size
    scale = size.short / min(w, h)
    w, h = max(size.crop, round(w * scale)), max(size.crop, round(h * scale))
    picture = picture.resize((w, h), pillow.Resampling.BILINEAR)
    left, top = (w - size.crop) // 2, (h - size.crop) // 2
    return picture.crop((left, top, left + size.crop, top + size.crop))


def _shape(array: np.ndarray) -> str:
    return "x".join(str(n) for n in array.shape)


def in_zip(path: Path) -> bool:
    """Whether the path is a zip file, or a part of one as in SET.zip/train."""
    return any(p.suffix.lower() == ".zip" and p.is_file() for p in (path, *path.parents))


def find(path: Path) -> Pictures:
    """The pictures of a folder of classes, or of one in a zip file as in SET.zip/train."""
    if in_zip(path):
        file = next(p for p in (path, *path.parents) if p.suffix.lower() == ".zip" and p.is_file())
        inside = path.relative_to(file).as_posix()
        archive = zipfile.ZipFile(file)
        names, read = archive.namelist(), archive.open
    else:
        inside = "."
        names = [p.relative_to(path).as_posix() for p in path.rglob("*")]
        read = lambda name: (path / name).open("rb")  # noqa: E731
    return _pictures(path, names, "" if inside == "." else f"{inside}/", read)


def hidden(name: str) -> bool:
    """Whether a path is of those that systems put beside people's own: .DS_Store, __MACOSX, …."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _pictures(
    path: Path, names: Sequence[str], prefix: str, read: Callable[[str], Any]
) -> Pictures:
    """Those of `names` below the prefix, class by class and by name."""
    files = sorted(
        name[len(prefix) :].split("/")
        for name in names
        if name.startswith(prefix) and name.lower().endswith(ENDINGS)
        and not hidden(name[len(prefix) :])
    )  # fmt: skip
    if not any(len(parts) == 2 for parts in files):
        raise DataError(
            f"{path} holds no pictures as <class>/NAME.jpg, and no sound as <class>/NAME.wav"
            + _hint(path, files)
        )
    files = [parts for parts in files if len(parts) > 1]
    classes = sorted({parts[0] for parts in files})
    check_classes(path, classes, "picture")
    number = {name: label for label, name in enumerate(classes)}
    labels = np.array(
        [number[parts[0]] for parts in files], np.uint8 if len(classes) <= 256 else np.uint16
    )
    return Pictures(path, [prefix + "/".join(parts) for parts in files], labels, classes, read)


def _hint(path: Path, files: Sequence[Sequence[str]]) -> str:
    """What to do about pictures that lie elsewhere."""
    if (path / "data_batch_1").exists():
        return ": this is CIFAR-10 for Python, which is not read: get its binary version"
    deep = sorted({parts[0] for parts in files if len(parts) == 3})
    if deep:
        return f": name one of its parts, as {path / deep[0]}"
    return ": put those of each class into a folder of its name" if files else ""


def check_classes(path: Path, classes: Sequence[str], kind: str) -> None:
    """DataError for a folder of a class without a file: classes would be counted wrongly."""
    if not path.is_dir():
        return
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and folder.name not in classes and not hidden(folder.name):
            raise DataError(f"{folder} holds no {kind}: put some of the class there, or remove it")


def load(path: Path, size: Size | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All pictures of a folder or of a part of a zip file, and their labels."""
    pictures = find(path)
    return pictures.read(range(len(pictures)), size), pictures.labels
