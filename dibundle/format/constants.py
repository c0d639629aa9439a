"""The numbers of the .dib format, version 1: magic, section ids, operations, limits. spec/dib.md has the same names."""

from __future__ import annotations

MAGIC = b"\x89DIB\r\n\x1a\n"
VERSION = 1
HEADER_SIZE = 64

# Sections of the manifest. Odd ids are critical. If a reader does not know an even id, it may skip the section.
SECTION_REQUIRES = 1
SECTION_OBJECTS = 3
SECTION_FRAMES = 5
SECTION_TARGETS = 7
SECTION_ABOUT = 2
SECTION_NAMES = 4
SECTION_FORMS = 6

# Kinds of base objects.
KIND_LAYER = 1
KIND_CONFIG = 2
KIND_OTHER = 3

# If an object is in a target, PLACED is added to the object's kind. If the object is compressed in the target,
# PLACED_COMPRESSED is added instead.
PLACED = 16
PLACED_COMPRESSED = 32

# Operations of a program.
OP_SEEK = 0
OP_KEEP = 1
OP_MODE = 2
OP_PATCH = 3
OP_ADD = 4
OP_REPEAT = 5
OP_RAW = 6
OP_REPLACE = 7
OP_ZERO = 8
OP_HEADER = 9
OP_BEGIN = 10
OP_END = 11
OPS = 12

STREAMS = 32  # streams are numbered 0..31; stream 0 holds the text of header fields
TEXT_STREAM = 0

LAST_CORE_CODEC = 3  # the core profile has the codecs 0 to 3, and no re-encoders

# Limits: a reader refuses values above these limits.
MAX_MANIFEST = 64 << 20  # maximum bytes, both stored and decoded
MAX_SIGNATURE = 1 << 20
MAX_OBJECTS = 65536
MAX_FRAMES = 1 << 20
MAX_FRAME_STORED = 80 << 20
MAX_FRAME_SIZE = 64 << 20
MAX_FRAME_SOURCE = 128 << 20
MAX_RANGES = 1 << 20  # maximum number of explicit source ranges of all frames
MAX_SEGMENTS = 1 << 20  # maximum number of segments of all targets
MAX_TARGETS = 1024
MAX_LIVE = 128 << 20  # maximum bytes of decoded frames that are kept for later use
KEPT_UNIT = 4096  # the size of each kept frame is rounded up to a multiple of this number
MAX_OPEN = 144 << 20  # maximum bytes of kept frames and partly used frames together
MAX_TAIL = 64 << 20  # maximum bytes of output that are withheld until everything is verified
MAX_SHAPES = 4096
MAX_PACKING = 16 << 20  # maximum bytes of a recipe, including its plain bytes
# If an object is compressed in a target, its size is at most PLACED_RATIO times its compressed size, plus PLACED_FLOOR
# bytes.
PLACED_RATIO = 16
PLACED_FLOOR = 16384
MAX_ALIKE = 4  # maximum forms of the same content, because each form is recompressed as a whole
MAX_IMAGES = 1 << 16  # maximum images in section 2; the next three constants are also limits of this section
MAX_NAMES = 1 << 16
MAX_DIFF_IDS = 1 << 18
MAX_ABOUT_TEXT = 4 << 20  # maximum bytes of all strings in section 2

# The budget: each item of a bundle has a minimum cost, in bytes of work (spec/dib.md, 4.5 and 4.6).
COST_FACTOR = 8  # maximum cost of a target, as a multiple of the target's size
COST_FLOOR = 64 << 20  # additional cost that all targets together may have
FRAME_COST = 16384  # a frame costs this number plus the sizes of the frame and of its source
RANGE_COST = 256
SEGMENT_COST = 1024
PLACED_COST = 8192  # cost of a compressed object in a target: starting to decompress it takes up to 100 us
OP_COST = 256
SHAPE_COST = 512
MAX_OPS = 65536  # every target may have this number of operations
OP_BYTES = 32  # in addition, a target may have one operation for each 32 bytes of its size
# maximum bytes to recompress for each byte of a target; in addition, all targets share COST_FLOOR bytes
PACKING_COST = 16
