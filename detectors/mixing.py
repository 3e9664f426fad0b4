"""64-bit mixing: keys of any fields become one unsigned word, vectorised."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from detectors import kernel

Words = NDArray[np.uint64]

# Finaliser constants of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xD6E8FEB86659FD93)  # keeps (a, mix(a)) and (b, mix(b)) apart, which a plain XOR would join
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


def mix(words: Words) -> Words:
    """Spread every input bit over all output bits; a bijection, so distinct words stay distinct."""
    mixed = words + _GAMMA
    mixed ^= mixed >> _S30
    mixed *= _FIRST
    mixed ^= mixed >> _S27
    mixed *= _SECOND
    mixed ^= mixed >> _S31
    return mixed


def combine(left: Words, right: Words) -> Words:
    """Return one word for an ordered pair; two pairs meet with a chance of 2**-64."""
    if kernel.native is not None:
        return kernel.combine(left, right)
    return mix(mix(left) * _ODD + right)


def text_word(text: str) -> int:
    """Return a word for a text. Cryptographic, since peers choose some of the texts."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
