#!/usr/bin/env python3
"""Reads images, tables and texts with fluxbay and with the usual Python packages, in turns, and compares rates and memory.

    python3 -m venv venv && venv/bin/pip install -r tests/benches/requirements-data.txt
    cargo build --release --workspace
    venv/bin/python tests/benches/data.py                        # everything
    venv/bin/python tests/benches/data.py --only csv,parquet --rounds 5
    venv/bin/python tests/benches/data.py --only folder,shards   # indices of 1.3 million samples; 3 GB of disk

Both sides use two processes or threads. Medians over rounds are printed, with the ratio (fluxbay's figure by the peer's), and
written to target/bench/data.json. Memory is the peak of the process, less that of the same process with a small file. Processor
time is that of all threads: it says more than rates do while other programs use the machine.
"""

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
THREADS = 2
ROWS = 1_000_000
INDEXED = 1_300_000
IMAGES = 600


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="images,packed,csv,parquet,texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", default=TARGET / "release/fluxbay")
    parser.add_argument("--folder", default=TARGET / "bench/data")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = Path(options.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if options.peer:
        print(json.dumps(globals()["peer_" + options.peer]()))
        return
    results = {}
    for what in options.only.split(","):
        globals()["make_" + what]()
        rounds = [(globals()["ours_" + what](options.binary), peer(what)) for _ in range(options.rounds)]
        results[what] = {
            key: [statistics.median(pair[side][key] for pair in rounds) for side in (0, 1)] for key in rounds[0][0]
        }
        for key, (ours, theirs) in results[what].items():
            print(f"{what:8} {key:16} {ours:12.2f} {theirs:12.2f}  {ours / theirs:.2f} x", flush=True)
    (folder.parent / "data.json").write_text(json.dumps(results, indent=1))


def peer(what):
    """Runs the other side in a process of its own."""
    out = subprocess.run([sys.executable, __file__, "--folder", ".", "--peer", what], check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def fluxbay(binary, *arguments):
    """Standard output of a command, its seconds, and the processor time that it took."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen([binary, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, error = child.communicate()
    seconds = time.perf_counter() - begin
    if child.returncode:
        sys.exit(error)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return out, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memory(binary, *arguments):
    """Peak memory in MB of a command and its children."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    out = subprocess.run([sys.executable, "-c", code, binary, *arguments], check=True, capture_output=True, text=True)
    return float(out.stdout.splitlines()[-1])


def run_file(name, data, rest=""):
    Path(name).write_text(
        f"[data]\n{data}\n[loader]\nbatch-size = 64\nthreads = {THREADS}\nprefetch = 8\n{rest}"
        '[model]\ncomponent = "mlp"\n[loss]\ncomponent = "cross-entropy"\n[optimizer]\ncomponent = "adamw"\n'
    )


def bench(binary, name):
    """Samples a second on the loader's threads."""
    out, *_ = fluxbay(binary, "data", "bench", name, "--time", "5")
    return float(re.search(r"loader's threads\s+(\d+) samples", out).group(1))


# ---- images -------------------------------------------------------------------------------------------------------------

CHAIN = '[[transform]]\ncomponent = "flip"\n[[transform]]\ncomponent = "normalize"\n'


def make_images():
    from PIL import Image, ImageFilter

    if Path("photos/b").exists():
        return
    random.seed(1)
    for number in range(IMAGES):
        path = Path("photos") / "ab"[number % 2] / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Smooth colours with fine detail, about as large as a photo.
        coarse = Image.effect_noise((500, 375), 90).filter(ImageFilter.GaussianBlur(6))
        fine = Image.effect_noise((500, 375), 30)
        Image.merge("RGB", (coarse, fine, Image.blend(coarse, fine, 0.4))).save(path, quality=90)
    run_file("images.toml", 'component = "images"\nfolder = "photos"\nsize = [224, 224]\nvalues = "bytes"', CHAIN)


def ours_images(binary):
    return {"images/s": bench(binary, "images.toml")}


def peer_images():
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    files = sorted(Path("photos").rglob("*.jpg"))
    chain = v2.Compose(
        [
            v2.Resize(224, antialias=True),
            v2.CenterCrop(224),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )

    class Photos(torch.utils.data.Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, index):
            image = decode_jpeg(read_file(str(files[index])), mode=ImageReadMode.RGB)
            return chain(image), index % 2

    loader = torch.utils.data.DataLoader(Photos(), 64, shuffle=True, num_workers=THREADS, persistent_workers=True)
    for _ in loader:
        pass
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < 5:
        for images, _ in loader:
            count += len(images)
    return {"images/s": count / (time.perf_counter() - begin)}


def make_packed():
    make_images()


def ours_packed(binary):
    fluxbay(binary, "data", "pack", "images.toml", "--output", "photos.pack", "--force")
    run_file("packed.toml", 'component = "packed"\npath = "photos.pack"', CHAIN)
    return {"images/s": bench(binary, "packed.toml")}


peer_packed = peer_images

# ---- tables -------------------------------------------------------------------------------------------------------------

COLUMNS = [f"c{number}" for number in range(10)] + ["y"]


def make_csv():
    if Path("rows.csv").exists():
        return
    random.seed(2)
    for name, count in [("rows.csv", ROWS), ("few.csv", 100)]:
        with open(name, "w") as file:
            file.write(",".join(COLUMNS) + "\n")
            for _ in range(count):
                file.write(",".join(f"{random.gauss(0, 1):.5f}" for _ in range(10)) + f",{random.randrange(3)}\n")
    for name in ["rows", "few"]:
        run_file(f"{name}.csv.toml", f'component = "csv"\npath = "{name}.csv"\ntarget = "y"')


def table(binary, ending):
    _, few, least = fluxbay(binary, "data", "inspect", f"few.{ending}.toml", "--no-read")
    _, rows, processor = fluxbay(binary, "data", "inspect", f"rows.{ending}.toml", "--no-read")
    inspect = ("data", "inspect", f"rows.{ending}.toml", "--no-read")
    small = ("data", "inspect", f"few.{ending}.toml", "--no-read")
    memories = memory(binary, *inspect) - memory(binary, *small)
    return {"rows/s": ROWS / (rows - few), "processor s": processor - least, "memory MB": memories}


def ours_csv(binary):
    return table(binary, "csv")


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peer_csv():
    import numpy
    import pandas

    pandas.read_csv("few.csv")
    before, begin, processor = peak(), time.perf_counter(), time.process_time()
    frame = pandas.read_csv("rows.csv")
    frame[COLUMNS[:-1]].to_numpy(dtype=numpy.float32)
    seconds = time.perf_counter() - begin
    return {"rows/s": ROWS / seconds, "processor s": time.process_time() - processor, "memory MB": peak() - before}


def make_parquet():
    import pyarrow.csv
    import pyarrow.parquet

    make_csv()
    for name in ["rows", "few"]:
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(f"{name}.csv"), f"{name}.parquet")
        run_file(f"{name}.parquet.toml", f'component = "parquet"\npath = "{name}.parquet"\ntarget = "y"')


def ours_parquet(binary):
    return table(binary, "parquet")


def peer_parquet():
    import numpy
    import pyarrow
    import pyarrow.parquet

    pyarrow.set_cpu_count(THREADS)
    pyarrow.parquet.read_table("few.parquet")
    before, begin, processor = peak(), time.perf_counter(), time.process_time()
    rows = pyarrow.parquet.read_table("rows.parquet")
    numpy.stack([rows[name].to_numpy().astype(numpy.float32) for name in COLUMNS[:-1]], axis=1)
    seconds = time.perf_counter() - begin
    return {"rows/s": ROWS / seconds, "processor s": time.process_time() - processor, "memory MB": peak() - before}


# ---- texts --------------------------------------------------------------------------------------------------------------


def make_texts():
    if Path("few-texts.toml").exists():
        return
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    random.seed(3)
    words = ["".join(random.choices("etaoinshrdlu", k=random.randint(2, 9))) for _ in range(4000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    with open("texts.txt", "w") as file:
        size = 0
        while size < 10_000_000:
            line = " ".join(random.choices(words, weights, k=random.randint(5, 30))) + ".\n"
            size += file.write(line)
    Path("few-texts.txt").write_text("a few words\n" * 50)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=8192, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train(["texts.txt"], trainer)
    tokenizer.save("tokenizer.json")
    for name in ["texts", "few-texts"]:
        data = f'component = "tokens"\npath = "{name}.txt"\ntokenizer = "tokenizer.json"\ncontext = 8'
        run_file(f"{name}.toml", data)


def ours_texts(binary):
    _, few, least = fluxbay(binary, "data", "inspect", "few-texts.toml", "--no-read")
    _, all, processor = fluxbay(binary, "data", "inspect", "texts.toml", "--no-read")
    return {"MB/s": 10 / (all - few), "processor s": processor - least}


def peer_texts():
    from tokenizers import Tokenizer

    os.environ["RAYON_NUM_THREADS"] = str(THREADS)
    tokenizer = Tokenizer.from_file("tokenizer.json")
    lines = Path("texts.txt").read_text().splitlines(keepends=True)
    begin, processor = time.perf_counter(), time.process_time()
    tokenizer.encode_batch_fast(lines, add_special_tokens=False)
    return {"MB/s": 10 / (time.perf_counter() - begin), "processor s": time.process_time() - processor}


# ---- indices ------------------------------------------------------------------------------------------------------------


def opening(binary, many, few):
    """Seconds to open a data set with an index, beyond those of one with ten samples."""
    inspect = lambda name: fluxbay(binary, "data", "inspect", f"{name}.toml", "--no-read")
    inspect(many)  # writes the index
    (_, least, processor_least), (_, all, processor) = inspect(few), inspect(many)
    return {"seconds": all - least, "processor s": processor - processor_least}


def make_folder():
    for name, classes, each in [("many-images", 1000, INDEXED // 1000), ("few-images", 2, 5)]:
        run_file(f"{name}.toml", f'component = "images"\nfolder = "{name}"')
        if Path(name).exists():
            continue
        for number in range(classes):
            path = Path(name) / f"n{number:08}"
            path.mkdir(parents=True)
            for image in range(each):
                (path / f"n{number:08}_{image:05}.JPEG").touch()
    time.sleep(3)  # A folder that has just changed has no index yet.


def ours_folder(binary):
    return opening(binary, "many-images", "few-images")


def peer_folder():
    from torchvision.datasets import ImageFolder

    begin, processor = time.perf_counter(), time.process_time()
    assert len(ImageFolder("many-images")) == INDEXED
    return {"seconds": time.perf_counter() - begin, "processor s": time.process_time() - processor}


def make_shards():
    import tarfile

    for name, count in [("many-shards", INDEXED), ("few-shards", 10)]:
        run_file(f"{name}.toml", f'component = "shards"\npath = "{name}"')
        if Path(name).exists():
            continue
        Path(name).mkdir()
        for start in range(0, count, 100_000):
            with open(f"{name}/{start:07}.tar", "wb") as file:
                for number in range(start, min(start + 100_000, count)):
                    for ending, content in [("jpg", b""), ("cls", b"%d" % (number % 1000))]:
                        info = tarfile.TarInfo(f"{number:08}.{ending}")
                        info.size = len(content)
                        file.write(info.tobuf(tarfile.USTAR_FORMAT))
                        file.write(content.ljust(512, b"\0") if content else b"")
                file.write(bytes(1024))


def ours_shards(binary):
    return opening(binary, "many-shards", "few-shards")


def peer_shards():
    import tarfile

    begin, processor = time.perf_counter(), time.process_time()
    names = 0
    for path in sorted(Path("many-shards").glob("*.tar")):
        with tarfile.open(path) as archive:
            names += len(archive.getnames())
    assert names == 2 * INDEXED
    return {"seconds": time.perf_counter() - begin, "processor s": time.process_time() - processor}


if __name__ == "__main__":
    main()
