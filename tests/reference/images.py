"""Writes the pixels that the tests of plugins/images compare with, as Pillow gives them.

Run from the top of the repository, in an environment with tests/reference/requirements.txt:

    python tests/reference/images.py > plugins/images/tests/pillow.json

`pixels` are bytes in hexadecimal, rows of pixels, channels interleaved. The images that operations start from are those of
`picture`, which the tests make with the same formula. `numbers` are from 0 to 1.
"""

import colorsys
import io
import json
import sys

import PIL
from PIL import Image, ImageEnhance, ImageOps

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def values(height, width, channels):
    return bytes((y * 37 + x * 59 + c * 101 + y * x * 7) % 256 for y in range(height) for x in range(width) for c in range(channels))


def smooth(height, width, channels):
    """Without the jumps that lossy formats blur."""
    return bytes((20 + y * 9 + x * 5 + c * 40) % 256 for y in range(height) for x in range(width) for c in range(channels))


def picture(height, width, channels, of=values):
    return Image.frombytes({1: "L", 3: "RGB"}[channels], (width, height), of(height, width, channels))


def resize():
    sizes = [((7, 11), (13, 5)), ((13, 9), (4, 20)), ((6, 6), (6, 3)), ((40, 31), (5, 7)), ((5, 5), (11, 12))]
    for name, resample in FILTERS.items():
        for at, ((h, w), (th, tw)) in enumerate(sizes):
            channels = 3 if at % 2 else 1
            result = picture(h, w, channels).resize((tw, th), resample)
            yield {"filter": name, "from": [h, w], "to": [th, tw], "channels": channels, "pixels": result.tobytes().hex()}


def encoded(name, image, tolerance=0, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    opened = Image.open(io.BytesIO(buffer.getvalue()))
    if opened.mode.startswith("I;16"):
        # Pillow cuts 16 bits off instead of scaling them.
        shown = opened.point(lambda value: value / 257 + 0.5).convert("L")
    else:
        shown = ImageOps.exif_transpose(opened)
    grey = shown.convert("RGB").convert("L") if shown.mode not in ("L", "1", "LA") else shown.convert("L")
    return {
        "file": name,
        "bytes": buffer.getvalue().hex(),
        "size": [shown.height, shown.width],
        "rgb": shown.convert("RGB").tobytes().hex(),
        "grey": grey.tobytes().hex(),
        "tolerance": tolerance,
    }


def decode():
    rgb, grey = picture(9, 12, 3, smooth), picture(9, 12, 1, smooth)
    # Decoders of JPEG differ in the last bits of their transform and in how they enlarge colours.
    yield encoded("rgb.jpg", rgb, tolerance=3, format="JPEG", quality=95, subsampling=0)
    yield encoded("grey.jpg", grey, tolerance=2, format="JPEG", quality=95)
    yield encoded("progressive.jpeg", rgb, tolerance=3, format="JPEG", quality=95, subsampling=0, progressive=True)
    yield encoded("cmyk.jpg", rgb.convert("CMYK"), tolerance=4, format="JPEG", quality=95)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield encoded(f"turned-{orientation}.jpg", grey, tolerance=2, format="JPEG", quality=95, exif=exif)
    yield encoded("rgb.png", rgb, format="PNG")
    yield encoded("grey.png", grey, format="PNG")
    yield encoded("alpha.png", Image.merge("RGBA", (*rgb.split(), grey)), format="PNG")
    yield encoded("grey-alpha.png", Image.merge("LA", (grey, grey)), format="PNG")
    yield encoded("palette.png", rgb.quantize(16), format="PNG")
    yield encoded("bits.png", grey.convert("1"), format="PNG")
    sixteen = Image.frombytes("I;16", (12, 9), bytes(b for v in smooth(9, 12, 1) for b in (v * 257 % 256, v)))
    yield encoded("sixteen.png", sixteen, tolerance=1, format="PNG")
    yield encoded("lossless.webp", rgb, format="WEBP", lossless=True)
    yield encoded("lossy.webp", rgb, tolerance=6, format="WEBP", quality=95)
    yield encoded("rgb.bmp", rgb, format="BMP")
    yield encoded("palette.gif", rgb.quantize(16), format="GIF")
    yield encoded("rgb.tiff", rgb, format="TIFF")
    yield encoded("packed.tif", grey, format="TIFF", compression="tiff_lzw")


def colours():
    image = picture(8, 10, 3)
    enhancers = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color, "sharpness": ImageEnhance.Sharpness}
    for name, enhancer in enhancers.items():
        for factor in (0.3, 0.8, 1.0, 1.7):
            yield {"operation": name, "amount": factor, "size": [8, 10], "pixels": enhancer(image).enhance(factor).tobytes().hex()}
    for amount in (0.1, -0.3, 0.5):
        turned = []
        data = image.tobytes()
        for at in range(0, len(data), 3):
            h, s, v = colorsys.rgb_to_hsv(*(value / 255 for value in data[at : at + 3]))
            turned += [round(value, 6) for value in colorsys.hsv_to_rgb((h + amount) % 1.0, s, v)]
        yield {"operation": "hue", "amount": amount, "size": [8, 10], "numbers": turned}
    for bits in (1, 3, 7):
        yield {"operation": "posterize", "amount": bits, "size": [8, 10], "pixels": ImageOps.posterize(image, bits).tobytes().hex()}
    for threshold in (0, 100, 255):
        yield {"operation": "solarize", "amount": threshold, "size": [8, 10], "pixels": ImageOps.solarize(image, threshold).tobytes().hex()}
    dull = image.point(lambda value: 60 + value // 3)
    for name, of in {"auto-contrast": ImageOps.autocontrast, "equalize": ImageOps.equalize}.items():
        yield {"operation": name, "amount": 0, "size": [8, 10], "dull": False, "pixels": of(image).tobytes().hex()}
        yield {"operation": name, "amount": 0, "size": [8, 10], "dull": True, "pixels": of(dull).tobytes().hex()}


def affine():
    """Results at (x, y) come from (a x + b y + c, d x + e y + f)."""
    image = picture(9, 12, 3)
    matrices = [(1, 0.3137, 0, 0, 1, 0), (1, 0, 2, 0, 1, -3), (0.8312, 0.2137, 1.3719, -0.2923, 1.1341, 0.5127), (1, 0, 0, 0, 1, 0)]
    for name in ("nearest", "bilinear"):
        for matrix in matrices:
            result = image.transform(image.size, Image.Transform.AFFINE, matrix, FILTERS[name])
            yield {"filter": name, "matrix": matrix, "size": [9, 12], "pixels": result.tobytes().hex()}


def rotate():
    image = picture(9, 12, 3)
    for angle in (31.3, -90, 12.7):
        for name in ("nearest", "bilinear"):
            result = image.rotate(angle, FILTERS[name])
            yield {"filter": name, "angle": angle, "size": [9, 12], "pixels": result.tobytes().hex()}


json.dump(
    {
        "versions": {"pillow": PIL.__version__, "python": sys.version.split()[0]},
        "resize": list(resize()),
        "decode": list(decode()),
        "colours": list(colours()),
        "affine": list(affine()),
        "rotate": list(rotate()),
    },
    sys.stdout,
    indent=None,
    separators=(",", ":"),
)
print()
