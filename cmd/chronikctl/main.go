// Command chronikctl operates a Chronik cluster and reads and writes its records.
package main

import (
	"os"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/ctl"
)

func main() { os.Exit(cli.Main(cli.OSEnv(), ctl.Tool, os.Args[1:])) }
