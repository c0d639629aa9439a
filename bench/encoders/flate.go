// Package flate stands for klauspost/compress/flate: it is Go's own, which from 1.27 on gives the same bytes.
package flate

import (
	"compress/flate"
	"io"
)

const (
	NoCompression       = flate.NoCompression
	BestSpeed           = flate.BestSpeed
	BestCompression     = flate.BestCompression
	DefaultCompression  = flate.DefaultCompression
	HuffmanOnly         = flate.HuffmanOnly
	ConstantCompression = flate.HuffmanOnly
)

type Reader = flate.Reader

var NewReader = flate.NewReader

type Writer struct {
	*flate.Writer
	level int
}

func NewWriterDict(out io.Writer, level int, dictionary []byte) (*Writer, error) {
	writer, err := flate.NewWriterDict(out, level, dictionary)
	return &Writer{writer, level}, err
}

func (w *Writer) ResetDict(out io.Writer, dictionary []byte) {
	w.Writer, _ = flate.NewWriterDict(out, w.level, dictionary)
}
