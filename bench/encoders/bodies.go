// Writes what standard input holds, compressed: bodies flate LEVEL, or bodies pgzip LEVEL BLOCK (with gzip's framing).
package main

import (
	"compress/flate"
	"io"
	"os"
	"runtime"
	"strconv"

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
	if os.Args[1] == "pgzip" {
		writer, err := pgzip.NewWriterLevel(os.Stdout, level)
		check(err)
		block, err := strconv.Atoi(os.Args[3])
		check(err)
		check(writer.SetConcurrency(block, runtime.NumCPU()))
		out = writer
	} else {
		out, err = flate.NewWriter(os.Stdout, level)
		check(err)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{os.Stdin}, make([]byte, 1<<20))
	check(err)
	check(out.Close())
}
