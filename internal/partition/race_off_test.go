//go:build !race

package partition

// raceDetector allocates on its own.
const raceDetector = false
