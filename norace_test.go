//go:build !race

package headgate

const raceEnabled = false
