"""Small encoders for kinds of streams that no encoder at hand makes. All are slow and plain."""

import struct

import numpy as np

# Code lengths of the sizes 0 to 16: some short and some long, or all alike.
LONG_CODES = [2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
EVEN_CODES = [5] * 17


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


class Bits:
    def __init__(self):
        self.out, self.held, self.count = bytearray(), 0, 0

    def put(self, value, bits):
        self.held = self.held << bits | value
        self.count += bits
        while self.count >= 8:
            self.count -= 8
            byte = self.held >> self.count & 0xFF
            self.out.append(byte)
            if byte == 0xFF:
                self.out.append(0)
        self.held &= (1 << self.count) - 1

    def end(self):
        if self.count:
            self.put((1 << (8 - self.count)) - 1, 8 - self.count)


def huffman(lengths):
    """Counts by length, values in the order of their codes, and the code of each value."""
    order = sorted(range(len(lengths)), key=lambda value: (lengths[value], value))
    codes, code, before = {}, 0, 0
    for value in order:
        code <<= lengths[value] - before
        before = lengths[value]
        codes[value] = (code, lengths[value])
        code += 1
    counts = bytes(lengths.count(bits) for bits in range(1, 17))
    return counts, bytes(order), codes


PREDICTORS = {
    1: lambda a, b, c: a,
    2: lambda a, b, c: b,
    3: lambda a, b, c: c,
    4: lambda a, b, c: a + b - c,
    5: lambda a, b, c: a + ((b - c) >> 1),
    6: lambda a, b, c: b + ((a - c) >> 1),
    7: lambda a, b, c: (a + b) >> 1,
}


def lossless_jpeg(samples, precision, predictor=1, transform=0, restart_rows=0, interleaved=True, codes=LONG_CODES):
    """ISO 10918-1 annex H; samples[row][column][component] without signs."""
    rows, columns, components = samples.shape
    counts, values, table = huffman(codes)
    out = bytearray(b"\xff\xd8")
    frame = struct.pack(">BHHB", precision, rows, columns, components)
    out += segment(0xC3, frame + b"".join(bytes([c + 1, 0x11, 0]) for c in range(components)))
    out += segment(0xC4, b"\0" + counts + values)
    if restart_rows:
        out += segment(0xDD, struct.pack(">H", restart_rows * columns))
    shifted = (samples.astype(np.int64) >> transform).tolist()
    groups = [range(components)] if interleaved else [[c] for c in range(components)]
    for group in groups:
        scan = bytes([len(group)]) + b"".join(bytes([c + 1, 0]) for c in group)
        out += segment(0xDA, scan + bytes([predictor, 0, transform]))
        bits = Bits()
        for y in range(rows):
            restarts = restart_rows and y and y % restart_rows == 0
            if restarts:
                bits.end()
                bits.out += bytes([0xFF, 0xD0 + (y // restart_rows - 1) % 8])
            first = y == 0 or restarts
            for x in range(columns):
                for c in group:
                    if first:
                        predicted = shifted[y][x - 1][c] if x else 1 << (precision - transform - 1)
                    elif x == 0:
                        predicted = shifted[y - 1][0][c]
                    else:
                        predicted = PREDICTORS[predictor](
                            shifted[y][x - 1][c], shifted[y - 1][x][c], shifted[y - 1][x - 1][c]
                        )
                    difference = (shifted[y][x][c] - predicted) & 0xFFFF
                    if difference == 0x8000:
                        bits.put(*table[16])
                        continue
                    if difference > 0x8000:
                        difference -= 0x10000
                    size = abs(difference).bit_length()
                    bits.put(*table[size])
                    if size:
                        coded = difference if difference > 0 else difference - 1
                        bits.put(coded & ((1 << size) - 1), size)
        bits.end()
        out += bits.out
    return bytes(out + b"\xff\xd9")


def packed(plane, style):
    """PS3.5 G.3: as literals, as runs, or as both with the control byte that does nothing."""
    out, at = bytearray(), 0
    while at < len(plane):
        run = 1
        while at + run < len(plane) and run < 128 and plane[at + run] == plane[at]:
            run += 1
        if style != "literals" and run > 1:
            out += bytes([257 - run, plane[at]])
            at += run
            continue
        length = min(3 if style == "mixed" else 128, len(plane) - at)
        out += bytes([length - 1]) + plane[at : at + length]
        at += length
        if style == "mixed":
            out.append(128)
    return bytes(out + b"\0" * (len(out) % 2))


def rle(words, style="runs"):
    """PS3.5 annex G; words[row][column][sample] without signs."""
    width = words.dtype.itemsize
    planes = []
    for sample in range(words.shape[2]):
        whole = words[:, :, sample].astype(f">u{width}").tobytes()
        planes += [packed(whole[byte::width], style) for byte in range(width)]
    offsets, at = [], 64
    for plane in planes:
        offsets.append(at)
        at += len(plane)
    header = struct.pack("<16I", len(planes), *offsets, *[0] * (15 - len(planes)))
    return header + b"".join(planes)
