"""Pillow images, without loss: PNG, or TIFF for the colour spaces that PNG does not have.

An array of pixels is an array, and is stored as one (``.npy``); only its preview is a picture.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, MaterializerNotFound
from .base import BufferMaterializer, LoadRequest, require_library
from .previews import thumbnail

if TYPE_CHECKING:
    from ..digests import HashingFile

_PNG = frozenset(["1", "L", "LA", "I;16", "P", "RGB", "RGBA"])
_TIFF = frozenset(["CMYK", "F", "I", "LAB"])


class ImageMaterializer(BufferMaterializer):
    """``PIL.Image.Image``: pixels, mode, palette, transparency, resolution, colour profile and EXIF."""

    name = "image"
    extension = ".image.png"

    def extension_of(self, value: Any) -> str:
        return ".image.png" if value.mode in _PNG else ".image.tif"

    def write(self, value: Any, file: HashingFile) -> None:
        _require_storable(value)
        info = value.info
        options: dict[str, Any] = {name: info[name] for name in ("dpi", "icc_profile") if info.get(name)}
        exif = value.getexif().tobytes() if value.mode in _PNG and value.getexif() else b""
        memory = io.BytesIO()
        if value.mode in _PNG:
            if "transparency" in info:
                options["transparency"] = info["transparency"]
            value.save(memory, format="PNG", **options, **({"exif": exif} if exif else {}))
        else:
            value.save(memory, format="TIFF", **options)
        file.write(memory.getbuffer())

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        library = require_library("PIL.Image", "an image")
        try:
            with warnings.catch_warnings():
                # Big ones were stored on purpose, and the digest says that this is one; see _require_storable.
                warnings.simplefilter("ignore", library.DecompressionBombWarning)
                image = library.open(io.BytesIO(data), formats=("PNG", "TIFF"))
                if getattr(image, "n_frames", 1) != 1:
                    raise ValueError("it holds several images")
                image.load()
        except (OSError, ValueError, SyntaxError, EOFError, library.DecompressionBombError) as error:
            raise ArtifactCorrupted(f"The artifact is not a readable image: {error}.") from error
        return image

    def describe(self, value: Any) -> dict[str, Any]:
        import numpy as np

        size = tuple(max(1, side * 64 // max(64, *value.size)) for side in value.size)
        shown = value.resize(size, resample=0)  # every so many pixels: cheap, however big it is
        if value.mode in ("F", "I", "I;16"):  # from black to white, whatever the range
            depth = np.nan_to_num(np.asarray(shown, dtype=np.float64), posinf=0.0, neginf=0.0)
            depth -= depth.min()
            pixels = (depth * (255 / (depth.max() or 1.0))).astype(np.uint8)
        elif value.mode in ("1", "L"):
            pixels = np.asarray(shown.convert("L"))
        else:
            pixels = np.asarray(
                shown.convert("RGBA" if value.mode in ("LA", "RGBA") or "transparency" in value.info else "RGB")
            )
        return {
            "width": value.width,
            "height": value.height,
            "mode": value.mode,
            "thumbnail": thumbnail(pixels),
        }


def _require_storable(value: Any) -> None:
    from PIL import Image

    if value.mode not in _PNG | _TIFF:
        raise MaterializerNotFound(
            f"An image of mode {value.mode} cannot be stored without loss.",
            hint="Convert it (image.convert('RGBA')), or return it as an array: numpy.asarray(image)",
        )
    if not (value.width and value.height):
        raise MaterializerNotFound("The image has no pixels.", hint="Return None, or an array: numpy.asarray(image)")
    if getattr(value, "n_frames", 1) > 1:
        raise MaterializerNotFound(
            f"The image has {value.n_frames} frames, and a step's image is one picture.",
            hint="Return its file as a Path, or a list of its frames.",
        )
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and value.width * value.height > 2 * limit:
        raise MaterializerNotFound(
            f"The image has {value.width} × {value.height} pixels, more than Pillow agrees to open again.",
            hint="Return it as an array: numpy.asarray(image)",
        )
