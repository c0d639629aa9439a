"""The .dib format: header, manifest, frames and the programs that rebuild targets. See spec/dib.md."""
