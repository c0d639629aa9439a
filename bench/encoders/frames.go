// Compress standard input as writers of zstd layers do, by klauspost/compress: frames LEVEL [FIRST].
// FIRST bytes are written before the rest, and flushed, as by programs that look at them.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

func main() {
	level, err := strconv.Atoi(os.Args[1])
	check(err)
	options := []zstd.EOption{zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level))}
	first := int64(0)
	if len(os.Args) > 2 {
		first, err = strconv.ParseInt(os.Args[2], 10, 64)
		check(err)
	}
	encoder, err := zstd.NewWriter(os.Stdout, options...)
	check(err)
	_, err = io.Copy(encoder, io.MultiReader(io.LimitReader(os.Stdin, first), os.Stdin))
	check(err)
	check(encoder.Close())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
