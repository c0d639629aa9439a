"""Messages about payloads and codecs, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

DEFLATE_DAMAGED: Final = Message("deflate.damaged", "deflate data is damaged", hint="copy or download the file again")
DEFLATE_TRUNCATED: Final = Message(
    "deflate.truncated", "deflate data ends too early", hint="copy or download the file again"
)
ENCODER_LIBRARY_REFUSED: Final = Message(
    "encoder.library_refused", "malformed bundle: libzstd cannot create the frame: {reason}"
)
ENCODER_PARAMETER_OUT_OF_RANGE: Final = Message(
    "encoder.parameter_out_of_range", "parameter {parameter} of the encoder {name} is not between {least} and {most}"
)
ENCODER_UNKNOWN: Final = Message(
    "encoder.unknown", "unknown encoder {encoder} (known: {families})", hint="use a newer dib"
)
ENCODER_UNKNOWN_LEVEL: Final = Message("encoder.unknown_level", "encoder {name} has no level {level}")
FRAMES_DAMAGED: Final = Message("frames.damaged", "zstd data is damaged", hint="copy or download the file again")
LIBRARY_ENCODER_BROKEN: Final = Message(
    "library.encoder_broken",
    "encoder {name} does not work at level {level} on this machine",
    hint="reinstall dibundle with another C compiler",
)
LIBRARY_LIBZSTD_VERSION: Final = Message(
    "library.libzstd_version",
    "the bundle needs libzstd {wanted} to recompress a zstd layer, but the zstandard module on this machine has"
    " {found}",
    hint="{install_hint}; or ask for a bundle created with --raw-layers, which needs no libzstd",
)
LIBRARY_MISSING: Final = Message(
    "library.missing",
    "dib's C library is {reason}",
    hint="in a checkout of dib: {install_hint}",
)
LIMIT_DECODING_WORK: Final = Message(
    "limit.decoding_work", "bundle over a limit: its frames and packings take too long to decode for their size"
)
LIMIT_EMBEDDED_STREAMS: Final = Message(
    "limit.embedded_streams",
    (
        "bundle over a limit: a source of {source_count} bytes has too many streams ({count}), or streams with "
        "too much content ({total} bytes)"
    ),
)
LIMIT_RECOMPRESSION_WORK: Final = Message(
    "limit.recompression_work", "bundle over a limit: its layers or files take too long to compress for their size"
)
LIMIT_UNPACKED_FRAME: Final = Message(
    "limit.unpacked_frame",
    "bundle over a limit: an unpacked frame has {plain} bytes, at most {max_unpacked} are allowed",
)
LIMIT_VCDIFF_WINDOWS: Final = Message(
    "limit.vcdiff_windows", "bundle over a limit: more than {most} vcdiff windows for {target_size} bytes"
)
LIMIT_ZSTD_FRAME: Final = Message(
    "limit.zstd_frame", "bundle over a limit: a zstd frame declares {size} bytes, at most {maximum} are allowed"
)
LIMIT_ZSTD_WINDOW: Final = Message(
    "limit.zstd_window", "bundle over a limit: a zstd window has {window_size} bytes, at most {max_window} are allowed"
)
PAYLOAD_BYTES_AFTER_COLUMN: Final = Message(
    "payload.bytes_after_column", "malformed bundle: a column has bytes after its last number"
)
PAYLOAD_BYTES_AFTER_RECIPE: Final = Message(
    "payload.bytes_after_recipe", "malformed bundle: extra bytes after the end of a packing"
)
PAYLOAD_COVER_COLUMN_SIZE: Final = Message(
    "payload.cover_column_size",
    "malformed bundle: the {name} column has {size} bytes, which does not match {count} covers",
)
PAYLOAD_COVER_OUT_OF_BOUNDS: Final = Message(
    "payload.cover_out_of_bounds", "malformed bundle: a cover does not fit into the source or the target"
)
PAYLOAD_COVER_STREAMS_DO_NOT_FILL: Final = Message(
    "payload.cover_streams_do_not_fill",
    "malformed bundle: the sizes of the streams in a cover payload do not match the size of the payload",
)
PAYLOAD_COVER_STREAMS_LENGTH: Final = Message(
    "payload.cover_streams_length", "malformed bundle: cover streams make {headers} bytes, wanted {target_size}"
)
PAYLOAD_DIFFERENCE_LENGTH: Final = Message(
    "payload.difference_length",
    "malformed bundle: the covers have {total} bytes, but the stream of differences has {covered}",
)
PAYLOAD_EMBEDDED_COLUMN_SIZES: Final = Message(
    "payload.embedded_column_sizes", "malformed bundle: the columns of an unpack payload have impossible sizes"
)
PAYLOAD_EMBEDDED_FLAG: Final = Message(
    "payload.embedded_flag", "malformed bundle: an unpack payload has flag {whole}, wanted 0 or 1"
)
PAYLOAD_EMBEDDED_STREAM_MISSING: Final = Message(
    "payload.embedded_stream_missing", "malformed bundle: a source has no deflate stream after byte {end}"
)
PAYLOAD_EMBEDDED_STREAMS_SHORT: Final = Message(
    "payload.embedded_streams_short",
    "malformed bundle: the deflate streams of a source hold {total} bytes less than declared",
)
PAYLOAD_EMPTY_STREAM_PACKER: Final = Message(
    "payload.empty_stream_packer", "malformed bundle: an empty stream has packer {packer}, wanted {stored}"
)
PAYLOAD_FRAME_SIZE: Final = Message(
    "payload.frame_size", "malformed bundle: a {names} frame holds {data_count} bytes, wanted {size}"
)
PAYLOAD_INNER_CODEC: Final = Message(
    "payload.inner_codec", "malformed bundle: codec {codec} is not allowed within an unpack payload"
)
PAYLOAD_LZMA2_DAMAGED: Final = Message("payload.lzma2_damaged", "malformed bundle: an LZMA2 stream is damaged")
PAYLOAD_LZMA2_SIZE: Final = Message(
    "payload.lzma2_size", "malformed bundle: an LZMA2 stream does not hold the {size} bytes that it declares"
)
PAYLOAD_MODEL_BITS: Final = Message(
    "payload.model_bits", "malformed bundle: a model of {bits} bits is too large for a difference of {covered} bytes"
)
PAYLOAD_MODEL_DAMAGED: Final = Message("payload.model_damaged", "malformed bundle: a modelled difference is damaged")
PAYLOAD_MODEL_PARAMETERS: Final = Message(
    "payload.model_parameters", "malformed bundle: a model has {bits} bits, wanted 10 to 18"
)
PAYLOAD_MODEL_WITHOUT_PARAMETERS: Final = Message(
    "payload.model_without_parameters", "malformed bundle: a modelled difference lacks its parameters"
)
PAYLOAD_NUMBER_NOT_SHORTEST: Final = Message(
    "payload.number_not_shortest", "malformed bundle: a number in a payload is not in its shortest form"
)
PAYLOAD_NUMBER_TOO_LONG: Final = Message(
    "payload.number_too_long", "malformed bundle: a number in a payload is too long"
)
PAYLOAD_RECOMPRESSED_PLAIN_SIZE: Final = Message(
    "payload.recompressed_plain_size",
    "malformed bundle: a packing has {plain} plain bytes, more than the {size} bytes of its frame",
)
PAYLOAD_RECOMPRESSED_SIZE: Final = Message(
    "payload.recompressed_size",
    "malformed bundle: a packing gives the wrong number of bytes, wanted {size} (the size of its frame)",
)
PAYLOAD_SPARSE_DOES_NOT_FILL: Final = Message(
    "payload.sparse_does_not_fill",
    "malformed bundle: the sizes of the streams in a sparse difference do not match the size of the difference",
)
PAYLOAD_SPARSE_LENGTH: Final = Message(
    "payload.sparse_length",
    "malformed bundle: the streams of a sparse difference have {decoded} bytes, at most {most} are allowed",
)
PAYLOAD_SPARSE_STREAMS: Final = Message(
    "payload.sparse_streams", "malformed bundle: the streams of a sparse difference do not fit together"
)
PAYLOAD_STORED_SIZE: Final = Message(
    "payload.stored_size", "malformed bundle: a stored stream has {packed_count} bytes, wanted {size}"
)
PAYLOAD_TOO_MANY_COVERS: Final = Message(
    "payload.too_many_covers", "malformed bundle: a payload has {count} covers, at most {target_size} are allowed"
)
PAYLOAD_TRUNCATED: Final = Message("payload.truncated", "malformed bundle: a payload ends too early")
PAYLOAD_UNKNOWN_PACKER: Final = Message("payload.unknown_packer", "malformed bundle: unknown stream packer {packer}")
PAYLOAD_VCDIFF: Final = Message("payload.vcdiff", "malformed bundle: vcdiff {subject}")
RECIPE_BITS_OUT_OF_RANGE: Final = Message(
    "recipe.bits_out_of_range", "{where} has a number of bits that is out of range"
)
RECIPE_CONTENT_LEFT: Final = Message(
    "recipe.content_left", "malformed bundle: a packing gets more content than it takes"
)
RECIPE_CONTENT_SHORT: Final = Message(
    "recipe.content_short", "malformed bundle: a packing gets less content than it needs"
)
RECIPE_EDIT_WITHOUT_EFFECT: Final = Message("recipe.edit_without_effect", "{where} changes nothing")
RECIPE_EDITS_ADJACENT: Final = Message(
    "recipe.edits_adjacent", "{where} begins where the edit before ends, without a gap between the two edits"
)
RECIPE_EDITS_BEYOND_END: Final = Message("recipe.edits_beyond_end", "edits of a compressed layer go beyond its end")
RECIPE_ENCODER_NOT_LISTED: Final = Message(
    "recipe.encoder_not_listed", "malformed bundle: re-encoder {reencoder} is used, but not listed in section 1"
)
RECIPE_LITERAL_BYTES: Final = Message(
    "recipe.literal_bytes", "{where} stores {count} bits in {literals_count} bytes, which is the wrong number of bytes"
)
RECIPE_NO_WHOLE_BYTE: Final = Message("recipe.no_whole_byte", "a compressed layer does not end with a whole byte")
RECIPE_PADDING_NOT_ZERO: Final = Message("recipe.padding_not_zero", "{where} has padding bits that are not zero")
RECIPE_PLAIN_SIZE: Final = Message(
    "recipe.plain_size", "malformed bundle: a packing needs {plain_size} plain bytes, but has {plain_count}"
)
RECIPE_TOO_MANY_EDITS: Final = Message(
    "recipe.too_many_edits", "malformed bundle: a packing has more than {max_edits} edits"
)
RECIPE_TOO_MANY_PARTS: Final = Message(
    "recipe.too_many_parts", "malformed bundle: a packing has {count} parts, at most {max_parts} are allowed"
)
RELINK_COLUMN_SIZE: Final = Message(
    "relink.column_size", "malformed bundle: a relink column has {size} bytes, which does not match {count} rows"
)
RELINK_COVERS_SIZE: Final = Message(
    "relink.covers_size", "malformed bundle: a relink payload has an invalid minimum cover size of {least} bytes"
)
RELINK_MACHINE: Final = Message(
    "relink.machine", "malformed bundle: a relink payload has the machine number {machine}, wanted 0 to 2"
)
RELINK_REGION_OUT_OF_BOUNDS: Final = Message(
    "relink.region_out_of_bounds",
    "malformed bundle: the region of {length} bytes at byte {start} does not fit, or has an invalid address or mode",
)
RELINK_STEP: Final = Message(
    "relink.step", "malformed bundle: the address step of {shift} at address {at} is not valid"
)
RELINK_TOO_MANY: Final = Message(
    "relink.too_many", "malformed bundle: a relink payload has {count} {name}, at most {most} are allowed"
)
RELINK_TOO_MANY_PIECES: Final = Message(
    "relink.too_many_pieces", "malformed bundle: covers and sections make more than {max_steps} pieces"
)
RELINK_TOO_MANY_TABLES: Final = Message(
    "relink.too_many_tables", "malformed bundle: more than {max_tables} regions of jump tables"
)
RELINK_VERSION: Final = Message(
    "relink.version", "malformed bundle: a relink payload has version {payload}, wanted {version}"
)
ZSTD_DAMAGED: Final = Message("zstd.damaged", "malformed bundle: a zstd frame is damaged")
ZSTD_DECLARED_SIZE: Final = Message(
    "zstd.declared_size", "malformed bundle: a zstd frame declares {content_size} bytes, wanted {size}"
)
ZSTD_DICTIONARY: Final = Message("zstd.dictionary", "malformed bundle: a zstd frame has a dictionary id")
ZSTD_SIZE: Final = Message("zstd.size", "malformed bundle: a zstd frame holds {data_count} bytes, wanted {size}")
ZSTD_UNREADABLE: Final = Message("zstd.unreadable", "malformed bundle: a zstd frame cannot be read")
