"""Known bodies: a check of encoders before they are relied on (dib.md, 3, S3)."""

from __future__ import annotations

import hashlib

from decoder.core.basics import need, sha256
from decoder.encoders.encode import encode


def known_content() -> bytes:
    """Make content on which the encoders and their levels differ: 70,000 bytes of text, digests, zeros."""
    text = b"".join(b"%d:%s\n" % (i, hashlib.md5(b"%d" % (i % 97)).hexdigest().encode()) for i in range(1500))  # noqa: S324
    noise = b"".join(sha256(b"%d" % i) for i in range(300))
    return text + noise + bytes(2000) + text[7000:13000] + noise[:900] + b"end"


KNOWN = {  # encoder, level, parameter: the first digits of the body's SHA-256, as the real encoders write it
    **{(1, 0, 0): "226815750b29"},
    **{(1, 1, 0): "762a90ffaed8", (1, 2, 0): "7f1dad19a68e", (1, 3, 0): "7ffc795f09dc"},
    **{(1, 4, 0): "cb4be73debb7", (1, 5, 0): "13bfe6aea3bb", (1, 6, 0): "2053084706e8"},
    **{(1, 7, 0): "2053084706e8", (1, 8, 0): "2053084706e8", (1, 9, 0): "2053084706e8"},
    **{(2, 1, 0): "647124a4dca3", (2, 5, 0): "f457e463ba47", (2, 6, 0): "a0768b6f4d4a"},
    **{(3, 5, 65536): "259be56389d0", (4, 5, 65536): "d5a1056513f7", (5, 5, 65536): "0739d0700160"},
    **{(6, 1, 8): "1498799deb55", (6, 1, 9): "69dfefe53bb0", (6, 2, 8): "7bba40ed6f27"},
    **{(6, 2, 9): "0aa45ccc0654", (6, 3, 8): "f9c3789e87a2", (6, 3, 9): "9111ac8bb40f"},
    **{(6, 4, 8): "79a9103537f1", (6, 4, 9): "8992c0162242", (6, 5, 8): "b6d4809d3096"},
    **{(6, 5, 9): "b6d4809d3096", (6, 6, 8): "72554561a58e", (6, 6, 9): "72554561a58e"},
    **{(6, 7, 8): "72554561a58e", (6, 7, 9): "72554561a58e", (6, 8, 8): "72554561a58e"},
    **{(6, 8, 9): "72554561a58e", (6, 9, 8): "72554561a58e", (6, 9, 9): "72554561a58e"},
    **{(7, 1, 0): "fe2f62e11f0a", (7, 2, 0): "1b3d43b211cb", (7, 3, 0): "d6274bc72ea6"},
    **{(7, 4, 0): "7a26a8dc9f72", (7, 5, 0): "12e153867fc9", (7, 6, 0): "6d28508dc69c"},
    **{(7, 7, 0): "6d28508dc69c", (7, 8, 0): "6d28508dc69c", (7, 9, 0): "6d28508dc69c"},
    **{(4, 1, 65536): "845f38c8a89c", (4, 2, 65536): "44c3061abc76", (4, 3, 65536): "cf319fc7fff3"},
    **{(4, 4, 65536): "c0690b23046b", (4, 6, 65536): "45ee13113108", (4, 7, 65536): "28de39def4e1"},
    **{(4, 8, 65536): "a2cc5211bc44", (4, 9, 65536): "62bddd10cb7f", (5, 1, 65536): "f4eb5e243786"},
    **{(5, 2, 65536): "8165acee8a91", (5, 3, 65536): "a11ba08110d2", (5, 4, 65536): "2d9048ac57b1"},
    **{(5, 6, 65536): "aef9d8ae6fcb", (5, 7, 65536): "a3558b7bf775", (5, 8, 65536): "28b721432d69"},
    **{(5, 9, 65536): "9e5e0f65f3a1", (8, 4, 65536): "01bacec0f5b7", (8, 7, 65536): "a3558b7bf775"},
    **{(8, 8, 65536): "28b721432d69", (8, 9, 65536): "7d8cfe405b64", (9, 1, 128): "8c04b1537b04"},
    **{(9, 2, 128): "bf466410c01d", (9, 3, 128): "4597cb2cb98a", (9, 4, 128): "989f28d54256"},
    **{(9, 5, 128): "7b25bcf99cd4", (9, 6, 128): "bb473289a2a0", (9, 7, 128): "bb473289a2a0"},
    **{(9, 8, 128): "bb473289a2a0", (9, 9, 128): "bb473289a2a0", (9, 6, 129): "cc4bf3c8daea"},
    **{(9, 6, 130): "6a25ac5af480", (9, 6, 131): "bb473289a2a0", (9, 1, 130): "0eeb31b4ea02"},
    **{(32, 1, 0): "433666f82033", (32, 2, 0): "ec5b7773d15f"},
    **{(32, 3, 0): "2c80984bac02", (32, 4, 0): "316a6f3f2af4"},
    **{(33, 1, 0): "433666f82033", (33, 2, 0): "ec5b7773d15f"},
    **{(33, 3, 0): "2c80984bac02", (33, 4, 0): "316a6f3f2af4"},
    **{(34, 1, 0): "433666f82033", (34, 2, 0): "ec5b7773d15f"},
    **{(34, 3, 0): "613ca5f0c1d9", (34, 4, 0): "45e2f9474b6c"},
    **{(48, 1, 1): "8015cbc2f326", (48, 2, 1): "a9e70a2c757c"},
    **{(48, 3, 1): "aa2397252600", (48, 4, 1): "4cade577e26f"},
    **{(48, 5, 1): "8578f7074d7a", (48, 6, 1): "f2d2c1473cf4"},
    **{(48, 7, 1): "8ef614df0da3", (48, 8, 1): "84fb01cea96c"},
    **{(48, 9, 1): "b82c01c859a7", (48, 10, 1): "eb3888e3ae86"},
    **{(48, 11, 1): "eb3888e3ae86", (48, 12, 1): "eb3888e3ae86"},
    **{(48, 13, 1): "ba90f17ac010", (48, 14, 1): "ba90f17ac010"},
    **{(48, 15, 1): "ba90f17ac010", (49, 1, 1): "5e345b53ad7b"},
    **{(49, 2, 1): "6b929b64e7b5", (49, 3, 1): "21cf46a8b5ec"},
    **{(49, 4, 1): "c739215086cf"},
}


def check_encoders(numbers: list[int]) -> None:
    """Refuse re-encoders that do not make what they should."""
    for number in numbers:
        for (encoder, level, parameter), digest in KNOWN.items():
            if (encoder, level) == (number // 16, number % 16):
                made = sha256(encode(known_content(), encoder, level, parameter)).hex()[:12]
                need(made == digest, f"re-encoder {number} does not make what it should here", 3)
