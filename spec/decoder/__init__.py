"""Decode dib bundles, slowly and plainly: the specification in the folder above, as a program.

    python3 -I decoder [--target NAME] [--expect sha256:HEX] [BASE...] BUNDLE > OUT

It is written from these texts alone and shares nothing with any other implementation. It needs Python 3.10 or later,
and the package zstandard before Python 3.14. ``core`` reads bundles of the core profile, ``full`` holds what the full
profile adds, ``encoders`` the encoders of compressed layers. dib.md, 2.3, lists the modules that are
part of the specification: relink.md, cover.md, deflate.md and zstd.md refer to them.

Exit codes: 0 done, 2 usage, 3 file or system, 5 the bundle is malformed or over a limit, 6 the base is wrong or
damaged, 7 the bundle is damaged, 8 another image than expected.
"""
