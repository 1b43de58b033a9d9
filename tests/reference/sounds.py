"""Writes the sound files and spectrograms that the tests of plugins/audio compare with, as soundfile, librosa and transformers give them.

Run from the top of the repository, in an environment with tests/reference/requirements.txt, and requirements-families.txt for the features of Whisper, which are
left out without transformers:

    python tests/reference/sounds.py
"""

import json
from pathlib import Path

import librosa
import numpy as np
import soundfile

FOLDER = Path("plugins/audio/tests")


def main():
    time = np.arange(1600) / 8000
    sound = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.25 * np.sin(2 * np.pi * 3000 * time * time)
    for name, kind in [("u8.wav", "PCM_U8"), ("s16.wav", "PCM_16"), ("s24.wav", "PCM_24"), ("s32.wav", "PCM_32"), ("f32.wav", "FLOAT")]:
        soundfile.write(FOLDER / name, sound, 8000, subtype=kind)
    for name, kind in [("s16.flac", "PCM_16"), ("s24.flac", "PCM_24")]:
        soundfile.write(FOLDER / name, sound, 8000, subtype=kind)
    # Its mean is the sound.
    soundfile.write(FOLDER / "stereo.wav", np.stack([sound + 0.1, sound - 0.1], axis=1), 8000, subtype="PCM_16")
    samples = np.round(np.random.default_rng(4).normal(0, 0.1, 1000) + np.sin(np.arange(1000) / 5) / 2, 4)
    cases = []
    for rate, size, hop, bands in [(16000, 256, 100, 20), (8000, 400, 160, 12), (44100, 512, 512, 40)]:
        power = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=size, hop_length=hop, n_mels=bands)
        decibels = librosa.power_to_db(power)
        cases.append(
            {"rate": rate, "size": size, "hop": hop, "bands": bands, "decibels": [round(float(x), 6) for x in decibels.ravel()]}
        )
    record = {"librosa": librosa.__version__, "samples": samples.tolist(), "cases": cases}
    (FOLDER / "mel.json").write_text(json.dumps(record, separators=(",", ":")) + "\n")
    try:
        import transformers
    except ImportError:
        return
    cases = []
    for bands in [80, 128]:
        extractor = transformers.WhisperFeatureExtractor(feature_size=bands)
        features = extractor(samples, sampling_rate=16000, padding="do_not_pad", return_tensors="np")["input_features"][0]
        cases.append({"bands": bands, "features": [round(float(x), 6) for x in features.ravel()]})
    record = {"transformers": transformers.__version__, "samples": samples.tolist(), "cases": cases}
    (FOLDER / "whisper.json").write_text(json.dumps(record, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
