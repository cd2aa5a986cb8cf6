// Command chronik-bench measures a Kafka-compatible cluster and checks that it kept what it acknowledged.
package main

import (
	"os"

	"github.com/chronik-io/chronik/internal/bench"
	"github.com/chronik-io/chronik/internal/cli"
)

func main() { os.Exit(cli.Main(cli.OSEnv(), bench.Tool, os.Args[1:])) }
