"""Jingles of `reclib.shop.media` and their spectrograms."""

from __future__ import annotations

import io
import wave
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE = 8_000  # samples a second; a jingle lasts one second
N_BANDS = 24
_NOTES = (0, 4, 7, 12)  # semitones above the base
_WINDOW, _HOP = 320, 160  # samples: 40 ms every 20 ms
N_STEPS = (RATE - _WINDOW) // _HOP + 1
_NOISE = 0.02


def notes(style: int) -> tuple[int, ...]:
    """The arpeggio of a style in semitones: rotated, from style 4 on downwards."""
    played = _NOTES if style % 8 < 4 else _NOTES[::-1]
    start = style % 4
    return played[start:] + played[:start]


def jingle(leaf: int, style: int, material: int, generator: np.random.Generator) -> Floats:
    """(8000,) four notes: pitch by leaf, order by style, timbre and decay by material."""
    base = 220 * 2 ** (leaf % 12 / 12)
    pitch = base * 2 ** (np.array(notes(style)) / 12)  # (4,)
    harmonic = np.arange(1, 19)  # 18 * 220 Hz is the last below half the rate
    time = np.arange(RATE // len(pitch)) / RATE
    strength = harmonic ** -(1 + 0.3 * material)
    # Harmonics above half the rate would come back as other pitches.
    strength = np.where(pitch[:, None] * harmonic < RATE / 2, strength, 0)  # (4, harmonics)
    tones = np.exp(2j * np.pi * np.outer(pitch, time))  # (4, samples)
    phases = np.exp(1j * generator.uniform(0, 2 * np.pi, (len(pitch), len(harmonic))))
    sound = np.zeros_like(tones)
    for weight, phase in zip(strength.T[::-1], phases.T[::-1], strict=True):  # Horner
        sound = (sound + (weight * phase)[:, None]) * tones
    attack = np.minimum(time / 0.005, 1)
    decay = attack * np.exp(-(4 + material) * time)
    played = 0.3 * generator.uniform(0.9, 1.1) * (sound.imag * decay).ravel()
    played += _NOISE * generator.standard_normal(RATE)
    return np.clip(played, -1, 1).astype(np.float32)


def log_mel(sounds: Floats) -> Floats:
    """(B, 49, 24) log energy of ``sounds`` (B, 8000) in 24 mel bands."""
    frames = np.lib.stride_tricks.sliding_window_view(sounds, _WINDOW, axis=1)[:, ::_HOP]
    spectrum = np.fft.rfft(frames * np.hanning(_WINDOW).astype(np.float32), axis=2)
    return np.log((np.abs(spectrum) ** 2) @ _filters() + 1e-6).astype(np.float32)


@cache
def _filters() -> Floats:
    """(bins, 24) triangles, equally wide in mel = 2595 log10(1 + f / 700), 80 to 4000 Hz."""
    low, high = (2595 * np.log10(1 + np.array([80, RATE / 2]) / 700)).tolist()
    mel = np.linspace(low, high, N_BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.fft.rfftfreq(_WINDOW, 1 / RATE)[:, None]
    rise = (bins - edges[:-2]) / np.diff(edges)[:-1]
    fall = (edges[2:] - bins) / np.diff(edges)[1:]
    return np.clip(np.minimum(rise, fall), 0, None).astype(np.float32)


def wav(sound: Floats) -> bytes:
    """``sound`` (samples,) in [-1, 1] as a mono WAV file of 16 bits."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(sound * 32_767).astype("<i2").tobytes())
    return stream.getvalue()
