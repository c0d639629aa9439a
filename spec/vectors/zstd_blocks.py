"""Vectors of zstd blocks, written by hand for what small contents do not make an encoder write; and of one that did."""

from __future__ import annotations

import base64

from bundles import Bundle, Frame, Program, sha256
from good import BASES, CONFIG, archive, drawn, good, noise, one, text

Sequence = tuple[int, int, int]  # a number of literals, the offset as it is coded (1 to 3: repeated), a match's bytes

# Six letters, 0 to 5, with codes of 1 to 5 bits: their weights, of which the last one is left out
WEIGHTS = (5, 4, 3, 2, 1)
CODES = {5: (1, 5), 4: (0, 5), 3: (1, 4), 2: (1, 3), 1: (1, 2), 0: (1, 1)}


def letters(seed: str, size: int) -> bytes:
    """Return letters, the first one most of all."""
    return bytes(max(byte % 9 - 3, 0) for byte in noise(seed, size))


def turned(fields: list[tuple[int, int]]) -> bytes:
    """Return values with their numbers of bits as a stream that is read from its end; a bit marks the end."""
    value = at = 0
    for number, count in reversed(fields):
        value, at = value | number << at, at + count
    return (value | 1 << at).to_bytes(at // 8 + 1, "little")


def compressed(data: bytes, *, count: int = 10, again: bool = False) -> bytes:
    """Return letters in four streams, their sizes in ``count`` bits each; ``again``: by the code that was before."""
    part = (len(data) + 3) // 4
    streams = [turned([CODES[byte] for byte in data[part * n : part * (n + 1) if n < 3 else None]]) for n in range(4)]
    packed = b"".join(len(stream).to_bytes(2, "little") for stream in streams[:3]) + b"".join(streams)
    if not again:
        weights = [*WEIGHTS, 0]
        packed = bytes((127 + len(WEIGHTS), *(weights[n] << 4 | weights[n + 1] for n in (0, 2, 4)))) + packed
    kind = (3 if again else 2) | {10: 1, 14: 2, 18: 3}[count] << 2
    head = kind | len(data) << 4 | len(packed) << 4 + count
    return head.to_bytes((4 + 2 * count) // 8, "little") + packed


def repeated(letter: int, size: int) -> bytes:
    """Return one letter so many times, with 20 bits for the number."""
    return (1 | 3 << 2 | size << 4).to_bytes(3, "little") + bytes((letter,))


def sequences(rows: list[Sequence], *, codes: bool = True) -> bytes:
    """Return sequences of fewer than 16 literals, the same number each, and of as many bytes below 35 each.

    Each of the three codes occurs alone; not ``codes``: they are those that were before.
    """
    count = len(rows)
    head = bytes((count,)) if count < 128 else bytes((count >> 8 | 128, count & 255))
    if count >= 0x7F00:
        head = b"\xff" + (count - 0x7F00).to_bytes(2, "little")
    run, offset, length = rows[0]
    code = offset.bit_length() - 1
    assert all(row[0] == run and row[1].bit_length() - 1 == code and row[2] == length for row in rows)
    head += bytes((0x54, run, code, length - 3)) if codes else b"\xfc"
    return head + turned([(row[1] - (1 << code), code) for row in rows])


class Blocks:
    """A frame, block by block, and what it makes; ``start``: its first block, as it is."""

    def __init__(self, start: bytes) -> None:
        self.blocks = [(len(start) << 3).to_bytes(3, "little") + start]
        self.out = bytearray(start)
        self.offsets = [1, 4, 8]

    def add(self, literals: bytes, content: bytes, rows: list[Sequence], *, codes: bool = True) -> None:
        """Add a compressed block; ``content``: the literals as they are."""
        block = literals + (sequences(rows, codes=codes) if rows else b"\0")
        self.blocks.append((len(block) << 3 | 4).to_bytes(3, "little") + block)
        at = 0
        for run, offset, length in rows:
            self.out += content[at : at + run]
            at += run
            distance = self._distance(offset, is_behind=run == 0)
            for _ in range(length):
                self.out.append(self.out[-distance])
        self.out += content[at:]

    def _distance(self, offset: int, *, is_behind: bool) -> int:
        """Return how far back it is, and note it."""
        if offset > 3:
            self.offsets = [offset - 3, *self.offsets[:2]]
        else:
            which = offset - 1 + is_behind
            last = self.offsets[0]
            taken = self.offsets.pop(which) if which < 3 else last - 1
            self.offsets = [taken, *self.offsets][:3]
        return self.offsets[0]

    def frame(self) -> bytes:
        """Return the frame, with a window of 128 KiB."""
        *blocks, last = self.blocks
        blocks += [bytes((last[0] | 1,)) + last[1:]]
        return b"\x28\xb5\x2f\xfd\x80\x38" + len(self.out).to_bytes(4, "little") + b"".join(blocks)


@good("codec.1", "M8")
def zstd_blocks_of_every_kind() -> Bundle:
    """Have sizes of literals of 10 to 20 bits, codes and tables of before, many sequences, and each repeated offset."""
    blocks = Blocks(noise("start", 64))
    first, second = letters("first", 1200), letters("second", 300)
    blocks.add(compressed(first, count=14), first, [(3, 32 + 7 * n % 32, 10) for n in range(130)])
    blocks.add(compressed(second, again=True), second, [(3, 63 - n, 10) for n in range(20)], codes=False)
    behind = [2, 3, 3, 2, 3, 2, 2, 3]
    blocks.add(repeated(5, 5000), b"\5" * 5000, [(0, offset, 9) for offset in behind])
    blocks.add(compressed(second, again=True), second, [(1, 2 + n % 2, 5) for n in range(12)])
    third = letters("third", 500) + bytes(16000)
    blocks.add(compressed(third, count=18, again=True), third, [(2, 1, 34)] * 3)
    blocks.add(repeated(4, 4096), b"\4" * 4096, [(0, 1, 3)] * 0x7F03)
    return drawn(Frame(blocks.frame(), len(blocks.out), codec=1), bytes(blocks.out))


# zstd 1.5.7 made this at level 16 of 6,000 bytes, with a window of 1 KiB, without their number: in six blocks
WINDOWED = base64.b85decode(
    "D77#B005)~0P>C_5U{lkA`O#Dk<m)qnXnKy$LAJRlrl2l<oNrz{rBs1z{KeDu=%#jWPsq+D65yNiV7eY{yb=s=pk0oxkVM_0%Z^w8({F7=t{"
    "4OGQ!@eJ6oBSh={f^Q7q`8GsL7C-ymd2YN9;sNmZ|OoP+B)T8iReE`ids_T8h+5p$wc@Bos0kDT2*qepj$LIEPE5uo(_{|%tC4-x!-`vK?wr"
    "u;5j3|L>fzD1V%O|86C1q=cJlLZXvRZ&ce5CM=N;^9EUqp^?>IC6M*<LrLEIyzvGf#b#)Ha<LR&;X1W+SxF(n~ee~*Z>jy4#D#S-H#l&0t^E"
    "H^9B!wq$Y}8<suhQMXIpssz#Mny~<TpMO6S5p+c&o8dOGgDpM5|Q2_t}5IA4}1{^R@0096Y1j&&>jGR;`s1OkD1F*9P5&Sa*`vX!G<pjr@*s"
    "vxv%t#oaM4$iw0XzZ#Vh0Wju%`{(nnd>AN!$tJS!U5g2Yq@w`?~sFy5NBWKD?ZKTzoEE?6AR}-OatN{gy3s&_Iu_rk*4yoDdMg4*&(#?+OAu"
    "0sxbT4P%jrggA(Sc*GS`Jh8-!MJ&Q048jv`nBj#LJ}hAY4qyNtaKQu*Ebw3fi#g0-p1CvU&6*G>*Z>hY1po5`03}=i1pNU3QU(kSkR@siPqx"
    "{eVCKvW4S_Ico|~G%W%5`Yp1*alWyy{e8+P_?wSg8TI#g)T(FzD6*Z>jy?=bvX;;kS"
)
SLIDING = text(6000)
BASES["windowed"] = archive({"config.json": CONFIG, "layer.zst": WINDOWED}, ["layer.zst"], "config.json")


@good("object kind.1", "M26", base="windowed")
def base_object_of_more_than_its_window() -> Bundle:
    """Have it in blocks of 1 KiB, with codes and tables of blocks before."""
    return one(SLIDING, Program().do("keep", keep=6000), objects=[(1, 6000, sha256(SLIDING))])


@good("codec.1", "M8", "M11")
def zstd_frame_of_more_than_its_window() -> Bundle:
    """Have the same blocks in a frame, with their size in its head."""
    frame = WINDOWED[:4] + b"\x80" + WINDOWED[5:6] + (6000).to_bytes(4, "little") + WINDOWED[6:]
    return drawn(Frame(frame, 6000, codec=1), SLIDING)
