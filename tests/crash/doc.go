// Package crash kills a real server with SIGKILL, again and again, under load, and then compares what it acknowledged with what
// it has.
//
// It runs for a few seconds in `go test`; CHRONIK_KILLS=200 or CHRONIK_KILL_TIME=1h make it run longer.
package crash
