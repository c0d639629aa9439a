// Writes what standard input holds, compressed: bodies flate LEVEL (Go's own), bodies
// klauspost LEVEL (klauspost/compress), or bodies pgzip LEVEL BLOCK (with gzip's framing).
package main

import (
	"compress/flate"
	"io"
	"os"
	"runtime"
	"strconv"

	klauspost "github.com/klauspost/compress/flate"
	"github.com/klauspost/pgzip"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	level, err := strconv.Atoi(os.Args[2])
	check(err)
	var out io.WriteCloser
	switch os.Args[1] {
	case "pgzip":
		writer, err := pgzip.NewWriterLevel(os.Stdout, level)
		check(err)
		block, err := strconv.Atoi(os.Args[3])
		check(err)
		check(writer.SetConcurrency(block, runtime.NumCPU()))
		out = writer
	case "klauspost":
		out, err = klauspost.NewWriter(os.Stdout, level)
		check(err)
	default:
		out, err = flate.NewWriter(os.Stdout, level)
		check(err)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{os.Stdin}, make([]byte, 1<<20))
	check(err)
	check(out.Close())
}
