"""Pictures: metadata only, without the location of a photo."""

from __future__ import annotations

import io
import warnings
from typing import Any, Final

from deputize.toolkits._documents.document import Document, Unit, Unreadable

NEEDS: Final = "To read what is known of pictures, the operator installs deputize[files]."
FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "ICO")
_TAGS: Final = {271: "camera maker", 272: "camera", 306: "changed", 270: "description", 315: "author", 305: "software"}
_TAKEN: Final = 36_867
_CAMERA: Final = 34_665
_LONGEST: Final = 200


def open_image(content: bytes) -> Document:
    """Open a picture. Its pixels are never decoded."""
    try:
        from PIL import Image
    except ImportError:
        raise Unreadable("not_installed", NEEDS) from None
    Image.MAX_IMAGE_PIXELS = None  # no pixels are decoded
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            facts: dict[str, Any] = {"width": image.width, "height": image.height, "colours": image.mode}
            if (frames := getattr(image, "n_frames", 1) if image.format in ("TIFF", "GIF", "WEBP") else 1) > 1:
                facts["frames"] = frames
            kind = str(image.format).lower()
            exif = image.getexif() if "exif" in image.info or image.format == "TIFF" else Image.Exif()
    except (MemoryError, RecursionError):
        raise
    except Exception:  # Pillow raises many types for damaged files
        raise Unreadable("damaged", "The picture is damaged.") from None
    known = {name: _words(exif.get(tag)) for tag, name in _TAGS.items()}
    known["taken"] = _words(exif.get_ifd(_CAMERA).get(_TAKEN))
    lines = [f"{name}: {value}" for name, value in known.items() if value]
    text = "\n".join(["[a picture: what it shows cannot be read]", *lines])
    return Document(kind, lambda _: Unit(text), facts=facts)


def _words(value: Any) -> str:
    return " ".join(value.replace("\0", " ").split())[:_LONGEST] if isinstance(value, str) else ""
