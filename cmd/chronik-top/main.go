// Command chronik-top watches a cluster live in the terminal.
package main

import (
	"os"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/top"
)

func main() { os.Exit(cli.Main(cli.OSEnv(), top.Tool, os.Args[1:])) }
