// Command headgate calls rate-limited APIs at their full quota, without 429s
// and without losing a call. "headgate --help" lists what it does.
package main

import (
	"os"

	"github.com/headgate/headgate/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Process()))
}
